//! What a link was found to carry in one direction, from real transfers.
//!
//! Nothing is sent to measure. What passes in [`WINDOW`] without a gap is what the link carries, or
//! less; the best of these in the last minutes is at least known to pass. Only when the link itself was
//! the bottleneck all that time, which shows for the own uplink (`uplink`), the rate is that of the
//! link, and a lower one replaces a higher one.

use super::{Bandwidth, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes are counted in this interval.
const INTERVAL: Duration = Duration::from_millis(250);
/// A rate counts when it was sustained for so long.
const WINDOW: Duration = Duration::from_secs(2);
/// A pause so long ends what was sustained.
const PAUSE: Duration = Duration::from_millis(750);
/// The best rate is that of one to two of these.
const LATELY: Duration = Duration::from_secs(600);
/// A full link has carried this part of its rate more: it is another one.
const MORE: f64 = 1.25;
/// The part that the last window has in the rate of a full link.
const WEIGHT: f64 = 0.25;
/// After so much time of transfers that did not fill the link, it is believed to carry twice as much,
/// and so on; after so many times nothing is believed.
const DOUBT: Duration = Duration::from_secs(10);
const MAX_DOUBLINGS: u32 = 6;
/// Less than this part of the rate of a full link is no transfer.
const TRANSFER: f64 = 0.125;
/// Fewer bytes per second say nothing about a link.
const LEAST: f64 = 5000.0;

/// What a link carries in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkRate {
    /// Bytes per second.
    pub rate: Bandwidth,
    /// True if the link was the bottleneck: it carries this. Otherwise so much was sustained for some
    /// seconds, and it may carry more.
    pub is_full: bool,
}

/// What the link of an endpoint, to other networks, carries in either direction, as far as it is
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LinkRates {
    /// User data sent per second.
    pub up: Option<LinkRate>,
    /// UDP payload received per second.
    pub down: Option<LinkRate>,
}

