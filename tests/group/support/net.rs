//! A network of groups: sessions, flows and messages without a transport, on virtual time.

use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::MembershipMessage;
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent, GroupSpec, GroupSpecBuilder,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Duration;

/// What a node's application does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Write,
    Deny,
    /// Leaves it unanswered; see [`Node::held`].
    Hold,
}

pub struct Node {
    pub group: Group,
    pub peer: Fingerprint,
    pub events: Vec<GroupEvent>,
    pub answer: Answer,
    pub held: Vec<u32>,
    /// Adds what it has fetched to its Have set.
    pub shares: bool,
    pub object_size: usize,
    /// Bytes a second that it can send, shared equally by its sessions; 0 for no limit.
    pub uplink: u64,
    /// Bytes a second that it can receive; 0 for no limit.
    pub downlink: u64,
    /// The local network that it is in.
    pub network: Option<usize>,
    /// Does not let sessions be opened.
    pub unreachable: bool,
    /// Everything that it has sent on its flows: far node, kind, message.
    pub sent: Vec<(usize, FlowKind, Bytes)>,
    /// Neither events nor messages are recorded, and an object takes its size only on the links: for
    /// large swarms.
    pub is_light: bool,
    /// The indices of fetched objects, and when they arrived.
    pub arrivals: Vec<(Time, u64)>,
    /// Messages that wait for the uplink, by session, each with the bytes that are left to send.
    waiting: BTreeMap<SessionId, VecDeque<(u64, Delivery)>>,
    /// When the group's timeout is due.
    due: Option<Time>,
    /// The session whose turn was last.
    turn: SessionId,
    is_sending: bool,
    /// When the downlink is free.
    free_at: Time,
}

struct SendingFlow {
    id: FlowId,
    token: FlowToken,
    kind: FlowKind,
    association: Option<FlowId>,
    accepted: bool,
    dead: bool,
}

enum Delivery {
    Message {
        flow: FlowId,
        kind: FlowKind,
        message: Bytes,
    },
    Finished {
        flow: FlowId,
    },
    Rejected {
        flow: FlowId,
    },
    Open {
        peer: Fingerprint,
        initiator: bool,
        near: [u8; 32],
        far: [u8; 32],
        address: SocketAddr,
    },
    Closed,
    ConnectFailed {
        peer: Fingerprint,
    },
    /// The node's uplink has sent so many bytes of the session's first message.
    Sent {
        bytes: u64,
    },
}

/// Bytes of one session that an uplink sends before it is the next session's turn.
const TURN: u64 = 4096;
/// Bytes that each message takes in addition.
const OVERHEAD: u64 = 40;

pub struct Net {
    pub now: Time,
    pub nodes: Vec<Node>,
    pub latency: Duration,
    queue: BTreeMap<(Time, u64), (usize, SessionId, Delivery)>,
    pub(super) far_end: HashMap<(usize, SessionId), (usize, SessionId)>,
    flows: HashMap<(usize, SessionId, FlowToken), SendingFlow>,
    /// Its owner's token of every flow ever opened.
    tokens: HashMap<FlowId, FlowToken>,
    /// Kind of every flow ever opened, by node and token.
    kinds: HashMap<(usize, FlowToken), FlowKind>,
    count: u64,
}

pub fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("t").unwrap();
    builder.object_replication(true).server_channel(true).build().unwrap()
}

pub fn peer(n: usize) -> Fingerprint {
    Fingerprint([n as u8 + 1; 32])
}

pub fn server() -> SocketAddr {
    "192.0.2.1:1935".parse().unwrap()
}

pub fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], 2000 + node as u16))
}

pub fn object(index: u64, size: usize) -> Bytes {
    let mut bytes = format!("object-{index}").into_bytes();
    bytes.resize(size.max(bytes.len()), 0);
    bytes.into()
}

impl Net {
    pub fn new(nodes: usize) -> Self {
        let mut net = Self {
            now: Time::ZERO,
            nodes: Vec::new(),
            latency: Duration::from_millis(10),
            queue: BTreeMap::new(),
            far_end: HashMap::new(),
            flows: HashMap::new(),
            tokens: HashMap::new(),
            kinds: HashMap::new(),
            count: 0,
        };
        (0..nodes).for_each(|_| {
            net.add(spec());
        });
        net
    }

