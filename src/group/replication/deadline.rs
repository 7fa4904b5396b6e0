//! When the application plays an object at the earliest.
//!
//! How much a player has buffered is not known here. But it plays no faster than its rate, and nothing
//! that it has not read, so the moves of a playhead bound how far it has played.

use super::Replication;
use super::playhead::Playheads;
use crate::transport::Time;

/// What is played within so many seconds is due.
const DUE: f64 = 2.0;

/// How far a reader has played at most at a time, in objects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Played {
    objects: f64,
    at: Time,
}

impl Played {
    /// The same at a later time, at a rate in objects a second; the reader is at the index `playhead`.
    fn later(self, now: Time, per_second: f64, playhead: u64) -> Self {
        let objects = self.objects + per_second * now.since(self.at).as_secs_f64();
        Self { objects: objects.min(playhead as f64), at: now }
    }
}

impl Playheads {
    /// How far the readers at new playheads have played: each has come from one that was at most
    /// `reach` objects before it, or begins to play now.
    pub(super) fn follow(
        &self,
        now: Time,
        new: &[u64],
        per_second: f64,
        reach: u64,
    ) -> Vec<Played> {
        let came_from = |new: u64| {
            let mut old = self.at.iter().zip(&self.played);
            old.find(|&(&at, _)| (at..=at.saturating_add(reach)).contains(&new))
        };
        let played = new.iter().map(|&new| match came_from(new) {
            Some((&at, played)) => played.later(now, per_second, at),
            None => Played { objects: new as f64, at: now },
        });
        played.collect()
    }

    /// Seconds until an object is played at the earliest; infinite if no reader is before it.
    fn seconds_left(&self, now: Time, index: u64, per_second: f64) -> f64 {
        let readers = self.at.iter().zip(&self.played).filter(|&(&at, _)| at <= index);
        let left = readers.map(|(&at, played)| {
            (index as f64 - played.later(now, per_second, at).objects) / per_second
        });
        left.fold(f64::INFINITY, f64::min)
    }
}

impl Replication {
    /// Objects that the application plays in a second, if that is known.
    pub(super) fn objects_per_second(&self) -> Option<f64> {
        let rate = self.playheads.rate.filter(|rate| *rate > 0 && self.object_size > 0)?;
        Some(rate as f64 / self.object_size as f64)
    }

    /// Seconds until an object is played at the earliest, if the rate of playing is known.
    pub(super) fn seconds_left(&self, now: Time, index: u64) -> Option<f64> {
        Some(self.playheads.seconds_left(now, index, self.objects_per_second()?))
    }

    /// True if an object may be played next.
    pub(super) fn is_due(&self, now: Time, index: u64) -> bool {
        self.seconds_left(now, index).is_some_and(|left| left < DUE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a reader is after so many milliseconds, at four objects a second.
    fn move_to(playheads: &mut Playheads, millis: u64, at: u64) {
        let now = Time::from_millis(millis);
        playheads.played = playheads.follow(now, &[at], 4.0, 40);
        playheads.at = vec![at];
    }

    #[test]
    fn a_buffer_is_what_was_read_and_cannot_have_played() {
        let mut playheads = Playheads::default();
        let left = |playheads: &Playheads, millis, index| {
            playheads.seconds_left(Time::from_millis(millis), index, 4.0)
        };
        move_to(&mut playheads, 0, 1);
        assert_eq!(left(&playheads, 0, 1), 0.0);
        assert_eq!(left(&playheads, 5000, 3), 0.5, "nothing is played that was not read");
        // Ten seconds of it are read at once.
        move_to(&mut playheads, 5000, 41);
        assert_eq!(left(&playheads, 5000, 41), 10.0);
        assert_eq!(left(&playheads, 9000, 41), 6.0);
        assert_eq!(left(&playheads, 20_000, 45), 1.0, "it waits at its playhead");
        assert_eq!(left(&playheads, 20_000, 40), f64::INFINITY, "played");
        // After a jump it plays at once.
        move_to(&mut playheads, 20_000, 200);
        assert_eq!(left(&playheads, 20_000, 204), 1.0);
    }
}
