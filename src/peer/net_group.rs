//! [`NetGroup`]: a joined group.

use super::group_events::NetGroupEvents;
use super::joined::JoinedGroup;
use super::machine::{Joining, PeerMachine};
use super::queue::Queue;
use super::wants::Wants;
use super::{Connection, NetGroupError};
use crate::amf::{self, Value};
use crate::crypto::Fingerprint;
use crate::group::{
    Group, GroupAddress, GroupConfig, GroupError, GroupId, GroupSpec, GroupStats, MessageId,
    NeighborInfo, NeighborTrade, NetGroupInfo, ReceiveMode, ReplicationStrategy,
};
use crate::node::{GroupHandle, Search};
use crate::transport::Time;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A neighbor of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbor {
    /// Its peer ID.
    pub peer_id: Fingerprint,
    /// Its group address.
    pub address: GroupAddress,
    /// The far address of the session.
    pub far_address: SocketAddr,
    /// The round-trip time, if known.
    pub round_trip: Option<Duration>,
    /// The time since it became a neighbor.
    pub connected_for: Duration,
    /// Its receive mode, once announced.
    pub receive_mode: Option<ReceiveMode>,
    /// Object replication with it.
    pub trade: NeighborTrade,
}

/// A joined group.
///
/// Clones are cheap and refer to the same group. It is left when the last clone and the last of its
/// [`NetGroupEvents`] are dropped, or by [`close`](Self::close).
///
/// Object indices are 0 to 2^53, ranges are inclusive, and a reversed range does nothing. The
/// application defines the meaning of the indices.
#[derive(Debug, Clone)]
pub struct NetGroup(Arc<JoinedGroup>);

impl NetGroup {
    /// The events of the group since it was joined.
    pub fn events(&self) -> NetGroupEvents {
        NetGroupEvents::new(Arc::clone(&self.0))
    }

    /// The connection on which it was joined.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// The groupspec by which it was joined.
    pub fn spec(&self) -> &GroupSpec {
        &self.0.spec
    }

    /// The group's identity.
    pub fn id(&self) -> GroupId {
        self.0.spec.group_id()
    }

    /// This member's address on the ring of the group.
    pub fn address(&self) -> GroupAddress {
        self.convert_peer_id_to_group_address(&self.0.connection.peer_id())
    }

    /// A member's address on the ring of the group.
    pub fn convert_peer_id_to_group_address(&self, peer_id: &Fingerprint) -> GroupAddress {
        GroupAddress::of(peer_id)
    }

    /// Connects to a member now: Flash's `addNeighbor`. It may be left again later if the topology does
    /// not call for it. `false` if it cannot be a neighbor: it is this member itself, or all places are
    /// taken ([`set_max_neighbors`](Self::set_max_neighbors)). Whether it is reached is seen by
    /// [`NeighborConnect`](super::GroupEvent::NeighborConnect).
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn add_neighbor(&self, peer_id: Fingerprint) -> Result<bool, NetGroupError> {
        self.call(move |group, _, now| group.add_member(now, peer_id, false)).await
    }

