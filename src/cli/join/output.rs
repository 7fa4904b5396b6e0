//! The lines on standard output, as text or JSON.

use super::commands::{Entry, to_json};
use super::objects::Objects;
use crate::cli::console::{Asked, Form};
use crate::cli::in_force::{InForce, Numbers};
use crate::cli::situation::{Report, Situation};
use crate::cli::{format, screen};
use anyhow::Context;
use rtmfp::Fingerprint;
use rtmfp::amf::{Encoded, Value};
use rtmfp::driver::Clock;
use rtmfp::peer::{
    ConnectionEvent, GroupEvent, NetGroupBytes, NetGroupInfo, ReceiveMode, StreamState,
};
use rtmfp::proto::range::IndexSet;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Where lines go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    json: bool,
    clock: Clock,
}

/// A line as JSON; `docs/joining.md` describes its members.
#[derive(Debug, Serialize)]
struct Line<'a, E> {
    seconds: f64,
    code: Option<&'static str>,
    #[serde(flatten)]
    event: &'a E,
}

/// An event of this member; those of its group and connection are printed in their own form.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum MemberEvent {
    Joined {
        name: String,
        group_id: String,
        peer_id: String,
        address: String,
    },
    Fetched {
        index: u64,
        #[serde(rename = "type")]
        kind: &'static str,
        bytes: usize,
        peer_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<serde_json::Value>,
        #[serde(skip)]
        text: Option<String>,
    },
    Unreadable {
        index: u64,
        peer_id: String,
        reason: String,
    },
    Complete {
        objects: u64,
    },
    Sent {
        index: u64,
    },
    Denied {
        index: u64,
    },
    Lagged {
        missed: u64,
    },
    Posting {
        message_id: String,
        value: serde_json::Value,
        #[serde(skip)]
        text: String,
    },
    Posted {
        message_id: String,
    },
    DirectedMessage {
        value: serde_json::Value,
        from: String,
        from_local: bool,
        #[serde(skip)]
        text: String,
    },
    Directed {
        result: &'static str,
    },
    Mode {
        mode: &'static str,
    },
    Peers {
        peers: Vec<Peer>,
    },
    Streams {
        streams: Vec<StreamState>,
    },
    Stats(Box<Stats>),
    Objects {
        have: String,
        want: String,
    },
    Connecting {
        peer_id: String,
    },
    Noted {
        peer_id: String,
    },
    Commands {
        commands: &'static [Entry],
    },
    Limits(Numbers),
    /// Why nothing comes. People read it beside the events.
    Waiting {
        idle: f64,
        #[serde(flatten)]
        report: Report,
    },
    BadInput {
        reason: String,
    },
    Left,
}

/// A neighbor, as `/peers` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Peer {
    pub(super) peer_id: String,
    pub(super) address: String,
    pub(super) far_address: SocketAddr,
    pub(super) round_trip: Option<f64>,
}

/// Counters, as `/stats` shows them.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    pub(super) neighbors: usize,
    pub(super) members: f64,
    pub(super) mode: &'static str,
    pub(super) coverage_from: String,
    pub(super) coverage_to: String,
    pub(super) posted: u64,
    pub(super) received: u64,
    pub(super) messages_sent: u64,
    pub(super) messages_received: u64,
    pub(super) objects_sent: u64,
    pub(super) objects_received: u64,
    pub(super) streams: usize,
    pub(super) bytes: NetGroupBytes,
    pub(super) rates: NetGroupInfo,
}

impl MemberEvent {
    /// The receive mode, by its name in Flash.
    pub(super) const fn mode(mode: ReceiveMode) -> Self {
        Self::Mode { mode: mode.as_str() }
    }

    /// The objects that are here, and those that are wanted.
    pub(super) fn objects(objects: &Objects) -> Self {
        Self::Objects { have: ranges(&objects.had()), want: ranges(objects.missing()) }
    }

    pub(super) fn connecting(peer_id: &Fingerprint) -> Self {
        Self::Connecting { peer_id: peer_id.to_string() }
    }

    pub(super) fn noted(peer_id: &Fingerprint) -> Self {
        Self::Noted { peer_id: peer_id.to_string() }
    }
}

impl Out {
    /// Seconds count from now.
    pub(super) fn new(json: bool) -> Self {
        Self { json, clock: Clock::start() }
    }

    /// Prints an event of this member; `code` is the `info.code` that Flash has for it.
    pub(super) fn emit(
        &self,
        code: Option<&'static str>,
        event: &MemberEvent,
    ) -> anyhow::Result<()> {
        self.line(code, event, &event.to_string())
    }

