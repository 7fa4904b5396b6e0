//! The player as a server's client: what it waits for, and the rules that a server keeps.

use super::capture::{Fragment, Options};
use super::flows::begins;
use super::rules::Judge;
use super::session::Verdict;
use bytes::Bytes;
use rtmfp::proto::flash::group_channel::ServerMessage;
use rtmfp::proto::flash::{Body, Command, FlowMetadata, Message, UserControl};
use rtmfp::proto::transport::Time;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

/// The player's control flow, in every recording.
pub const CONTROL: u64 = 2;

/// What a client knows of its connection.
#[derive(Debug, Default)]
pub struct Client {
    /// What the client sent in `connect`.
    encoding: Option<f64>,
    pub connected: bool,
    keepalive: bool,
    /// Transactions that wait for their answer.
    calls: BTreeMap<u64, Time>,
    streams: BTreeSet<u64>,
    creating: HashSet<u64>,
    pub introduced: HashSet<[u8; 32]>,
}

fn command(message: &[u8]) -> Option<Command> {
    match Message::parse(&Bytes::copy_from_slice(message)).ok()?.body {
        Body::Command(_, values) => Command::parse(&values).ok(),
        _ => None,
    }
}

impl Client {
    /// True if a fragment makes sense now.
    pub fn verdict(&self, fragment: &Fragment, metadata: &[u8]) -> Verdict {
        let Some(message) = begins(fragment) else { return Verdict::Say };
        if fragment.flow == CONTROL && fragment.sequence == 1 {
            return Verdict::Say;
        }
        if !self.connected {
            return Verdict::Wait;
        }
        if let Some(FlowMetadata::Tc { stream, .. }) = FlowMetadata::parse(metadata) {
            if stream != 0 && !self.streams.contains(&u64::from(stream)) {
                return Verdict::Wait;
            }
            if stream == 0
                && command(message).is_some_and(|c| matches!(&*c.name, "_result" | "_error"))
            {
                return Verdict::LeaveOut("answers to calls that this server does not make");
            }
            let parsed = Message::parse(&Bytes::copy_from_slice(message));
            if let Ok(Body::UserControl(UserControl::PingResponse(_))) = parsed.map(|m| m.body) {
                return Verdict::LeaveOut("answers to user control pings that were not sent");
            }
        }
        Verdict::Say
    }

    /// The player has sent something for the first time.
    pub fn sent(&mut self, now: Time, fragment: &Fragment, judge: &mut Judge) {
        let Some(command) = begins(fragment).and_then(command) else { return };
        match &*command.name {
            "connect" => {
                let encoding = command.object.property("objectEncoding").and_then(|v| v.as_f64());
                self.encoding = encoding;
                judge.replayed("connect");
            }
            "setPeerInfo" => judge.replayed("setPeerInfo"),
            name => {
                if name == "createStream" {
                    self.creating.insert(command.transaction as u64);
                }
                judge.replayed("other commands");
            }
        }
        if command.transaction != 0.0 {
            self.calls.insert(command.transaction as u64, now);
        }
    }

    /// The server opened a flow.
    pub fn flow_opened(
        &self,
        now: Time,
        options: &Options,
        own: &BTreeMap<u64, Vec<u8>>,
        judge: &mut Judge,
    ) {
        let associated = options.association.and_then(|flow| own.get(&flow));
        let known = match FlowMetadata::parse(&options.metadata) {
            Some(FlowMetadata::Tc { stream: 0, .. }) => {
                judge.rule(
                    now,
                    "the answer to connect comes on a flow TC 04 00 associated with the player's control flow",
                    options.metadata == *b"TC\x04\0" && options.association == Some(CONTROL),
                    || format!("{options:02x?}"),
                );
                true
            }
            Some(FlowMetadata::Tc { stream, .. }) => self.streams.contains(&u64::from(stream)),
            Some(FlowMetadata::GroupServer) => associated.is_some_and(|metadata| metadata == b"GC"),
            _ => false,
        };
        judge.rule(
            now,
            "a server opens control, stream and GC flows only, each in answer to one",
            known && associated.is_some(),
            || format!("{options:02x?}"),
        );
    }