    pub fn add(&mut self, spec: GroupSpec) -> usize {
        let node = self.nodes.len();
        let mut config = GroupConfig::new(spec, peer(node));
        config.server = Some(server());
        self.add_configured(config)
    }

    pub fn add_configured(&mut self, config: GroupConfig) -> usize {
        let node = self.nodes.len();
        let peer = config.near;
        self.nodes.push(Node {
            group: Group::new(config, self.now, node as u64 + 77),
            peer,
            events: Vec::new(),
            answer: Answer::Write,
            held: Vec::new(),
            shares: false,
            object_size: 16,
            uplink: 0,
            downlink: 0,
            network: None,
            unreachable: false,
            sent: Vec::new(),
            is_light: false,
            arrivals: Vec::new(),
            waiting: BTreeMap::new(),
            due: None,
            turn: SessionId(0),
            is_sending: false,
            free_at: Time::ZERO,
        });
        self.drain(node);
        node
    }

    /// As the server would: tells node `to` to connect to node `whom`.
    pub fn introduce(&mut self, to: usize, whom: usize) {
        let peer = self.nodes[whom].peer;
        self.with(to, |group, now| group.on_introduced(now, peer, false));
    }

    /// Everyone is introduced to everyone who joined before.
    pub fn introduce_all(&mut self) {
        for to in 0..self.nodes.len() {
            (0..to).for_each(|whom| self.introduce(to, whom));
        }
        self.run_for(Duration::from_millis(500));
    }