    /// The form of the lines on standard input.
    pub(super) fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Slash }
    }

    /// Answers a command: as an event in JSON, for people beside the events.
    pub(super) fn reply(&self, event: &MemberEvent) -> anyhow::Result<()> {
        if self.json {
            return self.emit(None, event);
        }
        event.to_string().lines().for_each(|line| screen::line(&format::printable(line)));
        Ok(())
    }

    /// Answers a line on standard input, after which these limits are in force.
    pub(super) fn answer(&self, asked: &Asked, in_force: &InForce) -> anyhow::Result<()> {
        match (asked, self.json) {
            (Asked::Wrong(reason), true) => {
                self.emit(None, &MemberEvent::BadInput { reason: reason.clone() })?;
            }
            (Asked::Wrong(reason), false) => screen::error(reason),
            (Asked::Limits, true) => self.emit(None, &MemberEvent::Limits(in_force.numbers()))?,
            (Asked::Limits, false) => screen::line(&in_force.sentence()),
            (Asked::Change(_) | Asked::Nothing, _) => {}
        }
        Ok(())
    }

    /// Reports to a program why nothing has come for `idle`.
    pub(super) fn waiting(&self, idle: Duration, situation: &Situation) -> anyhow::Result<()> {
        match self.json {
            true => {
                let (idle, report) = (idle.as_secs_f64(), Report::of(situation));
                self.emit(None, &MemberEvent::Waiting { idle, report })
            }
            false => Ok(()),
        }
    }

    /// Prints an event of the group.
    pub(super) fn group_event(&self, event: &GroupEvent) -> anyhow::Result<()> {
        let text = match event {
            GroupEvent::ConnectRejected => "the server keeps no groups".to_owned(),
            GroupEvent::NeighborConnect { peer_id, .. } => format!("neighbour {peer_id} connected"),
            GroupEvent::NeighborDisconnect { peer_id, .. } => {
                format!("neighbour {peer_id} is gone")
            }
            GroupEvent::ReplicationFetchSendNotify { index } => format!("object {index} requested"),
            GroupEvent::ReplicationFetchFailed { index } => {
                format!("object {index} not received, trying again")
            }
            GroupEvent::LocalCoverageNotify { from, to } => {
                format!("nearest to the addresses from {from} to {to}")
            }
            GroupEvent::MulticastStreamPublishNotify { name } => {
                format!("stream {name} is published")
            }
            GroupEvent::MulticastStreamUnpublishNotify { name } => format!("stream {name} ended"),
            _ => return Ok(()),
        };
        self.line(Some(event.code()), event, &text)
    }

    /// Prints an event of the connection.
    pub(super) fn connection_event(&self, event: &ConnectionEvent) -> anyhow::Result<()> {
        let text = match event {
            ConnectionEvent::Connected { server } => format!("connected to the server {server}"),
            ConnectionEvent::Serverless => "looking for members on the local network".to_owned(),
            ConnectionEvent::Failed(error) => format!("no connection to the server: {error}"),
            ConnectionEvent::Status { code, description, .. } => {
                format!("the server reports: {description} ({code})")
            }
            ConnectionEvent::Closed => {
                "the connection to the server is lost, trying again".to_owned()
            }
            _ => return Ok(()),
        };
        let code = Some(event.code()).filter(|code| !code.is_empty());
        self.line(code, event, &text)
    }

    fn line(
        &self,
        code: Option<&'static str>,
        event: &impl Serialize,
        text: &str,
    ) -> anyhow::Result<()> {
        let line = match (self.json, code) {
            (true, _) => {
                let seconds = self.clock.now().as_secs_f64();
                serde_json::to_string(&Line { seconds, code, event })?
            }
            (false, Some(code)) => format::printable(&format!("{text}  [{code}]")),
            (false, None) => format::printable(text),
        };
        screen::result(&line).context("cannot write to standard output")
    }
}

