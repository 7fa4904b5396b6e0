//! The interfaces of this host, for IP multicast.

use if_addrs::IfOperStatus;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use tracing::debug;

/// Interfaces of the host that are used at most; the others are left out.
const MAX_INTERFACES: usize = 32;

/// An interface of the host, as calls about multicast name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NetworkInterface {
    /// By one of its addresses.
    V4(Ipv4Addr),
    /// By its number.
    V6(u32),
}

/// The interfaces through which a socket bound to `local` sends and receives: all that are up, the
/// loopback interface too, for members on this host; one, if the socket is bound to its address.
pub(super) fn interfaces(local: IpAddr) -> Vec<NetworkInterface> {
    let all = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        debug!(%error, "cannot list the interfaces of this host");
        Vec::new()
    });
    let is_up = |state| matches!(state, IfOperStatus::Up | IfOperStatus::Unknown);
    let named = all.into_iter().filter_map(|it| {
        let (ip, index) = (it.ip(), it.index);
        let counts = is_up(it.oper_status.clone()) && ip.is_ipv4() == local.is_ipv4();
        if !counts || !(local.is_unspecified() || ip == local) {
            return None;
        }
        match ip {
            IpAddr::V4(ip) => Some(NetworkInterface::V4(ip)),
            IpAddr::V6(_) => index.map(NetworkInterface::V6),
        }
    });
    named.collect::<BTreeSet<_>>().into_iter().take(MAX_INTERFACES).collect()
}