    /// Notes a peer as a member, to be connected to when the topology calls for it: Flash's
    /// `addMemberHint`. `false` if it cannot be a neighbor.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn add_member_hint(&self, peer_id: Fingerprint) -> Result<bool, NetGroupError> {
        self.call(move |group, _, now| group.add_member(now, peer_id, true)).await
    }

    /// Adds the objects from `start` to `end` to the Have set, and removes them from the Want set:
    /// a promise to answer requests for them.
    ///
    /// # Errors
    ///
    /// Like all calls on the sets: an index above 2^53, replication not enabled in the groupspec, or
    /// the group closed.
    pub async fn add_have_objects(&self, start: u64, end: u64) -> Result<(), NetGroupError> {
        self.change(move |group, wants, now| wants.add_have(now, group, start..=end)).await
    }

    /// Removes objects from the Have set.
    ///
    /// # Errors
    ///
    /// As [`add_have_objects`](Self::add_have_objects).
    pub async fn remove_have_objects(&self, start: u64, end: u64) -> Result<(), NetGroupError> {
        self.change(move |group, _, now| group.replication_mut(now).remove_have(start..=end)).await
    }

    /// Adds objects to the Want set, and removes them from the Have set. They are fetched as soon
    /// as a neighbor has them.
    ///
    /// # Errors
    ///
    /// As [`add_have_objects`](Self::add_have_objects).
    pub async fn add_want_objects(&self, start: u64, end: u64) -> Result<(), NetGroupError> {
        self.change(move |group, wants, now| wants.add_want(now, group, start..=end)).await
    }

    /// Removes objects from the Want set. Requested objects may still arrive.
    ///
    /// # Errors
    ///
    /// As [`add_have_objects`](Self::add_have_objects).
    pub async fn remove_want_objects(&self, start: u64, end: u64) -> Result<(), NetGroupError> {
        self.change(move |group, wants, now| wants.remove_want(now, group, start..=end)).await
    }

    /// Answers a [`ReplicationRequest`](super::GroupEvent::ReplicationRequest). `false` if the
    /// request no longer exists: the neighbor is gone.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Object`] if the object cannot be encoded; the request remains pending.
    /// [`NetGroupError::Closed`].
    pub async fn write_requested_object(
        &self,
        request_id: u32,
        object: &Value,
    ) -> Result<bool, NetGroupError> {
        let object = amf::to_bytes(object)?;
        self.call(move |group, _, now| {
            group.replication_mut(now).write_requested(request_id, object)
        })
        .await
    }

    /// Refuses a [`ReplicationRequest`](super::GroupEvent::ReplicationRequest); the neighbor may
    /// ask again. `false` if the request no longer exists.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn deny_requested_object(&self, request_id: u32) -> Result<bool, NetGroupError> {
        self.call(move |group, _, now| group.replication_mut(now).deny_requested(request_id)).await
    }

    /// Sets the order in which wanted objects are fetched.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn set_replication_strategy(
        &self,
        strategy: ReplicationStrategy,
    ) -> Result<(), NetGroupError> {
        self.call(move |group, _, now| group.replication_mut(now).set_strategy(strategy)).await
    }

    /// The order in which wanted objects are fetched. At first it is
    /// [`LowestFirst`](ReplicationStrategy::LowestFirst).
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn replication_strategy(&self) -> Result<ReplicationStrategy, NetGroupError> {
        self.call(|group, _, _| group.replication().strategy()).await
    }

    /// Posts a message to all members, and returns its identity: Flash's `messageID`, by its text.
    /// It is not delivered to this member. Order and arrival are not guaranteed.
    ///
    /// A message equal to one that was received within the last 300 s is not sent, and one equal to
    /// an earlier one of this member's is ignored by whoever has that: let each differ, by a number
    /// for example.
    ///
    /// # Errors
    ///
    /// Where Flash returns null: [`NetGroupError::Group`] if the groupspec does not enable posting, if
    /// it requires a password that is not in the groupspec, or if the message is too large;
    /// [`NetGroupError::Object`] if the message cannot be encoded; [`NetGroupError::Closed`].
    pub async fn post(&self, message: &Value) -> Result<MessageId, NetGroupError> {
        let message = amf::to_bytes(message)?.into();
        self.change(move |group, _, now| group.posting_mut(now).post(message)).await
    }

    /// Sets the number of neighbors at a time. If there are more now, the least useful are left.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn set_max_neighbors(&self, max_neighbors: usize) -> Result<(), NetGroupError> {
        self.call(move |group, _, now| group.set_max_neighbors(now, max_neighbors)).await
    }

    /// Sets the number of neighbors whose requests are answered; 0 for a member that only fetches.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn set_max_served(&self, max_served: usize) -> Result<(), NetGroupError> {
        self.call(move |group, _, now| group.replication_mut(now).set_max_unchoked(max_served))
            .await
    }

    /// The neighbors.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn neighbors(&self) -> Result<Vec<Neighbor>, NetGroupError> {
        let describe = |group: &mut Group, _: &mut Wants, now: Time| {
            let neighbors = group.neighbors().into_iter();
            neighbors.map(|info| Neighbor::new(&info, now)).collect()
        };
        self.call(describe).await
    }

    /// The number of neighbors.
    pub fn neighbor_count(&self) -> usize {
        *self.0.neighbor_count.borrow()
    }

    /// The number of neighbors, as a channel to wait on.
    pub fn watch_neighbor_count(&self) -> watch::Receiver<usize> {
        self.0.neighbor_count.clone()
    }

    /// The estimated number of members, by the neighbors' addresses.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn estimated_member_count(&self) -> Result<f64, NetGroupError> {
        self.call(|group, _, _| group.estimated_member_count()).await
    }

    /// Counters.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn stats(&self) -> Result<GroupStats, NetGroupError> {
        self.call(|group, _, _| group.stats()).await
    }

    /// The rates at which the group exchanges bytes with its neighbors.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn info(&self) -> Result<NetGroupInfo, NetGroupError> {
        self.call(|group, _, now| group.info(now)).await
    }

    /// The state of the search for members: which were met, which could not be reached and why.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn search(&self) -> Result<Search, NetGroupError> {
        let group = self.0.group;
        let search =
            self.0.connection.with_machine(move |peer, now| peer.node().search(now, group)).await;
        search.ok().flatten().ok_or(NetGroupError::Closed)
    }

    /// Leaves the group. Its events end; further calls fail. Leaving a group twice, or after its
    /// connection was closed, is not an error.
    pub async fn close(&self) {
        let group = self.0.group;
        let _ = self.0.connection.with_machine(move |peer, now| peer.leave(now, group)).await;
    }

    /// The group in the node.
    pub(super) fn handle(&self) -> GroupHandle {
        self.0.group
    }

    async fn change<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Group, &mut Wants, Time) -> Result<R, GroupError> + Send + 'static,
    ) -> Result<R, NetGroupError> {
        self.call(call).await?.map_err(NetGroupError::from)
    }

    pub(super) async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Group, &mut Wants, Time) -> R + Send + 'static,
    ) -> Result<R, NetGroupError> {
        let group = self.0.group;
        let command = move |peer: &mut PeerMachine, now: Time| peer.with_group(now, group, call);
        self.0.connection.with_machine(command).await?.ok_or(NetGroupError::Closed)
    }
}

