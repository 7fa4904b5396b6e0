//! What happens, as lines on standard output.

use crate::cli::{format, screen};
use anyhow::Context;
use rtmfp::driver::Clock;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;

/// Where lines go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    json: bool,
    clock: Clock,
}

/// A line as JSON; `docs/joining.md` describes its members.
#[derive(Debug, Serialize)]
struct Line<'a> {
    seconds: f64,
    code: Option<&'static str>,
    #[serde(flatten)]
    told: &'a Told,
}

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Told {
    Connected {
        server: SocketAddr,
    },
    ConnectFailed {
        reason: String,
    },
    Disconnected,
    Joined {
        name: String,
        group_id: String,
        peer_id: String,
        address: String,
    },
    Unserved,
    NeighborConnected {
        peer_id: String,
        address: String,
    },
    NeighborDisconnected {
        peer_id: String,
        address: String,
    },
    Requested {
        index: u64,
    },
    FetchFailed {
        index: u64,
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
    Left,
}

impl Out {
    /// Seconds count from now.
    pub(super) fn new(json: bool) -> Self {
        Self { json, clock: Clock::start() }
    }

    /// Writes a line; `code` is the `info.code` that Flash has for the event.
    pub(super) fn tell(&self, code: Option<&'static str>, told: &Told) -> anyhow::Result<()> {
        let line = match (self.json, code) {
            (true, _) => {
                let seconds = self.clock.now().as_secs_f64();
                serde_json::to_string(&Line { seconds, code, told })?
            }
            (false, Some(code)) => format::printable(&format!("{told}  [{code}]")),
            (false, None) => format::printable(&told.to_string()),
        };
        screen::result(&line).context("cannot write to standard output")
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { server } => write!(f, "connected to the server {server}"),
            Self::ConnectFailed { reason } => write!(f, "no connection to the server: {reason}"),
            Self::Disconnected => write!(f, "the connection to the server is lost, trying again"),
            Self::Joined { name, peer_id, .. } => write!(f, "joined the group {name} as {peer_id}"),
            Self::Unserved => write!(f, "the server keeps no groups"),
            Self::NeighborConnected { peer_id, .. } => write!(f, "neighbour {peer_id} connected"),
            Self::NeighborDisconnected { peer_id, .. } => write!(f, "neighbour {peer_id} is gone"),
            Self::Requested { index } => write!(f, "object {index} requested"),
            Self::FetchFailed { index } => write!(f, "object {index} not received, trying again"),
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
                write!(f, "{} not told: too many at once", format::count(*missed, "event"))
            }
            Self::Left => write!(f, "left the group"),
        }
    }
}
