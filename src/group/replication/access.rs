//! The calls with which the application changes object replication.

use super::neighbor::{Neighbor, Serving};
use super::{Replication, ReplicationStrategy};
use crate::crypto::Fingerprint;
use crate::group::{Group, GroupError};
use crate::transport::{Bandwidth, Time};
use bytes::Bytes;
use std::ops::{Deref, RangeInclusive};

/// Mutable access to the object replication of one group. Drain the group's actions and events
/// afterwards, as after every input.
pub struct ReplicationMut<'a> {
    pub(super) group: &'a mut Group,
    pub(super) now: Time,
}

impl Group {
    /// Mutable access to object replication at the time `now`.
    pub fn replication_mut(&mut self, now: Time) -> ReplicationMut<'_> {
        self.traffic.advance(now);
        ReplicationMut { group: self, now }
    }
}

impl ReplicationMut<'_> {
    /// Adds an inclusive range to the Have set, and removes it from the Want set: a promise to answer
    /// requests for it. A reversed range does nothing.
    ///
    /// # Errors
    /// Like all calls on the sets: an index above 2^53, replication not enabled, or the group closed.
    pub fn add_have(&mut self, range: RangeInclusive<u64>) -> Result<(), GroupError> {
        self.change(|replication, now| Ok(replication.add_have(now, range)?))
    }

    /// Removes an inclusive range from the Have set.
    ///
    /// # Errors
    /// As [`add_have`](Self::add_have).
    pub fn remove_have(&mut self, range: RangeInclusive<u64>) -> Result<(), GroupError> {
        self.change(|replication, _| Ok(replication.remove_have(range)?))
    }

    /// Adds an inclusive range to the Want set, and removes it from the Have set. Fetching is automatic.
    ///
    /// # Errors
    /// As [`add_have`](Self::add_have).
    pub fn add_want(&mut self, range: RangeInclusive<u64>) -> Result<(), GroupError> {
        self.change(|replication, now| Ok(replication.add_want(now, range)?))
    }

    /// Removes an inclusive range from the Want set. Requested objects may still arrive.
    ///
    /// # Errors
    /// As [`add_have`](Self::add_have).
    pub fn remove_want(&mut self, range: RangeInclusive<u64>) -> Result<(), GroupError> {
        self.change(|replication, _| Ok(replication.remove_want(range)?))
    }

    /// Answers a [`ReplicationRequest`](crate::group::GroupEvent::ReplicationRequest) with the
    /// encoded AMF value. `false` if the request no longer exists: the neighbor is gone.
    pub fn write_requested(&mut self, request_id: u32, value: Bytes) -> bool {
        let pending = self.group.replication.write_requested(self.now, request_id, value);
        self.group.drain_features();
        pending
    }

    /// Refuses a [`ReplicationRequest`](crate::group::GroupEvent::ReplicationRequest). The neighbor
    /// may ask again. `false` if the request no longer exists.
    pub fn deny_requested(&mut self, request_id: u32) -> bool {
        let pending = self.group.replication.deny_requested(self.now, request_id);
        self.group.drain_features();
        pending
    }

    /// Sets the order in which wanted objects are requested.
    pub fn set_strategy(&mut self, strategy: ReplicationStrategy) {
        self.group.replication.set_strategy(self.now, strategy);
        self.group.drain_features();
    }

    /// Names the member that has everything from the start, for
    /// [`ReplicationStrategy::Swarm`]. Without, it is whoever has everything when it is met.
    pub fn set_provider(&mut self, provider: Option<Fingerprint>) {
        self.group.replication.set_provider(provider);
    }

    /// From now on, [`ReplicationStrategy::Swarm`] asks the provider only for objects that no other
    /// neighbor has, unless nothing has come from it for 5 s; or it does no longer. Everybody is
    /// complete later, and the provider sends little more than one copy.
    pub fn spare_provider(&mut self, spares: bool) {
        self.group.replication.spare_provider(spares);
    }

    /// Sets the number of neighbors that are served at a time
    /// ([`max_unchoked`](crate::group::ReplicationLimits::max_unchoked)), and as many more in this
    /// host's own networks. Those that are too many are choked when what they are owed is sent.
    pub fn set_max_unchoked(&mut self, max_unchoked: usize) {
        self.group.replication.set_max_unchoked(self.now, max_unchoked);
        self.group.drain_features();
    }

    /// What this node's uplink carries: if that is little, few neighbors are served at a time, so
    /// that each has its objects soon.
    pub fn set_uplink(&mut self, uplink: Option<Bandwidth>) {
        self.group.replication.set_uplink(self.now, uplink);
        self.group.drain_features();
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Replication, Time) -> Result<(), GroupError>,
    ) -> Result<(), GroupError> {
        match (self.group.closed, self.group.replication.enabled) {
            (true, _) => return Err(GroupError::Closed),
            (false, false) => return Err(GroupError::ReplicationDisabled),
            (false, true) => change(&mut self.group.replication, self.now)?,
        }
        self.group.drain_features();
        Ok(())
    }
}

impl Replication {
    fn set_max_unchoked(&mut self, now: Time, max_unchoked: usize) {
        self.limits.max_unchoked = max_unchoked;
        self.choke_surplus(now);
    }

    fn set_uplink(&mut self, now: Time, uplink: Option<Bandwidth>) {
        self.uplink = uplink;
        self.choke_surplus(now);
    }

    pub(super) fn choke_surplus(&mut self, now: Time) {
        let places = [(false, self.places()), (true, self.limits.max_unchoked)];
        for (is_local, places) in places {
            let is_served = |n: &Neighbor| n.serving == Serving::Unchoked && n.is_local == is_local;
            let served = self.neighbors.iter().filter(|(_, n)| is_served(n));
            let surplus: Vec<_> = served.map(|(&session, _)| session).skip(places).collect();
            surplus.into_iter().for_each(|session| self.begin_choke(now, session));
        }
        self.rebalance(now);
    }
}

impl Deref for ReplicationMut<'_> {
    type Target = Replication;

    fn deref(&self) -> &Replication {
        &self.group.replication
    }
}
