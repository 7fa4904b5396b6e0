//! Events of a server as they are serialized: `docs/json.md` describes their members.

use super::{LimitReached, RendezvousEvent, RendezvousStats, ServerEvent};
use serde::Serialize;
use std::net::SocketAddr;

/// Characters of a client's text that are reported.
const MAX_TEXT: usize = 60;

/// An event that `rtmfp serve --json` and its page report. IDs are hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Report {
    /// A client has connected.
    ClientConnected {
        /// Its peer ID.
        peer_id: String,
        /// Its address.
        address: SocketAddr,
        /// The application, without a token, at most 60 characters of it.
        app: String,
        /// The name that its token gives it, likewise.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A client is gone.
    ClientGone {
        /// Its peer ID.
        peer_id: String,
    },
    /// A client has joined a group.
    Joined {
        /// Its peer ID.
        peer_id: String,
        /// The group.
        group_id: String,
        /// Members now.
        members: usize,
    },
    /// A client has left a group.
    Left {
        /// Its peer ID.
        peer_id: String,
        /// The group.
        group_id: String,
        /// Members now.
        members: usize,
    },
    /// A client publishes a stream.
    StreamPublished {
        /// Its peer ID.
        peer_id: String,
        /// The application, at most 60 characters of it.
        app: String,
        /// The name of the stream, likewise.
        name: String,
    },
    /// A client publishes a stream no longer.
    StreamEnded {
        /// Its peer ID.
        peer_id: String,
        /// The application, at most 60 characters of it.
        app: String,
        /// The name of the stream, likewise.
        name: String,
    },
    /// A client was refused.
    ClientRefused {
        /// Its address.
        address: SocketAddr,
        /// The application, without a token, at most 60 characters of it.
        app: String,
        /// Why, in words.
        reason: String,
    },
    /// A peer at an address asked for a client, and was introduced.
    Introduced {
        /// The address that asked.
        from: SocketAddr,
        /// Its peer ID.
        peer_id: String,
    },
    /// The counters, once a minute if they have changed.
    Counters(Counters),
    /// A limit was reached.
    LimitReached {
        /// The settings that could have been the reason.
        limit: &'static str,
        /// What the server did.
        effect: &'static str,
        /// How often since the last such event.
        times: u64,
    },
    /// Events were dropped, as they were not read soon enough.
    Lagged {
        /// The number of them.
        missed: u64,
    },
}

/// Counters of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Clients that are connected now.
    pub clients: usize,
    /// Groups with members now.
    pub groups: usize,
    /// Clients that have ever connected.
    pub connected: u64,
    /// Introductions made.
    pub introductions: u64,
    /// Streams that are published now.
    pub streams: usize,
    /// NetStreams that play one, or wait for it.
    pub players: usize,
    /// Streams that were ever published.
    pub streams_published: u64,
    /// Messages of streams that were dropped, as too much waited.
    pub stream_messages_dropped: u64,
    /// Hellos for peers that are not connected.
    pub unknown_peers: u64,
    /// Hellos ignored because one address asked for too many.
    pub introductions_limited: u64,
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

impl Report {
    /// The events that are reported: all but those that concern key logs alone.
    pub fn of(event: &ServerEvent) -> Option<Self> {
        let event = match event {
            ServerEvent::Counters(stats) => return Some(Self::Counters((&**stats).into())),
            ServerEvent::LimitReached(LimitReached { limit, effect, times }) => {
                return Some(Self::LimitReached { limit, effect, times: *times });
            }
            ServerEvent::Rendezvous(event) => event,
        };
        Some(match event {
            RendezvousEvent::ClientConnected { peer, address, app, name } => {
                Self::ClientConnected {
                    peer_id: peer.to_string(),
                    address: *address,
                    app: cut(app),
                    name: name.as_deref().map(cut),
                }
            }
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
            RendezvousEvent::ClientRefused { address, app, reason } => {
                Self::ClientRefused { address: *address, app: cut(app), reason: reason.to_string() }
            }
            RendezvousEvent::Introduced { from, to } => {
                Self::Introduced { from: *from, peer_id: to.to_string() }
            }
            _ => return None,
        })
    }
}

/// The beginning of a client's text.
fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
