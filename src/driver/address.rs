//! Addresses of this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses whose routes are asked for: one on the Internet, and one in each range that private
/// networks use, because a host without a default route may still reach those. None of them
/// is sent anything.
const PROBES_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(172, 16, 0, 1),
    Ipv4Addr::new(192, 168, 0, 1),
    Ipv4Addr::new(100, 64, 0, 1),
];
const PROBES_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)];

/// The addresses from which this host would speak to other hosts, IPv4 first; what a peer tells
/// the server about itself (`setPeerInfo`). Never loopback, link-local or unspecified addresses.
///
/// Found by asking for the source address of routes, without sending anything. An interface that
/// no usual route leads to is not found. Empty on a host without network.
pub fn host_addresses() -> Vec<IpAddr> {
    let v4 = PROBES_V4.into_iter().filter_map(|probe| source_address(probe.into()));
    let v6 = PROBES_V6.into_iter().filter_map(|probe| source_address(probe.into()));
    let mut found = Vec::new();
    for address in v4.chain(v6).filter(is_useful) {
        if !found.contains(&address) {
            found.push(address);
        }
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

/// Whether another host can use the address.
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
            assert!(is_useful(&address), "{address}");
        }
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
