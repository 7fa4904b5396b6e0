//! Recorded players: their messages re-encode to the same bytes, and a group that is a neighbor of a
//! player answers what it needs.

use crate::support::net::spec;
use crate::support::recording::{DIR, lines, message};
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::flash::group_channel::ServerMessage;
use rtmfp::proto::group::message::{
    Hello, MembershipMessage, MulticastControl, MulticastData, ReplicationMessage,
};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupEvent, GroupSpec,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowToken, SessionId, Time};
use serde_json::Value;
use std::collections::HashMap;

const SESSION: SessionId = SessionId(1);
const FAR_MEMBERSHIP: FlowId = FlowId(100);
const FAR_REPLICATION: FlowId = FlowId(101);

/// The same bytes again, or `None` if the message cannot be read.
fn re_encoded(metadata: &str, message: &Bytes) -> Option<Bytes> {
    match metadata {
        "47521c" => MembershipMessage::parse(message).ok().map(|m| m.to_bytes()),
        "475215" => ReplicationMessage::parse(message.clone()).ok().map(|m| m.to_bytes()),
        "475211" => MulticastControl::parse(message).ok().map(|m| m.to_bytes()),
        "475212" => MulticastData::parse(message).ok().map(|m| m.to_bytes()),
        "4743" => ServerMessage::parse(message).ok().map(|m| m.to_bytes()),
        _ => Some(message.clone()),
    }
}

#[test]
fn every_message_is_written_as_it_was_read() {
    let mut counts = [0; 5];
    for entry in std::fs::read_dir(DIR).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        for line in lines(path.file_stem().unwrap().to_str().unwrap()) {
            // Datagrams on the local network are in `recorded_lan`.
            let Some(metadata) = line["meta"].as_str() else { continue };
            let Some(message) = message(&line) else { continue };
            let metadata = metadata.split('(').next().unwrap();
            match re_encoded(metadata, &message) {
                Some(again) => assert_eq!(again, message, "{line}"),
                // The observer tried some malformed ones on the player.
                None => assert_eq!(line["obs"], true, "{line}"),
            }
            let kinds = ["47521c", "475215", "4743", "475211", "475212"];
            let kind = kinds.iter().position(|m| *m == metadata);
            kind.into_iter().for_each(|kind| counts[kind] += 1);
        }
    }
    assert!(counts[0] > 200 && counts[1] > 200 && counts[2] > 10, "{counts:?}");
    assert!(counts[3] > 1000 && counts[4] > 500, "{counts:?}");
}

/// A group with one neighbor, made by hand.
struct Stand {
    group: Group,
    now: Time,
    far: Fingerprint,
    kinds: HashMap<FlowToken, FlowKind>,
    sent: Vec<(FlowKind, Bytes)>,
    finished: Vec<FlowKind>,
    rejected: Vec<FlowId>,
    events: Vec<GroupEvent>,
}

impl Stand {
    fn new(spec: GroupSpec, near: Fingerprint, far: Fingerprint) -> Self {
        let mut stand = Self {
            group: Group::new(GroupConfig::new(spec, near), Time::ZERO, 1),
            now: Time::ZERO,
            far,
            kinds: HashMap::new(),
            sent: Vec::new(),
            finished: Vec::new(),
            rejected: Vec::new(),
            events: Vec::new(),
        };
        stand.group.on_introduced(Time::ZERO, far, true);
        stand
    }

    fn advance(&mut self, line: &Value) {
        self.now = Time::from_micros((line["t"].as_f64().unwrap() * 1e6) as u64);
    }

    fn open_session(&mut self, initiator: bool) {
        let address = "127.0.0.1:20000".parse().unwrap();
        let (near, far) = ([1; 32], [2; 32]);
        self.group.on_session_opened(self.now, SESSION, self.far, initiator, near, far, address);
        self.drain();
    }

    /// The far end's hello. The recorded nonces are not known, so the proof is made for ours.
    fn hello(&mut self) {
        let config = self.group.config();
        let hello = Hello::new(&config.spec, &[1; 32], config.near);
        let hello = MembershipMessage::Hello(hello).to_bytes();
        let verdict = self.group.on_hello(self.now, SESSION, FAR_MEMBERSHIP, &hello);
        assert_eq!(verdict, FlowVerdict::Accept);
        self.drain();
    }

    fn membership(&mut self, message: Bytes) {
        self.group.on_message(self.now, SESSION, FAR_MEMBERSHIP, message);
        self.drain();
    }

    fn open_far(&mut self, flow: FlowId, kind: FlowKind) -> FlowVerdict {
        let mut kinds = self.kinds.iter();
        let found = kinds.find(|(_, kind)| **kind == FlowKind::Membership);
        let membership = *found.expect("a hello was sent").0;
        self.group.on_flow_opened(self.now, SESSION, flow, kind, membership)
    }

