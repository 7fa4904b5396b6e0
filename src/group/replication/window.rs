//! The number of requests in flight at one neighbor, and when an answer is overdue.

use std::time::Duration;

/// Initial number of requests in flight; Flash Player never exceeds it.
pub(super) const INITIAL: usize = 4;

/// Requests that may wait at the neighbor beyond those that keep the path busy. Below the first
/// number the window grows, above the second it shrinks.
const QUEUED_LOW: f64 = 3.0;
const QUEUED_HIGH: f64 = 8.0;

/// An answer is never overdue before this.
const MIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The timeout before anything was measured.
const FIRST_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Adapts to bandwidth × delay by comparing the response time with the lowest one measured: the
/// excess is the time that requests spent waiting at the neighbor.
///
/// The window grows by one per answer (doubling every round trip) while fewer than three requests
/// wait there, as long as it is fully used.
#[derive(Debug, Clone)]
pub(super) struct Window {
    size: usize,
    cap: usize,
    lowest: Option<f64>,
    smoothed: Option<f64>,
}

impl Window {
    pub(super) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self { size: INITIAL.min(cap), cap, lowest: None, smoothed: None }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// A request was answered after `response`; `in_flight` counts it and the others in flight.
    pub(super) fn on_answer(&mut self, response: Duration, in_flight: usize) {
        let sample = response.as_secs_f64().max(1e-6);
        // The drift lets the lowest value follow a path whose delay has increased.
        let lowest = self.lowest.map_or(sample, |l| sample.min(l * 1.0001));
        let smoothed = self.smoothed.map_or(sample, |s| s + (sample - s) / 8.0);
        (self.lowest, self.smoothed) = (Some(lowest), Some(smoothed));

        let queued = self.size as f64 * (1.0 - lowest / smoothed.max(lowest));
        if queued < QUEUED_LOW && in_flight >= self.size {
            self.size = (self.size + 1).min(self.cap);
        } else if queued > QUEUED_HIGH && self.size > INITIAL {
            self.size -= 1;
        }
    }

    /// An answer is overdue: halves the window.
    pub(super) fn on_overdue(&mut self) {
        self.size = (self.size / 2).max(INITIAL.min(self.cap));
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
                in_flight.push_back((now, free + delay / 2.0));
            }
            let (sent, arrived) = in_flight.pop_front().unwrap();
            now = arrived;
            window.on_answer(Duration::from_secs_f64(now - sent), in_flight.len() + 1);
        }
        window.size()
    }

    #[test]
    fn fills_a_long_fat_path() {
        // 100 ms away, 5 ms an object: 21 in flight keep it full.
        assert!((21..=32).contains(&settle(0.005, 0.1)), "{}", settle(0.005, 0.1));
        assert_eq!(settle(0.001, 0.2), 64, "capped");
    }

    #[test]
    fn stays_small_on_a_slow_path() {
        assert!(settle(0.5, 0.01) <= 10, "{}", settle(0.5, 0.01));
    }

    #[test]
    fn unused_window_does_not_grow() {
        let mut window = Window::new(64);
        (0..100).for_each(|_| window.on_answer(Duration::from_millis(10), 1));
        assert_eq!(window.size(), INITIAL);
        assert_eq!(Window::new(0).size(), 1);
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