impl fmt::Display for MemberEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { name, peer_id, .. } => write!(f, "joined the group {name} as {peer_id}"),
            Self::Fetched { index, kind, bytes, peer_id, file, text, .. } => {
                let bytes = format::bytes(*bytes as u64);
                write!(f, "object {index} received from {peer_id}: {kind}, {bytes}")?;
                file.as_ref().map_or(Ok(()), |file| write!(f, ", saved as {file}"))?;
                text.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
            }
            Self::Unreadable { index, peer_id, reason } => {
                write!(f, "what {peer_id} sent as object {index} is no AMF value: {reason}")
            }
            Self::Complete { objects } => {
                write!(f, "complete: {}", format::count(*objects, "object"))
            }
            Self::Sent { index } => write!(f, "object {index} sent to a neighbour"),
            Self::Denied { index } => write!(f, "object {index} denied to a neighbour"),
            Self::Lagged { missed } => {
                write!(f, "{} skipped: output is too slow", format::count(*missed, "event"))
            }
            Self::Posting { message_id, text, .. } => {
                write!(f, "post {}: {text}", short(message_id))
            }
            Self::Posted { message_id } => write!(f, "posted {}", short(message_id)),
            Self::DirectedMessage { from_local: true, text, .. } => {
                write!(f, "message to itself: {text}")
            }
            Self::DirectedMessage { from, text, .. } => write!(f, "message from {from}: {text}"),
            Self::Directed { result } => write!(f, "{result}"),
            Self::Mode { mode } => write!(f, "mode {mode}"),
            Self::Peers { peers } if peers.is_empty() => write!(f, "no neighbours"),
            Self::Peers { peers } => peers.iter().try_for_each(|peer| {
                let round_trip = peer.round_trip.map(|time| format!(", {:.0} ms", 1e3 * time));
                let Peer { peer_id, address, far_address, .. } = peer;
                let round_trip = round_trip.unwrap_or_default();
                writeln!(f, "{peer_id} at {far_address}{round_trip}; group address {address}")
            }),
            Self::Streams { streams } if streams.is_empty() => write!(f, "no streams"),
            Self::Streams { streams } => streams.iter().try_for_each(|stream| {
                let StreamState { name, is_ours, neighbors, info, .. } = stream;
                let rate = match is_ours {
                    true => info.send_data_bytes_per_second,
                    false => info.receive_data_bytes_per_second,
                };
                let (name, rate) = (format::printable(name), format::rate(rate));
                let neighbors = format::neighbors(*neighbors);
                writeln!(f, "{name}: {rate}, {neighbors}")
            }),
            Self::Stats(stats) => stats.fmt(f),
            Self::Objects { have, want } => {
                let shown =
                    |set: &str| format!("{:.500}", if set.is_empty() { "nothing" } else { set });
                write!(f, "have {}\nwant {}", shown(have), shown(want))
            }
            Self::Connecting { peer_id } => write!(f, "connecting to {peer_id}"),
            Self::Noted { peer_id } => write!(f, "noted {peer_id} as a member"),
            Self::Commands { .. } => write!(f, "commands"),
            Self::Limits(_) => write!(f, "limits"),
            Self::Waiting { .. } => write!(f, "waiting"),
            Self::BadInput { reason } => write!(f, "{reason}"),
            Self::Left => write!(f, "left the group"),
        }
    }
}

/// A line for each capability: what was exchanged, and the rates now.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sum, now) = (&self.bytes, &self.rates);
        let traffic = |sent: u64, came: u64, out: f64, into: f64| {
            format!(
                "{} out, {} in; now {} out, {} in",
                format::bytes(sent),
                format::bytes(came),
                format::rate(out),
                format::rate(into),
            )
        };
        let posts = traffic(
            sum.posting_send_control_bytes + sum.posting_send_data_bytes,
            sum.posting_receive_control_bytes + sum.posting_receive_data_bytes,
            now.posting_send_control_bytes_per_second + now.posting_send_data_bytes_per_second,
            now.posting_receive_control_bytes_per_second
                + now.posting_receive_data_bytes_per_second,
        );
        let messages = traffic(
            sum.routing_send_bytes,
            sum.routing_receive_bytes,
            now.routing_send_bytes_per_second,
            now.routing_receive_bytes_per_second,
        );
        let objects = traffic(
            sum.object_replication_send_bytes,
            sum.object_replication_receive_bytes,
            now.object_replication_send_bytes_per_second,
            now.object_replication_receive_bytes_per_second,
        );
        let members = format::count(self.members.round() as u64, "member");
        writeln!(f, "group     {}, about {members}", format::neighbors(self.neighbors))?;
        writeln!(f, "coverage  mode {}, from {}", self.mode, self.coverage_from)?;
        writeln!(f, "          to {}", self.coverage_to)?;
        writeln!(f, "posts     {} posted, {} received; {posts}", self.posted, self.received)?;
        let (sent, received) = (self.messages_sent, self.messages_received);
        writeln!(f, "messages  {sent} sent, {received} received; {messages}")?;
        let (sent, received) = (self.objects_sent, self.objects_received);
        writeln!(f, "objects   {sent} sent, {received} received; {objects}")?;
        write!(f, "streams   {}; /streams lists them", self.streams)
    }
}

/// `0-9,20`, or empty.
fn ranges(indices: &IndexSet) -> String {
    let one = |range: RangeInclusive<u64>| match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    };
    let all: Vec<_> = indices.ranges().map(one).collect();
    all.join(",")
}

/// The first digits of an ID, enough for a person.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What a member sent, as JSON and for people. As in Flash it is null if it is no AMF value.
pub(super) fn shown(message: &Encoded) -> (serde_json::Value, String) {
    match message.decode() {
        Ok(value) => (to_json(&value), readable(&value)),
        Err(error) => (serde_json::Value::Null, format!("no AMF value: {error}")),
    }
}

/// A fetched object as JSON and for people; without what would be too much.
pub(super) fn described(object: &Value) -> (Option<serde_json::Value>, Option<String>) {
    /// The most bytes of a byte array.
    const MAX_BYTES: usize = 64 << 10;
    match object {
        Value::ByteArray(bytes) if bytes.len() > MAX_BYTES => (None, None),
        Value::ByteArray(_) => (Some(to_json(object)), None),
        object => (Some(to_json(object)), Some(readable(object))),
    }
}

/// A value for people: a text as it is, another as this crate prints it. Strangers wrote it; it is
/// escaped and shortened where it is printed.
fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        value => format!("{value:.500}"),
    }
}
