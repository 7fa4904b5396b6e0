//! One file in one group on one node, still without sockets and without files: what the share and
//! fetch commands run on a driver, and tests in the simulator.
//!
//! [`FilePeer`] joins a [`Node`]'s group to a [`Replica`]. Work for the store comes out as
//! [`FileEvent::Store`] and its result goes back in by [`FilePeer::store_replied`], so that the
//! owner decides on which thread files are read and written.

use super::descriptor::{Descriptor, DescriptorForm};
use super::link::Integrity;
use super::replica::{Action, GroupAction, Notice, Replica, StoreAction, StoreReply};
use super::{ChunkStore, Layout, StoreError};
use crate::amf;
use crate::crypto::Fingerprint;
use crate::flash::Uri;
use crate::group::{Group, GroupConfig, GroupEvent, GroupSpec, ReplicationStrategy};
use crate::node::{GroupHandle, Node, NodeEvent, Search};
use crate::range::IndexSet;
use crate::transport::{Layer, Time};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// First wait before the connection to the server is tried again.
/// How often the server is asked for the provider while no member is met.
const SEEK_PROVIDER: Duration = Duration::from_secs(60);
const RECONNECT_FIRST: Duration = Duration::from_secs(2);
/// Longest wait before the connection to the server is tried again.
const RECONNECT_MAX: Duration = Duration::from_secs(60);

/// A request of a neighbour. Request IDs are used again; the serial number tells whether an
/// answer is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    id: u32,
    serial: u64,
}

/// Something for the owner.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileEvent {
    /// Work for the store.
    Store(StoreAction<Request>),
    /// News of the file.
    Notice(Notice<Fingerprint>),
    /// News of the node, group events excepted.
    Node(NodeEvent),
    /// A neighbour came.
    NeighborConnect(Fingerprint),
    /// A neighbour went.
    NeighborDisconnect(Fingerprint),
}

/// A member of the group of one file; see the module's description.
#[derive(Debug)]
pub struct FilePeer {
    node: Node,
    group: GroupHandle,
    replica: Replica<Fingerprint, Request>,
    provider: Option<Fingerprint>,
    /// When to look for the provider again.
    seek_at: Option<Time>,
    requests: HashMap<u32, u64>,
    serial: u64,
    server: Option<(Uri, Vec<SocketAddr>)>,
    /// When to try the server again, and how long to wait the next time.
    reconnect: Option<Time>,
    backoff: Duration,
    events: VecDeque<FileEvent>,
    stopping: bool,
}

impl FilePeer {
    /// A member that offers a file. Tell it what the store holds by
    /// [`store_opened`](Self::store_opened).
    pub fn provider(
        now: Time,
        node: Node,
        spec: GroupSpec,
        descriptor: Descriptor,
        form: DescriptorForm,
    ) -> Self {
        Self::new(now, node, spec, Replica::provider(descriptor, form))
    }

    /// A member that wants a file. If it knows the `provider`, it has the server introduce it, which
    /// also servers do that keep no groups.
    pub fn receiver(
        now: Time,
        node: Node,
        spec: GroupSpec,
        integrity: Integrity,
        provider: Option<Fingerprint>,
    ) -> Self {
        let mut peer = Self::new(now, node, spec, Replica::receiver(integrity, provider));
        peer.provider = provider;
        peer
    }

    fn new(
        now: Time,
        mut node: Node,
        spec: GroupSpec,
        replica: Replica<Fingerprint, Request>,
    ) -> Self {
        let config = GroupConfig::new(spec, node.peer_id());
        let group = node.join_with(now, config);
        node.with_group(now, group, |g, now| {
            g.replication_mut(now).set_strategy(ReplicationStrategy::RarestFirstSpread);
        });
        let mut peer = Self {
            node,
            group,
            replica,
            provider: None,
            seek_at: None,
            requests: HashMap::new(),
            serial: 0,
            server: None,
            reconnect: None,
            backoff: RECONNECT_FIRST,
            events: VecDeque::new(),
            stopping: false,
        };
        peer.pump(now);
        peer
    }

