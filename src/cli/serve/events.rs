//! Events of the server, as lines for people or as JSON.

use super::member::{Introduced, Passed};
use super::screen::Url;
use crate::cli::format;
use rtmfp::server::{Counters, Reloaded, Report, Server, ServerStats};
use rtmfp::web::admin::Admin;
use serde::Serialize;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Characters of a client's text that are shown.
const MAX_SHOWN: usize = 60;

/// An event of the command; those of the server are [`Report`]s. `docs/json.md` describes its members.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Listening {
        addresses: Vec<SocketAddr>,
        urls: Vec<String>,
        fingerprint: String,
        admin: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        member: Option<Introduced>,
    },
    Offered {
        group_id: String,
        objects: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    IngestStarted(Passed),
    IngestEnded {
        #[serde(flatten)]
        stream: Passed,
        bytes: u64,
    },
    MemberLeft {
        bytes_sent: u64,
        bytes_received: u64,
    },
    Reloaded {
        changed: Vec<&'static str>,
        needs_restart: Vec<&'static str>,
    },
    ReloadFailed {
        reason: String,
    },
    Stopping,
    Stopped {
        graceful: bool,
        uptime: f64,
        #[serde(flatten)]
        counters: Counters,
    },
}

impl Event {
    pub(super) fn listening(
        server: &Server,
        urls: &[Url],
        admin: Option<&Admin>,
        member: Option<Introduced>,
    ) -> Self {
        Self::Listening {
            addresses: server.local_addresses().to_vec(),
            urls: urls.iter().map(|url| url.text.clone()).collect(),
            fingerprint: server.fingerprint().to_string(),
            admin: admin.map(Admin::url),
            member,
        }
    }

    pub(super) fn reloaded(outcome: &Result<Reloaded, String>) -> Self {
        match outcome {
            Ok(Reloaded { changed, needs_restart, .. }) => {
                Self::Reloaded { changed: changed.clone(), needs_restart: needs_restart.clone() }
            }
            Err(reason) => Self::ReloadFailed { reason: reason.clone() },
        }
    }

    pub(super) fn stopped(stats: &ServerStats, graceful: bool) -> Self {
        // To the millisecond.
        let uptime = stats.uptime.as_millis() as f64 / 1000.0;
        Self::Stopped { graceful, uptime, counters: (&stats.rendezvous).into() }
    }
}

/// A line for people, if the event is of interest to them. Peers are named by the
/// beginning of their IDs.
pub(super) fn line(report: &Report) -> Option<String> {
    let short = |id: &str| id.chars().take(8).collect::<String>();
    match report {
        Report::ClientConnected { peer_id, address, app, name } => {
            let mut line = format!("client {} connected from {address}", short(peer_id));
            if let Some(name) = name {
                let _ = write!(line, " as {}", shortened(name));
            }
            if !app.is_empty() {
                let _ = write!(line, ", application {}", shortened(app));
            }
            Some(line)
        }
        Report::ClientGone { peer_id } => Some(format!("client {} gone", short(peer_id))),
        Report::ClientRefused { address, app, reason } => {
            Some(format!("client at {address} refused at {}: {reason}", shortened(app)))
        }
        Report::StreamPublished { peer_id, name, .. } => {
            Some(format!("stream {} published by {}", shortened(name), short(peer_id)))
        }
        Report::StreamEnded { name, .. } => Some(format!("stream {} ended", shortened(name))),
        _ => None,
    }
}

/// A client's text, with control characters escaped and cut to a length.
fn shortened(text: &str) -> String {
    let harmless = format::printable(text);
    let mut shown: String = harmless.chars().take(MAX_SHOWN).collect();
    if shown.len() < harmless.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::Fingerprint;
    use rtmfp::server::{RendezvousEvent, ServerEvent};

    fn connected(app: &str) -> Report {
        let event = RendezvousEvent::ClientConnected {
            peer: Fingerprint([0xab; 32]),
            address: ([192, 0, 2, 7], 5000).into(),
            app: app.to_owned(),
            name: None,
        };
        Report::of(&ServerEvent::Rendezvous(event)).unwrap()
    }

    #[test]
    fn a_client_in_words_and_as_json() {
        let event = connected("films");
        let line = line(&event).unwrap();
        assert_eq!(line, "client abababab connected from 192.0.2.7:5000, application films");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], "client_connected");
        assert_eq!(json["peer_id"], "ab".repeat(32));
        assert_eq!((&json["address"], &json["app"]), (&"192.0.2.7:5000".into(), &"films".into()));
    }

    #[test]
    fn hostile_text_of_clients_is_cut() {
        let line = line(&connected(&"\u{1b}[2J\n".repeat(10_000))).unwrap();
        assert!(line.chars().count() < 130 && !line.contains(char::is_control), "{line}");
    }
}
