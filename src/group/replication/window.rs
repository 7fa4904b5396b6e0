//! The number of requests in flight at one neighbor, and when an answer is expected and overdue.

use std::time::Duration;

/// Requests in flight before anything was measured.
const INITIAL: usize = 2;

/// Seconds of a neighbor's work that wait at it as requests, beyond those that are on the path; but
/// not more than so many requests. With nobody else to ask there may be more, as nobody else can
/// bring in an object meanwhile: on a path with losses some answers take several round trips.
const QUEUED: f64 = 1.0;
const MAX_QUEUED: f64 = 8.0;
const MAX_QUEUED_ALONE: f64 = 32.0;
/// So many answers must have come: the first may be far smaller than the others, as a descriptor is.
const ANSWERS: u32 = 8;

/// A neighbor that has never answered sooner, in seconds, may have only one request in flight.
const SLOW: f64 = 3.0;

/// Seconds that a neighbor is believed to need for an object before anything was measured.
const FIRST_PACE: f64 = 1.0;

/// An answer is never overdue before this.
const MIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The timeout before anything was measured.
const FIRST_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Adapts to bandwidth × delay. A neighbor answers one request after the other, so the response
/// time divided by the number of requests in flight is its pace; the window is what it serves in
/// a round trip and a little more.
#[derive(Debug, Clone)]
pub(super) struct Window {
    size: usize,
    /// The same with nobody else to ask.
    size_alone: usize,
    answers: u32,
    cap: usize,
    /// The lowest response time, drifting upwards.
    lowest: Option<f64>,
    smoothed: Option<f64>,
    /// Smoothed seconds for one object.
    pace: Option<f64>,
}

impl Window {
    pub(super) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        let size = INITIAL.min(cap);
        Self { size, size_alone: size, answers: 0, cap, lowest: None, smoothed: None, pace: None }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The size for the only neighbor.
    pub(super) fn size_alone(&self) -> usize {
        self.size_alone
    }

    /// A request was answered after `response`; when it was sent, `depth` were in flight with it.
    pub(super) fn on_answer(&mut self, response: Duration, depth: usize) {
        let sample = response.as_secs_f64().max(1e-6);
        // The drift lets the lowest value follow a path whose delay has increased.
        let lowest = self.lowest.map_or(sample, |l| sample.min(l * 1.0001));
        let smoothed = self.smoothed.map_or(sample, |s| s + (sample - s) / 8.0);
        let share = sample / depth.max(1) as f64;
        let pace = self.pace.map_or(share, |p| p + (share - p) / 4.0);
        (self.lowest, self.smoothed, self.pace) = (Some(lowest), Some(smoothed), Some(pace));
        let round_trip = (lowest - pace).max(0.0);
        // With one request in flight, a long path and a slow neighbor look the same.
        let least = if lowest < SLOW { 2.min(self.cap) } else { 1 };
        let size = |most: f64| {
            let queued = (QUEUED / pace).min(most);
            let size = (1.0 + queued + round_trip / pace).min(self.cap as f64) as usize;
            size.max(least)
        };
        self.answers = self.answers.saturating_add(1);
        let most_alone = if self.answers < ANSWERS { MAX_QUEUED } else { MAX_QUEUED_ALONE };
        (self.size, self.size_alone) = (size(MAX_QUEUED), size(most_alone));
    }

    /// Seconds until the answer to a request that is the `depth`th in flight.
    pub(super) fn expected(&self, depth: usize) -> f64 {
        self.pace.unwrap_or(FIRST_PACE) * depth as f64
    }

    /// An answer is overdue: halves the window.
    pub(super) fn on_overdue(&mut self) {
        self.size = (self.size / 2).max(1);
        self.size_alone = (self.size_alone / 2).max(1);
    }

    /// The time to wait for an answer before asking another neighbor.
    pub(super) fn timeout(&self) -> Duration {
        match self.smoothed {
            Some(s) => Duration::from_secs_f64((4.0 * s).min(60.0)).clamp(MIN_TIMEOUT, MAX_TIMEOUT),
            None => FIRST_TIMEOUT,
        }
    }

    /// The smoothed response time.
    pub(super) fn response_time(&self) -> Option<Duration> {
        self.smoothed.map(Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves one object after the other, each for `service`, at a delay of `delay`; returns the
    /// final window.
    fn settle(service: f64, delay: f64) -> usize {
        let mut window = Window::new(64);
        let mut in_flight = std::collections::VecDeque::new();
        let (mut now, mut free) = (0.0f64, 0.0f64);
        for _ in 0..2000 {
            while in_flight.len() < window.size() {
                let start = free.max(now + delay / 2.0);
                free = start + service;
                in_flight.push_back((now, free + delay / 2.0, in_flight.len() + 1));
            }
            let (sent, arrived, depth) = in_flight.pop_front().unwrap();
            now = arrived;
            window.on_answer(Duration::from_secs_f64(now - sent), depth);
        }
        window.size()
    }

    #[test]
    fn fills_a_long_fat_path() {
        // 100 ms away, 5 ms an object: 21 in flight keep it full.
        assert!((21..=40).contains(&settle(0.005, 0.1)), "{}", settle(0.005, 0.1));
        // A second and a half away: fewer than 15 would leave it idle.
        assert!((15..=32).contains(&settle(0.1, 1.5)), "{}", settle(0.1, 1.5));
        assert_eq!(settle(0.001, 0.2), 64, "capped");
    }

    #[test]
    fn is_small_on_a_slow_path() {
        assert_eq!(settle(0.5, 0.01), 3);
        assert_eq!(settle(9.0, 0.01), 1);
    }

    #[test]
    fn begins_small_and_halves() {
        let mut window = Window::new(64);
        assert_eq!(window.size(), INITIAL);
        (0..20).for_each(|_| window.on_answer(Duration::from_millis(100), 1));
        assert_eq!((window.size(), window.size_alone()), (9, 11));
        let mut first = Window::new(64);
        first.on_answer(Duration::from_millis(1), 1);
        assert_eq!((first.size(), first.size_alone()), (9, 9), "one answer is not enough");
        (0..20).for_each(|_| window.on_answer(Duration::from_millis(20), 1));
        assert_eq!((window.size(), window.size_alone()), (9, 33));
        window.on_overdue();
        assert_eq!((window.size(), window.size_alone()), (4, 16));
        (0..5).for_each(|_| window.on_overdue());
        assert_eq!(window.size(), 1);
        assert_eq!(Window::new(0).size(), 1);
    }

    #[test]
    fn answers_are_expected_by_the_pace() {
        let mut window = Window::new(64);
        assert!((window.expected(3) - 3.0).abs() < 1e-9);
        (0..50).for_each(|_| window.on_answer(Duration::from_millis(400), 2));
        assert!((window.expected(3) - 0.6).abs() < 1e-3, "{}", window.expected(3));
    }

    #[test]
    fn timeout_follows_the_response_time() {
        let mut window = Window::new(64);
        assert_eq!(window.timeout(), FIRST_TIMEOUT);
        window.on_answer(Duration::from_millis(10), 1);
        assert_eq!(window.timeout(), MIN_TIMEOUT);
        (0..100).for_each(|_| window.on_answer(Duration::from_secs(3), 1));
        assert!((11.0..12.1).contains(&window.timeout().as_secs_f64()));
        (0..100).for_each(|_| window.on_answer(Duration::from_secs(9999), 1));
        assert_eq!(window.timeout(), MAX_TIMEOUT);
    }
}
