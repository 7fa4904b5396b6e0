//! The networks that this host is in, by its own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Own addresses that count; further ones are not looked at.
const MAX_OWN: usize = 16;

/// The networks of this host: what is sent within them passes no line to the Internet.
///
/// The sizes of networks are not known here. An IPv4 network is taken to have 256 addresses, as
/// that of a home has, and one of IPv6 has a prefix of 64 bits.
#[derive(Debug, Default)]
pub(super) struct Networks(Vec<IpAddr>);

impl Networks {
    pub(super) fn new(own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(own.into_iter().map(|ip| ip.to_canonical()).take(MAX_OWN).collect())
    }

    /// True if packets to this address stay on this host or in one of its networks. Public IPv4
    /// addresses are never taken to be near: many providers give neighboring ones to hosts that are
    /// far apart.
    pub(super) fn contains(&self, far: IpAddr) -> bool {
        let far = far.to_canonical();
        far.is_loopback() || self.0.iter().any(|own| shares_network(*own, far))
    }
}

fn shares_network(own: IpAddr, far: IpAddr) -> bool {
    match (own, far) {
        (IpAddr::V4(own), IpAddr::V4(far)) => {
            is_local_v4(far) && network_v4(own) == network_v4(far)
        }
        (IpAddr::V6(own), IpAddr::V6(far)) => {
            far.is_unicast_link_local() || network_v6(own) == network_v6(far)
        }
        _ => false,
    }
}

/// Private or link-local. Shared address space (RFC 6598) is a provider's network, or that of a
/// tunnel.
const fn is_local_v4(ip: Ipv4Addr) -> bool {
    ip.is_private() || ip.is_link_local()
}

fn network_v4(ip: Ipv4Addr) -> [u8; 3] {
    let [a, b, c, _] = ip.octets();
    [a, b, c]
}

fn network_v6(ip: Ipv6Addr) -> [u16; 4] {
    let [a, b, c, d, ..] = ip.segments();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_what_is_in_a_network_of_ones_own() {
        let own = ["192.168.1.2", "198.51.100.2", "169.254.7.7", "fd00:1:2:3::2", "2001:db8::2"];
        let networks = Networks::new(own.map(|ip| ip.parse().unwrap()));
        for (far, is_near) in [
            ("192.168.1.77", true),
            ("::ffff:192.168.1.77", true),
            ("192.168.2.77", false),
            ("10.0.0.1", false),
            ("198.51.100.3", false),
            ("169.254.7.9", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("fd00:1:2:3::9", true),
            ("fd00:1:2:4::9", false),
            ("fe80::9", true),
            ("2001:db8::9", true),
            ("2001:db8:1::9", false),
        ] {
            assert_eq!(networks.contains(far.parse().unwrap()), is_near, "{far}");
        }
        assert!(!Networks::default().contains("192.168.1.77".parse().unwrap()));
    }
}
