//! [`PeerMachine`]: the node as a driver's service. It receives commands and puts events into the
//! queues of connection and groups.

use super::calls::Calls;
use super::error::Unreachable;
use super::event::ConnectionEvent;
use super::queue::Queue;
use super::reconnect::{Next, Reconnect, ResolvedServer};
use super::signals::{Signal, Signals};
use super::state::ConnectionState;
use super::stream_queues::StreamQueues;
use super::wants::Wants;
use crate::driver::{self, KeyLogFile, Service, WeakHandle};
use crate::flash::stream::NetStreamEvent;
use crate::flash::{Call, Uri};
use crate::group::{Group, GroupConfig, GroupError, GroupEvent, IpMulticastAddress, NetStreamId};
use crate::node::{GroupHandle, Guest, Limits, NetConnectionError, Node, NodeEvent, StreamHandle};
use crate::transport::{Layer, LinkRates, Time};
use crate::wire::Shown;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// A call of a handle, including the channel for its result.
pub(super) type Command = Box<dyn FnOnce(&mut PeerMachine, Time) + Send>;

/// The result of opening the first connection.
pub(super) type Outcome = Result<SocketAddr, Vec<Unreachable>>;

pub(super) struct PeerMachine {
    node: Node,
    groups: BTreeMap<GroupHandle, Entry>,
    events: Arc<Queue<ConnectionEvent>>,
    state: watch::Sender<ConnectionState>,
    /// The caller that waits for the first connection.
    connecting: Option<oneshot::Sender<Outcome>>,
    servers: Option<Servers>,
    streams: StreamQueues,
    calls: Calls,
    signals: Arc<Signals>,
    key_log: Option<KeyLogFile>,
    stopping: bool,
}

/// The servers of the connection.
struct Servers {
    reconnect: Reconnect,
    /// The channel for results of a resolver.
    commands: WeakHandle<Command>,
}

/// A joined group.
struct Entry {
    queue: Arc<Queue<GroupEvent>>,
    wants: Wants,
    neighbors: watch::Sender<usize>,
    /// The queues of the streams that are played.
    played: BTreeMap<NetStreamId, Arc<Queue<NetStreamEvent>>>,
}

/// A stream that is played, and its queue.
pub(super) type Played = (NetStreamId, Arc<Queue<NetStreamEvent>>);

/// The part of a new group that its handles share.
pub(super) struct Joining {
    pub(super) queue: Arc<Queue<GroupEvent>>,
    pub(super) neighbors: watch::Sender<usize>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.queue.close();
        self.played.values().for_each(|queue| queue.close());
    }
}

impl Drop for PeerMachine {
    fn drop(&mut self) {
        self.state.send_replace(ConnectionState::Closed);
        self.events.close();
    }
}

