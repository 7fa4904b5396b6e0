//! Neighbors that announce, request and send whatever they like, while the application posts and
//! flows fill up. What the group holds stays within its limits, and its timers come to rest.
//!
//! The input is a list of steps: a byte for the neighbor, a byte for what happens, and an argument with
//! its length before it.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent, GroupSpec,
    GroupSpecBuilder, MessageId,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use rtmfp::wire::vlu;

const NEIGHBORS: u32 = 3;
const NEAR: Fingerprint = Fingerprint([1; 32]);
const NONCE: [u8; 32] = [2; 32];
const MEMBERSHIP: FlowId = FlowId(1);
const KEYS: FlowId = FlowId(2);
const VALUES: FlowId = FlowId(3);
/// The timers may call for attention this often without time passing.
const MAX_WAKES: usize = 100;

static SPEC: LazyLock<GroupSpec> = LazyLock::new(|| {
    let builder = GroupSpecBuilder::new("example").expect("a name");
    builder.server_channel(true).posting(true).build().expect("a group")
});

fuzz_target!(|input: &[u8]| {
    let mut harness = Harness::new();
    let mut rest = input;
    while let Some((&[neighbor, step], after)) = rest.split_first_chunk() {
        let Ok((argument, after)) = vlu::parse_prefixed("step", after) else { break };
        rest = after;
        harness.step(SessionId(u32::from(neighbor) % NEIGHBORS), step, argument);
    }
    // Whatever was announced is given up in the end, and whatever was held forgotten.
    harness.pass(Duration::from_secs(700));
    let stats = harness.group.stats().posting;
    assert_eq!((stats.held, stats.held_bytes, stats.wanted), (0, 0, 0));
});

struct Harness {
    group: Group,
    now: Time,
    open: BTreeMap<FlowToken, (SessionId, FlowKind)>,
}

impl Harness {
    fn new() -> Self {
        let mut config = GroupConfig::new(SPEC.clone(), NEAR);
        config.posting.max_values = 8;
        config.posting.max_bytes = 200;
        config.posting.max_value = 100;
        config.posting.max_remembered = 16;
        config.posting.max_keys = 8;
        config.posting.max_owed = 4;
        let now = Time::from_millis(1_000);
        let mut harness = Self { group: Group::new(config, now, 7), now, open: BTreeMap::new() };
        (0..NEIGHBORS).map(SessionId).for_each(|session| harness.connect(session));
        harness
    }

    fn connect(&mut self, session: SessionId) {
        let (now, peer) = (self.now, Fingerprint([session.0 as u8 + 10; 32]));
        let address = "192.0.2.1:1935".parse().expect("an address");
        self.group.on_introduced(now, peer, true);
        self.group.on_session_opened(now, session, peer, true, NONCE, [3; 32], address);
        let hello = MembershipMessage::Hello(Hello::new(&SPEC, &NONCE, NEAR)).to_bytes();
        assert_eq!(self.group.on_hello(now, session, MEMBERSHIP, &hello), FlowVerdict::Accept);
        self.drain();
        self.group.on_message(now, session, MEMBERSHIP, Bytes::from_static(&[0x02]));
        self.drain();
        let membership = self.token(session, FlowKind::Membership).expect("a hello was sent");
        for (flow, kind) in [(KEYS, FlowKind::PostingKeys), (VALUES, FlowKind::PostingValues)] {
            let verdict = self.group.on_flow_opened(now, session, flow, kind, membership);
            assert_eq!(verdict, FlowVerdict::Accept);
        }
    }

    fn step(&mut self, session: SessionId, step: u8, argument: &[u8]) {
        let message = Bytes::copy_from_slice(argument);
        let number = argument.first().copied().unwrap_or(0);
        let key = MessageId::of(argument).key().0;
        let now = self.now;
        match step % 10 {
            0 => self.group.on_message(now, session, VALUES, message),
            1 => self.group.on_message(now, session, KEYS, message),
            // Keys of values that others may send.
            2..=4 => {
                let kind = [0x30, 0x3a, 0x3e][usize::from(step % 10) - 2];
                let message = [&[kind][..], &key].concat().into();
                self.group.on_message(now, session, KEYS, message);
            }
            5 => {
                let _ = self.group.posting_mut(now).post(message.into());
            }
            6 => self.pass(Duration::from_millis(u64::from(number) * 50)),
            7 => self.pass(Duration::from_secs(u64::from(number))),
            8 => {
                let kind = match number % 2 {
                    0 => FlowKind::PostingKeys,
                    _ => FlowKind::PostingValues,
                };
                if let Some(token) = self.token(session, kind) {
                    let input = match number % 4 {
                        0 | 1 => FlowInput::Blocked { token },
                        _ => FlowInput::Writable { token },
                    };
                    self.group.on_flow_input(now, session, input);
                }
            }
            _ => {
                self.group.on_session_closed(now, session);
                self.drain();
                self.open.retain(|_, (of, _)| *of != session);
                self.connect(session);
            }
        }
        self.drain();
        let stats = self.group.stats().posting;
        assert!(stats.held <= 8 && stats.held_bytes <= 200);
        assert!(stats.wanted <= 8 * NEIGHBORS as usize);
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

    fn token(&self, session: SessionId, kind: FlowKind) -> Option<FlowToken> {
        self.open.iter().find(|(_, of)| **of == (session, kind)).map(|(&token, _)| token)
    }

    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            let GroupAction::Flow { session, action } = action else { continue };
            match action {
                FlowAction::Open { token, metadata, .. } => {
                    let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                    assert!(self.token(session, kind).is_none(), "a second flow of a kind");
                    self.open.insert(token, (session, kind));
                }
                FlowAction::Send { token, message, .. } => {
                    assert_eq!(self.open.get(&token).expect("an open flow").0, session);
                    assert!(!message.is_empty());
                }
                FlowAction::Finish { token } => {
                    self.open.remove(&token);
                }
                _ => {}
            }
        }
        while let Some(event) = self.group.poll_event() {
            if let GroupEvent::PostingNotify { message, message_id } = event {
                assert_eq!(message_id, MessageId::of(message.as_bytes()));
                assert!(message.len() <= 100);
            }
        }
    }
}
