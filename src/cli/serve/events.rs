//! Events of the server, as lines for people or as JSON.

use super::screen::Url;
use crate::cli::format;
use rtmfp::server::{RendezvousEvent, RendezvousStats};
use rtmfp::server::{Server, ServerEvent, ServerStats};
use serde::Serialize;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Characters of a client's text that are shown.
const MAX_SHOWN: usize = 60;

/// An event as JSON; `docs/json.md` describes its members.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Listening {
        addresses: Vec<SocketAddr>,
        urls: Vec<String>,
        fingerprint: String,
    },
    ClientConnected {
        peer_id: String,
        address: SocketAddr,
        app: String,
    },
    ClientGone {
        peer_id: String,
    },
    Joined {
        peer_id: String,
        group_id: String,
        members: usize,
    },
    Left {
        peer_id: String,
        group_id: String,
        members: usize,
    },
    StreamPublished {
        peer_id: String,
        app: String,
        name: String,
    },
    StreamEnded {
        peer_id: String,
        app: String,
        name: String,
    },
    ClientRefused {
        address: SocketAddr,
        app: String,
    },
    Introduced {
        from: SocketAddr,
        peer_id: String,
    },
    Counters(Counters),
    Lagged {
        missed: u64,
    },
    Stopping,
    Stopped {
        graceful: bool,
        uptime: f64,
        #[serde(flatten)]
        counters: Counters,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Counters {
    clients: usize,
    groups: usize,
    connected: u64,
    introductions: u64,
    streams: usize,
    players: usize,
    streams_published: u64,
    stream_messages_dropped: u64,
    unknown_peers: u64,
    introductions_limited: u64,
}

impl From<&RendezvousStats> for Counters {
    fn from(stats: &RendezvousStats) -> Self {
        Self {
            clients: stats.clients,
            groups: stats.groups,
            connected: stats.connected,
            introductions: stats.introductions,
            streams: stats.streams,
            players: stats.players,
            streams_published: stats.streams_published,
            stream_messages_dropped: stats.stream_messages_dropped,
            unknown_peers: stats.unknown_peers,
            introductions_limited: stats.introductions_limited,
        }
    }
}

impl Event {
    pub(super) fn listening(server: &Server, urls: &[Url]) -> Self {
        Self::Listening {
            addresses: server.local_addresses().to_vec(),
            urls: urls.iter().map(|url| url.text.clone()).collect(),
            fingerprint: server.fingerprint().to_string(),
        }
    }

    pub(super) fn stopped(stats: &ServerStats, graceful: bool) -> Self {
        // To the millisecond.
        let uptime = stats.uptime.as_millis() as f64 / 1000.0;
        Self::Stopped { graceful, uptime, counters: (&stats.rendezvous).into() }
    }

    /// The events that are reported: all but those that concern key logs alone.
    pub(super) fn of(event: &ServerEvent) -> Option<Self> {
        let event = match event {
            ServerEvent::Counters(stats) => return Some(Self::Counters((&**stats).into())),
            ServerEvent::Rendezvous(event) => event,
            _ => return None,
        };
        Some(match event {
            RendezvousEvent::ClientConnected { peer, address, app } => Self::ClientConnected {
                peer_id: peer.to_string(),
                address: *address,
                app: cut(app),
            },
            RendezvousEvent::ClientGone { peer } => Self::ClientGone { peer_id: peer.to_string() },
            RendezvousEvent::Joined { peer, group, members } => Self::Joined {
                peer_id: peer.to_string(),
                group_id: group.to_string(),
                members: *members,
            },
            RendezvousEvent::Left { peer, group, members } => Self::Left {
                peer_id: peer.to_string(),
                group_id: group.to_string(),
                members: *members,
            },
            RendezvousEvent::StreamPublished { peer, app, name } => {
                Self::StreamPublished { peer_id: peer.to_string(), app: cut(app), name: cut(name) }
            }
            RendezvousEvent::StreamEnded { peer, app, name } => {
                Self::StreamEnded { peer_id: peer.to_string(), app: cut(app), name: cut(name) }
            }
            RendezvousEvent::ClientRefused { address, app } => {
                Self::ClientRefused { address: *address, app: cut(app) }
            }
            RendezvousEvent::Introduced { from, to } => {
                Self::Introduced { from: *from, peer_id: to.to_string() }
            }
            _ => return None,
        })
    }

    /// A line for people, if the event is of interest to them. Peers are named by the
    /// beginning of their IDs.
    pub(super) fn line(&self) -> Option<String> {
        let short = |id: &str| id.chars().take(8).collect::<String>();
        match self {
            Self::ClientConnected { peer_id, address, app } => {
                let mut line = format!("client {} connected from {address}", short(peer_id));
                if !app.is_empty() {
                    let _ = write!(line, ", application {}", shortened(app));
                }
                Some(line)
            }
            Self::ClientGone { peer_id } => Some(format!("client {} gone", short(peer_id))),
            Self::ClientRefused { address, app } => {
                Some(format!("client at {address} refused: no application {}", shortened(app)))
            }
            Self::StreamPublished { peer_id, name, .. } => {
                Some(format!("stream {} published by {}", shortened(name), short(peer_id)))
            }
            Self::StreamEnded { name, .. } => Some(format!("stream {} ended", shortened(name))),
            _ => None,
        }
    }
}

/// The beginning of a client's text.
fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
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

    fn connected(app: &str) -> Event {
        let event = RendezvousEvent::ClientConnected {
            peer: Fingerprint([0xab; 32]),
            address: ([192, 0, 2, 7], 5000).into(),
            app: app.to_owned(),
        };
        Event::of(&ServerEvent::Rendezvous(event)).unwrap()
    }

    #[test]
    fn a_client_in_words_and_as_json() {
        let event = connected("films");
        let line = event.line().unwrap();
        assert_eq!(line, "client abababab connected from 192.0.2.7:5000, application films");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], "client_connected");
        assert_eq!(json["peer_id"], "ab".repeat(32));
        assert_eq!((&json["address"], &json["app"]), (&"192.0.2.7:5000".into(), &"films".into()));
    }

    #[test]
    fn hostile_text_of_clients_is_cut() {
        let line = connected(&"\u{1b}[2J\n".repeat(10_000)).line().unwrap();
        assert!(line.chars().count() < 130 && !line.contains(char::is_control), "{line}");
    }
}
