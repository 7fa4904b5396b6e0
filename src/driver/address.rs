//! Addresses of this host.

use if_addrs::IfOperStatus;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use tracing::debug;

/// Addresses on the Internet whose routes are asked for, and which are sent nothing.
const PROBES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Addresses of a host that are used at most; the others are left out.
pub const MAX_HOST_ADDRESSES: usize = 16;

/// The addresses at which other hosts may reach this one without a router that translates them;
/// what a peer reports about itself to the server (`setPeerInfo`). Those from which it sends to the
/// Internet stand first, IPv4 before IPv6, and then the others of its interfaces that are up, at
/// most
/// [`MAX_HOST_ADDRESSES`]. Never loopback or unspecified addresses; link-local ones only of IPv4 and
/// where there is no other (RFC 3927). Empty on a host without network.
pub fn host_addresses() -> Vec<IpAddr> {
    let internet = PROBES.into_iter().filter_map(source_address);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        debug!(%error, "cannot list the interfaces of this host");
        Vec::new()
    });
    // That of some tunnels is not known.
    let is_up = |state| matches!(state, IfOperStatus::Up | IfOperStatus::Unknown);
    let interfaces = interfaces.into_iter().filter(|it| is_up(it.oper_status.clone()));
    in_order(internet.collect(), interfaces.map(|it| it.ip()).collect())
}

/// Addresses to the Internet before those of interfaces, each once.
fn in_order(internet: Vec<IpAddr>, interfaces: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = interfaces.into_iter().partition(IpAddr::is_ipv4);
    let all: Vec<IpAddr> = internet.into_iter().chain(v4).chain(v6).collect();
    let mut found = Vec::new();
    for &address in all.iter().filter(|address| is_useful(address)) {
        if found.len() < MAX_HOST_ADDRESSES && !found.contains(&address) {
            found.push(address);
        }
    }
    if !found.iter().any(IpAddr::is_ipv4) {
        let is_local = |address: &&IpAddr| matches!(address, IpAddr::V4(v4) if v4.is_link_local());
        found.extend(all.iter().find(is_local));
    }
    found
}

/// The address that packets to `target` would come from.
#[expect(clippy::disallowed_methods, reason = "a driver's socket, which sends nothing")]
fn source_address(target: IpAddr) -> Option<IpAddr> {
    /// The discard port.
    const PORT: u16 = 9;
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((target, PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// True if another host can use the address.
pub(super) fn is_useful(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}

/// IPv4 addresses in IPv6 clothes (RFC 4291 §2.5.5.2) become IPv4 addresses, so that an address
/// has one form.
pub(super) fn normalize(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_loopback_among_the_hosts_addresses() {
        for address in host_addresses() {
            assert!(!address.is_loopback() && !address.is_unspecified(), "{address}");
        }
    }

    fn ordered(internet: &[&str], interfaces: &[&str]) -> Vec<String> {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let found = in_order(parse(internet), parse(interfaces));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_interface_counts_and_that_to_the_internet_first() {
        // A LAN without a gateway.
        assert_eq!(ordered(&[], &["127.0.0.1", "192.168.1.10", "::1"]), ["192.168.1.10"]);
        // A VPN is the default route.
        let interfaces = ["127.0.0.1", "192.168.1.10", "10.8.0.2", "fe80::1", "2001:db8::5"];
        assert_eq!(
            ordered(&["10.8.0.2"], &interfaces),
            ["10.8.0.2", "192.168.1.10", "2001:db8::5"]
        );
        assert_eq!(
            ordered(&["10.8.0.2", "2001:db8::5"], &interfaces),
            ["10.8.0.2", "2001:db8::5", "192.168.1.10"]
        );
        assert_eq!(ordered(&[], &["127.0.0.1", "::1"]), Vec::<String>::new());
    }

    #[test]
    fn link_local_addresses_are_better_than_none() {
        assert_eq!(ordered(&[], &["169.254.7.7", "fe80::1"]), ["169.254.7.7"]);
        assert_eq!(ordered(&[], &["169.254.7.7", "10.0.0.1"]), ["10.0.0.1"]);
    }

    #[test]
    fn a_host_with_very_many_addresses_names_some() {
        let many: Vec<String> = (1..=100).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(ordered(&[], &many).len(), MAX_HOST_ADDRESSES);
    }

    #[test]
    fn useful_addresses() {
        for text in ["127.0.0.1", "::1", "0.0.0.0", "::", "169.254.1.1", "fe80::1", "ff02::1"] {
            assert!(!is_useful(&text.parse().unwrap()), "{text}");
        }
        for text in ["192.168.1.2", "203.0.113.9", "2001:db8::7", "fd00::7"] {
            assert!(is_useful(&text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn mapped_addresses_become_ipv4() {
        let mapped = "[::ffff:192.0.2.7]:1935".parse().unwrap();
        assert_eq!(normalize(mapped), "192.0.2.7:1935".parse().unwrap());
        for text in ["192.0.2.7:1", "[2001:db8::1]:2", "[fe80::1%3]:4"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(normalize(address), address);
        }
    }
}
