//! Neighbors that describe streams, announce, subscribe to, request and send fragments as they like,
//! while the application publishes and plays and flows fill up. What the group holds stays within its
//! limits, its timers come to rest, and in the end every stream is forgotten.
//!
//! The input is a list of steps: a byte for the neighbor (and, from 128 on, the second stream), a byte for
//! what happens, and an argument with its length before it.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::flash::{Body, Message};
use rtmfp::proto::group::message::{
    Description, Hello, Map, MembershipMessage, MulticastControl, MulticastData, StreamKey,
    StreamSettings,
};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent, GroupSpec,
    GroupSpecBuilder, NetStreamId, PublishOptions,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use rtmfp::wire::vlu;

const NEIGHBORS: u32 = 3;
const NEAR: Fingerprint = Fingerprint([1; 32]);
const NONCE: [u8; 32] = [2; 32];
const MEMBERSHIP: FlowId = FlowId(1);
const MAX_STREAMS: usize = 4;
const MAX_BYTES: usize = 20_000;
const MAX_MESSAGE: usize = 2_000;
/// The timers may call for attention this often without time passing.
const MAX_WAKES: usize = 1_000;
/// Steps of one input; further ones take time and show nothing new.
const MAX_STEPS: usize = 200;

static SPEC: LazyLock<GroupSpec> = LazyLock::new(|| {
    let builder = GroupSpecBuilder::new("example").expect("a name");
    builder.server_channel(true).multicast(true).build().expect("a group")
});

fuzz_target!(|input: &[u8]| {
    let mut harness = Harness::new();
    let mut rest = input;
    for _ in 0..MAX_STEPS {
        let Some((&[neighbor, step], after)) = rest.split_first_chunk() else { break };
        let Ok((argument, after)) = vlu::parse_prefixed("step", after) else { break };
        rest = after;
        let session = SessionId(u32::from(neighbor & 0x7f) % NEIGHBORS);
        harness.step(session, neighbor >> 7, step, argument);
    }
    harness.unpublish();
    harness.pass(Duration::from_secs(900));
    let stats = harness.group.stats().multicast;
    assert_eq!((stats.streams, stats.held_bytes), (0, 0));
});

struct Harness {
    group: Group,
    now: Time,
    open: BTreeMap<FlowToken, (SessionId, FlowKind)>,
    /// The group's control flows, by neighbor and stream.
    control: BTreeMap<(SessionId, StreamKey), FlowToken>,
    published: Option<NetStreamId>,
}

fn key(stream: u8) -> StreamKey {
    StreamKey([stream; 32])
}

impl Harness {
    fn new() -> Self {
        let mut config = GroupConfig::new(SPEC.clone(), NEAR);
        config.multicast.max_streams = MAX_STREAMS;
        config.multicast.max_stream_bytes = MAX_BYTES / 2;
        config.multicast.max_total_bytes = MAX_BYTES;
        config.multicast.max_message = MAX_MESSAGE;
        let now = Time::from_millis(1_000);
        let mut harness = Self {
            group: Group::new(config, now, 7),
            now,
            open: BTreeMap::new(),
            control: BTreeMap::new(),
            published: None,
        };
        harness.group.multicast_mut(now).play("0").expect("a short name");
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
    }

    fn step(&mut self, session: SessionId, stream: u8, step: u8, argument: &[u8]) {
        let message = Bytes::copy_from_slice(argument);
        let number = argument.first().copied().unwrap_or(0);
        let after = argument.get(1..).unwrap_or_default();
        let (control, data) = (FlowId(10 + u64::from(stream)), FlowId(20 + u64::from(stream)));
        let now = self.now;
        let mut tell = |message: MulticastControl| {
            self.group.on_message(now, session, control, message.to_bytes());
        };
        match step % 16 {
            0 => self.group.on_message(now, session, control, message),
            1 => self.group.on_message(now, session, data, message),
            2 => self.describe(session, stream, control),
            3 => self.open_data(session, stream, data),
            4 => tell(MulticastControl::Map(Map::new(number.into(), after.to_vec()))),
            5 => tell(MulticastControl::Push(number)),
            6 => tell(MulticastControl::Pull(number.into())),
            7 => tell(MulticastControl::End(number.into())),
            // Whole messages, first, middle and last fragments.
            8 | 9 => {
                let kind = [0x20, 0x30, 0x10, 0x00][usize::from(after.first().unwrap_or(&0) % 4)];
                let bytes = [&[kind, number & 0x7f], after.get(1..).unwrap_or_default()].concat();
                let bytes = Bytes::from(bytes);
                if let Ok(parsed) = MulticastData::parse(&bytes) {
                    assert_eq!(parsed.to_bytes(), bytes);
                }
                self.group.on_message(now, session, data, bytes);
            }
            10 => self.publish(argument),
            11 => self.unpublish(),
            12 => self.pass(Duration::from_millis(u64::from(number) * 20)),
            13 => self.pass(Duration::from_secs(u64::from(number))),
            14 => self.flow_input(session, number),
            _ if number.is_multiple_of(2) => {
                let flow = if number.is_multiple_of(4) { control } else { data };
                self.group.on_flow_finished(now, session, flow);
            }
            _ => {
                self.group.on_session_closed(now, session);
                self.drain();
                self.open.retain(|_, (of, _)| *of != session);
                self.control.retain(|(of, _), _| *of != session);
                self.connect(session);
            }
        }
        self.drain();
        let stats = self.group.stats().multicast;
        assert!(stats.streams <= MAX_STREAMS && stats.held_bytes <= MAX_BYTES, "{stats:?}");
    }

