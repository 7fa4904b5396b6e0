//! Groups whose members announce themselves on the local network.

use super::{GroupHandle, Node};
use crate::group::{GroupSpec, IpMulticastAddress};
use crate::lan::{AnnouncementCodec, Announcer};
use crate::transport::{Path, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// IP multicast addresses of one group that are used; further ones are not.
pub const MAX_MULTICAST_OF_GROUP: usize = 4;
/// IP multicast addresses that a node listens on; groups that are joined later use none beyond.
pub const MAX_MULTICAST: usize = 32;

/// The groups of a node with members on the local network.
#[derive(Debug, Default)]
pub(super) struct LanGroups {
    groups: BTreeMap<GroupHandle, LanGroup>,
    /// The addresses of all groups, each once.
    addresses: Vec<IpMulticastAddress>,
}

#[derive(Debug)]
struct LanGroup {
    announcer: Announcer,
    addresses: Vec<IpMulticastAddress>,
}

impl LanGroups {
    fn refresh(&mut self) {
        self.addresses.clear();
        for address in self.groups.values().flat_map(|group| &group.addresses) {
            if !self.addresses.contains(address) {
                self.addresses.push(*address);
            }
        }
    }

    /// The addresses of one group.
    pub(super) fn of_group(&self, handle: GroupHandle) -> Vec<SocketAddr> {
        let addresses = self.groups.get(&handle).map(|group| &group.addresses[..]);
        addresses.unwrap_or_default().iter().map(|address| address.group).collect()
    }

    /// A group was left.
    pub(super) fn left(&mut self, handle: GroupHandle) {
        if self.groups.remove(&handle).is_some() {
            self.refresh();
        }
    }

    /// The host's addresses have changed.
    pub(super) fn restart(&mut self, now: Time) {
        self.groups.values_mut().for_each(|group| group.announcer.restart(now));
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.groups.values().map(|group| group.announcer.poll_timeout()).min()
    }
}

impl Node {
    /// The IP multicast addresses on which members of the joined groups announce themselves. What
    /// arrives there goes to [`handle_multicast`](Self::handle_multicast). Changes when a group is
    /// joined or left.
    pub fn multicast_addresses(&self) -> &[IpMulticastAddress] {
        &self.lan.addresses
    }

    /// A datagram has come to the IP multicast address `to`, from the address `from`. What no member of
    /// a joined group has sent is ignored.
    pub fn handle_multicast(
        &mut self,
        now: Time,
        to: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        let mut announced = Vec::new();
        for (&handle, group) in &mut self.lan.groups {
            let is_meant = group.addresses.iter().any(|address| address.group == to);
            if let Some(peer) =
                is_meant.then(|| group.announcer.handle_datagram(now, datagram)).flatten()
            {
                announced.push((handle, peer));
            }
        }
        for (handle, peer) in announced {
            let is_known = self.groups.get(&handle).is_some_and(|it| it.group.has_neighbor(&peer));
            let lan = self.lan.groups.get_mut(&handle);
            if !is_known
                && lan.is_some_and(|lan| lan.announcer.admit(now))
                && let Some(group) = self.touch(handle)
            {
                tracing::debug!(%peer, %from, "a member is on the local network");
                group.on_announced(now, peer, from);
            }
        }
        self.process(now);
    }

    /// Begins to announce this node in a new group, if its groupspec allows it.
    pub(super) fn announce_in(&mut self, now: Time, handle: GroupHandle, spec: &GroupSpec) {
        if !spec.ip_multicast_member_updates_enabled() || spec.peer_to_peer_disabled() {
            return;
        }
        let mut addresses = spec.ip_multicast_addresses();
        addresses.retain(IpMulticastAddress::is_valid);
        addresses.truncate(MAX_MULTICAST_OF_GROUP.min(MAX_MULTICAST - self.lan.addresses.len()));
        if addresses.is_empty() {
            return;
        }
        let codec = AnnouncementCodec::new(&spec.group_id().0, spec.canonical_text());
        let announcer = Announcer::new(now, codec, self.peer_id(), self.random.next_u64());
        self.lan.groups.insert(handle, LanGroup { announcer, addresses });
        self.lan.refresh();
        self.announce(now);
    }

    /// Sends the announcements that are due.
    pub(super) fn announce(&mut self, now: Time) {
        for group in self.lan.groups.values_mut() {
            while let Some(datagram) = group.announcer.poll_datagram(now) {
                for address in &group.addresses {
                    self.endpoint.send_datagram(Path::to(address.group), datagram.clone());
                }
            }
        }
    }
}
