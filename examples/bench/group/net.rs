//! A network that carries the messages of groups in virtual time: sessions, flows and delays without
//! a transport. Nothing is lost, so that thousands of members fit into one process.

use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::MembershipMessage;
use rtmfp::proto::group::{FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// One-way delay of two members in the same place, and what the greatest distance adds.
const NEAR_MS: f64 = 5.0;
const FAR_MS: f64 = 70.0;
/// The transport's: a session whose far end is silent for this long is closed (`dead_after`), counted
/// from the first unanswered ping (`keepalive`).
const DEAD_AFTER: Duration = Duration::from_secs(47);
const KEEPALIVE_MS: u64 = 20_000;
/// The transport's: how long it tries to reach somebody (`open_timeout`).
const OPEN_TIMEOUT: Duration = Duration::from_secs(95);

/// A member that is there.
pub(super) struct Member {
    pub(super) group: Group,
    pub(super) since: Time,
    /// Where it is in the world, which makes the delays.
    place: (f64, f64),
    sessions: BTreeSet<u32>,
    due: Option<Time>,
}

/// One end of a session.
struct End {
    owner: usize,
    far: u32,
    /// Flows that the owner sends on: kind and return association.
    sending: Few<(FlowKind, Option<FlowId>)>,
    /// The far end has vanished, and something was sent to it since then.
    unanswered: Option<Time>,
    /// Flows of the far end, accepted or not.
    receiving: Few<bool>,
}

/// Something for each of a few flows, by its token.
struct Few<T>(Vec<(u32, T)>);

impl<T: Copy> Few<T> {
    fn get(&self, token: u32) -> Option<T> {
        self.0.iter().find(|(other, _)| *other == token).map(|(_, it)| *it)
    }

    fn set(&mut self, token: u32, it: T) {
        match self.0.iter_mut().find(|(other, _)| *other == token) {
            Some((_, old)) => *old = it,
            None => self.0.push((token, it)),
        }
    }

    fn remove(&mut self, token: u32) {
        self.0.retain(|(other, _)| *other != token);
    }
}

enum Input {
    Open { initiator: bool },
    Message { token: u32, kind: FlowKind, association: Option<FlowId>, message: Bytes },
    Finished { token: u32 },
    Rejected { token: u32 },
    Closed,
}

enum Entry {
    Input { session: u32, input: Input },
    ConnectFailed { member: usize, peer: Fingerprint },
}

pub(super) struct Net {
    pub(super) now: Time,
    /// All that ever came; those that are gone leave `None`.
    pub(super) members: Vec<Option<Member>>,
    pub(super) present: BTreeSet<usize>,
    /// Bytes of the messages that were sent.
    pub(super) bytes: u64,
    /// What happened to the applications, and to whom.
    pub(super) events: VecDeque<(usize, GroupEvent)>,
    pub(super) random: SeededRandom,
    names: HashMap<Fingerprint, usize>,
    /// The ends of all sessions that there ever were, by their numbers.
    ends: Vec<Option<Box<End>>>,
    /// What happens when: the time, the order, and the place in `entries`.
    queue: BinaryHeap<Reverse<(Time, u64, u32)>>,
    entries: Vec<Option<Entry>>,
    /// Places in `entries` without one.
    vacant: Vec<u32>,
    timers: BTreeSet<(Time, usize)>,
    count: u64,
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Time::ZERO,
            members: Vec::new(),
            present: BTreeSet::new(),
            bytes: 0,
            events: VecDeque::new(),
            random: SeededRandom::new(seed),
            names: HashMap::new(),
            // The first session has the number 1.
            ends: vec![None],
            queue: BinaryHeap::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            timers: BTreeSet::new(),
            count: 0,
        }
    }

    /// A member joins, and the server refers it to others.
    pub(super) fn join(&mut self, config: GroupConfig) -> usize {
        let number = self.members.len();
        let peer = config.near;
        let seed = self.random.below(u64::MAX);
        let place = (self.random.unit(), self.random.unit());
        let group = Group::new(config, self.now, seed);
        let sessions = BTreeSet::new();
        self.members.push(Some(Member { group, since: self.now, place, sessions, due: None }));
        self.names.insert(peer, number);
        self.present.insert(number);
        self.drain(number);
        number
    }

    /// The server informs one member of another, which it is to connect to.
    pub(super) fn introduce(&mut self, to: usize, whom: usize) {
        let Some(peer) = self.members[whom].as_ref().map(|member| member.group.config().near)
        else {
            return;
        };
        self.with(to, |group, now| group.on_introduced(now, peer, false));
    }

    /// A member vanishes as when its power fails: the others notice when it answers no more.
    pub(super) fn vanish(&mut self, number: usize) {
        let Some(member) = self.members[number].take() else { return };
        self.present.remove(&number);
        self.names.remove(&member.group.config().near);
        self.timers.retain(|&(_, owner)| owner != number);
        for session in member.sessions {
            let Some(end) = self.take_end(session) else { continue };
            let silence = Duration::from_millis(self.random.below(KEEPALIVE_MS));
            let at = self.now + DEAD_AFTER + silence;
            self.put(at, Entry::Input { session: end.far, input: Input::Closed });
        }
    }

    /// Calls the group of a member and carries out what it wants. `None` if it is gone.
    pub(super) fn with<T>(
        &mut self,
        number: usize,
        call: impl FnOnce(&mut Group, Time) -> T,
    ) -> Option<T> {
        let now = self.now;
        let result = call(&mut self.members[number].as_mut()?.group, now);
        self.drain(number);
        Some(result)
    }

    /// Goes on to the next thing that happens, or to `end`, whatever is first. False at the end.
    pub(super) fn step(&mut self, end: Time) -> bool {
        let queued = self.queue.peek().map(|Reverse((at, ..))| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        let next = [queued, timer].into_iter().flatten().min().filter(|at| *at <= end);
        let Some(next) = next else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if queued == Some(next) {
            if let Some(entry) = self.take_entry() {
                self.deliver(entry);
            }
        } else if let Some((_, number)) = self.timers.pop_first() {
            let (now, ends) = (self.now, &self.ends);
            if let Some(member) = &mut self.members[number] {
                member.due = None;
                for &session in &member.sessions {
                    let end = ends.get(session as usize).and_then(Option::as_ref);
                    if let Some(since) = end.and_then(|end| end.unanswered) {
                        member.group.on_unanswered(now, SessionId(session), Some(since));
                    }
                }
            }
            self.with(number, Group::handle_timeout);
        }
        true
    }

    fn put(&mut self, at: Time, entry: Entry) {
        self.count += 1;
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() as u32 - 1
        });
        self.entries[place as usize] = Some(entry);
        self.queue.push(Reverse((at, self.count, place)));
    }

    fn take_entry(&mut self) -> Option<Entry> {
        let Reverse((_, _, place)) = self.queue.pop()?;
        self.vacant.push(place);
        self.entries[place as usize].take()
    }

    fn end(&self, session: u32) -> Option<&End> {
        self.ends.get(session as usize)?.as_deref()
    }

    fn end_mut(&mut self, session: u32) -> Option<&mut End> {
        self.ends.get_mut(session as usize)?.as_deref_mut()
    }

    fn take_end(&mut self, session: u32) -> Option<Box<End>> {
        self.ends.get_mut(session as usize)?.take()
    }

    fn deliver(&mut self, entry: Entry) {
        match entry {
            Entry::ConnectFailed { member, peer } => {
                self.with(member, |group, now| group.on_connect_failed(now, peer));
            }
            Entry::Input { session, input } => self.deliver_input(session, input),
        }
    }

    fn deliver_input(&mut self, session: u32, input: Input) {
        let Some(end) = self.end(session) else { return };
        let (owner, far, id) = (end.owner, end.far, SessionId(session));
        match input {
            Input::Open { initiator } => self.open(owner, session, far, initiator),
            Input::Closed => {
                self.take_end(session);
                if let Some(member) = &mut self.members[owner] {
                    member.sessions.remove(&session);
                }
                self.with(owner, |group, now| group.on_session_closed(now, id));
            }
            Input::Finished { token } => {
                self.with(owner, |group, now| {
                    group.on_flow_finished(now, id, flow(session, token))
                });
            }
            Input::Rejected { token } => {
                let token = FlowToken(token);
                let input = FlowInput::Rejected { token, code: 0 };
                self.with(owner, |group, now| group.on_flow_input(now, id, input));
            }
            Input::Message { token, kind, association, message } => {
                self.deliver_message(session, token, kind, association, message);
            }
        }
    }

    fn open(&mut self, owner: usize, session: u32, far: u32, initiator: bool) {
        let Some(other) = self.end(far).map(|end| end.owner) else { return };
        let Some(peer) = self.members[other].as_ref().map(|m| m.group.config().near) else {
            return;
        };
        let rtt = 2 * self.delay(owner, other);
        if let Some(member) = &mut self.members[owner] {
            member.sessions.insert(session);
        }
        let (near, distant) = (nonce(session), nonce(far));
        self.with(owner, |group, now| {
            let (id, address) = (SessionId(session), address(other));
            group.on_session_opened(now, id, peer, initiator, near, distant, address);
            group.on_rtt(id, rtt);
        });
    }

    fn deliver_message(
        &mut self,
        session: u32,
        token: u32,
        kind: FlowKind,
        association: Option<FlowId>,
        message: Bytes,
    ) {
        let Some(end) = self.end(session) else { return };
        let (owner, far) = (end.owner, end.far);
        let (id, flow_id) = (SessionId(session), flow(session, token));
        let known = end.receiving.get(token);
        if known == Some(false) {
            return;
        }
        let Some(member) = &mut self.members[owner] else { return };
        let (group, now) = (&mut member.group, self.now);
        let accepts = known.unwrap_or_else(|| {
            let verdict = match (kind, association) {
                (FlowKind::Membership, _) => {
                    let of = MembershipMessage::group_of_hello(&message);
                    match of == Some(group.id()) {
                        true => group.on_hello(now, id, flow_id, &message),
                        false => FlowVerdict::Reject(0),
                    }
                }
                (_, Some(association)) => {
                    let associated = FlowToken(association.0 as u32);
                    group.on_flow_opened(now, id, flow_id, kind, associated)
                }
                (_, None) => FlowVerdict::Reject(0),
            };
            verdict == FlowVerdict::Accept
        });
        if accepts && (known.is_some() || kind != FlowKind::Membership) {
            group.on_message(now, id, flow_id, message);
        }
        if let Some(end) = self.end_mut(session) {
            end.receiving.set(token, accepts);
        }
        if !accepts {
            self.transmit(owner, far, Input::Rejected { token });
        }
        self.drain(owner);
    }

    fn drain(&mut self, number: usize) {
        while let Some(action) =
            self.members[number].as_mut().and_then(|member| member.group.poll_action())
        {
            self.act(number, action);
        }
        let Some(member) = &mut self.members[number] else { return };
        while let Some(event) = member.group.poll_event() {
            if matches!(event, GroupEvent::PostingNotify { .. } | GroupEvent::SendToNotify { .. }) {
                self.events.push_back((number, event));
            }
        }
        let next = member.group.poll_timeout().map(|at| at.max(self.now));
        if next != member.due {
            let old = std::mem::replace(&mut member.due, next);
            old.map(|at| self.timers.remove(&(at, number)));
            self.timers.extend(next.map(|at| (at, number)));
        }
    }

    fn act(&mut self, number: usize, action: GroupAction) {
        match action {
            GroupAction::Connect { peer, .. } => self.connect(number, peer),
            GroupAction::ReleaseSession { session } => self.close(session.0),
            GroupAction::Flow { session, action } => self.act_on_flow(number, session.0, action),
            _ => {}
        }
    }

    fn act_on_flow(&mut self, number: usize, session: u32, action: FlowAction) {
        let Some(end) = self.end_mut(session) else { return };
        let far = end.far;
        match action {
            FlowAction::Open { token, metadata, options } => {
                if let Some(kind) = FlowKind::from_metadata(&metadata) {
                    end.sending.set(token.0, (kind, options.association));
                }
            }
            FlowAction::Send { token, message, .. } => {
                let sending = end.sending.get(token.0);
                self.bytes += message.len() as u64;
                let Some((kind, association)) = sending else { return };
                let token = token.0;
                self.transmit(number, far, Input::Message { token, kind, association, message });
            }
            FlowAction::Finish { token } => {
                end.sending.remove(token.0);
                self.transmit(number, far, Input::Finished { token: token.0 });
            }
            FlowAction::Reject { flow, .. } => {
                let token = flow.0 as u32;
                end.receiving.set(token, false);
                self.transmit(number, far, Input::Rejected { token });
            }
            _ => {}
        }
    }

    fn connect(&mut self, number: usize, peer: Fingerprint) {
        let Some(&other) = self.names.get(&peer) else {
            let entry = Entry::ConnectFailed { member: number, peer };
            return self.put(self.now + OPEN_TIMEOUT, entry);
        };
        let near = self.ends.len() as u32;
        let far = near + 1;
        for (owner, far) in [(number, far), (other, near)] {
            let (sending, receiving) = (Few(Vec::new()), Few(Vec::new()));
            let end = End { owner, far, sending, unanswered: None, receiving };
            self.ends.push(Some(Box::new(end)));
        }
        // Hello, its answer, and two messages with keys.
        let delay = self.delay(number, other);
        let opened = Input::Open { initiator: false };
        self.put(self.now + 3 * delay, Entry::Input { session: far, input: opened });
        let opened = Input::Open { initiator: true };
        self.put(self.now + 4 * delay, Entry::Input { session: near, input: opened });
    }

    fn close(&mut self, session: u32) {
        let Some(end) = self.end(session) else { return };
        let (owner, far) = (end.owner, end.far);
        self.transmit(owner, far, Input::Closed);
        self.put(self.now, Entry::Input { session, input: Input::Closed });
    }

    /// Sends something to the other end of a session, which is `far` there.
    fn transmit(&mut self, from: usize, far: u32, input: Input) {
        let Some(end) = self.end(far) else { return self.leave_unanswered(far) };
        let at = self.now + self.delay(from, end.owner);
        self.put(at, Entry::Input { session: far, input });
    }

    /// Something was sent to a session that is no more: the transport of the other end waits for an
    /// answer from now on.
    fn leave_unanswered(&mut self, far: u32) {
        // The two ends have consecutive numbers, of which the first is odd.
        let near = if far % 2 == 1 { far + 1 } else { far - 1 };
        let now = self.now;
        let Some(end) = self.end_mut(near).filter(|end| end.unanswered.is_none()) else {
            return;
        };
        end.unanswered = Some(now);
        let owner = end.owner;
        if let Some(member) = &mut self.members[owner] {
            member.group.on_unanswered(now, SessionId(near), Some(now));
        }
    }

    /// One-way delay.
    fn delay(&self, one: usize, other: usize) -> Duration {
        let place = |number: usize| self.members[number].as_ref().map(|member| member.place);
        let (Some(a), Some(b)) = (place(one), place(other)) else { return Duration::ZERO };
        let distance = (a.0 - b.0).hypot(a.1 - b.1);
        Duration::from_micros(((NEAR_MS + FAR_MS * distance) * 1000.0) as u64)
    }
}

/// A member's address.
fn address(number: usize) -> SocketAddr {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    ([10 + a, b, c, 1], 2000).into()
}

fn nonce(session: u32) -> [u8; 32] {
    let mut nonce = [0x5a; 32];
    nonce[..4].copy_from_slice(&session.to_be_bytes());
    nonce
}

/// The number of a flow at its receiver.
fn flow(session: u32, token: u32) -> FlowId {
    FlowId(u64::from(session) << 32 | u64::from(token))
}
