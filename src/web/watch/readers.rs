//! [`Readers`]: the places at which responses read the film.

use crate::driver::Clock;
use crate::transport::Time;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Responses that read the film at a time.
pub const MAX_READERS: usize = 24;

/// A pause after which a reader counts as waiting. Shorter ones are not noticed by who watches.
const PAUSE: Duration = Duration::from_millis(700);

#[derive(Debug)]
pub(super) struct Readers {
    places: Arc<Mutex<BTreeMap<u64, State>>>,
    next: watch::Sender<u64>,
    /// Changes when a reader goes.
    gone: watch::Sender<()>,
    clock: Clock,
}

#[derive(Debug, Clone, Copy)]
struct State {
    position: u64,
    /// Since when it has waited for the bytes there.
    since: Option<Time>,
}

impl Default for Readers {
    fn default() -> Self {
        let (next, gone) = (watch::Sender::new(0), watch::Sender::new(()));
        Self { places: Arc::default(), next, gone, clock: Clock::start() }
    }
}

impl Readers {
    /// A place for a further reader; `None` if there are [`MAX_READERS`].
    pub(super) fn enter(&self, position: u64) -> Option<Place> {
        let mut places = lock(&self.places);
        if places.len() >= MAX_READERS {
            return None;
        }
        let mut number = 0;
        self.next.send_modify(|next| {
            number = *next;
            *next += 1;
        });
        places.insert(number, State { position, since: None });
        let (places, gone) = (Arc::clone(&self.places), self.gone.clone());
        Some(Place { number, places, gone, clock: self.clock })
    }

    /// The number of readers, and the position of one that waits for bytes that are missing, of
    /// several the newest.
    pub(super) fn state(&self) -> (usize, Option<u64>) {
        let now = self.clock.now();
        let places = lock(&self.places);
        let waits = |state: &&State| state.since.is_some_and(|since| now.since(since) >= PAUSE);
        (places.len(), places.values().rev().find(waits).map(|state| state.position))
    }

    /// Waits until there is none, at most for `grace`.
    pub(super) async fn all_gone(&self, grace: Duration) {
        let mut gone = self.gone.subscribe();
        let all = async { while !lock(&self.places).is_empty() && gone.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(grace, all).await;
    }
}

/// The place of a reader, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Arc<Mutex<BTreeMap<u64, State>>>,
    gone: watch::Sender<()>,
    clock: Clock,
}

impl Place {
    /// The bytes at this position are needed, and perhaps missing.
    pub(super) fn needs(&self, position: u64) {
        let since = Some(self.clock.now());
        lock(&self.places).insert(self.number, State { position, since });
    }

    /// They are here; the client takes its time.
    pub(super) fn has(&self, position: u64) {
        lock(&self.places).insert(self.number, State { position, since: None });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places).remove(&self.number);
        self.gone.send_replace(());
    }
}

fn lock(places: &Mutex<BTreeMap<u64, State>>) -> MutexGuard<'_, BTreeMap<u64, State>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_counted_and_bounded() {
        let readers = Readers::default();
        let mut places: Vec<Place> = std::iter::from_fn(|| readers.enter(0)).collect();
        assert_eq!((places.len(), readers.state().0), (MAX_READERS, MAX_READERS));
        places[3].needs(7);
        assert_eq!(readers.state().1, None, "it has not waited long");
        places.clear();
        assert_eq!(readers.state(), (0, None));
    }
}
