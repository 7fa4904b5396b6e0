//! A peer without sockets: one endpoint, its NetConnection, and its NetGroups.
//!
//! [`Node`] passes sessions, flows and messages between the three. It is a [`Layer`] around the
//! endpoint, so that a driver, the simulator, or a program with its own event loop can run it.
//! After any call, follow the drain rule of [machines](crate::transport::Machine) and poll
//! [`NodeEvent`]s.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod.rs` | the public API |
//! | `dispatch.rs` | dispatch of endpoint events to connection and groups |
//! | `actions.rs` | execution of their actions on the endpoint |
//! | `barriers.rs` | flows that wait for each other |
//! | `guest.rs` | applications that act in a group |
//! | `lan.rs` | announcements on the local network |
//! | `calls.rs` | calls in both directions over the NetConnection |
//! | `streams/` | streams outside of groups |
//! | `limits.rs` | limits of what is sent and received |
//! | `search.rs` | the state of the search for members |

mod actions;
mod barriers;
mod calls;
mod dispatch;
mod guest;
mod lan;
mod limits;
mod search;
mod streams;

pub use guest::Guest;
pub use lan::{MAX_MULTICAST, MAX_MULTICAST_OF_GROUP};
pub use limits::Limits;
pub use search::{MAX_MET, MAX_UNREACHED, Search};
pub use streams::{Admission, DEFAULT_MAX_PEERS, MAX_STREAMS, PublishToPeers, StreamHandle};

use crate::amf::Value;
use crate::crypto::{Epd, Fingerprint, Identity};
use crate::flash::stream::NetStreamEvent;
use crate::flash::{Call, CallId, ClientConfig, ClientConnection, ConnectFailure, FlashError, Uri};
use crate::group::{Group, GroupConfig, GroupEvent, GroupId, GroupSpec};
use crate::transport::{
    Bandwidth, Config, Endpoint, FlowAction, FlowId, FlowTable, FlowToken, Layer, MIN_KEEPALIVE,
    OpenId, OpenSessionError, Random, SessionId, Time,
};
use crate::wire::Shown;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// Flows that may wait for their first message, over all sessions; further ones are rejected.
const MAX_UNCLAIMED: usize = 256;
/// The same limit per session: a member needs one for each group in common.
const MAX_UNCLAIMED_OF_SESSION: usize = 16;
/// How long the answer to `connect` may take.
const CONNECT_ANSWER: Duration = Duration::from_secs(30);
/// How long opening a session to a member may take before it counts as failed.
const PEER_OPEN: Duration = Duration::from_secs(30);
/// Bytes queued for a far end beyond [`Config::max_send_queue`]; above it, the session is closed.
/// While a flow is full, a group receives no requests; those received before can ask for about 4
/// MiB.
const MAX_PARKED: u64 = 32 << 20;
/// A group's `GC` flow; its owner has no other.
const GROUP_SERVER: FlowToken = FlowToken(0);

/// Settings of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The transport.
    pub transport: Config,
    /// The client properties that the NetConnection announces.
    pub client: ClientConfig,
    /// What follows the URI in Flash's `NetConnection.connect`: values for the application of the
    /// server.
    pub connect_arguments: Vec<Value>,
    /// How long to try to reach the server.
    pub server_timeout: Duration,
    /// The server is pinged when it has been silent for this long, unless it announces another
    /// period. These pings also detect a restart of the server.
    pub server_keepalive: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let transport = Config {
            // As much as a far end receives before it acknowledges.
            max_send_queue: 4 << 20,
            ..Config::default()
        };
        Self {
            transport,
            client: ClientConfig::default(),
            connect_arguments: Vec::new(),
            server_timeout: Duration::from_secs(20),
            server_keepalive: MIN_KEEPALIVE,
        }
    }
}

/// A group that this node has joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupHandle(u32);