    /// Calls the group of a node and carries out what it wants.
    pub fn with<T>(&mut self, node: usize, call: impl FnOnce(&mut Group, Time) -> T) -> T {
        let result = call(&mut self.nodes[node].group, self.now);
        self.drain(node);
        result
    }

    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.next_time().filter(|at| *at <= end) {
            self.step(at);
        }
        self.now = end;
    }

    /// Runs until `done`, at most `limit`. Returns whether it was.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Net) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            match self.next_time().filter(|at| *at <= end) {
                Some(at) => self.step(at),
                None => return false,
            }
        }
        true
    }

    /// The session of `node` to `far`, which must exist.
    pub fn session(&self, node: usize, far: usize) -> SessionId {
        let found = self.far_end.iter().find(|(near, to)| near.0 == node && to.0 == far);
        found.expect("a session").0.1
    }

    /// The token of a node's flow of this kind, or one that its group does not know.
    pub fn token(&self, node: usize, session: SessionId, kind: FlowKind) -> FlowToken {
        self.flow(node, session, kind).map_or(FlowToken(u32::MAX), |flow| flow.token)
    }

    /// A node's newest flow of this kind.
    fn flow(&self, node: usize, session: SessionId, kind: FlowKind) -> Option<&SendingFlow> {
        let of_kind = self
            .flows
            .iter()
            .filter(|(key, flow)| (key.0, key.1, flow.kind) == (node, session, kind));
        of_kind.map(|(_, flow)| flow).max_by_key(|flow| flow.id)
    }

    /// The far end rejects a node's flow of this kind.
    pub fn reject(&mut self, node: usize, session: SessionId, kind: FlowKind) {
        let token = self.token(node, session, kind);
        let input = FlowInput::Rejected { token, code: 0 };
        self.with(node, |group, now| group.on_flow_input(now, session, input));
    }

    pub fn close_session(&mut self, node: usize, far: usize) {
        let session = self.session(node, far);
        let (_, far_session) = self.far_end.remove(&(node, session)).unwrap();
        self.far_end.remove(&(far, far_session));
        self.flows.retain(|key, _| {
            (key.0, key.1) != (node, session) && (key.0, key.1) != (far, far_session)
        });
        self.deliver_at(self.now, node, session, Delivery::Closed);
        self.deliver_at(self.now, far, far_session, Delivery::Closed);
    }

    /// Lets a message arrive as if the far end had sent it on an accepted flow of that kind.
    pub fn inject(&mut self, node: usize, from: usize, kind: FlowKind, message: &[u8]) {
        let session = self.session(from, node);
        let flow = self.flow(from, session, kind).expect("a flow").id;
        let to = self.session(node, from);
        let message = Bytes::copy_from_slice(message);
        self.with(node, |group, now| group.on_message(now, to, flow, message));
    }

    /// Lets a control flow of a stream arrive, with its first message.
    pub fn open_stream(&mut self, from: usize, node: usize, message: &[u8]) {
        let (session, to) = (self.session(from, node), self.session(node, from));
        let membership = self.token(node, to, FlowKind::Membership);
        self.count += 1;
        let flow = FlowId(self.count);
        let message = Bytes::copy_from_slice(message);
        self.tokens.insert(flow, FlowToken(u32::MAX));
        assert!(self.far_end.contains_key(&(from, session)));
        self.with(node, |group, now| {
            let kind = FlowKind::MulticastControl;
            if group.on_flow_opened(now, to, flow, kind, membership) == FlowVerdict::Accept {
                group.on_message(now, to, flow, message);
            }
        });
    }

    /// Messages of one kind that a node has sent to another.
    pub fn sent(&self, node: usize, to: usize, kind: FlowKind) -> Vec<Bytes> {
        let sent = self.nodes[node].sent.iter();
        sent.filter(|(t, k, _)| *t == to && *k == kind).map(|(_, _, m)| m.clone()).collect()
    }

    pub fn fetched(&self, node: usize) -> Vec<u64> {
        let events = self.nodes[node].events.iter();
        events
            .filter_map(|e| match e {
                GroupEvent::ReplicationFetchResult { index, .. } => Some(*index),
                _ => None,
            })
            .collect()
    }

    pub fn failed(&self, node: usize) -> Vec<u64> {
        let events = self.nodes[node].events.iter();
        events
            .filter_map(|e| match e {
                GroupEvent::ReplicationFetchFailed { index } => Some(*index),
                _ => None,
            })
            .collect()
    }

    pub fn neighbors(&self, node: usize) -> BTreeSet<usize> {
        let neighbors = self.nodes[node].group.neighbors();
        let index = |peer| self.nodes.iter().position(|n| n.peer == peer);
        neighbors.iter().filter_map(|n| index(n.peer)).collect()
    }

    fn next_time(&self) -> Option<Time> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let timers = self.nodes.iter().filter_map(|n| n.due).min();
        queued.into_iter().chain(timers).min().map(|at| at.max(self.now))
    }

    fn step(&mut self, at: Time) {
        self.now = at;
        let due = self.queue.first_entry().filter(|e| e.key().0 <= at).map(|e| e.remove());
        if let Some((node, session, delivery)) = due {
            self.deliver(node, session, delivery);
            return;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].due.is_some_and(|t| t <= at) {
                self.with(node, |group, now| group.handle_timeout(now));
                let next = self.nodes[node].group.poll_timeout();
                assert!(next.is_none_or(|t| t > at), "a timeout that does not go away");
            }
        }
    }

    fn deliver(&mut self, node: usize, session: SessionId, delivery: Delivery) {
        let (now, is_local) = (self.now, self.is_local(node, session));
        let group = &mut self.nodes[node].group;
        match delivery {
            Delivery::Open { peer, initiator, near, far, address } => {
                group.on_session_opened(now, session, peer, initiator, near, far, address);
                group.on_locality(now, session, is_local);
            }
            Delivery::Closed => group.on_session_closed(now, session),
            Delivery::ConnectFailed { peer } => group.on_connect_failed(now, peer),
            Delivery::Finished { flow } => group.on_flow_finished(now, session, flow),
            Delivery::Rejected { flow } => {
                if let Some(&token) = self.tokens.get(&flow) {
                    group.on_flow_input(now, session, FlowInput::Rejected { token, code: 0 });
                }
            }
            Delivery::Message { flow, kind, message } => {
                self.deliver_message(node, session, flow, kind, message);
            }
            Delivery::Sent { bytes } => return self.on_sent(node, session, bytes),
        }
        self.drain(node);
    }

    fn deliver_message(
        &mut self,
        node: usize,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        message: Bytes,
    ) {
        let Some(&(from, from_session)) = self.far_end.get(&(node, session)) else { return };
        let Some(token) = self.tokens.get(&flow) else { return };
        let Some(state) = self.flows.get_mut(&(from, from_session, *token)) else { return };
        if state.id != flow || state.dead {
            return;
        }
        let group = &mut self.nodes[node].group;
        if state.accepted {
            return group.on_message(self.now, session, flow, message);
        }
        state.accepted = match kind {
            FlowKind::Membership => {
                MembershipMessage::group_of_hello(&message) == Some(group.id())
                    && group.on_hello(self.now, session, flow, &message) == FlowVerdict::Accept
            }
            _ => {
                let associated = state.association.and_then(|a| self.tokens.get(&a));
                let verdict = associated.map_or(FlowVerdict::Reject(0), |&associated| {
                    group.on_flow_opened(self.now, session, flow, kind, associated)
                });
                verdict == FlowVerdict::Accept
            }
        };
        if !state.accepted {
            state.dead = true;
            let at = self.now + self.latency;
            self.deliver_at(at, from, from_session, Delivery::Rejected { flow });
        } else if kind != FlowKind::Membership {
            group.on_message(self.now, session, flow, message);
        }
    }

    fn drain(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].group.poll_action() {
            self.act(node, action);
        }
        while let Some(event) = self.nodes[node].group.poll_event() {
            if !self.nodes[node].is_light {
                self.nodes[node].events.push(event.clone());
            }
            self.react(node, event);
        }
        let idle = self.nodes[node].group.poll_action().is_none();
        if !idle {
            unreachable!("react drains");
        }
        self.nodes[node].due = self.nodes[node].group.poll_timeout();
    }

    fn react(&mut self, node: usize, event: GroupEvent) {
        let this = &mut self.nodes[node];
        match event {
            GroupEvent::ReplicationRequest { index, request_id } => match this.answer {
                Answer::Write => {
                    let value = object(index, if this.is_light { 0 } else { this.object_size });
                    this.group.replication_mut(self.now).write_requested(request_id, value);
                }
                Answer::Deny => {
                    this.group.replication_mut(self.now).deny_requested(request_id);
                }
                Answer::Hold => this.held.push(request_id),
            },
            GroupEvent::ReplicationFetchResult { index, .. } => {
                this.arrivals.push((self.now, index));
                if this.shares {
                    this.group.replication_mut(self.now).add_have(index..=index).unwrap();
                }
            }
            _ => return,
        }
        self.drain(node);
    }

    fn act(&mut self, node: usize, action: GroupAction) {
        match action {
            GroupAction::Connect { peer, .. } => self.connect(node, peer),
            GroupAction::Flow { session, action } => self.act_on_flow(node, session, action),
            GroupAction::ReleaseSession { .. } => {}
            action => panic!("{action:?}"),
        }
    }

    fn act_on_flow(&mut self, node: usize, session: SessionId, action: FlowAction) {
        match action {
            FlowAction::Open { token, metadata, options } => {
                let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                self.count += 1;
                let id = FlowId(self.count);
                self.tokens.insert(id, token);
                assert!(self.kinds.insert((node, token), kind).is_none(), "a token is used once");
                let association = options.association;
                let (accepted, dead) = (false, false);
                let flow = SendingFlow { id, token, kind, association, accepted, dead };
                self.flows.insert((node, session, token), flow);
            }
            FlowAction::Send { token, message, options } => {
                assert!(options.is_reliable());
                let kind = self.kinds[&(node, token)];
                let Some(&(to, _)) = self.far_end.get(&(node, session)) else { return };
                if !self.nodes[node].is_light {
                    self.nodes[node].sent.push((to, kind, message.clone()));
                }
                let Some(flow) = self.flows.get(&(node, session, token)).map(|f| f.id) else {
                    return;
                };
                self.transmit(node, session, Delivery::Message { flow, kind, message });
            }
            FlowAction::Finish { token } => {
                let Some(flow) = self.flows.get(&(node, session, token)) else { return };
                if flow.accepted || !flow.dead {
                    let flow = flow.id;
                    self.transmit(node, session, Delivery::Finished { flow });
                }
            }
            FlowAction::Reject { flow, .. } => {
                let Some(&(far, far_session)) = self.far_end.get(&(node, session)) else { return };
                let at = self.now + self.latency;
                self.deliver_at(at, far, far_session, Delivery::Rejected { flow });
            }
            _ => {}
        }
    }

    fn connect(&mut self, node: usize, peer: Fingerprint) {
        let far = self.nodes.iter().position(|n| n.peer == peer);
        let Some(far) = far.filter(|far| !self.nodes[*far].unreachable) else {
            let at = self.now + Duration::from_secs(1);
            self.deliver_at(at, node, SessionId(0), Delivery::ConnectFailed { peer });
            return;
        };
        self.count += 2;
        let (near_session, far_session) =
            (SessionId(self.count as u32), SessionId(self.count as u32 + 1));
        self.count += 2;
        self.far_end.insert((node, near_session), (far, far_session));
        self.far_end.insert((far, far_session), (node, near_session));
        let (a, b) = ([near_session.0 as u8; 32], [far_session.0 as u8; 32]);
        let at = self.now + 2 * self.latency;
        let open = |peer, initiator, near, far, address| Delivery::Open {
            peer,
            initiator,
            near,
            far,
            address,
        };
        let here = self.nodes[node].peer;
        self.deliver_at(at, far, far_session, open(here, false, b, a, address(node)));
        self.deliver_at(at, node, near_session, open(peer, true, a, b, address(far)));
    }

    fn transmit(&mut self, node: usize, session: SessionId, delivery: Delivery) {
        if !self.far_end.contains_key(&(node, session)) {
            return;
        }
        let size = self.nodes[node].object_size as u64;
        let bytes = OVERHEAD
            + match &delivery {
                Delivery::Message { kind: FlowKind::Replication, message, .. }
                    if message.first() == Some(&0x18) =>
                {
                    size.max(message.len() as u64)
                }
                Delivery::Message { message, .. } => message.len() as u64,
                _ => 0,
            };
        if self.nodes[node].uplink == 0 || self.is_local(node, session) {
            return self.arrive(node, session, delivery);
        }
        self.nodes[node].waiting.entry(session).or_default().push_back((bytes, delivery));
        self.send_on(node);
    }

    /// Lets the next session use a node's uplink, if it is free.
    fn send_on(&mut self, node: usize) {
        let sender = &mut self.nodes[node];
        if sender.is_sending {
            return;
        }
        let after = (Bound::Excluded(sender.turn), Bound::Unbounded);
        let next = sender.waiting.range(after).next().or_else(|| sender.waiting.iter().next());
        let Some((&session, queue)) = next else { return };
        let bytes = queue.front().map_or(0, |(left, _)| *left).min(TURN);
        (sender.turn, sender.is_sending) = (session, true);
        let at = self.now + Duration::from_nanos(bytes * 1_000_000_000 / sender.uplink);
        self.deliver_at(at, node, session, Delivery::Sent { bytes });
    }

    /// The uplink is free again.
    fn on_sent(&mut self, node: usize, session: SessionId, bytes: u64) {
        let sender = &mut self.nodes[node];
        sender.is_sending = false;
        let queue = sender.waiting.get_mut(&session).expect("the session's queue");
        let front = queue.front_mut().expect("what was sent");
        front.0 -= bytes;
        let sent = match front.0 {
            0 => queue.pop_front(),
            _ => None,
        };
        if queue.is_empty() {
            sender.waiting.remove(&session);
        }
        let far = self.far_end.get(&(node, session)).map(|(far, _)| *far);
        if let Some(receiver) = far.map(|far| &mut self.nodes[far]) {
            let busy = (bytes * 1_000_000_000).checked_div(receiver.downlink).unwrap_or(0);
            receiver.free_at = receiver.free_at.max(self.now) + Duration::from_nanos(busy);
        }
        if let Some((_, delivery)) = sent {
            self.arrive(node, session, delivery);
        }
        self.send_on(node);
    }

    fn arrive(&mut self, node: usize, session: SessionId, delivery: Delivery) {
        let Some(&(far, far_session)) = self.far_end.get(&(node, session)) else { return };
        let at = self.now.max(self.nodes[far].free_at) + self.latency;
        self.deliver_at(at, far, far_session, delivery);
    }

    fn deliver_at(&mut self, at: Time, node: usize, session: SessionId, delivery: Delivery) {
        self.count += 1;
        self.queue.insert((at, self.count), (node, session, delivery));
    }
}
