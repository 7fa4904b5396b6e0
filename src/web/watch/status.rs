//! [`Status`]: what the page shows, as `/api/status` and `/events` have it. `docs/watch.md` describes
//! its members.

use serde::Serialize;

/// The state of a film that is watched.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// What to tell who watches.
    pub message: Message,
    /// The film, or the one to play first.
    pub film: Film,
    /// The number of files in the share, which `/api/files` lists.
    pub files: usize,
    /// The parts that are here.
    pub held: Held,
    /// The members of the group.
    pub network: Network,
    /// Bytes so far, and a second.
    pub traffic: Traffic,
    /// Whether the film arrives as fast as it is played.
    pub speed: Speed,
    /// Responses that read the film.
    pub readers: usize,
    /// The position at which one of them waits for bytes that are missing.
    pub waits_at: Option<u64>,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// Nothing keeps the film from being played.
    #[default]
    Fine,
    /// It begins or goes on in a moment, or when somebody comes.
    Waiting,
    /// Something is worth knowing, or must be done.
    Warning,
    /// It is over.
    Error,
}

/// A message to who watches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Message {
    /// How much it matters.
    pub level: Level,
    /// A sentence or two; empty if there is nothing to say.
    pub text: String,
    /// Reasons, a line each.
    pub details: Vec<String>,
}

impl Message {
    pub(super) fn new(level: Level, text: String) -> Self {
        Self { level, text, details: Vec::new() }
    }
}

/// A film.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Film {
    /// The name of its file; empty while it is unknown.
    pub name: String,
    /// The path of its URL here, once it can be read.
    pub path: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// Where it begins in the share, in bytes: 0 for a single file.
    pub offset: u64,
    /// The number of its file in the share, counted from 0.
    pub index: usize,
    /// `mp4`, `webm` (also Matroska) or `flv`.
    pub container: Option<&'static str>,
    /// Seconds.
    pub duration: Option<f64>,
    /// The mean over the whole film.
    pub bytes_per_second: Option<f64>,
    /// How the page plays it.
    pub player: Player,
}

/// How the page plays a film.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Player {
    /// Not known yet.
    #[default]
    Unknown,
    /// The browser reads the file.
    Native,
    /// By pieces from `/remuxed`, of this media type.
    Remuxed {
        /// With codecs.
        media_type: String,
    },
    /// Not at all; other players may.
    None {
        /// The reason.
        reason: String,
    },
}

/// The parts of a film that are here.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Held {
    /// Bytes.
    pub bytes: u64,
    /// Bytes of the whole share.
    pub size: Option<u64>,
    /// Of the whole, from 0 to 1.
    pub fraction: f64,
    /// The same of each of at most 64 parts of the file, in order.
    pub parts: Vec<f32>,
    /// True if everything is here and verified.
    pub is_complete: bool,
}

/// The members of the group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Network {
    /// The connection to the rendezvous server is up.
    pub is_connected: bool,
    /// Members connected to now.
    pub neighbors: usize,
    /// Members known now.
    pub members: usize,
    /// Whether the provider that the link names is connected to; `null` if it names none, or was not
    /// met yet.
    pub provider: Option<bool>,
    /// Bytes a second that the uplink carries, if it is known; more, unless `is_up_full`.
    pub up_link: Option<u64>,
    /// The uplink was the bottleneck.
    pub is_up_full: bool,
    /// Bytes a second that the downlink carries at least.
    pub down_link: Option<u64>,
}

/// Bytes so far, and a second.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes of the film that the provider sent.
    pub from_provider: u64,
    /// Bytes that others sent.
    pub from_peers: u64,
    /// Bytes that were read from the web server that the link names.
    pub from_origin: u64,
    /// Bytes that others got from here.
    pub uploaded: u64,
    /// Bytes a second that arrive.
    pub down: f64,
    /// Bytes a second that are sent.
    pub up: f64,
    /// The part of what arrived that neither the provider nor the web server had to send, from 0 to 1.
    pub saved: Option<f64>,
}

/// Whether a film arrives as fast as it is played.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Speed {
    /// Bytes a second that it needs on average.
    pub needed: Option<f64>,
    /// True if what is missing arrives in less time than the film takes, as it does now.
    pub is_enough: Option<bool>,
}
