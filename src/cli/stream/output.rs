//! Events on standard output with `--json`, and on standard error for people.

use crate::cli::{format, screen};
use anyhow::Context;
use rtmfp::driver::Clock;
use serde::Serialize;
use std::fmt;

/// An event; `docs/streams.md` describes its members.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum StreamEvent {
    Joined { name: String, group_id: String, peer_id: String },
    Connected { peer_id: String },
    Started { name: String },
    PeerConnected { peer_id: String },
    PeerDisconnected { peer_id: String },
    Status { code: String, description: String },
    NeighborConnected { peer_id: String },
    NeighborDisconnected { peer_id: String },
    Ended { name: String, duration: f64, bytes: u64, missed: u64, delivered: bool },
}

/// A line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    seconds: f64,
    #[serde(flatten)]
    event: &'a StreamEvent,
}

/// The form of the events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    json: bool,
    clock: Clock,
}

impl Out {
    /// Seconds count from now.
    pub(super) fn new(json: bool) -> Self {
        Self { json, clock: Clock::start() }
    }

    pub(super) fn emit(self, event: &StreamEvent) -> anyhow::Result<()> {
        if self.json {
            let seconds = self.clock.now().as_secs_f64();
            let line = serde_json::to_string(&Line { seconds, event })?;
            return screen::result(&line).context("cannot write to standard output");
        }
        if let StreamEvent::NeighborConnected { .. } | StreamEvent::NeighborDisconnected { .. } =
            event
        {
            return Ok(());
        }
        screen::line(&format::printable(&event.to_string()));
        Ok(())
    }
}

impl fmt::Display for StreamEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { name, peer_id, .. } => write!(f, "joined the group {name} as {peer_id}"),
            Self::Connected { peer_id } => write!(f, "connected as {peer_id}"),
            Self::PeerConnected { peer_id } => write!(f, "the peer {peer_id} plays"),
            Self::PeerDisconnected { peer_id } => write!(f, "the peer {peer_id} plays no longer"),
            Self::Status { code, description } => write!(f, "{description} [{code}]"),
            Self::Started { name } => write!(f, "the stream {name} begins"),
            Self::NeighborConnected { peer_id } => write!(f, "neighbor {peer_id}"),
            Self::NeighborDisconnected { peer_id } => write!(f, "neighbor {peer_id} is gone"),
            Self::Ended { name, duration, bytes, missed, delivered } => {
                let (time, bytes) = (clock(*duration), format::bytes(*bytes));
                write!(f, "the stream {name} has ended after {time}, {bytes}")?;
                if *missed > 0 {
                    write!(
                        f,
                        "; {} dropped, as the output was slow",
                        format::count(*missed, "message")
                    )?;
                }
                if !delivered {
                    write!(f, "; some may lack its end")?;
                }
                Ok(())
            }
        }
    }
}

/// `1:02:03`, from seconds.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_film() {
        assert_eq!(clock(0.9), "0:00");
        assert_eq!(clock(61.0), "1:01");
        assert_eq!(clock(3723.5), "1:02:03");
    }
}
