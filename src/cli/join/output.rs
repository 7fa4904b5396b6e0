//! The lines on standard output, as text or JSON.

use crate::cli::console::{Asked, Form};
use crate::cli::in_force::{InForce, Numbers};
use crate::cli::{format, screen};
use anyhow::Context;
use rtmfp::driver::Clock;
use rtmfp::peer::{ConnectionEvent, GroupEvent};
use serde::Serialize;
use std::fmt;

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
    Limits(Numbers),
    BadInput {
        reason: String,
    },
    Left,
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
            _ => return Ok(()),
        };
        self.line(Some(event.code()), event, &text)
    }

    /// Prints an event of the connection.
    pub(super) fn connection_event(&self, event: &ConnectionEvent) -> anyhow::Result<()> {
        let text = match event {
            ConnectionEvent::Connected { server } => format!("connected to the server {server}"),
            ConnectionEvent::Failed(error) => format!("no connection to the server: {error}"),
            ConnectionEvent::Closed => {
                "the connection to the server is lost, trying again".to_owned()
            }
            _ => return Ok(()),
        };
        self.line(Some(event.code()), event, &text)
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
            Self::Fetched { index, kind, bytes, peer_id, file } => {
                let bytes = format::bytes(*bytes as u64);
                write!(f, "object {index} received from {peer_id}: {kind}, {bytes}")?;
                file.as_ref().map_or(Ok(()), |file| write!(f, ", saved as {file}"))
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
            Self::Limits(_) => write!(f, "limits"),
            Self::BadInput { reason } => write!(f, "{reason}"),
            Self::Left => write!(f, "left the group"),
        }
    }
}