/// An event of a [`Node`].
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeEvent {
    /// The NetConnection is up; groups are joined at the server.
    Connected {
        /// The server's address.
        server: SocketAddr,
    },
    /// The NetConnection could not be opened.
    ConnectFailed(NetConnectionError),
    /// The NetConnection is closed. Sessions with neighbors remain. If the server was restarted,
    /// the node connects again by itself, and a further event reports the result.
    Disconnected,
    /// An event of a group.
    Group(GroupHandle, GroupEvent),
    /// An event of a stream outside of groups.
    Stream(StreamHandle, NetStreamEvent),
    /// The server answered a call, with a result or with the information object of an error.
    Answered(CallId, Result<Value, Value>),
    /// The server calls one of [`ClientConfig::methods`].
    Call(Call),
    /// The server reports a status: the information object.
    Status(Value),
    /// A session was opened; for key logs and statistics.
    SessionOpened(SessionId),
}

/// Why there is no NetConnection.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum NetConnectionError {
    /// No session with the server could be opened.
    #[error(transparent)]
    Unreachable(#[from] OpenSessionError),
    /// The server refused the connection.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server opened the session but did not answer `connect`.
    #[error("the server did not answer the connect command within {0:?}")]
    NoAnswer(Duration),
    /// The session ended before `connect` was answered.
    #[error("the server closed the session")]
    Closed,
    /// The URI or the arguments are not valid.
    #[error(transparent)]
    Invalid(#[from] FlashError),
}

impl From<ConnectFailure> for NetConnectionError {
    fn from(failure: ConnectFailure) -> Self {
        let (description, code) = (Shown::new(&failure.description), Shown::new(&failure.code));
        Self::Refused(format!("{description} ({code})"))
    }
}

/// The state of the connection to the server.
#[derive(Debug)]
enum Server {
    None,
    Opening { open: OpenId, uri: Uri, since: Time },
    Session(Box<ServerSession>),
}

#[derive(Debug)]
struct ServerSession {
    session: SessionId,
    uri: Uri,
    connection: ClientConnection,
    since: Time,
}

struct Joined {
    group: Group,
    /// This node's `GC` flow is open.
    is_at_server: bool,
    /// Receives the group's events.
    guest: Option<Box<dyn Guest>>,
    /// Its entry in [`Node::deadlines`].
    deadline: Option<Time>,
}

/// A session that the groups know.
struct Peer {
    far: Fingerprint,
    /// Groups that do not need it.
    released_by: BTreeSet<GroupHandle>,
}

/// The owner of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Connection,
    /// The `GC` flows of a group, to the server and from it.
    GroupServer(GroupHandle),
    Group(GroupHandle),
    Stream(StreamHandle),
}

/// What a flow of a peer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unclaimed {
    /// `GR 1C`: the hello of a group.
    Hello,
    /// `TC` with this stream ID: the command `play`.
    Play(u32),
}

/// A sans-IO peer; see the module documentation.
pub struct Node {
    config: NodeConfig,
    endpoint: Endpoint,
    random: Random,
    server: Server,
    /// The server's address once known, for introductions even after the connection is lost.
    server_address: Option<SocketAddr>,
    addresses: Vec<SocketAddr>,
    groups: BTreeMap<GroupHandle, Joined>,
    next_group: u32,
    group_ids: BTreeSet<(GroupId, GroupHandle)>,
    /// Groups that may have actions or events, or a new deadline.
    touched: BTreeSet<GroupHandle>,
    /// When groups are due.
    deadlines: BTreeSet<(Time, GroupHandle)>,
    group_turns: u64,
    peers: HashMap<SessionId, Peer>,
    /// Attempts to reach members, and when they time out, in order of time, as attempts are
    /// numbered in their order.
    attempts: BTreeMap<OpenId, (Fingerprint, Time)>,
    flows: FlowTable<Owner>,
    /// Flows of peers without an association, whose first message assigns them.
    unclaimed: BTreeMap<(SessionId, FlowId), Unclaimed>,
    events: VecDeque<NodeEvent>,
    search: search::SearchLog,
    downloads: limits::Downloads,
    /// What the groups know of the uplink.
    uplink: Option<Bandwidth>,
    lan: lan::LanGroups,
    streams: streams::Streams,
    barriers: barriers::FlowBarriers,
}