impl PeerMachine {
    pub(super) fn new(
        node: Node,
        events: Arc<Queue<ConnectionEvent>>,
        state: watch::Sender<ConnectionState>,
        signals: Arc<Signals>,
        key_log: Option<KeyLogFile>,
    ) -> Self {
        Self {
            node,
            groups: BTreeMap::new(),
            events,
            state,
            connecting: None,
            servers: None,
            streams: StreamQueues::default(),
            calls: Calls::default(),
            signals,
            key_log,
            stopping: false,
        }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// The calls in both directions.
    pub(super) fn calls_mut(&mut self) -> &mut Calls {
        &mut self.calls
    }

    /// The queues of the streams outside of groups.
    pub(super) fn streams_mut(&mut self) -> &mut StreamQueues {
        &mut self.streams
    }

    pub(super) fn close_stream(&mut self, now: Time, handle: StreamHandle) {
        self.streams.remove(handle);
        self.node.close_stream(now, handle);
    }

    /// The server calls a method.
    fn on_call(&mut self, now: Time, call: Call) {
        if let Some((responder, outcome)) = self.calls.handle(call)
            && let Err(error) = self.node.answer(now, responder, outcome)
        {
            tracing::warn!(%error, "a call of the server was not answered");
        }
    }

    pub(super) fn set_addresses(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        self.node.set_addresses(now, addresses);
    }

    pub(super) fn remember_links(&mut self, now: Time, links: LinkRates) {
        self.node.remember_links(now, links);
    }

    pub(super) fn set_limits(&mut self, now: Time, limits: Limits) {
        self.node.set_limits(now, limits);
    }

    /// Connects in place of an earlier connection or attempt, which is dropped, and reconnects
    /// whenever the connection is lost. `commands` leads back to this machine.
    pub(super) fn connect(
        &mut self,
        now: Time,
        reconnect: Reconnect,
        commands: WeakHandle<Command>,
        answer: oneshot::Sender<Outcome>,
    ) {
        self.connecting = Some(answer);
        let first = reconnect.current().cloned();
        self.servers = Some(Servers { reconnect, commands });
        if let Some(server) = first {
            self.open(now, &server);
        }
    }

    /// Connects in the background, again and again.
    pub(super) fn connect_in_background(
        &mut self,
        now: Time,
        reconnect: Reconnect,
        commands: WeakHandle<Command>,
    ) {
        let first = reconnect.current().cloned();
        self.servers = Some(Servers { reconnect: reconnect.patiently(), commands });
        if let Some(server) = first {
            self.open_again(now, server);
        }
    }

    /// Goes without a server. `own` are the addresses of the sockets.
    pub(super) fn begin_serverless(&mut self, now: Time, own: Vec<SocketAddr>) {
        self.node.set_addresses(now, own);
        self.state.send_replace(ConnectionState::Serverless);
        self.events.push(ConnectionEvent::Serverless);
    }

    fn open(&mut self, now: Time, server: &ResolvedServer) {
        tracing::info!(server = server.name(), addresses = ?server.addresses, "connecting");
        self.state.send_replace(ConnectionState::Connecting);
        self.node.connect(now, &server.uri, &server.addresses);
    }

    /// Connects to a server again. The name is resolved again: its addresses may have changed.
    fn open_again(&mut self, now: Time, server: ResolvedServer) {
        let (Some(servers), Some((host, port))) = (&self.servers, server.resolvable()) else {
            return self.open(now, &server);
        };
        let commands = servers.commands.clone();
        tokio::spawn(async move {
            let addresses = driver::resolve(&host, port).await.unwrap_or_else(|error| {
                let host = Shown::new(&host);
                tracing::debug!(%host, %error, "cannot resolve; trying the earlier addresses");
                Vec::new()
            });
            let opened = commands.send(Box::new(move |peer, now| {
                peer.open_resolved(now, &server.uri, addresses);
            }));
            // The connection may be closed by now.
            let _ = opened.await;
        });
    }

    fn open_resolved(&mut self, now: Time, uri: &Uri, addresses: Vec<SocketAddr>) {
        let servers = self.servers.as_mut().filter(|_| !self.node.is_connected());
        let server = servers.and_then(|it| it.reconnect.resolved(uri, addresses)).cloned();
        if let Some(server) = server {
            self.open(now, &server);
        }
    }

    pub(super) fn join(&mut self, now: Time, config: GroupConfig, joining: Joining) -> GroupHandle {
        let Joining { queue, neighbors } = joining;
        let handle = self.node.join_with(now, config);
        let (wants, played) = (Wants::default(), BTreeMap::new());
        self.groups.insert(handle, Entry { queue, wants, neighbors, played });
        handle
    }

    pub(super) fn leave(&mut self, now: Time, handle: GroupHandle) {
        self.groups.remove(&handle);
        self.node.leave(now, handle);
    }

    /// Joins a group with a guest.
    pub(super) fn host(
        &mut self,
        now: Time,
        config: GroupConfig,
        guest: Box<dyn Guest>,
    ) -> GroupHandle {
        self.node.join_with_guest(now, config, guest)
    }

    /// Calls a guest; `None` if its group was left.
    pub(super) fn with_guest<G: Guest, R>(
        &mut self,
        now: Time,
        handle: GroupHandle,
        call: impl FnOnce(&mut G, &mut Group, Time) -> R,
    ) -> Option<R> {
        self.node.with_guest(now, handle, call)
    }

    /// Calls a group; `None` if it was left.
    pub(super) fn with_group<R>(
        &mut self,
        now: Time,
        handle: GroupHandle,
        call: impl FnOnce(&mut Group, &mut Wants, Time) -> R,
    ) -> Option<R> {
        let entry = self.groups.get_mut(&handle)?;
        self.node.with_group(now, handle, |group, now| call(group, &mut entry.wants, now))
    }

    /// Plays a stream; `None` if the group was left.
    pub(super) fn play(
        &mut self,
        now: Time,
        handle: GroupHandle,
        name: &str,
    ) -> Option<Result<Played, GroupError>> {
        let played =
            self.with_group(now, handle, |group, _, now| group.multicast_mut(now).play(name))?;
        let entry = self.groups.get_mut(&handle)?;
        Some(played.map(|id| {
            let queue = Arc::new(Queue::new());
            entry.played.insert(id, Arc::clone(&queue));
            (id, queue)
        }))
    }

    fn stop(&mut self, now: Time, handle: GroupHandle, id: NetStreamId) {
        if let Some(entry) = self.groups.get_mut(&handle) {
            entry.played.remove(&id);
        }
        let _ = self.with_group(now, handle, |group, _, now| group.multicast_mut(now).stop(id));
    }

    fn unpublish(&mut self, now: Time, handle: GroupHandle, id: NetStreamId) {
        // Fails if it was closed.
        let _ =
            self.with_group(now, handle, |group, _, now| group.multicast_mut(now).unpublish(id));
    }

    /// Goes on fetching, unless the application is slow again.
    fn resume(&mut self, now: Time, handle: GroupHandle) {
        if self.groups.get(&handle).is_some_and(|entry| !entry.queue.is_slow()) {
            let _ = self.with_group(now, handle, |group, wants, now| wants.release(now, group));
        }
    }

    /// Distributes events, then follows the signals that came before this call: what arrived is not
    /// wanted again. Signals that come meanwhile have woken the machine and are followed next time,
    /// when what the events made the node send is on its way: a member that leaves as soon as it has
    /// a neighbor has become one itself.
    fn deliver(&mut self, now: Time) {
        let signals = self.signals.take();
        self.deliver_events(now);
        if !signals.is_empty() {
            signals.into_iter().for_each(|signal| self.follow(now, signal));
            self.deliver_events(now);
        }
    }

    fn deliver_events(&mut self, now: Time) {
        while let Some(event) = self.node.poll_event() {
            self.deliver_event(now, event);
        }
    }

    fn follow(&mut self, now: Time, signal: Signal) {
        match signal {
            Signal::Abandoned(group) => self.leave(now, group),
            Signal::CaughtUp(group) => self.resume(now, group),
            Signal::Unpublished(group, stream) => self.unpublish(now, group, stream),
            Signal::Stopped(group, stream) => self.stop(now, group, stream),
            Signal::Closed(stream) => self.close_stream(now, stream),
        }
    }

    fn deliver_event(&mut self, now: Time, event: NodeEvent) {
        match event {
            NodeEvent::Connected { server } => self.on_connected(server),
            NodeEvent::ConnectFailed(error) => self.on_connect_failed(now, error),
            NodeEvent::Disconnected => self.on_disconnected(now),
            NodeEvent::Group(handle, event) => self.deliver_to_group(now, handle, event),
            NodeEvent::Stream(handle, event) => self.streams.deliver(handle, event),
            NodeEvent::Answered(call, outcome) => self.calls.answered(call, outcome),
            NodeEvent::Call(call) => self.on_call(now, call),
            NodeEvent::Status(info) => drop(self.events.push(ConnectionEvent::status(info))),
            NodeEvent::SessionOpened(_) if self.stopping => self.node.shut_down(now),
            NodeEvent::SessionOpened(session) => {
                if let Some(key_log) = &self.key_log {
                    key_log.add(self.node.endpoint(), session);
                }
            }
        }
    }

    fn on_connected(&mut self, server: SocketAddr) {
        if let Some(servers) = &mut self.servers {
            servers.reconnect.connected();
        }
        self.state.send_replace(ConnectionState::Connected { server });
        self.finish_connecting(Ok(server));
        self.events.push(ConnectionEvent::Connected { server });
    }

    fn on_connect_failed(&mut self, now: Time, error: NetConnectionError) {
        tracing::debug!(%error, "cannot connect");
        self.state.send_replace(ConnectionState::Closed);
        let next = self.servers.as_mut().map(|servers| servers.reconnect.failed(now, &error));
        self.events.push(ConnectionEvent::Failed(error));
        match next {
            Some(Next::Connect(server)) => self.open(now, &server),
            Some(Next::GiveUp(failures)) => self.finish_connecting(Err(failures)),
            Some(Next::Wait) | None => {}
        }
    }

    fn on_disconnected(&mut self, now: Time) {
        if let Some(servers) = &mut self.servers {
            servers.reconnect.lost(now);
        }
        self.calls.connection_lost();
        self.state.send_replace(ConnectionState::Closed);
        self.events.push(ConnectionEvent::Closed);
    }

    fn finish_connecting(&mut self, outcome: Outcome) {
        if let Some(waiting) = self.connecting.take() {
            // The caller may be gone.
            let _ = waiting.send(outcome);
        }
    }

    fn deliver_to_group(&mut self, now: Time, handle: GroupHandle, event: GroupEvent) {
        let Some(entry) = self.groups.get_mut(&handle) else { return };
        let event = match of_stream(event) {
            Ok((id, event)) => {
                if let Some(queue) = entry.played.get(&id) {
                    queue.push(event);
                }
                return;
            }
            Err(event) => event,
        };
        if let GroupEvent::NeighborConnect { .. } | GroupEvent::NeighborDisconnect { .. } = event
            && let Some(group) = self.node.group(handle)
        {
            entry.neighbors.send_replace(group.stats().neighbors);
        }
        if let GroupEvent::ReplicationFetchResult { index, .. } = event {
            entry.wants.delivered(index);
        }
        let pushed = entry.queue.push(event);
        if pushed.is_slow {
            let held = self.with_group(now, handle, |group, wants, now| wants.hold(now, group));
            log_refusal(held);
        }
        match pushed.refused {
            Some(GroupEvent::ReplicationRequest { request_id, .. }) => {
                self.node.with_group(now, handle, |group, now| {
                    group.replication_mut(now).deny_requested(request_id);
                });
            }
            Some(GroupEvent::ReplicationFetchResult { index, .. }) => {
                let back = self
                    .with_group(now, handle, |group, wants, now| wants.put_back(now, group, index));
                log_refusal(back);
            }
            _ => {}
        }
    }
}

/// The event of a stream that is played; or the event as it is.
fn of_stream(event: GroupEvent) -> Result<(NetStreamId, NetStreamEvent), GroupEvent> {
    match event {
        GroupEvent::MulticastStreamMessage { id, message } => {
            Ok((id, NetStreamEvent::Message(message)))
        }
        GroupEvent::MulticastStreamReset { id, .. } => Ok((id, NetStreamEvent::MulticastReset)),
        GroupEvent::MulticastStreamEnd { id, .. } => Ok((id, NetStreamEvent::Ended)),
        event => Err(event),
    }
}

/// Logs a refusal: only a group that is being left refuses.
fn log_refusal(done: Option<Result<(), crate::group::GroupError>>) {
    if let Some(Err(error)) = done {
        tracing::debug!(%error, "fetching not stopped");
    }
}

impl Layer for PeerMachine {
    type Inner = Node;

