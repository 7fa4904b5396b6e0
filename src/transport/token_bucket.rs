//! One token bucket for bytes, whose level may be below zero.

use super::{Bandwidth, Time};
use std::time::Duration;

/// Units of the level: a byte a second fills one in a microsecond.
const UNITS_OF_BYTE: i128 = 1_000_000;

/// Bytes that may be spent: they come at a rate up to a level, and are spent whether they are there
/// or not, so that the owner decides what waits and what goes first.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    rate: Bandwidth,
    /// In millionths of a byte.
    level: i128,
    /// When the level was computed.
    at: Time,
}

impl TokenBucket {
    /// An empty bucket.
    pub(crate) const fn new(now: Time, rate: Bandwidth) -> Self {
        Self { rate, level: 0, at: now }
    }

    /// The rate from now on.
    pub(crate) fn set_rate(&mut self, now: Time, rate: Bandwidth) {
        self.fill(now, u64::MAX);
        self.rate = rate;
    }

    pub(crate) const fn rate(&self) -> Bandwidth {
        self.rate
    }

    /// Adds what has come since the last call; what would exceed `most` bytes is lost.
    pub(crate) fn fill(&mut self, now: Time, most: u64) {
        let micros = now.since(self.at).as_micros() as i128;
        self.at = self.at.max(now);
        let come = micros.saturating_mul(i128::from(self.rate.as_bytes_per_second()));
        self.level = self.level.saturating_add(come).min(i128::from(most) * UNITS_OF_BYTE);
    }

    /// Spends bytes. The level does not fall below `-debt`.
    pub(crate) fn spend(&mut self, bytes: u64, debt: u64) {
        let spent = self.level - i128::from(bytes) * UNITS_OF_BYTE;
        self.level = spent.max(-i128::from(debt) * UNITS_OF_BYTE);
    }

    /// Bytes in the bucket when it was last filled, rounded down.
    pub(crate) fn level(&self) -> i64 {
        let bytes = self.level.div_euclid(UNITS_OF_BYTE);
        i64::try_from(bytes).unwrap_or(if bytes < 0 { i64::MIN } else { i64::MAX })
    }

    /// When there will be so many bytes.
    pub(crate) fn when(&self, bytes: u64) -> Time {
        let missing = i128::from(bytes) * UNITS_OF_BYTE - self.level;
        let rate = i128::from(self.rate.as_bytes_per_second());
        let micros = (missing.max(0) + rate - 1) / rate;
        self.at + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn fills_at_its_rate_up_to_the_most() {
        let mut bucket = TokenBucket::new(at(1000), Bandwidth::bytes_per_second(10_000));
        bucket.fill(at(1100), 5000);
        assert_eq!(bucket.level(), 1000);
        bucket.fill(at(9000), 5000);
        assert_eq!(bucket.level(), 5000);
        bucket.fill(at(8000), 5000);
        assert_eq!(bucket.level(), 5000, "time does not go back");
    }

    #[test]
    fn debts_are_paid_with_time() {
        let mut bucket = TokenBucket::new(at(0), Bandwidth::bytes_per_second(10_000));
        bucket.spend(3000, 2000);
        assert_eq!(bucket.level(), -2000);
        assert_eq!(bucket.when(0), at(200));
        assert_eq!(bucket.when(500), at(250));
        bucket.set_rate(at(100), Bandwidth::bytes_per_second(20_000));
        assert_eq!(bucket.level(), -1000);
        assert_eq!(bucket.when(0), at(150));
        bucket.fill(at(150), 100);
        assert_eq!((bucket.level(), bucket.when(0)), (0, at(150)));
    }

    #[test]
    fn the_largest_numbers() {
        let mut bucket = TokenBucket::new(at(0), Bandwidth::bytes_per_second(u64::MAX));
        bucket.fill(Time::from_micros(u64::MAX), u64::MAX);
        assert_eq!(bucket.level(), i64::MAX);
        bucket.spend(u64::MAX, u64::MAX);
        bucket.spend(u64::MAX, u64::MAX);
        assert_eq!(bucket.level(), i64::MIN);
        assert_eq!(bucket.when(u64::MAX), Time::from_micros(u64::MAX));
    }
}
