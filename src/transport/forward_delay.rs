//! How long packets wait on their way to the far end, by timestamps and their echoes.
//!
//! An echo is the timestamp of a packet and the time that the far end has had it (RFC 7016 §2.2.4).
//! The far end's own timestamp less the echo in the same packet is therefore the time from here to
//! there, and the difference of the clocks. What exceeds the least of it is time in queues on this
//! way; the way back, and the far end's delay, are not in it.

use super::Time;
use crate::wire::packet::TICK_MILLIS;
use std::time::Duration;

/// The least is that of one to two of these, as clocks drift apart.
const WINDOW: Duration = Duration::from_secs(30);

/// See the module's description. Delays are in ticks of 4 ms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ForwardDelay {
    /// The difference of timestamp and echo that the others are relative to.
    reference: Option<u16>,
    /// The least in this window, and in the one before.
    least: [i16; 2],
    window_since: Time,
    /// The least since it was last taken.
    latest: Option<i16>,
}

impl ForwardDelay {
    /// Takes the timestamps of a received packet.
    pub(crate) fn on_packet(&mut self, now: Time, timestamp: Option<u16>, echo: Option<u16>) {
        let (Some(timestamp), Some(echo)) = (timestamp, echo) else { return };
        let difference = timestamp.wrapping_sub(echo);
        let Some(reference) = self.reference else {
            *self = Self { reference: Some(difference), window_since: now, ..Self::default() };
            self.latest = Some(0);
            return;
        };
        let mut relative = difference.wrapping_sub(reference) as i16;
        if now.since(self.window_since) >= WINDOW {
            // Relative to the least of the last window from now on, so that a clock that drifts
            // for days does not leave the range.
            let [least, _] = self.least;
            relative = relative.wrapping_sub(least);
            self.reference = Some(reference.wrapping_add(least as u16));
            self.least = [relative, 0];
            self.window_since = now;
            self.latest = None;
        }
        self.least[0] = self.least[0].min(relative);
        self.latest = Some(self.latest.map_or(relative, |latest| latest.min(relative)));
    }

    /// The shortest time in queues since the last call; `None` if nothing came.
    pub(crate) fn take(&mut self) -> Option<Duration> {
        let waited = self.waited();
        self.latest = None;
        waited
    }

    /// What [`take`](Self::take) would return now.
    pub(crate) fn waited(&self) -> Option<Duration> {
        let latest = self.latest?;
        let least = self.least[0].min(self.least[1]);
        let ticks = i32::from(latest) - i32::from(least);
        Some(Duration::from_millis(u64::try_from(ticks).unwrap_or(0) * TICK_MILLIS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rtt::ticks;

    /// A packet takes `forward`, waits at the far end, and the answer takes `back`, all in
    /// milliseconds; the far clock is `ahead`.
    fn exchange(
        delay: &mut ForwardDelay,
        sent: u64,
        (forward, waits, back): (u64, u64, u64),
        ahead: u64,
    ) {
        let at = |millis: u64| Time::from_millis(millis);
        let held = (waits / TICK_MILLIS) as u16;
        let echo = ticks(at(sent)).wrapping_add(held);
        let timestamp = ticks(at(sent + forward + waits + ahead));
        delay.on_packet(at(sent + forward + waits + back), Some(timestamp), Some(echo));
    }

    fn waited(delay: &mut ForwardDelay) -> Option<u64> {
        delay.take().map(|waited| waited.as_millis() as u64)
    }

    #[test]
    fn only_the_way_there_counts() {
        for ahead in [0, 1_000_000_000, 400_000] {
            let mut delay = ForwardDelay::default();
            exchange(&mut delay, 1000, (20, 0, 20), ahead);
            assert_eq!(waited(&mut delay), Some(0));
            exchange(&mut delay, 2000, (60, 0, 20), ahead);
            assert_eq!(waited(&mut delay), Some(40));
            exchange(&mut delay, 3000, (20, 200, 500), ahead);
            assert_eq!(waited(&mut delay), Some(0));
            assert_eq!(waited(&mut delay), None);
        }
    }

    #[test]
    fn the_least_of_several() {
        let mut delay = ForwardDelay::default();
        exchange(&mut delay, 1000, (20, 0, 20), 0);
        let _ = delay.take();
        for forward in [80, 60, 100] {
            exchange(&mut delay, 2000, (forward, 0, 20), 0);
        }
        assert_eq!(waited(&mut delay), Some(40));
    }

    #[test]
    fn a_shorter_way_is_found() {
        let mut delay = ForwardDelay::default();
        exchange(&mut delay, 1000, (80, 0, 20), 0);
        exchange(&mut delay, 2000, (20, 0, 20), 0);
        let _ = delay.take();
        exchange(&mut delay, 3000, (80, 0, 20), 0);
        assert_eq!(waited(&mut delay), Some(60));
    }

    #[test]
    fn clocks_drift_apart() {
        let mut delay = ForwardDelay::default();
        // 4 ms in 10 s, for 40 days.
        for step in 0..345_600 {
            exchange(&mut delay, step * 10_000, (20, 0, 20), 4 * step);
            let waited = waited(&mut delay).unwrap_or_default();
            assert!(waited <= 24, "{waited} ms in step {step}");
        }
    }

    #[test]
    fn hostile_timestamps() {
        let mut delay = ForwardDelay::default();
        let values = [0, 1, 0x7fff, 0x8000, 0xffff, 3, 0x8001];
        for (number, (&timestamp, &echo)) in
            values.iter().flat_map(|t| values.iter().map(move |e| (t, e))).enumerate()
        {
            let now = Time::from_millis(number as u64 * 20_000);
            delay.on_packet(now, Some(timestamp), Some(echo));
            let _ = delay.take();
        }
        delay.on_packet(Time::ZERO, None, Some(1));
        delay.on_packet(Time::ZERO, Some(1), None);
        assert_eq!(delay.take(), None);
    }
}