impl Node {
    /// A node without connections.
    pub fn new(config: NodeConfig, identity: Identity, random: Random, seed: Random) -> Self {
        let endpoint = Endpoint::new(config.transport.clone(), identity.into(), random);
        Self {
            config,
            endpoint,
            random: seed,
            server: Server::None,
            server_address: None,
            addresses: Vec::new(),
            groups: BTreeMap::new(),
            next_group: 0,
            group_ids: BTreeSet::new(),
            touched: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            group_turns: 0,
            peers: HashMap::new(),
            attempts: BTreeMap::new(),
            flows: FlowTable::new(MAX_PARKED),
            unclaimed: BTreeMap::new(),
            events: VecDeque::new(),
            search: search::SearchLog::default(),
            downloads: limits::Downloads::default(),
            uplink: None,
            lan: lan::LanGroups::default(),
            streams: streams::Streams::default(),
            barriers: barriers::FlowBarriers::default(),
        }
    }

    /// This node's peer ID.
    pub fn peer_id(&self) -> Fingerprint {
        self.endpoint.fingerprint()
    }

    /// Read-only access to the endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<NodeEvent> {
        self.events.pop_front()
    }

    /// Connects to the server of `uri` at one of `addresses`, in place of an earlier connection.
    /// Ends in [`NodeEvent::Connected`] or [`NodeEvent::ConnectFailed`].
    pub fn connect(&mut self, now: Time, uri: &Uri, addresses: &[SocketAddr]) {
        self.disconnect(now);
        let epd = Epd::for_uri(uri.as_str());
        let open = self.endpoint.open(now, epd, addresses);
        self.server = Server::Opening { open, uri: uri.clone(), since: now };
        self.process(now);
    }

    /// Closes the NetConnection. Groups and their sessions stay.
    pub fn disconnect(&mut self, now: Time) {
        match std::mem::replace(&mut self.server, Server::None) {
            Server::None => {}
            Server::Opening { open, .. } => self.endpoint.cancel_open(open),
            Server::Session(server) => self.endpoint.close(now, server.session),
        }
        self.forget_server_flows();
        self.fail_streams_of_server();
    }

    /// True while the NetConnection is up.
    pub fn is_connected(&self) -> bool {
        matches!(&self.server, Server::Session(server) if server.connection.is_connected())
    }

    /// Sets the addresses of this host's interfaces, with the ports of its sockets, and sends them
    /// to the server.
    pub fn set_addresses(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        if let Server::Session(server) = &mut self.server {
            server.connection.set_addresses(now, &addresses);
        }
        if self.addresses != addresses {
            self.lan.restart(now);
        }
        self.endpoint.set_own_addresses(addresses.iter().map(SocketAddr::ip));
        self.addresses = addresses;
        self.report_localities(now);
        self.process(now);
    }

    /// Joins a group. Members are found through the server, if the groupspec allows it and as soon
    /// as there is a connection, and through the group's bootstrap peers.
    pub fn join(&mut self, now: Time, spec: GroupSpec) -> GroupHandle {
        self.join_with(now, GroupConfig::new(spec, self.peer_id()))
    }

    /// Joins a group with the given settings; the node sets `near` and `server`.
    pub fn join_with(&mut self, now: Time, config: GroupConfig) -> GroupHandle {
        let handle = self.add_group(now, config, None);
        self.join_at_server(now, handle);
        self.process(now);
        handle
    }

    /// Adds a group without joining it at the server.
    fn add_group(
        &mut self,
        now: Time,
        config: GroupConfig,
        guest: Option<Box<dyn Guest>>,
    ) -> GroupHandle {
        let handle = GroupHandle(self.next_group);
        self.next_group += 1;
        let near = self.peer_id();
        let config = GroupConfig { near, server: self.server_address, ..config };
        let spec = config.spec.clone();
        let mut group = Group::new(config, now, self.random.next_u64());
        self.limits().apply(now, &mut group);
        group.replication_mut(now).set_uplink(self.uplink);
        self.group_ids.insert((group.id(), handle));
        let joined = Joined { group, is_at_server: false, guest, deadline: None };
        self.groups.insert(handle, joined);
        self.touched.insert(handle);
        for session in self.peers.keys().copied().collect::<Vec<_>>() {
            self.report_session_to_group(now, handle, session);
        }
        self.announce_in(now, handle, &spec);
        handle
    }

    /// Leaves a group. No event follows.
    pub fn leave(&mut self, now: Time, handle: GroupHandle) {
        if let Some((guest, group)) = self.touch_guest(handle) {
            guest.handle_leave(now, group);
        }
        if let Some(group) = self.touch(handle) {
            group.close(now);
            if let Server::Session(server) = &self.server {
                let (session, end) = (server.session, FlowAction::Finish { token: GROUP_SERVER });
                self.execute(now, session, Owner::GroupServer(handle), end);
            }
            self.process(now);
            self.drop_group(handle);
        }
    }

    /// Read-only access to a joined group.
    pub fn group(&self, handle: GroupHandle) -> Option<&Group> {
        self.groups.get(&handle).map(|joined| &joined.group)
    }

    /// Calls a joined group and carries out its actions. `None` if it was left.
    pub fn with_group<R>(
        &mut self,
        now: Time,
        handle: GroupHandle,
        call: impl FnOnce(&mut Group, Time) -> R,
    ) -> Option<R> {
        let result = call(self.touch(handle)?, now);
        self.process(now);
        Some(result)
    }

    /// Leaves every group and closes every session. [`is_idle`](Self::is_idle) becomes true when
    /// nothing more has to be sent.
    pub fn shut_down(&mut self, now: Time) {
        for handle in self.groups.keys().copied().collect::<Vec<_>>() {
            self.leave(now, handle);
        }
        self.disconnect(now);
        for open in self.attempts.keys().copied().collect::<Vec<_>>() {
            self.endpoint.cancel_open(open);
        }
        for session in self.endpoint.sessions().map(|(id, _)| id).collect::<Vec<_>>() {
            self.endpoint.close(now, session);
        }
        self.process(now);
    }

    /// True if no session is open and every far end has confirmed the close.
    pub fn is_idle(&self) -> bool {
        self.endpoint.is_settled()
    }

    /// How many times a group was polled for actions and events since the node was made. An input
    /// for one group costs one turn, however many groups are joined.
    pub fn group_turns(&self) -> u64 {
        self.group_turns
    }

    /// A group, to be called; its actions and events are drained afterwards.
    fn touch(&mut self, handle: GroupHandle) -> Option<&mut Group> {
        let joined = self.groups.get_mut(&handle)?;
        self.touched.insert(handle);
        Some(&mut joined.group)
    }

    /// Calls every group.
    fn touch_all(&mut self, mut call: impl FnMut(&mut Group)) {
        for (&handle, joined) in &mut self.groups {
            call(&mut joined.group);
            self.touched.insert(handle);
        }
    }

    fn drop_group(&mut self, handle: GroupHandle) {
        if let Some(joined) = self.groups.remove(&handle) {
            self.group_ids.remove(&(joined.group.id(), handle));
            if let Some(at) = joined.deadline {
                self.deadlines.remove(&(at, handle));
            }
        }
        self.peers.values_mut().for_each(|peer| {
            peer.released_by.remove(&handle);
        });
        self.search.left(handle);
        self.lan.left(handle);
    }
}

impl Layer for Node {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn after_call(&mut self, now: Time) {
        self.process(now);
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        let group = self.deadlines.first().map(|&(at, _)| at);
        let attempt = self.attempts.first_key_value().map(|(_, &(_, at))| at);
        let server = match &self.server {
            Server::Opening { since, .. } => Some(*since + self.config.server_timeout),
            Server::Session(server) if !server.connection.is_connected() => {
                Some(server.since + CONNECT_ANSWER)
            }
            _ => None,
        };
        let permit = self.downloads.poll_timeout();
        let lan = self.lan.poll_timeout();
        group.into_iter().chain(attempt).chain(server).chain(permit).chain(lan).min()
    }

    fn handle_own_timeout(&mut self, now: Time) {
        self.own_timeouts(now);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("peer_id", &self.peer_id())
            .field("server", &self.server_address)
            .field("groups", &self.groups.len())
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}
