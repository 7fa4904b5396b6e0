//! The window algorithm of RFC 7016 Appendix A.2.

use super::{AckReport, Congestion};

/// Above this many bytes in flight a loss takes one eighth of the window instead of half.
const SCALABLE_THRESHOLD: u64 = 67_200;

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

    fn on_packet(&mut self, report: &AckReport) {
        if report.any_loss {
            return self.on_loss(report);
        }
        let limited = report.outstanding_before >= self.window;
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