    /// A whole message of the server.
    pub fn message(&mut self, now: Time, options: &Options, message: &[u8], judge: &mut Judge) {
        if options.metadata == b"GC" {
            return self.group_message(now, message, judge);
        }
        judge.rule(now, "no message below five bytes on a TC flow", message.len() >= 5, || {
            format!("{message:02x?}")
        });
        let parsed = Message::parse(&Bytes::copy_from_slice(message));
        judge.rule(now, "every message of the server can be read", parsed.is_ok(), || {
            format!("{message:02x?}")
        });
        let Ok(parsed) = parsed else { return };
        let metadata = FlowMetadata::parse(&options.metadata);
        let stream = !matches!(metadata, Some(FlowMetadata::Tc { stream: 0, .. }));
        match (parsed.body, command(message)) {
            (_, Some(command)) if !self.connected => {
                self.connect_answered(now, message[0], &command, judge)
            }
            (_, Some(command)) if matches!(&*command.name, "_result" | "_error") => {
                self.answered(now, &command, judge);
            }
            (_, Some(command)) => {
                judge.rule(
                    now,
                    "a server calls nothing but onStatus of a stream",
                    stream && &*command.name == "onStatus",
                    || format!("{command:?}"),
                );
            }
            (Body::UserControl(UserControl::SetKeepalive(periods)), None) => {
                let least = Duration::from_secs(5);
                judge.rule(
                    now,
                    "set keepalive comes right after _result, with periods of five seconds or more",
                    self.connected
                        && !self.keepalive
                        && periods.server >= least
                        && periods.peer >= least,
                    || format!("{periods:?}"),
                );
                self.keepalive = true;
            }
            (Body::UserControl(UserControl::StreamBegin(begun)), None) => {
                let is_its_own = matches!(
                    metadata,
                    Some(FlowMetadata::Tc { stream, .. }) if stream == begun && stream != 0
                );
                judge.rule(now, "a stream begins on a flow of its own", is_its_own, || {
                    format!("{begun}: {metadata:?}")
                });
            }
            // Nothing is published in the recordings that a player there plays.
            (Body::Data(_, data), None) if stream => judge.rule(
                now,
                "of data, a player who waits for a stream gets |RtmpSampleAccess only",
                data.windows(17).any(|name| name == b"|RtmpSampleAccess"),
                || format!("{data:?}"),
            ),
            (other, None) => {
                let rule = "besides streams, a server sends commands and keepalive advice only";
                judge.rule(now, rule, false, || format!("{other:?}"));
            }
        }
    }

    fn connect_answered(&mut self, now: Time, kind: u8, command: &Command, judge: &mut Judge) {
        let info = command.args.first();
        let property = |name| info.and_then(|info| info.property(name));
        judge.rule(
            now,
            "connect is answered first, by _result 1 in type 14 or 11",
            {
                &*command.name == "_result"
                    && command.transaction == 1.0
                    && matches!(kind, 0x14 | 0x11)
            },
            || format!("{kind:02x} {command:?}"),
        );
        judge.rule(
            now,
            "the result of connect is NetConnection.Connect.Success",
            property("code").and_then(|v| v.as_str()) == Some("NetConnection.Connect.Success"),
            || format!("{command:?}"),
        );
        judge.rule(
            now,
            "objectEncoding in the result of connect equals the client's",
            self.encoding.is_some()
                && property("objectEncoding").and_then(|v| v.as_f64()) == self.encoding,
            || format!("{:?}: {command:?}", self.encoding),
        );
        self.calls.remove(&1);
        self.connected = true;
    }

    fn answered(&mut self, now: Time, command: &Command, judge: &mut Judge) {
        let transaction = command.transaction as u64;
        judge.rule(
            now,
            "every answer belongs to a call and is the only one",
            self.calls.remove(&transaction).is_some(),
            || format!("{command:?}"),
        );
        if self.creating.remove(&transaction) && &*command.name == "_result" {
            self.streams.extend(command.args.first().and_then(|id| id.as_u32()).map(u64::from));
        }
    }

    fn group_message(&mut self, now: Time, message: &[u8], judge: &mut Judge) {
        let parsed = ServerMessage::parse(&Bytes::copy_from_slice(message));
        let member = match parsed {
            Ok(ServerMessage::Connect(peer)) if message.len() == 33 => Some(peer),
            _ => None,
        };
        judge.rule(now, "a GC flow brings 0B and a fingerprint only", member.is_some(), || {
            format!("{message:02x?}")
        });
        self.introduced.extend(member.map(|peer| peer.0));
    }

    /// What must be true in the end if nobody has closed.
    pub fn finish_open(&self, now: Time, judge: &mut Judge) {
        let open = &self.calls;
        judge.rule(now, "every call that wants an answer has one", open.is_empty(), || {
            format!("open: {open:?}")
        });
    }

    /// What must be true in any case.
    pub fn finish(&self, now: Time, judge: &mut Judge) {
        let received = !self.connected || self.keepalive;
        judge.rule(
            now,
            "a client that connected received keepalive periods",
            received,
            String::new,
        );
    }
}
