//! One group with neighbors made by hand, whose messages are written by the test.

use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent, MessageId,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use std::collections::HashMap;

const NEAR: Fingerprint = Fingerprint([1; 32]);

/// A message that the group has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub at: Time,
    /// The neighbor, by its number.
    pub to: usize,
    pub kind: FlowKind,
    pub message: Bytes,
}

pub struct Stand {
    pub group: Group,
    pub now: Time,
    pub sent: Vec<Sent>,
    pub events: Vec<GroupEvent>,
    neighbors: usize,
    kinds: HashMap<FlowToken, (SessionId, FlowKind)>,
}

fn session(neighbor: usize) -> SessionId {
    SessionId(neighbor as u32 + 1)
}

impl Stand {
    /// A group with settings, whose identity is overwritten, and so many neighbors.
    pub fn new(mut config: GroupConfig, neighbors: usize) -> Self {
        config.near = NEAR;
        let mut stand = Self {
            group: Group::new(config, Time::ZERO, 1),
            now: Time::ZERO,
            sent: Vec::new(),
            events: Vec::new(),
            neighbors: 0,
            kinds: HashMap::new(),
        };
        (0..neighbors).for_each(|_| stand.connect());
        stand
    }

    /// Another neighbor connects.
    pub fn connect(&mut self) {
        let (number, now) = (self.neighbors, self.now);
        self.neighbors += 1;
        let (at, peer) = (session(number), Fingerprint([number as u8 + 10; 32]));
        let address = "127.0.0.1:20000".parse().unwrap();
        self.group.on_introduced(now, peer, true);
        self.group.on_session_opened(now, at, peer, true, [1; 32], [2; 32], address);
        let hello = Hello::new(&self.group.config().spec, &[1; 32], NEAR);
        let hello = MembershipMessage::Hello(hello).to_bytes();
        let flow = self.flow(number, FlowKind::Membership);
        assert_eq!(self.group.on_hello(now, at, flow, &hello), FlowVerdict::Accept);
        self.group.on_message(now, at, flow, Bytes::from_static(&[0x02]));
        self.drain();
        for kind in [FlowKind::PostingKeys, FlowKind::PostingValues] {
            let membership = self.token(number, FlowKind::Membership).expect("a hello was sent");
            let flow = self.flow(number, kind);
            let verdict = self.group.on_flow_opened(now, at, flow, kind, membership);
            assert_eq!(verdict, FlowVerdict::Accept);
        }
    }

    /// A neighbor is gone.
    pub fn disconnect(&mut self, neighbor: usize) {
        self.group.on_session_closed(self.now, session(neighbor));
        self.drain();
    }

    /// A neighbor sends a message.
    pub fn hear(&mut self, neighbor: usize, kind: FlowKind, message: impl Into<Bytes>) {
        let flow = self.flow(neighbor, kind);
        self.group.on_message(self.now, session(neighbor), flow, message.into());
        self.drain();
    }

    /// The flow to a neighbor is full, or has space again.
    pub fn block(&mut self, neighbor: usize, kind: FlowKind, is_blocked: bool) {
        let token = self.token(neighbor, kind).expect("an open flow");
        let input = match is_blocked {
            true => FlowInput::Blocked { token },
            false => FlowInput::Writable { token },
        };
        self.group.on_flow_input(self.now, session(neighbor), input);
        self.drain();
    }

    pub fn post(&mut self, value: impl Into<Bytes>) -> MessageId {
        let value: Bytes = value.into();
        let id = self.group.posting_mut(self.now).post(value.into()).unwrap();
        self.drain();
        id
    }

    pub fn run_to(&mut self, end: Time) {
        while let Some(due) = self.group.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.group.handle_timeout(self.now);
            self.drain();
            assert!(self.group.poll_timeout().is_none_or(|next| next > due));
        }
        self.now = end;
    }

    /// What was sent of one kind since this was last asked, to which neighbor.
    pub fn take(&mut self, kind: FlowKind) -> Vec<(usize, Bytes)> {
        let (taken, kept) =
            std::mem::take(&mut self.sent).into_iter().partition(|s| s.kind == kind);
        self.sent = kept;
        let taken: Vec<Sent> = taken;
        taken.into_iter().map(|sent| (sent.to, sent.message)).collect()
    }

    /// The values delivered to the application.
    pub fn received(&self) -> Vec<Bytes> {
        let values = self.events.iter().filter_map(|event| match event {
            GroupEvent::PostingNotify { message, message_id } => {
                assert_eq!(*message_id, MessageId::of(message.as_bytes()));
                Some(message.as_bytes().clone())
            }
            _ => None,
        });
        values.collect()
    }

    fn flow(&self, neighbor: usize, kind: FlowKind) -> FlowId {
        FlowId(100 * neighbor as u64 + u64::from(kind.metadata()[2]))
    }

    fn token(&self, neighbor: usize, kind: FlowKind) -> Option<FlowToken> {
        let mut kinds = self.kinds.iter();
        kinds.find(|(_, of)| **of == (session(neighbor), kind)).map(|(token, _)| *token)
    }

    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            let GroupAction::Flow { session, action } = action else { continue };
            match action {
                FlowAction::Open { token, metadata, .. } => {
                    let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                    self.kinds.insert(token, (session, kind));
                }
                FlowAction::Send { token, message, .. } => {
                    let (of, kind) = self.kinds[&token];
                    assert_eq!(of, session);
                    let to = session.0 as usize - 1;
                    self.sent.push(Sent { at: self.now, to, kind, message });
                }
                _ => {}
            }
        }
        self.events.extend(std::iter::from_fn(|| self.group.poll_event()));
    }
}