    fn describe(&mut self, session: SessionId, stream: u8, flow: FlowId) {
        let Some(membership) = self.token(session, FlowKind::Membership) else { return };
        let kind = FlowKind::MulticastControl;
        if self.group.on_flow_opened(self.now, session, flow, kind, membership)
            == FlowVerdict::Accept
        {
            let settings = StreamSettings::default();
            let description = Description::new(&stream.to_string(), key(stream), settings);
            let description = MulticastControl::Description(description).to_bytes();
            self.group.on_message(self.now, session, flow, description);
        }
    }

    fn open_data(&mut self, session: SessionId, stream: u8, flow: FlowId) {
        if let Some(&control) = self.control.get(&(session, key(stream))) {
            let kind = FlowKind::MulticastData;
            let _ = self.group.on_flow_opened(self.now, session, flow, kind, control);
        }
    }

    fn publish(&mut self, payload: &[u8]) {
        let now = self.now;
        let mut multicast = self.group.multicast_mut(now);
        if self.published.is_none() {
            self.published = multicast.publish("ours", PublishOptions::default()).ok();
        }
        if let Some(id) = self.published {
            let body = Body::Video(Bytes::copy_from_slice(payload));
            let message = Message::new(now.as_millis() as u32, body);
            multicast.send(id, &message).expect("a stream that is published");
        }
    }

    fn unpublish(&mut self) {
        if let Some(id) = self.published.take() {
            let ended = self.group.multicast_mut(self.now).unpublish(id);
            ended.expect("a stream that is published");
        }
        self.drain();
    }

    fn flow_input(&mut self, session: SessionId, number: u8) {
        let of_session = self.open.iter().filter(|(_, (of, _))| *of == session);
        let mut lanes = of_session.filter(|(_, (_, kind))| *kind != FlowKind::Membership);
        let Some(token) = lanes.nth(usize::from(number >> 4)).map(|(token, _)| *token) else {
            return;
        };
        let input = match number % 4 {
            0 | 1 => FlowInput::Blocked { token },
            2 => FlowInput::Writable { token },
            _ => FlowInput::Rejected { token, code: 0 },
        };
        if number % 4 == 3 {
            self.open.remove(&token);
            self.control.retain(|_, of| *of != token);
        }
        self.group.on_flow_input(self.now, session, input);
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
                    self.open.insert(token, (session, kind));
                }
                FlowAction::Send { token, message, .. } => {
                    let &(of, kind) = self.open.get(&token).expect("an open flow");
                    assert_eq!(of, session);
                    self.on_sent(session, token, kind, &message);
                }
                FlowAction::Finish { token } => {
                    self.open.remove(&token);
                    self.control.retain(|_, of| *of != token);
                }
                _ => {}
            }
        }
        while let Some(event) = self.group.poll_event() {
            if let GroupEvent::MulticastStreamMessage { message, .. } = event {
                assert!(message.encode().len() <= MAX_MESSAGE);
            }
        }
    }

    fn on_sent(&mut self, session: SessionId, token: FlowToken, kind: FlowKind, message: &Bytes) {
        match kind {
            FlowKind::MulticastControl => {
                let parsed = MulticastControl::parse(message).expect("a message of our own");
                if let MulticastControl::Description(description) = parsed {
                    self.control.insert((session, description.key()), token);
                }
            }
            FlowKind::MulticastData => {
                assert!(MulticastData::parse(message).is_ok(), "a fragment of our own");
            }
            _ => {}
        }
    }
}
