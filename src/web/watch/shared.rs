//! [`Shared`]: what the responses share.

use super::files::Files;
use super::readers::Readers;
use super::status::{Level, Message, Status};
use crate::media::flv::Metadata;
use crate::media::fmp4::Tracks;
use crate::vod::file_name::safe_file_name;
use crate::vod::{Fetch, FetchConfig};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Films in FLV of which the tracks are remembered; beyond this, one is looked at again.
const MAX_REMUXABLE: usize = 32;

/// The longest time that a request waits for the fetch to begin, and for the description of its file.
const START: Duration = Duration::from_secs(20);

/// A film in FLV that a browser can play.
#[derive(Debug)]
pub(super) struct Remuxable {
    pub(super) tracks: Tracks,
    pub(super) metadata: Metadata,
    pub(super) duration: Duration,
    pub(super) size: u64,
    /// Its place in the share.
    pub(super) range: Range<u64>,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// Names the film and what is in it, so that parts of different films are never put together.
    entity_tag: String,
    reads_origin: bool,
    fetch: watch::Sender<Option<Arc<Fetch>>>,
    files: OnceLock<Arc<Files>>,
    remuxable: Mutex<BTreeMap<usize, Arc<Remuxable>>>,
    status: watch::Sender<Arc<Status>>,
    reasons: Mutex<Vec<String>>,
    closing: watch::Sender<bool>,
    readers: Readers,
}

impl Shared {
    pub(super) fn new(config: &FetchConfig) -> Self {
        let servers: Vec<String> = config.link.servers.iter().map(ToString::to_string).collect();
        let text = match servers.is_empty() {
            true => "Looking for members on the local network".to_owned(),
            false => format!("Connecting to {}", servers.join(", ")),
        };
        let mut status =
            Status { message: Message::new(Level::Waiting, text), ..Status::default() };
        status.film.name = config.link.name.as_deref().map(safe_file_name).unwrap_or_default();
        let digest = config.link.identity().to_string();
        Self {
            reads_origin: config.reads_origin(),
            entity_tag: format!("\"{}\"", digest.get(..32).unwrap_or(&digest)),
            fetch: watch::Sender::new(None),
            files: OnceLock::new(),
            remuxable: Mutex::default(),
            status: watch::Sender::new(Arc::new(status)),
            reasons: Mutex::default(),
            closing: watch::Sender::new(false),
            readers: Readers::default(),
        }
    }

    pub(super) fn entity_tag(&self) -> &str {
        &self.entity_tag
    }

    /// True if a web server is read for what the members lack.
    pub(super) fn reads_origin(&self) -> bool {
        self.reads_origin
    }

    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    pub(super) fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.subscribe()
    }

    pub(super) fn set_status(&self, status: Status) {
        self.status.send_if_modified(|before| {
            let has_changed = **before != status;
            *before = Arc::new(status);
            has_changed
        });
    }

    pub(super) fn set_fetch(&self, fetch: Option<Arc<Fetch>>) {
        self.fetch.send_replace(fetch);
    }

    /// The fetch and its files, which may be known in a moment. `None` if they are not.
    pub(super) async fn fetch(&self) -> Option<(Arc<Fetch>, Arc<Files>)> {
        let known = async {
            let mut fetch = self.fetch.subscribe();
            let fetch = fetch.wait_for(Option::is_some).await.ok()?.clone()?;
            let files = self.files(&fetch).await?;
            Some((fetch, files))
        };
        tokio::time::timeout(START, known).await.ok()?
    }

    /// The files of the share, once its description is here.
    pub(super) async fn files(&self, fetch: &Fetch) -> Option<Arc<Files>> {
        let descriptor = fetch.descriptor().await.ok()?;
        Some(Arc::clone(self.files.get_or_init(|| Arc::new(Files::of(&descriptor)))))
    }

    /// 0 before the description is here.
    pub(super) fn number_of_files(&self) -> usize {
        self.files.get().map_or(0, |files| files.len())
    }

    pub(super) fn set_remuxable(&self, index: usize, remuxable: Remuxable) {
        let mut known = self.remuxable.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMUXABLE {
            known.pop_first();
        }
        known.insert(index, Arc::new(remuxable));
    }

    /// The film for the browser, if this file is an FLV that can become one.
    pub(super) fn remuxable(&self, index: usize) -> Option<Arc<Remuxable>> {
        self.remuxable.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }

    pub(super) fn set_reasons(&self, reasons: Vec<String>) {
        *self.reasons.lock().unwrap_or_else(PoisonError::into_inner) = reasons;
    }

    pub(super) fn reasons(&self) -> Vec<String> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn fail(&self, reason: &str) {
        let mut status = Status::clone(&self.status.borrow());
        status.message = Message::new(Level::Error, reason.to_owned());
        self.set_status(status);
    }

    /// True from the moment when the page is closed.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(super) fn close(&self) {
        self.closing.send_replace(true);
        self.set_fetch(None);
    }
}