    /// Connects to the server, and again whenever the connection is lost.
    pub fn connect(&mut self, now: Time, uri: Uri, addresses: Vec<SocketAddr>) {
        self.node.connect(now, &uri, &addresses);
        self.server = Some((uri, addresses));
        self.reconnect = None;
        self.pump(now);
    }

    /// The server to connect to when the connection is lost, or the next attempt is due.
    pub fn set_server(&mut self, uri: Uri, addresses: Vec<SocketAddr>) {
        self.server = Some((uri, addresses));
    }

    /// In which order chunks are fetched.
    pub fn set_strategy(&mut self, now: Time, strategy: ReplicationStrategy) {
        self.node
            .with_group(now, self.group, |g, now| g.replication_mut(now).set_strategy(strategy));
        self.pump(now);
    }

    /// The store is ready and holds these chunks.
    pub fn store_opened(&mut self, now: Time, held: &IndexSet, layout: &Layout) {
        self.replica.store_opened(held, layout);
        self.pump(now);
    }

    /// There is no store; the file is given up.
    pub fn store_unavailable(&mut self, now: Time, error: StoreError) {
        self.replica.store_unavailable(error);
        self.pump(now);
    }

    /// The store did what was asked.
    pub fn store_replied(&mut self, now: Time, reply: StoreReply<Request>) {
        self.replica.store_replied(reply);
        self.pump(now);
    }

    /// Does the store's work at once, on this thread.
    pub fn perform(&mut self, now: Time, action: StoreAction<Request>, store: &mut dyn ChunkStore) {
        self.store_replied(now, action.perform(store));
    }

