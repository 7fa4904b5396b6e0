//! The node as the driver wants it: commands in, events into the queues of connection and groups.

use super::ConnectionState;
use super::event::ConnectionEvent;
use super::queue::Queue;
use super::wants::Wants;
use crate::driver::{KeyLogFile, Service};
use crate::flash::Uri;
use crate::group::{Group, GroupConfig, GroupEvent};
use crate::node::{ConnectError, GroupHandle, Node, NodeEvent};
use crate::transport::{Layer, Time};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use tokio::sync::{oneshot, watch};

/// What a handle asks for. What it answers, it carries home itself.
pub(super) type Command = Box<dyn FnOnce(&mut PeerMachine, Time) + Send>;

/// How an attempt to connect ended.
pub(super) type Outcome = Result<SocketAddr, ConnectError>;

pub(super) struct PeerMachine {
    node: Node,
    groups: BTreeMap<GroupHandle, Entry>,
    events: Arc<Queue<ConnectionEvent>>,
    state: watch::Sender<ConnectionState>,
    /// Who waits for the connection.
    connecting: Option<oneshot::Sender<Outcome>>,
    key_log: Option<KeyLogFile>,
    stopping: bool,
}

/// A joined group.
struct Entry {
    queue: Arc<Queue<GroupEvent>>,
    wants: Wants,
    neighbors: watch::Sender<usize>,
    /// The handles; the group is left when none is left.
    users: Weak<()>,
}

/// What a new group shares with its handles.
pub(super) struct Joining {
    pub(super) queue: Arc<Queue<GroupEvent>>,
    pub(super) neighbors: watch::Sender<usize>,
    pub(super) users: Weak<()>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.queue.close();
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
        key_log: Option<KeyLogFile>,
    ) -> Self {
        let groups = BTreeMap::new();
        Self { node, groups, events, state, connecting: None, key_log, stopping: false }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn set_addresses(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        self.node.set_addresses(now, addresses);
    }

    /// Connects in place of an earlier connection or attempt, which learns nothing more.
    pub(super) fn connect(
        &mut self,
        now: Time,
        uri: &Uri,
        addresses: &[SocketAddr],
        answer: oneshot::Sender<Outcome>,
    ) {
        self.connecting = Some(answer);
        self.state.send_replace(ConnectionState::Connecting);
        self.node.connect(now, uri, addresses);
    }

    pub(super) fn join(&mut self, now: Time, config: GroupConfig, joining: Joining) -> GroupHandle {
        let Joining { queue, neighbors, users } = joining;
        let handle = self.node.join_with(now, config);
        self.groups.insert(handle, Entry { queue, wants: Wants::default(), neighbors, users });
        handle
    }

    pub(super) fn leave(&mut self, now: Time, handle: GroupHandle) {
        if self.groups.remove(&handle).is_some() {
            self.node.leave(now, handle);
        }
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

    /// The application has taken most of what waited for it.
    pub(super) fn resume(&mut self, now: Time, handle: GroupHandle) {
        if self.groups.get(&handle).is_some_and(|entry| entry.queue.resume()) {
            let _ = self.with_group(now, handle, |group, wants, now| wants.release(now, group));
        }
    }

    /// Distributes events until there are none.
    fn deliver(&mut self, now: Time) {
        self.leave_abandoned(now);
        while let Some(event) = self.node.poll_event() {
            match event {
                NodeEvent::Connected { server } => {
                    self.set_state(ConnectionState::Connected { server }, Some(Ok(server)));
                    self.events.push(ConnectionEvent::Connected { server });
                }
                NodeEvent::ConnectFailed(error) => {
                    self.set_state(ConnectionState::Closed, Some(Err(error.clone())));
                    self.events.push(ConnectionEvent::Failed(error));
                }
                NodeEvent::Disconnected => {
                    self.set_state(ConnectionState::Closed, None);
                    self.events.push(ConnectionEvent::Closed);
                }
                NodeEvent::Group(handle, event) => self.deliver_to_group(now, handle, event),
                NodeEvent::SessionOpened(_) if self.stopping => self.node.shut_down(now),
                NodeEvent::SessionOpened(session) => {
                    if let Some(key_log) = &self.key_log {
                        key_log.add(self.node.endpoint(), session);
                    }
                }
            }
        }
    }

    fn set_state(&mut self, state: ConnectionState, outcome: Option<Outcome>) {
        self.state.send_replace(state);
        let waiting = self.connecting.take();
        if let Some((waiting, outcome)) = waiting.zip(outcome) {
            // Who waited may have gone.
            let _ = waiting.send(outcome);
        }
    }

    fn deliver_to_group(&mut self, now: Time, handle: GroupHandle, event: GroupEvent) {
        let Some(entry) = self.groups.get_mut(&handle) else { return };
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

    /// Leaves the groups that nobody has a handle to.
    fn leave_abandoned(&mut self, now: Time) {
        let abandoned = |entry: &Entry| entry.users.strong_count() == 0;
        while let Some((&handle, _)) = self.groups.iter().find(|(_, entry)| abandoned(entry)) {
            self.leave(now, handle);
        }
    }
}

/// A group that is being left refuses; nothing else can.
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
}

impl Service for PeerMachine {
    type Command = Command;
    /// Events go to the queues.
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

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping = true;
        self.connecting = None;
        self.groups.clear();
        self.node.shut_down(now);
        self.deliver(now);
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.node.is_idle()
    }
}
