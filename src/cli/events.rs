//! Events of a share or fetch, as JSON for programs.

use super::chosen::Placed;
use super::console::Asked;
use super::in_force::{self, InForce};
use super::json::JsonLines;
use super::outcome;
use super::screen;
use super::situation::{Report, Situation};
use rtmfp::driver::Clock;
use rtmfp::proto::transport::Time;
use rtmfp::vod::catalogue::Entry;
use rtmfp::vod::replica::Stage;
use rtmfp::vod::session::Progress;
use rtmfp::vod::{CatalogueLink, Completed, Descriptor, FileEvent, ShareLink};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

/// The shortest time between two `progress` events.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// An event; `docs/json.md` describes its members.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Page { url: &'a str },
    Connecting { servers: Vec<String> },
    Shared { link: String, name: String, bytes: Option<u64>, chunks: u64, sha256: Option<String> },
    Catalogue { link: String },
    Entry { name: &'a str, bytes: Option<u64>, mime: Option<&'a str>, link: String },
    Connected { server: SocketAddr, again: bool },
    ConnectFailed { reason: String },
    Disconnected,
    NeighborConnected { peer_id: String },
    NeighborDisconnected { peer_id: String },
    Described { name: String, bytes: Option<u64>, chunks: u64 },
    BadObject { index: u64, peer_id: String, reason: String },
    Rejected { sha256: String },
    OriginRead { sha256: String },
    OriginFailed { reason: String },
    OriginGone { reason: String },
    OriginAlone,
    OriginProven,
    Progress(Progressed),
    Limits(in_force::Numbers),
    BadInput { reason: &'a str },
    Waiting(Waiting),
    Complete { sha256: String, path: Option<String>, bytes: u64, verified: bool },
    Stopped { bytes_uploaded: u64 },
    Failed { status: u8, reason: &'a str },
}

#[derive(Debug, Serialize)]
struct Progressed {
    #[serde(flatten)]
    numbers: Numbers,
    #[serde(flatten)]
    limits: in_force::Numbers,
}

#[derive(Debug, Serialize)]
struct Numbers {
    stage: &'static str,
    fraction: f64,
    bytes: Option<u64>,
    bytes_held: u64,
    bytes_from_provider: u64,
    bytes_from_peers: u64,
    bytes_from_origin: u64,
    bytes_uploaded: u64,
    connected: bool,
    members_known: usize,
    members_met: usize,
    neighbors: usize,
}

impl From<&Progress> for Numbers {
    fn from(progress: &Progress) -> Self {
        Self {
            stage: stage(progress.stage),
            fraction: progress.fraction(),
            bytes: progress.size,
            bytes_held: progress.held_bytes,
            bytes_from_provider: progress.bytes_from_provider,
            bytes_from_peers: progress.bytes_from_peers,
            bytes_from_origin: progress.bytes_from_origin,
            bytes_uploaded: progress.bytes_uploaded,
            connected: progress.connected,
            members_known: progress.members,
            members_met: progress.met,
            neighbors: progress.neighbors,
        }
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Descriptor => "descriptor",
        Stage::Opening => "opening",
        Stage::Chunks => "chunks",
        Stage::Finishing => "finishing",
        Stage::Complete => "complete",
        _ => "failed",
    }
}

/// The reasons why nothing arrives.
#[derive(Debug, Serialize)]
struct Waiting {
    idle: f64,
    #[serde(flatten)]
    report: Report,
    provider: Option<String>,
    provider_met: Option<bool>,
}

impl Waiting {
    fn new(idle: Duration, situation: &Situation) -> Self {
        Self {
            idle: idle.as_secs_f64(),
            report: Report::of(situation),
            provider: situation.provider.map(|(peer, _)| peer.to_string()),
            provider_met: situation.provider.map(|(_, was_met)| was_met),
        }
    }
}

/// Reports to a program, if `--json` asks for it; otherwise does nothing.
pub(crate) struct Reporter {
    lines: Option<JsonLines>,
    clock: Clock,
    last: RefCell<Option<(Time, Progress)>>,
    limits: Cell<InForce>,
}

impl Reporter {
    pub(crate) fn new(json: bool) -> Self {
        let lines = json.then(JsonLines::new);
        Self { lines, clock: Clock::start(), last: RefCell::new(None), limits: Cell::default() }
    }

    /// True if standard output is for events alone.
    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    fn emit(&self, event: &Event<'_>) {
        if let Some(lines) = &self.lines {
            lines.emit(event);
        }
    }

    pub(crate) fn page(&self, url: &str) {
        self.emit(&Event::Page { url });
    }

    pub(crate) fn connecting(&self, servers: impl Iterator<Item = String>) {
        self.emit(&Event::Connecting { servers: servers.collect() });
    }

    pub(crate) fn connected(&self, server: Option<SocketAddr>) {
        if let Some(server) = server {
            self.emit(&Event::Connected { server, again: false });
        }
    }

    pub(crate) fn shared(&self, link: &ShareLink, descriptor: &Descriptor) {
        self.emit(&Event::Shared {
            link: link.to_string(),
            name: descriptor.file_name(),
            bytes: descriptor.layout.size(),
            chunks: descriptor.layout.chunks(),
            sha256: descriptor.sha256.map(|sha256| sha256.to_string()),
        });
    }

    pub(crate) fn catalogue(&self, link: &CatalogueLink) {
        self.emit(&Event::Catalogue { link: link.to_string() });
    }

    pub(crate) fn entry(&self, entry: &Entry) {
        let (name, mime, link) = (&entry.name, entry.mime.as_deref(), entry.link.to_string());
        self.emit(&Event::Entry { name, bytes: entry.size, mime, link });
    }

    /// Reports the progress of a share or fetch, if it has changed, once a second, and at once when
    /// another stage has begun.
    pub(crate) fn progress(&self, progress: &Progress) {
        let now = self.clock.now();
        let mut last = self.last.borrow_mut();
        let is_due = last.as_ref().is_none_or(|(then, before)| {
            before.stage != progress.stage
                || (before != progress && now.since(*then) >= PROGRESS_INTERVAL)
        });
        if self.is_on() && is_due {
            let (numbers, limits) = (progress.into(), self.limits.get().numbers());
            self.emit(&Event::Progress(Progressed { numbers, limits }));
            *last = Some((now, progress.clone()));
        }
    }

    /// The limits of which `progress` reports from now on.
    pub(crate) fn set_limits(&self, limits: InForce) {
        self.limits.set(limits);
    }

    /// Answers a line on standard input, after which these limits are in force.
    pub(crate) fn answer(&self, asked: &Asked, limits: InForce) {
        self.set_limits(limits);
        match asked {
            Asked::Wrong(reason) if self.is_on() => self.emit(&Event::BadInput { reason }),
            Asked::Wrong(reason) => screen::error(reason),
            Asked::Limits if self.is_on() => self.emit(&Event::Limits(limits.numbers())),
            Asked::Limits => screen::line(&limits.sentence()),
            Asked::Change(_) | Asked::Nothing => {}
        }
    }

    pub(crate) fn file_event(&self, event: &FileEvent) {
        let event = match event {
            FileEvent::Connected { server, again } => {
                Event::Connected { server: *server, again: *again }
            }
            FileEvent::ConnectFailed(error) => Event::ConnectFailed { reason: error.to_string() },
            FileEvent::Disconnected => Event::Disconnected,
            FileEvent::NeighborConnect(peer) => {
                Event::NeighborConnected { peer_id: peer.to_string() }
            }
            FileEvent::NeighborDisconnect(peer) => {
                Event::NeighborDisconnected { peer_id: peer.to_string() }
            }
            FileEvent::DescriptorKnown(descriptor) => Event::Described {
                name: descriptor.file_name(),
                bytes: descriptor.layout.size(),
                chunks: descriptor.layout.chunks(),
            },
            FileEvent::BadObject { from, index, fault } => Event::BadObject {
                index: *index,
                peer_id: from.to_string(),
                reason: fault.to_string(),
            },
            FileEvent::FileRejected { actual } => Event::Rejected { sha256: actual.to_string() },
            FileEvent::OriginRead { sha256 } => Event::OriginRead { sha256: sha256.to_string() },
            FileEvent::OriginFailed(error) => Event::OriginFailed { reason: error.to_string() },
            FileEvent::OriginGone(error) => Event::OriginGone { reason: error.to_string() },
            FileEvent::OriginAlone => Event::OriginAlone,
            FileEvent::OriginProven(_) => Event::OriginProven,
            // These have events of their own.
            _ => return,
        };
        self.emit(&event);
    }

    pub(crate) fn waiting(&self, idle: Duration, situation: &Situation) {
        self.emit(&Event::Waiting(Waiting::new(idle, situation)));
    }

    pub(crate) fn complete(&self, completed: &Completed, bytes: u64, verified: bool) {
        let path = completed.path.as_ref().map(|path| path.display().to_string());
        self.emit(&Event::Complete { sha256: completed.sha256.to_string(), path, bytes, verified });
    }

    /// One of the files that were chosen of a share is complete.
    pub(crate) fn placed(&self, file: &Placed, verified: bool) {
        let (sha256, path) = (file.sha256.to_string(), Some(file.path.display().to_string()));
        self.emit(&Event::Complete { sha256, path, bytes: file.size, verified });
    }

    pub(crate) fn stopped(&self, bytes_uploaded: u64) {
        self.emit(&Event::Stopped { bytes_uploaded });
    }

    /// The last event, if the command fails.
    pub(crate) fn ended(&self, outcome: &anyhow::Result<()>) {
        if let Err(error) = outcome {
            let reason = outcome::text(error);
            self.emit(&Event::Failed { status: outcome::status(error), reason: &reason });
        }
    }
}
