//! Congestion control: how much user data may be in flight (RFC 7016 §3.5.2, Appendix A).

/// Sender maximum segment size, in bytes, as the algorithm counts.
pub const SMSS: u64 = 1200;
/// Initial congestion window, in bytes: three packets, like the observed player.
pub const CWND_INIT: u64 = 3 * SMSS;
/// Congestion window after a timeout that lost data.
pub const CWND_TIMED_OUT: u64 = SMSS;
/// Above this many bytes in flight a loss takes one eighth of the window instead of half.
const SCALABLE_THRESHOLD: u64 = 67_200;

/// What a received packet told about data in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AckReport {
    /// User data bytes in flight before the packet was processed.
    pub outstanding_before: u64,
    /// Bytes that the packet acknowledged.
    pub acked_bytes: u64,
    /// The packet contained an acknowledgement.
    pub any_acks: bool,
    /// At least one fragment in flight was passed over.
    pub any_naks: bool,
    /// At least one fragment was found lost.
    pub any_loss: bool,
    /// The far end has reported marks of congestion, and this is the first report about what was
    /// in flight: to be answered like a loss.
    pub ecn_congestion: bool,
    /// No time critical data is being sent or received elsewhere: growth at the normal rate.
    pub fast_grow: bool,
    /// This session has sent time critical data within the last 800 ms.
    pub time_critical_sent: bool,
}

/// A congestion controller of one session.
pub trait Congestion: std::fmt::Debug + Send {
    /// The congestion window in bytes.
    fn window(&self) -> u64;

    /// Every chunk of a received packet was processed.
    fn on_packet(&mut self, report: &AckReport);

    /// The retransmission timer fired; `was_loss` if anything was in flight.
    fn on_timeout(&mut self, was_loss: bool);
}

/// The algorithm of RFC 7016 Appendix A.2.
#[derive(Debug, Clone)]
pub struct AppendixA {
    window: u64,
    slow_start_threshold: u64,
    acked_accumulator: u64,
}

impl AppendixA {
    /// A window of [`CWND_INIT`], in slow start.
    pub const fn new() -> Self {
        Self { window: CWND_INIT, slow_start_threshold: u64::MAX, acked_accumulator: 0 }
    }

    fn on_loss(&mut self, report: &AckReport) {
        let before = report.outstanding_before;
        let gentle = report.time_critical_sent || (before > SCALABLE_THRESHOLD && report.fast_grow);
        let kept = if gentle { before / 8 * 7 } else { before / 2 };
        self.slow_start_threshold = kept.max(CWND_INIT);
        self.window = self.slow_start_threshold;
        self.acked_accumulator = 0;
    }

    fn increase(&mut self, report: &AckReport) -> u64 {
        let slow_start = self.window < self.slow_start_threshold;
        if report.fast_grow && slow_start {
            return report.acked_bytes;
        }
        if report.fast_grow {
            return self.additive(report.acked_bytes, 4800, 48);
        }
        if slow_start && report.time_critical_sent {
            return report.acked_bytes.div_ceil(4);
        }
        let cap = if report.time_critical_sent { 2400 } else { 4800 };
        self.additive(report.acked_bytes, cap, 24)
    }

    /// `step` bytes for every sixteenth of the window that was acknowledged.
    fn additive(&mut self, acked: u64, cap: u64, step: u64) -> u64 {
        self.acked_accumulator = self.acked_accumulator.saturating_add(acked);
        let threshold = (self.window / 16).max(64).min(cap);
        let steps = self.acked_accumulator / threshold;
        self.acked_accumulator %= threshold;
        steps.saturating_mul(step)
    }
}

impl Default for AppendixA {
    fn default() -> Self {
        Self::new()
    }
}

impl Congestion for AppendixA {
    fn window(&self) -> u64 {
        self.window
    }

    fn on_packet(&mut self, report: &AckReport) {
        if report.any_loss || report.ecn_congestion {
            return self.on_loss(report);
        }
        let limited = report.outstanding_before >= self.window;
        if report.any_acks && !report.any_naks && limited {
            let increase = self.increase(report).min(SMSS);
            self.window = (self.window + increase).max(CWND_INIT);
        }
    }

    fn on_timeout(&mut self, was_loss: bool) {
        self.slow_start_threshold = self.slow_start_threshold.max(self.window / 4 * 3);
        self.acked_accumulator = 0;
        self.window = if was_loss { CWND_TIMED_OUT } else { CWND_INIT };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(bytes: u64, window: u64) -> AckReport {
        AckReport {
            outstanding_before: window,
            acked_bytes: bytes,
            any_acks: true,
            fast_grow: true,
            ..AckReport::default()
        }
    }

    #[test]
    fn slow_start_grows_by_what_was_acknowledged() {
        let mut cc = AppendixA::new();
        cc.on_packet(&acked(1000, CWND_INIT));
        assert_eq!(cc.window(), CWND_INIT + 1000);
        cc.on_packet(&acked(9000, cc.window()));
        assert_eq!(cc.window(), CWND_INIT + 1000 + SMSS, "one segment a packet at most");
    }

    #[test]
    fn an_idle_window_does_not_grow() {
        let mut cc = AppendixA::new();
        cc.on_packet(&acked(1000, CWND_INIT - 1));
        assert_eq!(cc.window(), CWND_INIT);
    }

    #[test]
    fn loss_halves_small_windows_and_takes_an_eighth_of_large_ones() {
        let mut cc = AppendixA::new();
        cc.on_packet(&AckReport { any_loss: true, ..acked(0, 40_000) });
        assert_eq!(cc.window(), 20_000);
        cc.on_packet(&AckReport { any_loss: true, ..acked(0, 80_000) });
        assert_eq!(cc.window(), 70_000);
    }

    #[test]
    fn congestion_avoidance_adds_768_bytes_a_round_trip() {
        let mut cc = AppendixA::new();
        cc.on_packet(&AckReport { any_loss: true, ..acked(0, 32_000) });
        let window = cc.window();
        for _ in 0..16 {
            cc.on_packet(&acked(window / 16, 100_000));
        }
        assert!((700..=800).contains(&(cc.window() - window)), "{}", cc.window() - window);
    }

    #[test]
    fn yielding_grows_at_half_the_rate() {
        let mut cc = AppendixA::new();
        cc.on_packet(&AckReport { any_loss: true, ..acked(0, 32_000) });
        let window = cc.window();
        for _ in 0..16 {
            cc.on_packet(&AckReport { fast_grow: false, ..acked(window / 16, 100_000) });
        }
        assert!((350..=400).contains(&(cc.window() - window)));
    }

    #[test]
    fn a_timeout_restarts() {
        let mut cc = AppendixA::new();
        cc.on_timeout(true);
        assert_eq!(cc.window(), CWND_TIMED_OUT);
        cc.on_timeout(false);
        assert_eq!(cc.window(), CWND_INIT);
    }
}
