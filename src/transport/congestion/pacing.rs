//! Spreads packets over time.

use crate::transport::Time;
use std::time::Duration;

/// Packets leave in bursts that last about this long at the rate: timers are not much finer.
const QUANTUM: Duration = Duration::from_millis(1);
/// Delay that a timer which fires late may make good: the timers of the driver are rounded up to
/// milliseconds.
const LATENESS: Duration = Duration::from_millis(2);
const MICROS: u128 = 1_000_000;

/// Bytes that `rate` bytes per second are in a quantum.
pub(super) fn quantum(rate: u64) -> u64 {
    let bytes = u128::from(rate) * QUANTUM.as_micros() / MICROS;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// When the packets of one session may leave.
///
/// Each packet moves a point in time on by what it takes at the rate. When the point is a quantum
/// ahead of the clock, packets wait until the clock has reached it: a burst, a pause, a burst.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pacer {
    /// When all that was sent has had its time.
    next: Time,
    /// Packets wait for `next`.
    waiting: bool,
    /// A wait is just over; the clock may be ahead of `next` because the timer was late.
    late: bool,
}

impl Pacer {
    /// When the next packet may leave; `None`: now. A burst has at least `burst` bytes.
    pub(crate) fn hold(&mut self, now: Time, rate: u64, burst: u64) -> Option<Time> {
        self.on_timer(now);
        if self.next <= now {
            return None;
        }
        self.late = false;
        let ahead = span(quantum(rate).max(burst), rate);
        self.waiting |= self.next > now + ahead;
        self.waiting.then_some(self.next)
    }

    /// A packet has left.
    pub(crate) fn on_sent(&mut self, now: Time, bytes: u64, rate: u64) {
        let credit = if self.late { LATENESS } else { Duration::ZERO };
        if self.next + credit < now {
            self.next =
                Time::from_micros((now - Time::ZERO).saturating_sub(credit).as_micros() as u64);
        }
        self.next += span(bytes, rate);
    }

    /// When packets that wait may leave.
    pub(crate) fn due(&self) -> Option<Time> {
        self.waiting.then_some(self.next)
    }

    /// Time has passed.
    pub(crate) fn on_timer(&mut self, now: Time) {
        if self.waiting && self.next <= now {
            self.waiting = false;
            self.late = true;
        }
    }
}

/// Time that `bytes` take.
fn span(bytes: u64, rate: u64) -> Duration {
    let micros = u128::from(bytes) * MICROS / u128::from(rate.max(1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1000;

    /// Sends what may leave at `now`; returns how many packets, and when there may be more.
    fn burst(pacer: &mut Pacer, now: Time, rate: u64) -> (usize, Time) {
        for count in 0..100_000 {
            if let Some(at) = pacer.hold(now, rate, 2 * SEGMENT) {
                assert_eq!(pacer.due(), Some(at));
                assert!(at > now);
                return (count, at);
            }
            pacer.on_sent(now, SEGMENT, rate);
        }
        panic!("no end of it");
    }

    #[test]
    fn bursts_of_a_millisecond() {
        let mut pacer = Pacer::default();
        let start = Time::from_millis(1000);
        // 5 MB/s: 200 µs a packet.
        assert_eq!(burst(&mut pacer, start, 5_000_000), (6, start + Duration::from_micros(1200)));
        let next = start + Duration::from_micros(1200);
        assert_eq!(pacer.hold(start + QUANTUM, 5_000_000, 2 * SEGMENT), Some(next));
        assert_eq!(burst(&mut pacer, next, 5_000_000), (6, next + Duration::from_micros(1200)));
    }

    #[test]
    fn two_packets_at_a_low_rate() {
        let mut pacer = Pacer::default();
        let start = Time::from_millis(1000);
        assert_eq!(burst(&mut pacer, start, 10_000), (3, start + Duration::from_millis(300)));
    }

    #[test]
    fn the_rate_is_kept_although_timers_are_late() {
        let mut pacer = Pacer::default();
        let start = Time::from_millis(1000);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(1) {
            let (count, at) = burst(&mut pacer, now, 5_000_000);
            sent += count;
            now = Time::from_millis(at.as_millis() + 2);
        }
        assert!((4980..=5020).contains(&sent), "{sent}");
    }

    #[test]
    fn time_that_was_not_used_is_gone() {
        let mut pacer = Pacer::default();
        let start = Time::from_millis(1000);
        pacer.on_sent(start, SEGMENT, 5_000_000);
        let later = start + Duration::from_secs(1);
        assert_eq!(burst(&mut pacer, later, 5_000_000).0, 6);
        // A timer that was much too late gives two milliseconds, not all that was missed.
        assert_eq!(burst(&mut pacer, later + Duration::from_secs(1), 5_000_000).0, 6 + 10);
    }

    #[test]
    fn a_timer_that_has_fired_is_not_due_any_more() {
        let mut pacer = Pacer::default();
        let (_, at) = burst(&mut pacer, Time::from_millis(1000), 5_000_000);
        pacer.on_timer(at);
        assert_eq!(pacer.due(), None);
    }

    #[test]
    fn the_longest_times() {
        let mut pacer = Pacer::default();
        pacer.on_sent(Time::from_micros(u64::MAX), u64::MAX, 1);
        pacer.on_sent(Time::from_micros(u64::MAX), u64::MAX, 0);
        assert_eq!(pacer.hold(Time::ZERO, u64::MAX, u64::MAX), Some(Time::from_micros(u64::MAX)));
        assert_eq!(quantum(u64::MAX), u64::MAX / 1000);
    }
}
