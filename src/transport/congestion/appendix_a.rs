//! The window algorithm of RFC 7016 Appendix A.2.

use super::{AckReport, Congestion};

/// Above this many bytes in flight a loss takes one eighth of the window instead of half.
const SCALABLE_THRESHOLD: u64 = 67_200;

/// Packets wait until a share of the window, or this many segments, may be sent.
const BATCH_SHARE: u64 = 8;
const MAX_BATCH: u64 = 32;

/// The initial window of RFC 5681 §3.1 for segments of `segment` bytes (CWND_INIT).
pub(super) const fn initial_window(segment: u64) -> u64 {
    let segments = match segment {
        0..=1095 => 4,
        1096..=2190 => 3,
        _ => 2,
    };
    segment.saturating_mul(segments)
}

/// The algorithm of RFC 7016 Appendix A.2.
#[derive(Debug, Clone)]
pub struct AppendixA {
    /// SMSS, also CWND_TIMEDOUT.
    segment: u64,
    window: u64,
    slow_start_threshold: u64,
    acked_accumulator: u64,
    /// Losses of transmissions before this one have been answered already.
    answered: u64,
}

impl AppendixA {
    /// A session that has sent nothing, in slow start. A segment is what a datagram holds: three
    /// of the default size are the initial window, as with the observed player.
    pub const fn new(segment: u64) -> Self {
        let segment = if segment == 0 { 1 } else { segment };
        Self {
            segment,
            window: initial_window(segment),
            slow_start_threshold: u64::MAX,
            acked_accumulator: 0,
            answered: 0,
        }
    }

    /// A session that has had so much in flight, out of slow start.
    pub(super) fn with_window(segment: u64, window: u64) -> Self {
        let mut started = Self::new(segment);
        started.window = window.max(started.window);
        started.slow_start_threshold = started.window;
        started
    }

