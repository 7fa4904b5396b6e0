//! Members of a group who have proven their membership and then send whatever they like, while the
//! application goes on having and wanting objects. The group keeps its own rules: it sends on its
//! open flows only, its timers come to rest, and what it remembers of strangers is bounded.
//!
//! The input is a list of steps: a byte for the session, a byte for what happens, and an argument
//! with its length before it.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage, RangeList};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent, GroupSpec,
    GroupSpecBuilder, ReceiveMode, ReplicationStrategy,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use rtmfp::wire::vlu;

const SESSIONS: u32 = 3;
const NEAR: Fingerprint = Fingerprint([1; 32]);
/// The nonce of this end in every session.
const NONCE: [u8; 32] = [2; 32];
const HELLO_FLOW: FlowId = FlowId(2);
/// The timers may call for attention this often without time passing.
const MAX_WAKES: usize = 100;

static SPEC: LazyLock<GroupSpec> = LazyLock::new(|| {
    let builder = GroupSpecBuilder::new("example").expect("a name");
    builder.server_channel(true).object_replication(true).posting(true).build().expect("a group")
});

fuzz_target!(|input: &[u8]| {
    let mut harness = Harness::new();
    let mut rest = input;
    while let Some((&[session, step], after)) = rest.split_first_chunk() {
        let Ok((argument, after)) = vlu::parse_prefixed("step", after) else { break };
        rest = after;
        harness.step(SessionId(u32::from(session) % SESSIONS), step, argument);
    }
    harness.group.close(harness.now);
    harness.drain();
    assert_eq!(harness.group.poll_timeout(), None);
});

struct Harness {
    group: Group,
    now: Time,
    /// The group's open sending flows.
    open: BTreeMap<FlowToken, (SessionId, FlowKind)>,
    /// Requests that the application has not answered.
    requests: Vec<u32>,
}

impl Harness {
    fn new() -> Self {
        let now = Time::from_millis(1_000);
        let group = Group::new(GroupConfig::new(SPEC.clone(), NEAR), now, 7);
        let mut harness = Self { group, now, open: BTreeMap::new(), requests: Vec::new() };
        for session in (0..SESSIONS).map(SessionId) {
            harness.connect(session, session.0 == 0);
        }
        harness
    }

    fn step(&mut self, session: SessionId, step: u8, argument: &[u8]) {
        let message = Bytes::copy_from_slice(argument);
        let number = argument.first().copied().unwrap_or(0);
        let flow = FlowId(u64::from(step >> 5) + HELLO_FLOW.0);
        let (group, now) = (&mut self.group, self.now);
        match step % 16 {
            0 | 1 => group.on_message(now, session, HELLO_FLOW, message),
            2 | 3 => group.on_message(now, session, flow, message),
            4 => {
                let kind = FlowKind::from_metadata(&[b'G', b'R', number]);
                let kind = kind.unwrap_or(FlowKind::Replication);
                let token = token(&self.open, session, FlowKind::Membership);
                let associated = token.unwrap_or(FlowToken(u32::MAX));
                let verdict = group.on_flow_opened(now, session, flow, kind, associated);
                let rejectable = !kind.must_be_accepted() || kind == FlowKind::Membership;
                assert!(!rejectable || verdict != FlowVerdict::Accept);
            }
            5 => group.on_flow_finished(now, session, flow),
            6 => {
                let kind = FlowKind::from_metadata(&[b'G', b'R', number]);
                let kind = kind.unwrap_or(FlowKind::Membership);
                if let Some(token) = token(&self.open, session, kind) {
                    self.open.remove(&token);
                    group.on_flow_input(now, session, FlowInput::Rejected { token, code: 0 });
                }
            }
            7 | 8 => self.pass(Duration::from_millis(u64::from(number) * 100)),
            9 => group.on_server_message(now, &message),
            10 => self.want(argument),
            11 => self.have(argument),
            12 => self.answer(usize::from(number), message),
            13 => {
                group.on_session_closed(now, session);
                self.drain();
                self.open.retain(|_, (of, _)| *of != session);
                self.connect(session, number % 2 == 0);
            }
            14 if argument.is_empty() => self.hello(session, flow),
            14 => {
                let _ = group.on_hello(now, session, flow, &message);
            }
            _ => self.change(session, number),
        }
        self.drain();
    }