impl Neighbor {
    fn new(info: &NeighborInfo, now: Time) -> Self {
        Self {
            peer_id: info.peer,
            address: info.address,
            far_address: info.far_address,
            round_trip: info.rtt,
            connected_for: now.since(info.since),
            receive_mode: info.receive_mode,
            trade: info.trade,
        }
    }
}

impl Connection {
    /// Joins a group. Members are found through the server, if the groupspec allows it, and through
    /// the group's bootstrap peers, and are reported as
    /// [`NeighborConnect`](super::GroupEvent::NeighborConnect). Joining does not wait for them.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`] if the connection was closed.
    pub async fn join(&self, spec: GroupSpec) -> Result<NetGroup, NetGroupError> {
        self.join_with(GroupConfig::new(spec, self.peer_id())).await
    }

    /// Joins a group as [`join`](Self::join) does, with settings. `near` and `server` are filled
    /// in.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub async fn join_with(&self, config: GroupConfig) -> Result<NetGroup, NetGroupError> {
        let spec = config.spec.clone();
        let queue = Arc::new(Queue::new());
        let (neighbors, neighbor_count) = watch::channel(0);
        let joining = Joining { queue: Arc::clone(&queue), neighbors };
        let connection = self.clone();
        let join = move |peer: &mut PeerMachine, now: Time| {
            let group = peer.join(now, config, joining);
            // If the caller is gone, the group is left again.
            let joined = JoinedGroup { connection, group, spec, queue, neighbor_count };
            NetGroup(Arc::new(joined))
        };
        Ok(self.with_machine(join).await?)
    }
}
