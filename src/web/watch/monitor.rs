//! What happens to the fetch, as a [`Status`].

use super::found;
use super::message::{Facts, SILENCE, message};
use super::shared::Shared;
use super::status::{Film, Held, Network, Player, Speed, Status, Traffic};
use crate::crypto::Fingerprint;
use crate::driver::{Clock, Rate};
use crate::transport::{LinkRates, Time};
use crate::vod::replica::Stage;
use crate::vod::session::Progress;
use crate::vod::{Fetch, FileEvent};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// Interval at which the state is published, if it has changed.
const INTERVAL: Duration = Duration::from_millis(500);

/// Follows the fetch until the page is closed.
pub(super) fn start(shared: Arc<Shared>, fetch: Arc<Fetch>) -> JoinHandle<()> {
    let events = fetch.events();
    shared.set_fetch(Some(Arc::clone(&fetch)));
    let film = watch::Sender::new(Film::default());
    let mut closing = shared.closing();
    tokio::spawn(async move {
        let (found, mut monitor) = (film.subscribe(), Monitor::new(&fetch));
        let failure = watch::Sender::new(None);
        tokio::select! {
            () = look(&shared, &fetch, &film) => {}
            () = monitor.run(&shared, &fetch, events, found, failure.subscribe()) => {}
            () = await_failure(&fetch, &failure) => {}
            _ = closing.wait_for(|is_closing| *is_closing) => {}
        }
    })
}

/// Finds out what the film is.
async fn look(shared: &Shared, fetch: &Fetch, film: &watch::Sender<Film>) {
    if let Some(files) = shared.files(fetch).await {
        let first = files.first();
        film.send_replace(found::described(&files, first).unwrap_or_default());
        if let Ok(found) = found::find(shared, fetch, &files, first).await {
            film.send_replace(found);
        }
    }
    std::future::pending().await
}

async fn await_failure(fetch: &Fetch, failure: &watch::Sender<Option<String>>) {
    if let Err(error) = fetch.completed().await {
        failure.send_replace(Some(error.to_string()));
    }
    std::future::pending().await
}

struct Monitor {
    provider: Option<Fingerprint>,
    /// Whether the provider is connected to, once it was met.
    is_provider_here: Option<bool>,
    down: Rate,
    up: Rate,
    links: LinkRates,
    clock: Clock,
    /// When something last arrived, and how much had by then.
    last: (Time, u64),
}

impl Monitor {
    fn new(fetch: &Fetch) -> Self {
        let clock = Clock::start();
        let rate = || Rate::of_steps(INTERVAL);
        Self {
            provider: fetch.provider(),
            is_provider_here: None,
            down: rate(),
            up: rate(),
            links: LinkRates::default(),
            last: (clock.now(), 0),
            clock,
        }
    }

    async fn run(
        &mut self,
        shared: &Shared,
        fetch: &Fetch,
        mut events: broadcast::Receiver<FileEvent>,
        film: watch::Receiver<Film>,
        failure: watch::Receiver<Option<String>>,
    ) {
        let progress = fetch.progress();
        let (_, has_met) = fetch.search().await;
        self.is_provider_here = self.is_provider_here.or(has_met.then_some(true));
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(event) = events.recv() => {
                    self.note(&event);
                    continue;
                }
            }
            let progress = progress.borrow().clone();
            let (film, failure) = (film.borrow().clone(), failure.borrow().clone());
            // Fails when the fetch has ended: then nothing is measured.
            let links = fetch.connection().stats().await.map(|stats| stats.links);
            self.links = links.unwrap_or(self.links);
            shared.set_status(self.status(shared, &progress, film, failure.as_deref()));
        }
    }

    fn note(&mut self, event: &FileEvent) {
        let (peer, is_here) = match event {
            FileEvent::NeighborConnect(peer) => (peer, true),
            FileEvent::NeighborDisconnect(peer) => (peer, false),
            _ => return,
        };
        if self.provider == Some(*peer) {
            self.is_provider_here = Some(is_here);
        }
    }

    fn status(
        &mut self,
        shared: &Shared,
        progress: &Progress,
        film: Film,
        failure: Option<&str>,
    ) -> Status {
        let now = self.clock.now();
        let arrived =
            progress.bytes_from_provider + progress.bytes_from_peers + progress.bytes_from_origin;
        let known = arrived + u64::from(progress.stage != Stage::Descriptor);
        if known != self.last.1 {
            self.last = (now, known);
        }
        let idle = now.since(self.last.0);
        let (down, up) = (self.down.update(arrived), self.up.update(progress.bytes_uploaded));
        let traffic = Traffic {
            from_provider: progress.bytes_from_provider,
            from_peers: progress.bytes_from_peers,
            from_origin: progress.bytes_from_origin,
            uploaded: progress.bytes_uploaded,
            // The average fades slowly: what has stopped to come is not shown as coming.
            down: if idle < SILENCE { down.round() } else { 0.0 },
            up: up.round(),
            saved: (arrived > 0).then(|| progress.bytes_from_peers as f64 / arrived as f64),
        };
        let (readers, waits_at) = shared.readers().state();
        let network = Network {
            is_connected: progress.connected,
            neighbors: progress.neighbors,
            members: progress.members,
            provider: self.is_provider_here,
            up_link: self.links.up.map(|up| up.rate.as_bytes_per_second()),
            is_up_full: self.links.up.is_some_and(|up| up.is_full),
            down_link: self.links.down.map(|down| down.rate.as_bytes_per_second()),
        };
        let held = Held {
            bytes: progress.held_bytes,
            size: progress.size,
            fraction: progress.fraction(),
            parts: progress.map.columns().to_vec(),
            is_complete: progress.stage == Stage::Complete,
        };
        let speed = speed(&film, &held, &traffic);
        let (film, files) = (named(film, shared), shared.number_of_files());
        let mut status = Status {
            film,
            files,
            held,
            network,
            traffic,
            speed,
            readers,
            waits_at,
            ..Status::default()
        };
        let reads_origin = shared.reads_origin() && progress.origin_error.is_none();
        let (stage, reasons) = (progress.stage, shared.reasons());
        let facts = Facts { stage, idle, failure, reads_origin, reasons };
        status.message = message(&status, facts);
        status
    }
}

/// The name that the link has, while there is no other.
fn named(film: Film, shared: &Shared) -> Film {
    match film.name.is_empty() {
        true => Film { name: shared.status().borrow().film.name.clone(), ..film },
        false => film,
    }
}

/// Whether the film arrives as fast as it is played, from its beginning to its end.
fn speed(film: &Film, held: &Held, traffic: &Traffic) -> Speed {
    let needed = film.bytes_per_second;
    let is_enough = match (needed, film.size) {
        _ if held.is_complete => Some(true),
        (Some(needed), Some(_)) => Some(traffic.down >= needed * (1.0 - held.fraction)),
        _ => None,
    };
    Speed { needed, is_enough: is_enough.filter(|_| film.player != Player::Unknown) }
}