    /// Leaves the group and closes every session.
    pub fn shut_down(&mut self, now: Time) {
        self.stopping = true;
        self.node.shut_down(now);
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<FileEvent> {
        self.events.pop_front()
    }

    /// The node, to look at.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The node, to tell it of addresses.
    pub fn set_addresses(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        self.node.set_addresses(now, addresses);
        self.pump(now);
    }

    /// The file's state.
    pub fn replica(&self) -> &Replica<Fingerprint, Request> {
        &self.replica
    }

    /// The file's group.
    pub fn group(&self) -> Option<&Group> {
        self.node.group(self.group)
    }

    /// How the search for members stands; nothing after the group was left.
    pub fn search(&self, now: Time) -> Search {
        self.node.search(now, self.group).unwrap_or_default()
    }

    /// Members that have been neighbours, each counted once.
    pub fn members_met(&self) -> usize {
        self.node.members_met(self.group)
    }

    /// Whether this member has been a neighbour.
    pub fn has_met(&self, peer: &Fingerprint) -> bool {
        self.node.has_met(self.group, peer)
    }

    fn pump(&mut self, now: Time) {
        loop {
            let mut busy = false;
            while let Some(event) = self.node.poll_event() {
                self.on_node_event(now, event);
                busy = true;
            }
            while let Some(action) = self.replica.poll_action() {
                self.carry_out(now, action);
                busy = true;
            }
            if !busy {
                return;
            }
        }
    }

    fn on_node_event(&mut self, now: Time, event: NodeEvent) {
        match event {
            NodeEvent::Group(_, event) => self.on_group_event(event),
            NodeEvent::Connected { .. } => {
                self.backoff = RECONNECT_FIRST;
                self.reconnect = None;
                self.seek_provider(now);
                self.events.push_back(FileEvent::Node(event));
            }
            NodeEvent::ConnectFailed(_) | NodeEvent::Disconnected => {
                if !self.stopping && self.server.is_some() {
                    self.reconnect = Some(now + self.backoff);
                    self.backoff = (self.backoff * 2).min(RECONNECT_MAX);
                }
                self.events.push_back(FileEvent::Node(event));
            }
            other => self.events.push_back(FileEvent::Node(other)),
        }
    }

    /// Has the server introduce the provider, now and again while no member is met.
    fn seek_provider(&mut self, now: Time) {
        self.seek_at = None;
        let alone = self.node.group(self.group).is_some_and(|g| g.stats().neighbors == 0);
        if let Some(provider) = self.provider.filter(|_| alone && !self.stopping) {
            self.node.with_group(now, self.group, |g, now| g.on_introduced(now, provider, false));
            self.seek_at = Some(now + SEEK_PROVIDER);
        }
    }

    fn on_group_event(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::ReplicationRequest { index, request_id } => {
                self.serial += 1;
                self.requests.insert(request_id, self.serial);
                let request = Request { id: request_id, serial: self.serial };
                self.replica.object_requested(index, request);
            }
            GroupEvent::ReplicationFetchResult { index, object, from } => {
                // What is no AMF at all is as good as a wrong object.
                let value = amf::from_bytes(object).unwrap_or(amf::Value::Undefined);
                self.replica.object_fetched(index, value, from);
            }
            GroupEvent::ReplicationFetchFailed { index } => self.replica.fetch_failed(index),
            GroupEvent::NeighborConnect { peer, .. } => {
                self.events.push_back(FileEvent::NeighborConnect(peer));
            }
            GroupEvent::NeighborDisconnect { peer, .. } => {
                self.events.push_back(FileEvent::NeighborDisconnect(peer));
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, now: Time, action: Action<Fingerprint, Request>) {
        match action {
            Action::Group(action) => self.group_action(now, action),
            Action::Store(action) => self.events.push_back(FileEvent::Store(action)),
            Action::Notice(notice) => self.events.push_back(FileEvent::Notice(notice)),
        }
    }

    fn group_action(&mut self, now: Time, action: GroupAction<Fingerprint, Request>) {
        let group = self.group;
        let refused = match action {
            GroupAction::AddHave(range) => {
                self.node.with_group(now, group, |g, now| g.replication_mut(now).add_have(range))
            }
            GroupAction::RemoveHave(range) => {
                self.node.with_group(now, group, |g, now| g.replication_mut(now).remove_have(range))
            }
            GroupAction::AddWant(range) => {
                self.node.with_group(now, group, |g, now| g.replication_mut(now).add_want(range))
            }
            GroupAction::RemoveWant(range) => {
                self.node.with_group(now, group, |g, now| g.replication_mut(now).remove_want(range))
            }
            GroupAction::WriteRequested { request, object } => {
                return self.answer(now, request, amf::to_bytes(&object).ok());
            }
            GroupAction::Deny { request } => return self.answer(now, request, None),
            GroupAction::Distrust(peer) => {
                self.node.with_group(now, group, |g, now| g.block(now, peer));
                return;
            }
        };
        if let Some(Err(error)) = refused {
            tracing::warn!(%error, "the group refused a call");
        }
    }

    /// Answers a request, unless its neighbour has gone and the ID means another one now.
    fn answer(&mut self, now: Time, request: Request, object: Option<bytes::Bytes>) {
        if self.requests.get(&request.id) != Some(&request.serial) {
            return;
        }
        self.requests.remove(&request.id);
        self.node.with_group(now, self.group, |g, now| match object {
            Some(object) => g.replication_mut(now).write_requested(request.id, object),
            None => g.replication_mut(now).deny_requested(request.id),
        });
    }
}

impl Layer for FilePeer {
    type Inner = Node;

    fn inner(&self) -> &Node {
        &self.node
    }

    fn inner_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    fn after_call(&mut self, now: Time) {
        self.pump(now);
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        self.reconnect.into_iter().chain(self.seek_at).min()
    }

    fn handle_own_timeout(&mut self, now: Time) {
        if self.seek_at.is_some_and(|at| at <= now) {
            self.seek_provider(now);
        }
        if self.reconnect.is_some_and(|at| at <= now) {
            self.reconnect = None;
            if let Some((uri, addresses)) = &self.server {
                self.node.connect(now, uri, addresses);
            }
        }
    }
}