#[derive(Debug, Clone, Copy)]
struct Interval {
    bytes: u64,
    time: Duration,
    is_full: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct LinkGauge {
    /// The interval that has begun: its bytes, and since when.
    bytes: u64,
    since: Time,
    /// The last intervals, of [`WINDOW`] together.
    window: VecDeque<Interval>,
    /// The best rate of this and of the last time of [`LATELY`], in bytes per second.
    best: [f64; 2],
    best_since: Time,
    /// The rate of the full link.
    full: Option<f64>,
    /// `full` is not from this run.
    is_remembered: bool,
    /// Time of transfers that did not fill the link since it was full.
    doubt: Duration,
}

impl LinkGauge {
    /// Bytes have passed. `is_full` if the link is the bottleneck now.
    pub(crate) fn on_bytes(&mut self, now: Time, bytes: u64, is_full: bool) {
        let time = now.since(self.since);
        if time >= PAUSE {
            self.window.clear();
            (self.bytes, self.since) = (bytes, now);
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if time >= INTERVAL {
            let bytes = std::mem::take(&mut self.bytes);
            self.since = now;
            self.window.push_back(Interval { bytes, time, is_full });
            let rate = bytes as f64 / time.as_secs_f64();
            if is_full {
                self.doubt = Duration::ZERO;
            } else if self.full.is_some_and(|full| rate >= TRANSFER * full) {
                self.doubt = self.doubt.saturating_add(time);
            }
            self.look(now);
        }
    }

    /// Looks at the window, if it is long enough.
    fn look(&mut self, now: Time) {
        let mut total: Duration = self.window.iter().map(|interval| interval.time).sum();
        while let Some(first) = self.window.front()
            && total - first.time >= WINDOW
        {
            total -= first.time;
            self.window.pop_front();
        }
        if total < WINDOW {
            return;
        }
        let bytes: f64 = self.window.iter().map(|interval| interval.bytes as f64).sum();
        let rate = bytes / total.as_secs_f64();
        if now.since(self.best_since) >= LATELY {
            self.best = [0.0, self.best[0]];
            self.best_since = now;
        }
        self.best[0] = self.best[0].max(rate);
        let was_full = self.window.iter().all(|interval| interval.is_full);
        match self.full {
            _ if was_full && (self.is_remembered || self.full.is_none()) => self.set_full(rate),
            Some(full) if was_full => self.set_full(full + WEIGHT * (rate - full)),
            Some(full) if rate > MORE * full => self.full = None,
            _ => {}
        }
    }

    fn set_full(&mut self, rate: f64) {
        self.full = Some(rate);
        self.is_remembered = false;
        // What it carried when it was another link.
        self.best = [rate; 2];
    }

    /// That the link seemed full was perhaps not true.
    pub(crate) fn doubt(&mut self) {
        if !self.is_remembered {
            self.full = None;
        }
    }

    /// What the link carried in an earlier run.
    pub(crate) fn remember(&mut self, rate: LinkRate) {
        let bytes = rate.rate.as_bytes_per_second() as f64;
        if self.best == [0.0; 2] && self.full.is_none() {
            (self.full, self.is_remembered) = (rate.is_full.then_some(bytes), rate.is_full);
            // It is the best for as long as one that is measured now.
            self.best = [bytes, 0.0];
        }
    }

    /// What the link carries.
    pub(crate) fn rate(&self) -> Option<LinkRate> {
        let [new, old] = self.best;
        let best = Some(new.max(old)).filter(|best| *best >= LEAST);
        let of = |rate: f64, is_full| LinkRate {
            rate: Bandwidth::bytes_per_second(rate as u64),
            is_full,
        };
        match self.full {
            Some(full) => Some(of(full, true)),
            None => best.map(|best| of(best, false)),
        }
    }

    /// What the link is to be taken to carry by those who send less because of it: `None` if it is not
    /// known to be full at any rate. The longer transfers do not fill it, the more it is taken to
    /// carry, so that nothing that was found or remembered binds a link that has become faster.
    pub(crate) fn believed(&self) -> Option<Bandwidth> {
        let doublings =
            (self.doubt.as_millis() / DOUBT.as_millis()).min(u128::from(u32::MAX)) as u32;
        let full = self.full.filter(|_| doublings <= MAX_DOUBLINGS)?;
        Some(Bandwidth::bytes_per_second((full * f64::from(1u32 << doublings)) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(20);

    struct Model {
        gauge: LinkGauge,
        now: Time,
    }

    impl Model {
        fn new() -> Self {
            Self { gauge: LinkGauge::default(), now: Time::from_millis(5000) }
        }

        /// So many bytes per second pass for some seconds.
        fn pass(&mut self, rate: u64, seconds: u64, is_full: bool) {
            for _ in 0..seconds * 50 {
                self.now += STEP;
                self.gauge.on_bytes(self.now, rate / 50, is_full);
            }
        }

        fn known(&self) -> Option<(u64, bool)> {
            self.gauge.rate().map(|known| (known.rate.as_bytes_per_second(), known.is_full))
        }

        fn believed(&self) -> Option<u64> {
            self.gauge.believed().map(Bandwidth::as_bytes_per_second)
        }
    }

    fn about(found: Option<u64>, expected: u64) {
        let found = found.unwrap_or_else(|| panic!("{expected} B/s are not found"));
        assert!(found.abs_diff(expected) * 20 <= expected, "{found} B/s, not {expected}");
    }

    #[test]
    fn the_best_that_was_sustained_counts() {
        let mut model = Model::new();
        model.pass(1_000_000, 1, false);
        assert_eq!(model.known(), None, "not long enough");
        model.pass(1_000_000, 2, false);
        about(model.known().map(|known| known.0), 1_000_000);
        // A burst is none.
        model.gauge.on_bytes(model.now + STEP, 1_000_000, false);
        model.pass(200_000, 5, false);
        let (rate, is_full) = model.known().unwrap();
        assert!(rate < 1_500_000 && !is_full, "{rate}");
        // And it is forgotten.
        model.pass(200_000, 2 * LATELY.as_secs() + 10, false);
        about(model.known().map(|known| known.0), 200_000);
        assert_eq!(model.believed(), None, "it may carry more");
    }

    #[test]
    fn what_was_sent_with_pauses_is_not_sustained() {
        let mut model = Model::new();
        for _ in 0..100 {
            model.pass(1_000_000, 1, false);
            model.now += PAUSE;
        }
        assert_eq!(model.known(), None);
    }

    #[test]
    fn a_full_link_is_followed_up_and_down() {
        let mut model = Model::new();
        for rate in [1_000_000, 100_000, 3_000_000] {
            model.pass(rate, 10, true);
            let (known, is_full) = model.known().unwrap();
            about(Some(known), rate);
            assert!(is_full);
            about(model.believed(), rate);
        }
        // Less than it carries says nothing.
        model.pass(500_000, 5, false);
        about(model.known().map(|known| known.0), 3_000_000);
        // More than it was found to carry: it is another link.
        model.pass(6_000_000, 5, false);
        let (known, is_full) = model.known().unwrap();
        about(Some(known), 6_000_000);
        assert!(!is_full);
        assert_eq!(model.believed(), None);
    }

    #[test]
    fn what_is_remembered_is_a_hint() {
        let rate = Bandwidth::bytes_per_second(100_000);
        let mut model = Model::new();
        model.gauge.remember(LinkRate { rate, is_full: true });
        assert_eq!(model.known(), Some((100_000, true)));
        about(model.believed(), 100_000);
        // Nobody needs it for hours, or hardly.
        model.now += Duration::from_secs(3600);
        model.pass(1000, 3600, false);
        about(model.believed(), 100_000);
        // A measurement replaces it at once.
        model.pass(60_000, 3, true);
        about(model.believed(), 60_000);
        model.gauge.remember(LinkRate { rate, is_full: true });
        about(model.believed(), 60_000);
    }

    /// Whoever sends no more than what is believed finds out.
    #[test]
    fn a_link_that_is_not_filled_is_believed_to_carry_more() {
        let mut model = Model::new();
        let rate = Bandwidth::bytes_per_second(100_000);
        model.gauge.remember(LinkRate { rate, is_full: true });
        let mut seconds = 0;
        while let Some(believed) = model.believed() {
            model.pass(believed.min(80_000), 1, false);
            seconds += 1;
            assert!(seconds <= 80, "{believed} B/s after {seconds} s");
        }
        assert!(seconds > 60, "{seconds} s");
        // It still is what the link carried the last time.
        assert_eq!(model.known(), Some((100_000, true)));
        let mut fast = Model::new();
        fast.gauge.remember(LinkRate { rate, is_full: true });
        fast.pass(1_000_000, 3, false);
        assert_eq!(fast.believed(), None, "a tenfold rate has passed");
    }

    #[test]
    fn hostile_numbers() {
        let mut model = Model::new();
        let most = Bandwidth::bytes_per_second(u64::MAX);
        model.gauge.remember(LinkRate { rate: most, is_full: true });
        for _ in 0..10_000 {
            model.now += STEP;
            model.gauge.on_bytes(model.now, u64::MAX, false);
            let _ = (model.known(), model.believed());
        }
        assert!(model.gauge.window.len() <= 16, "{}", model.gauge.window.len());
        model.gauge.on_bytes(Time::ZERO, u64::MAX, true);
    }
}