    fn inner(&self) -> &Node {
        &self.node
    }

    fn inner_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    fn after_call(&mut self, now: Time) {
        self.deliver(now);
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        self.servers.as_ref()?.reconnect.poll_timeout()
    }

    fn handle_own_timeout(&mut self, now: Time) {
        let due = self.servers.as_mut().and_then(|it| it.reconnect.handle_timeout(now));
        if let Some(server) = due {
            self.open_again(now, server);
        }
    }
}

impl Service for PeerMachine {
    type Command = Command;
    /// Puts events into the queues.
    type Event = Infallible;

    fn handle_command(&mut self, now: Time, command: Command) {
        command(self, now);
        self.deliver(now);
    }

    fn poll_event(&mut self) -> Option<Infallible> {
        None
    }

    fn handle_addresses(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        self.node.set_addresses(now, addresses);
        self.deliver(now);
    }

    fn multicast_addresses(&self) -> &[IpMulticastAddress] {
        self.node.multicast_addresses()
    }

    fn handle_multicast(&mut self, now: Time, to: SocketAddr, from: SocketAddr, datagram: &[u8]) {
        self.node.handle_multicast(now, to, from, datagram);
        self.deliver(now);
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping = true;
        self.connecting = None;
        self.servers = None;
        self.groups.clear();
        self.streams = StreamQueues::default();
        self.calls.connection_lost();
        self.node.shut_down(now);
        self.deliver(now);
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.node.is_idle()
    }
}
