//! How much each source has of something, over all endpoints that share ports.
//!
//! The ports of one host are spread over all of them, so that a bound on a host can only be held
//! by all together. A tally is in pieces, each under a lock of its own, and is used when a session
//! or a keying begins or ends: never for a packet of a session.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

const PIECES: usize = 16;
/// Places that an almost empty piece keeps.
const KEPT_PLACES: usize = 256;

/// Counts by source.
#[derive(Debug, Default)]
pub(super) struct Tally {
    hasher: RandomState,
    pieces: [Mutex<HashMap<IpAddr, usize>>; PIECES],
    all: AtomicUsize,
}

impl Tally {
    /// The sum of all counts.
    pub(super) fn all(&self) -> usize {
        self.all.load(Relaxed)
    }

    /// The count of one source.
    pub(super) fn of(&self, source: IpAddr) -> usize {
        self.piece(source).get(&source).copied().unwrap_or(0)
    }

    /// Counts one more for a source, unless it has `max_of_source` or all together have `max`.
    pub(super) fn enter(&self, source: IpAddr, max_of_source: usize, max: usize) -> bool {
        let mut piece = self.piece(source);
        let count = piece.get(&source).copied().unwrap_or(0);
        if count >= max_of_source {
            return false;
        }
        // Taken first, so that two at once cannot both have the last place.
        if self.all.fetch_add(1, Relaxed) >= max {
            self.all.fetch_sub(1, Relaxed);
            return false;
        }
        piece.insert(source, count + 1);
        true
    }

    /// Counts one less for a source.
    pub(super) fn leave(&self, source: IpAddr) {
        let mut piece = self.piece(source);
        let Some(count) = piece.get_mut(&source) else { return };
        *count -= 1;
        if *count == 0 {
            piece.remove(&source);
            if piece.capacity() > KEPT_PLACES && piece.len() < piece.capacity() / 8 {
                let places = 2 * piece.len();
                piece.shrink_to(places);
            }
        }
        self.all.fetch_sub(1, Relaxed);
    }

    /// Nothing panics under the lock, so that a poisoned one is as good as any.
    fn piece(&self, source: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let index = self.hasher.hash_one(source) as usize % PIECES;
        self.pieces[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn source(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let tally = Tally::default();
        assert!((0..3).all(|_| tally.enter(source(1), 3, 5)));
        assert!(!tally.enter(source(1), 3, 5), "the source has its part");
        assert!((0..2).all(|_| tally.enter(source(2), 3, 5)));
        assert!(!tally.enter(source(3), 3, 5), "all have theirs");
        assert_eq!((tally.all(), tally.of(source(1)), tally.of(source(3))), (5, 3, 0));
        tally.leave(source(1));
        tally.leave(source(3));
        assert!(tally.enter(source(3), 3, 5));
        assert_eq!((tally.all(), tally.of(source(1)), tally.of(source(3))), (5, 2, 1));
    }

    /// Threads that all want the same places get as many as there are.
    #[test]
    fn hostile_threads_do_not_exceed_a_bound() {
        let tally = Tally::default();
        let entered = AtomicUsize::new(0);
        thread::scope(|scope| {
            for worker in 0..4u8 {
                let (tally, entered) = (&tally, &entered);
                scope.spawn(move || {
                    for turn in 0..2000 {
                        let source = source((turn % 3) as u8);
                        if tally.enter(source, 500, 1200) {
                            entered.fetch_add(1, Relaxed);
                            if (turn + usize::from(worker)).is_multiple_of(5) {
                                tally.leave(source);
                                entered.fetch_sub(1, Relaxed);
                            }
                        }
                    }
                });
            }
        });
        assert_eq!((tally.all(), entered.load(Relaxed)), (1200, 1200));
        assert!((0..3).all(|last| tally.of(source(last)) <= 500));
    }
}
