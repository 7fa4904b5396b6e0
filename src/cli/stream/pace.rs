//! [`Pace`]: the time at which each tag of a file is due.

use std::time::Duration;

/// A step of timestamps up to this is a pause; a larger one, or one back, is another recording. In
/// milliseconds.
const MAX_STEP: i64 = 60_000;
/// Tags may be interleaved by as much. In milliseconds.
const MAX_BACK: i64 = 5_000;
/// The step from one recording to the next, in milliseconds.
const SEAM: u64 = 40;

/// Turns the timestamps of a file, or of several after each other, into times from its beginning,
/// which are also the timestamps that are sent.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The last timestamp of the file, and the time that it had.
    last: Option<(u32, u64)>,
    is_new: bool,
}

impl Pace {
    /// The file begins again, or another one does.
    pub(super) fn begin_again(&mut self) {
        self.is_new = true;
    }

    /// The time of a tag with this timestamp, in milliseconds since the beginning.
    pub(super) fn time(&mut self, timestamp: u32) -> u64 {
        let Some((last, time)) = self.last else {
            self.is_new = false;
            self.last = Some((timestamp, 0));
            return 0;
        };
        let step = i64::from(timestamp.wrapping_sub(last) as i32);
        let is_new = std::mem::take(&mut self.is_new);
        let at = match is_new || !(-MAX_BACK..=MAX_STEP).contains(&step) {
            true => time + SEAM,
            false => time.saturating_add_signed(step),
        };
        self.last = Some((timestamp, at));
        at
    }
}

/// A time of [`Pace`] as a duration.
pub(super) const fn since_start(time: u64) -> Duration {
    Duration::from_millis(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pace: &mut Pace, stamps: &[u32]) -> Vec<u64> {
        stamps.iter().map(|&stamp| pace.time(stamp)).collect()
    }

    #[test]
    fn a_file_begins_at_zero_and_keeps_its_steps() {
        let mut pace = Pace::default();
        assert_eq!(times(&mut pace, &[9000, 9040, 9023, 9080]), [0, 40, 23, 80]);
    }

    #[test]
    fn the_next_round_follows_the_first() {
        let mut pace = Pace::default();
        assert_eq!(times(&mut pace, &[0, 40, 80]), [0, 40, 80]);
        pace.begin_again();
        assert_eq!(times(&mut pace, &[0, 40]), [120, 160]);
    }

    #[test]
    fn a_jump_is_no_pause() {
        let mut pace = Pace::default();
        assert_eq!(times(&mut pace, &[0, 3_600_000, 3_600_040, 10]), [0, 40, 80, 120]);
        assert_eq!(times(&mut Pace::default(), &[u32::MAX - 9, 30]), [0, 40], "it wraps");
    }
}