    /// A session with a member that sends a good hello. Two of them are with the same member.
    fn connect(&mut self, session: SessionId, initiator: bool) {
        let (peer, far_nonce) = (Fingerprint([session.0.min(1) as u8 + 10; 32]), [3; 32]);
        let address = "192.0.2.1:1935".parse().expect("an address");
        let now = self.now;
        self.group.on_session_opened(now, session, peer, initiator, NONCE, far_nonce, address);
        self.hello(session, HELLO_FLOW);
    }

    fn hello(&mut self, session: SessionId, flow: FlowId) {
        let hello = MembershipMessage::Hello(Hello::new(&SPEC, &NONCE, NEAR)).to_bytes();
        let verdict = self.group.on_hello(self.now, session, flow, &hello);
        assert_eq!(verdict, FlowVerdict::Accept);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut wakes = 0;
        while let Some(due) = self.group.poll_timeout().filter(|due| *due <= until) {
            wakes = if due > self.now { 0 } else { wakes + 1 };
            assert!(wakes < MAX_WAKES, "a timer that does not come to rest");
            self.now = self.now.max(due);
            self.group.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn want(&mut self, list: &[u8]) {
        for range in RangeList::parse(list).unwrap_or_default().ranges.into_iter().take(8) {
            let _ = match list.len() % 4 {
                0 => self.group.replication_mut(self.now).remove_want(range),
                _ => self.group.replication_mut(self.now).add_want(range),
            };
        }
    }

    fn have(&mut self, list: &[u8]) {
        for range in RangeList::parse(list).unwrap_or_default().ranges.into_iter().take(8) {
            let _ = match list.len() % 4 {
                0 => self.group.replication_mut(self.now).remove_have(range),
                _ => self.group.replication_mut(self.now).add_have(range),
            };
        }
    }

    fn answer(&mut self, which: usize, value: Bytes) {
        if self.requests.is_empty() {
            return;
        }
        let id = self.requests.swap_remove(which % self.requests.len());
        let _ = match value.len() {
            1 => self.group.replication_mut(self.now).deny_requested(id),
            _ => self.group.replication_mut(self.now).write_requested(id, value),
        };
    }

    fn change(&mut self, session: SessionId, number: u8) {
        match number % 6 {
            0 => self.group.set_receive_mode(self.now, ReceiveMode::Nearest),
            1 => self.group.set_receive_mode(self.now, ReceiveMode::Exact),
            2 => {
                self.group.replication_mut(self.now).set_strategy(ReplicationStrategy::RarestFirst)
            }
            3 => {
                let strategy = ReplicationStrategy::Swarm;
                self.group.replication_mut(self.now).set_strategy(strategy);
            }
            4 => {
                if let Some(token) = token(&self.open, session, FlowKind::Replication) {
                    let input = match number % 4 {
                        0 => FlowInput::Blocked { token },
                        _ => FlowInput::Writable { token },
                    };
                    self.group.on_flow_input(self.now, session, input);
                }
            }
            _ => self.group.on_rtt(session, Duration::from_millis(u64::from(number))),
        }
    }

    fn act(&mut self, session: SessionId, action: FlowAction) {
        match action {
            FlowAction::Open { token: new, metadata, .. } => {
                let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                assert!(token(&self.open, session, kind).is_none(), "a second flow of a kind");
                assert!(self.open.insert(new, (session, kind)).is_none(), "a token twice");
            }
            FlowAction::Send { token, message, .. } => {
                let of = self.open.get(&token).expect("a message without a flow");
                assert_eq!(of.0, session);
                assert!(!message.is_empty());
            }
            FlowAction::Finish { token } => {
                self.open.remove(&token);
            }
            _ => {}
        }
    }

    /// Carries out what the group wants, and sees that it may want it.
    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            match action {
                GroupAction::Flow { session, action } => self.act(session, action),
                GroupAction::Connect { peer, .. } => {
                    assert_ne!(peer, NEAR);
                    self.group.on_connect_failed(self.now, peer);
                }
                _ => {}
            }
        }
        while let Some(event) = self.group.poll_event() {
            if let GroupEvent::ReplicationRequest { index, request_id } = event {
                assert!(!self.requests.contains(&request_id), "a request number twice");
                assert!(self.group.replication().have().contains(index));
                self.requests.push(request_id);
            }
        }
        assert!(self.group.neighbors().len() <= SESSIONS as usize);
    }
}

/// The open flow of this kind.
fn token(
    open: &BTreeMap<FlowToken, (SessionId, FlowKind)>,
    session: SessionId,
    kind: FlowKind,
) -> Option<FlowToken> {
    open.iter().find(|(_, of)| **of == (session, kind)).map(|(&token, _)| token)
}