    fn replication(&mut self, message: Bytes) {
        self.group.on_message(self.now, SESSION, FAR_REPLICATION, message);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            let GroupAction::Flow { action, .. } = action else { continue };
            match action {
                FlowAction::Open { token, metadata, .. } => {
                    let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                    self.kinds.insert(token, kind);
                }
                FlowAction::Send { token, message, .. } => {
                    self.sent.push((self.kinds[&token], message));
                }
                FlowAction::Finish { token } => self.finished.push(self.kinds[&token]),
                FlowAction::Reject { flow, .. } => self.rejected.push(flow),
                _ => {}
            }
        }
        self.events.extend(std::iter::from_fn(|| self.group.poll_event()));
    }

    fn sent(&self, kind: FlowKind) -> Vec<Bytes> {
        self.sent.iter().filter(|(k, _)| *k == kind).map(|(_, m)| m.clone()).collect()
    }
}

/// The player against a group in the observer's place, with the player as responder.
#[test]
fn a_player_that_was_called_gets_what_it_needs() {
    let far = "7f7d4f47af31f8ea0d86ba337d6d7aff785f695892f0d51810f45d16fbda3bb8".parse().unwrap();
    let near = "330493d06241c5ca95ed3de47a4d8ddd01d312b3d49a5a77abd5ef5ede43f7f6".parse().unwrap();
    let spec = GroupSpec::parse("G:01020103010c020e7400").unwrap();
    let mut stand = Stand::new(spec, near, far);
    stand.open_session(true);
    let (mut asked, mut expected) = (0, vec![0x01, 0x02, 0x0e, 0x0a]);
    for line in lines("member-observer-initiates") {
        stand.advance(&line);
        let Some(message) = message(&line).filter(|_| line["dir"] == "A>O") else { continue };
        let replies = stand.sent.len();
        match line["meta"].as_str().unwrap() {
            "47521c" if message[0] == 0x01 => {
                let Ok(MembershipMessage::Hello(hello)) = MembershipMessage::parse(&message) else {
                    panic!("a hello");
                };
                assert_eq!((hello.group_id, hello.receiver), (stand.group.id(), near));
                stand.hello();
            }
            "47521c" => {
                let asks = message.starts_with(&[0x0a, 0x01, 0x00]);
                let report = message[0] == 0x0a;
                stand.membership(message);
                if report {
                    assert_eq!(stand.sent.len(), replies + usize::from(asks));
                }
                if asks {
                    asked += 1;
                    expected.push(0x0a);
                }
            }
            "475215" => {
                assert_eq!(
                    stand.open_far(FAR_REPLICATION, FlowKind::Replication),
                    FlowVerdict::Accept
                );
                stand.replication(message);
            }
            "475219" => {
                let kind = FlowKind::PostingValues;
                assert_eq!(stand.open_far(FlowId(7), kind), FlowVerdict::Accept);
                stand.group.on_message(stand.now, SESSION, FlowId(7), message);
                stand.drain();
            }
            _ => {}
        }
    }
    let kinds: Vec<_> = stand.sent(FlowKind::Membership).iter().map(|m| m[0]).collect();
    assert_eq!(kinds, expected);
    assert_eq!(asked, 4);
    let neighbor = stand.group.neighbors()[0];
    assert_eq!((neighbor.peer, neighbor.trade.have), (far, 4));
    assert!(stand.finished.is_empty() && stand.sent(FlowKind::Replication).is_empty());
    assert_eq!(stand.group.own_addresses(), ["127.0.0.1:28101".parse().unwrap()]);
}

/// The player finishes its flows when the neighbor has finished `15`; so do we, and the requests go on
/// elsewhere or wait.
#[test]
fn a_neighbor_whose_replication_flow_ends_is_lost() {
    let mut stand = Stand::new(spec(), Fingerprint([1; 32]), Fingerprint([2; 32]));
    stand.open_session(false);
    stand.hello();
    stand.membership(Bytes::from_static(&[0x02]));
    assert_eq!(stand.open_far(FAR_REPLICATION, FlowKind::Replication), FlowVerdict::Accept);
    stand.replication(Bytes::from_static(&[0x10, 0x00, 0x03]));
    stand.group.replication_mut(stand.now).add_want(0..=3).unwrap();
    stand.drain();
    stand.replication(Bytes::from_static(&[0x17]));
    stand.group.on_flow_finished(stand.now, SESSION, FAR_REPLICATION);
    stand.drain();
    assert_eq!(stand.finished, [FlowKind::Replication, FlowKind::Membership]);
    assert_eq!(stand.rejected, [FAR_MEMBERSHIP]);
    let codes: Vec<_> = stand.events.iter().skip(5).map(|e| e.code()).collect();
    let failed = "NetGroup.Replication.Fetch.Failed";
    assert_eq!(codes, ["NetGroup.Neighbor.Disconnect", failed, failed, failed, failed]);
    assert_eq!(stand.group.replication().want().len(), 4);
}