    /// One reduction for all losses of what was in flight together, as RFC 5681 §4.3 has it.
    fn on_loss(&mut self, report: &AckReport) {
        if report.newest_lost.is_some_and(|tsn| tsn < self.answered) {
            return;
        }
        self.answered = report.next_tsn;
        let before = report.outstanding_before;
        let gentle = report.time_critical_sent || (before > SCALABLE_THRESHOLD && report.fast_grow);
        let kept = if gentle { before.saturating_mul(7) / 8 } else { before / 2 };
        self.slow_start_threshold = kept.max(initial_window(self.segment));
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

impl Congestion for AppendixA {
    fn window(&self) -> u64 {
        self.window
    }

    fn batch(&self) -> u64 {
        (self.window / BATCH_SHARE).min(self.segment.saturating_mul(MAX_BATCH))
    }

    fn set_segment(&mut self, segment: u64) {
        self.segment = segment.max(1);
        self.window = self.window.max(self.segment);
    }

    fn on_packet(&mut self, report: &AckReport) {
        if report.any_loss || report.ecn_congestion {
            return self.on_loss(report);
        }
        let limited = report.outstanding_before.saturating_add(self.batch()) >= self.window;
        if report.any_acks && !report.any_naks && limited {
            let increase = self.increase(report).min(self.segment);
            self.window = self.window.saturating_add(increase).max(initial_window(self.segment));
        }
    }

    fn on_timeout(&mut self, lost: u64) {
        let kept = self.window.saturating_mul(3) / 4;
        self.slow_start_threshold = self.slow_start_threshold.max(kept);
        self.acked_accumulator = 0;
        self.window = if lost > 0 { self.segment } else { initial_window(self.segment) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1200;
    const INITIAL: u64 = 3600;

    fn new() -> AppendixA {
        AppendixA::new(SEGMENT)
    }

    fn acked(bytes: u64, outstanding: u64) -> AckReport {
        AckReport {
            outstanding_before: outstanding,
            acked_bytes: bytes,
            any_acks: true,
            fast_grow: true,
            ..AckReport::default()
        }
    }

    fn lost(outstanding: u64) -> AckReport {
        AckReport { any_loss: true, any_naks: true, ..acked(0, outstanding) }
    }

    #[test]
    fn initial_window_by_segment() {
        assert_eq!(
            [536, 1095, 1096, 1200, 2190, 2191, 4996].map(initial_window),
            [2144, 4380, 3288, 3600, 6570, 4382, 9992]
        );
        assert_eq!(AppendixA::new(0).window(), 4, "never 0");
    }

    #[test]
    fn slow_start_grows_by_what_was_acknowledged() {
        let mut cc = new();
        cc.on_packet(&acked(1000, INITIAL));
        assert_eq!(cc.window(), 4600);
        cc.on_packet(&acked(9000, cc.window()));
        assert_eq!(cc.window(), 5800, "one segment a packet at most");
    }

    #[test]
    fn a_window_that_is_not_full_does_not_grow() {
        let mut cc = new();
        cc.on_packet(&acked(1000, INITIAL - cc.batch() - 1));
        cc.on_packet(&AckReport { any_naks: true, ..acked(1000, INITIAL) });
        cc.on_packet(&AckReport { any_acks: false, ..acked(1000, INITIAL) });
        assert_eq!(cc.window(), INITIAL);
    }

    #[test]
    fn loss_halves_small_windows_and_takes_an_eighth_of_large_ones() {
        for (outstanding, window) in
            [(40_000, 20_000), (67_200, 33_600), (67_208, 58_807), (80_000, 70_000), (5_000, 3600)]
        {
            let mut cc = new();
            cc.on_packet(&lost(outstanding));
            assert_eq!(cc.window(), window, "{outstanding}");
        }
    }

    #[test]
    fn loss_by_time_critical_data_here_and_elsewhere() {
        let mut cc = new();
        cc.on_packet(&AckReport { time_critical_sent: true, fast_grow: false, ..lost(40_000) });
        assert_eq!(cc.window(), 35_000, "an eighth at any size while sending it");
        cc.on_packet(&AckReport { fast_grow: false, ..lost(80_000) });
        assert_eq!(cc.window(), 40_000, "half at any size while yielding to it");
    }

    #[test]
    fn losses_of_one_flight_are_answered_once() {
        let mut cc = new();
        let loss = |tsn, next_tsn| AckReport { newest_lost: Some(tsn), next_tsn, ..lost(80_000) };
        cc.on_packet(&loss(10, 100));
        assert_eq!(cc.window(), 70_000);
        cc.on_packet(&loss(99, 120));
        assert_eq!(cc.window(), 70_000);
        cc.on_packet(&AckReport { outstanding_before: 70_000, ..loss(100, 130) });
        assert_eq!(cc.window(), 61_250, "sent after the reduction");
        cc.on_packet(&AckReport { ecn_congestion: true, next_tsn: 140, ..acked(0, 60_000) });
        assert_eq!(cc.window(), 30_000, "a mark is as good as a loss");
    }

    /// The growth of the window while sixteen sixteenths of it are acknowledged.
    fn growth(start: u64, report: AckReport) -> u64 {
        let mut cc = new();
        cc.on_packet(&AckReport { time_critical_sent: true, ..lost(start / 7 * 8) });
        let window = cc.window();
        for _ in 0..16 {
            let acked_bytes = window / 16;
            cc.on_packet(&AckReport { acked_bytes, outstanding_before: u64::MAX, ..report });
        }
        cc.window() - window
    }

    #[test]
    fn congestion_avoidance_adds_768_bytes_or_one_percent_a_round_trip() {
        let normal = acked(0, 0);
        assert_eq!(growth(35_000, normal), 720, "the window grows meanwhile");
        assert_eq!(growth(350_000, normal), 3456);
    }

    #[test]
    fn yielding_adds_half_of_that() {
        let yielding = AckReport { fast_grow: false, ..acked(0, 0) };
        assert_eq!(growth(35_000, yielding), 360);
        assert_eq!(growth(350_000, yielding), 1728);
        let sending = AckReport { time_critical_sent: true, ..yielding };
        assert_eq!(growth(350_000, sending), 3480, "one percent, in steps of 2,400 bytes");
    }

    #[test]
    fn slow_start_by_time_critical_data() {
        let mut cc = new();
        let report = AckReport { fast_grow: false, ..acked(1001, INITIAL) };
        cc.on_packet(&AckReport { time_critical_sent: true, ..report });
        assert_eq!(cc.window(), INITIAL + 251, "a quarter while sending it");
        cc.on_packet(&AckReport { outstanding_before: cc.window(), ..report });
        assert_eq!(cc.window(), INITIAL + 251 + 4 * 24, "none while yielding to it");
    }

    #[test]
    fn timeouts_restart() {
        let mut cc = new();
        cc.on_packet(&lost(80_000));
        cc.on_timeout(1);
        assert_eq!(cc.window(), 1200, "after a loss");
        cc.on_packet(&acked(10, 1200));
        assert_eq!(cc.window(), INITIAL, "no less is left by growth");
        cc.on_timeout(0);
        assert_eq!(cc.window(), INITIAL, "after a pause");
        let mut grown = 0;
        while cc.window() < 40_000 {
            cc.on_packet(&acked(1200, cc.window()));
            grown += 1;
        }
        assert_eq!(grown, 31, "slow start up to the old threshold");
        cc.on_packet(&lost(10_000));
        for _ in 0..50 {
            cc.on_packet(&acked(1200, cc.window()));
        }
        let window = cc.window();
        assert!((6000..20_000).contains(&window));
        cc.on_timeout(0);
        assert_eq!(cc.window(), INITIAL);
    }
}
