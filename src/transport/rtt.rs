//! Round trip measurement by timestamp echo, and the retransmission timeout (RFC 7016 §3.5.2.2).

use super::Time;
use crate::wire::packet::TICK_MILLIS;
use std::time::Duration;

/// Effective retransmission timeout before anything was measured.
pub const INITIAL_ERTO: Duration = Duration::from_secs(3);
/// Lowest effective retransmission timeout.
pub const MIN_ERTO: Duration = Duration::from_millis(250);
/// Back-off does not go beyond this, unless the measured timeout does.
pub const MAX_ERTO: Duration = Duration::from_secs(10);
/// A received timestamp older than this is no longer echoed.
pub const MAX_ECHO_AGE: Duration = Duration::from_secs(128);

/// Longest delay of an acknowledgement by the receiver.
const DELAYED_ACK: Duration = Duration::from_millis(200);
const BACKOFF: f64 = std::f64::consts::SQRT_2;

/// Timestamps of one session and what was learned from them.
#[derive(Debug, Clone)]
pub(crate) struct Rtt {
    received: Option<(u16, Time)>,
    echoed: Option<u16>,
    sent: Option<u16>,
    echo_received: Option<u16>,
    /// The far end has sent packets without a timestamp, so that it understands such.
    far_omits: bool,
    smoothed: Option<Duration>,
    variance: Duration,
    measured_timeout: Duration,
    timeout: Duration,
}

impl Rtt {
    pub(crate) const fn new() -> Self {
        Self {
            received: None,
            echoed: None,
            sent: None,
            echo_received: None,
            far_omits: false,
            smoothed: None,
            variance: Duration::ZERO,
            measured_timeout: MIN_ERTO,
            timeout: INITIAL_ERTO,
        }
    }

    /// Takes the timestamps of a received packet.
    pub(crate) fn on_packet(&mut self, now: Time, timestamp: Option<u16>, echo: Option<u16>) {
        self.far_omits |= timestamp.is_none();
        if let Some(ts) = timestamp
            && self.received.is_none_or(|(last, _)| last != ts)
        {
            self.received = Some((ts, now));
        }
        if let Some(echo) = echo
            && self.echo_received != Some(echo)
        {
            self.echo_received = Some(echo);
            let ticks = ticks(now).wrapping_sub(echo);
            if ticks <= i16::MAX as u16 {
                self.measure(Duration::from_millis(u64::from(ticks) * TICK_MILLIS));
            }
        }
    }

    fn measure(&mut self, rtt: Duration) {
        match self.smoothed {
            Some(smoothed) => {
                self.variance = (self.variance * 3 + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((smoothed * 7 + rtt) / 8);
            }
            None => {
                self.smoothed = Some(rtt);
                self.variance = rtt / 2;
            }
        }
        let smoothed = self.smoothed.unwrap_or(rtt);
        self.measured_timeout = smoothed + self.variance * 4 + DELAYED_ACK;
        self.timeout = self.measured_timeout.max(MIN_ERTO);
    }

    /// The timestamps for a packet that is sent now; each is left out if it was sent already.
    ///
    /// Some implementations (librtmfp, MonaServer 1.x) drop packets without a timestamp, and the
    /// observed player puts one into each: it is left out only if the far end does so too.
    pub(crate) fn stamp(&mut self, now: Time) -> (Option<u16>, Option<u16>) {
        let ticks = ticks(now);
        let timestamp = (!self.far_omits || self.sent != Some(ticks)).then_some(ticks);
        self.sent = Some(ticks);
        (timestamp, self.echo(now))
    }

    fn echo(&mut self, now: Time) -> Option<u16> {
        let (received, at) = self.received?;
        let age = now.since(at);
        if age > MAX_ECHO_AGE {
            self.received = None;
            self.echoed = None;
            return None;
        }
        let ticks = (age.as_millis() as u64 / TICK_MILLIS) as u16;
        let echo = received.wrapping_add(ticks);
        if self.echoed == Some(echo) {
            return None;
        }
        self.echoed = Some(echo);
        Some(echo)
    }

    /// Something sent was not answered within [`timeout`](Self::timeout).
    pub(crate) fn back_off(&mut self) {
        let backed_off = self.timeout.mul_f64(BACKOFF).min(MAX_ERTO);
        self.timeout = backed_off.max(self.measured_timeout);
    }

    /// The effective retransmission timeout (ERTO).
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The smoothed round trip time, once one was measured.
    pub(crate) const fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }
}

/// Low 16 bits of the 250 Hz clock.
pub(super) fn ticks(now: Time) -> u16 {
    (now.as_millis() / TICK_MILLIS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn one_round_trip() {
        let (mut a, mut b) = (Rtt::new(), Rtt::new());
        let (ts, echo) = a.stamp(at(1000));
        assert_eq!((ts, echo), (Some(250), None));
        b.on_packet(at(1020), ts, echo);
        let (ts, echo) = b.stamp(at(1060));
        assert_eq!(echo, Some(250 + 10), "40 ms at the far end are ten ticks");
        a.on_packet(at(1080), ts, echo);
        assert_eq!(a.smoothed(), Some(Duration::from_millis(40)));
        assert_eq!(a.timeout(), Duration::from_millis(40 + 4 * 20 + 200));
    }

    #[test]
    fn nothing_new_is_not_repeated() {
        let mut rtt = Rtt::new();
        rtt.on_packet(at(0), Some(7), None);
        rtt.on_packet(at(0), None, None);
        assert_eq!(rtt.stamp(at(1000)), (Some(250), Some(257)));
        assert_eq!(rtt.stamp(at(1001)), (None, None));
        assert_eq!(rtt.stamp(at(200_000)).1, None, "too old to be echoed");
    }

    #[test]
    fn a_timestamp_in_each_packet_unless_the_far_end_omits_some() {
        let mut rtt = Rtt::new();
        for _ in 0..3 {
            rtt.on_packet(at(999), Some(7), None);
            assert_eq!(rtt.stamp(at(1000)).0, Some(250));
        }
        rtt.on_packet(at(1000), None, None);
        assert_eq!(rtt.stamp(at(1001)).0, None);
        assert_eq!(rtt.stamp(at(1004)).0, Some(251));
    }

    #[test]
    fn an_echo_from_the_future_is_ignored() {
        let mut rtt = Rtt::new();
        rtt.on_packet(at(1000), None, Some(251));
        assert_eq!(rtt.smoothed(), None);
        assert_eq!(rtt.timeout(), INITIAL_ERTO);
    }

    #[test]
    fn back_off_ends_at_ten_seconds() {
        let mut rtt = Rtt::new();
        for _ in 0..20 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), MAX_ERTO);
    }

    #[test]
    fn the_clock_wraps() {
        let mut rtt = Rtt::new();
        let day = 86_400_000;
        let (ts, _) = rtt.stamp(at(day));
        rtt.on_packet(at(day + 100), None, ts);
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(100)));
    }
}
