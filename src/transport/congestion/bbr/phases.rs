//! States of the controller, and when it changes them (draft-ietf-ccwg-bbr §5.3).

use super::{BETA, MIN_CONGESTED_CWND, Model, Sample, scale};
use crate::transport::Time;
use crate::transport::congestion::AckReport;
use std::time::Duration;

/// BBR.StartupPacingGain: 4 ln 2, the least that doubles the rate each round.
const STARTUP_PACING_GAIN: f64 = 2.77;
/// BBR.DrainPacingGain.
const DRAIN_PACING_GAIN: f64 = 0.5;
/// Pacing gains of ProbeBW_DOWN and ProbeBW_UP.
const PROBE_BW_DOWN_PACING_GAIN: f64 = 0.9;
const PROBE_BW_UP_PACING_GAIN: f64 = 1.25;
/// BBR.DefaultCwndGain.
const DEFAULT_CWND_GAIN: f64 = 2.0;
/// Window gain of ProbeBW_UP.
const PROBE_BW_UP_CWND_GAIN: f64 = 2.25;
/// Growth of the rate within a round that means that there is more.
const STARTUP_GROWTH: f64 = 1.25;
const UP_GROWTH: f64 = 1.1;
/// Rounds without growth after which the rate is found.
const ROUNDS_WITHOUT_GROWTH: u32 = 3;
/// Such a round lasts at least so long: on the shortest paths, chance rules a single one.
const MIN_GROWTH_ROUND: Duration = Duration::from_millis(4);
/// BBR.Headroom: share of the known safe window that is left to others.
const HEADROOM: f64 = 0.15;
/// More is tried after this long, and up to [`PROBE_SPREAD`] more.
const PROBE_AFTER: Duration = Duration::from_secs(2);
const PROBE_SPREAD: Duration = Duration::from_secs(1);
/// BBR.ProbeRTTInterval: at multiples of this the round trip is measured.
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// Duration of a measurement, in shortest round trips.
const PROBE_RTT_ROUNDS: u32 = 4;
/// Least and greatest duration of a measurement; the latter is BBR.ProbeRTTDuration.
const PROBE_RTT_DURATION: (Duration, Duration) =
    (Duration::from_millis(5), Duration::from_millis(200));
/// BBR.ProbeRTTCwndGain.
const PROBE_RTT_CWND_GAIN: f64 = 0.25;

/// State of the controller (BBR.state).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Doubles the rate each round until it stops growing.
    Startup,
    /// Lets the queue of the startup, or of a path that has become slower, run empty.
    Drain,
    /// ProbeBW_DOWN: lets the queue of trying more run empty.
    Down,
    /// ProbeBW_CRUISE: sends at the known rate.
    Cruise,
    /// ProbeBW_REFILL: fills the path at the known rate, so that losses thereafter mean something.
    Refill,
    /// ProbeBW_UP: tries more.
    Up,
    /// Measures the round trip with little in flight.
    ProbeRtt,
}

impl Phase {
    pub(super) const fn pacing_gain(self) -> f64 {
        match self {
            Self::Startup => STARTUP_PACING_GAIN,
            Self::Drain => DRAIN_PACING_GAIN,
            Self::Down => PROBE_BW_DOWN_PACING_GAIN,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 1.0,
            Self::Up => PROBE_BW_UP_PACING_GAIN,
        }
    }

    pub(super) const fn window_gain(self) -> f64 {
        match self {
            Self::Up => PROBE_BW_UP_CWND_GAIN,
            _ => DEFAULT_CWND_GAIN,
        }
    }
}

impl Model {
    pub(super) fn enter(&mut self, now: Time, phase: Phase) {
        self.phase = phase;
        self.phase_since = now;
        match phase {
            Phase::Down => {
                // A cycle in which the owner had too little to send shows nothing.
                if self.rates[0] > 0 {
                    self.rates = [0, self.rates[0]];
                }
                self.acked_since = (now, 0);
                self.probe_at = now + PROBE_AFTER + self.spread(now);
            }
            Phase::Refill => {
                self.rate_low = u64::MAX;
                self.inflight_low = u64::MAX;
                self.begin_round();
            }
            Phase::Up => {
                self.growth = (self.max_rate(), now, 0);
                self.up_rounds = 0;
                self.up_acked = 0;
                self.begin_round();
            }
            Phase::ProbeRtt => {
                self.prior_window = self.window;
                self.probe_rtt_done = None;
                self.probed_rtt = None;
            }
            Phase::Startup | Phase::Drain | Phase::Cruise => {}
        }
    }

    /// Sessions that share a path do not try more at the same time: a part of the waiting time is
    /// left to chance, for which the microseconds of the clock and the bytes delivered serve.
    fn spread(&self, now: Time) -> Duration {
        let mixed = (now.as_micros() ^ self.sampler.delivered).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        PROBE_SPREAD.mul_f64((mixed >> 32) as f64 / f64::from(u32::MAX))
    }

    pub(super) fn on_congestion(&mut self, now: Time, sample: &Sample) {
        match self.phase {
            Phase::Startup => {
                self.full_bw_reached = true;
                self.inflight_high = self.bdp_multiple(1.0).max(sample.delivered);
            }
            Phase::Refill | Phase::Up => {
                let kept = scale(self.bdp_multiple(1.0).min(self.window), BETA);
                self.inflight_high = sample.in_flight.max(kept);
                self.enter(now, Phase::Down);
            }
            // Those are still losses of the search for the rate.
            Phase::Drain => {}
            _ if sample.prior_delivered < self.drained => {}
            Phase::Down | Phase::Cruise | Phase::ProbeRtt => {
                let rate = self.round_rate.max(scale(self.rate(), BETA));
                let inflight =
                    sample.delivered.max(scale(self.inflight_low.min(self.window), BETA));
                self.rate_low = rate.max(1);
                self.inflight_low = inflight;
            }
        }
    }

    /// Goes on to the next phase if it is time.
    pub(super) fn advance(&mut self, report: &AckReport, sample: &Sample, round_over: bool) {
        let (now, outstanding) = (report.now, report.outstanding);
        match self.phase {
            Phase::Startup => {
                if round_over && !sample.app_limited && self.stopped_growing(now, STARTUP_GROWTH) {
                    self.full_bw_reached = true;
                }
                if self.full_bw_reached {
                    self.enter(now, Phase::Drain);
                }
            }
            Phase::Drain if outstanding <= self.inflight(1.0) => {
                self.drained = self.sampler.delivered;
                if std::mem::take(&mut self.fallen) {
                    self.full_bw_reached = false;
                    self.growth = (0, now, 0);
                    self.enter(now, Phase::Startup);
                } else {
                    self.enter(now, Phase::Down);
                }
            }
            Phase::Refill | Phase::Up if self.yielding.is_some() => self.enter(now, Phase::Down),
            Phase::Down | Phase::Cruise if now >= self.probe_at && self.yielding.is_none() => {
                self.enter(now, Phase::Refill);
            }
            Phase::Down if outstanding <= self.inflight(1.0).min(self.with_headroom()) => {
                self.enter(now, Phase::Cruise);
            }
            Phase::Refill if round_over => self.enter(now, Phase::Up),
            Phase::Up => self.try_more(report, sample, round_over),
            Phase::ProbeRtt => self.measure_rtt(report, round_over),
            Phase::Drain | Phase::Down | Phase::Cruise | Phase::Refill => {}
        }
        if self.phase != Phase::ProbeRtt && self.is_rtt_stale(now) {
            self.enter(now, Phase::ProbeRtt);
        }
    }

    /// True if the round trip was not as short as before for half an interval when one began. The
    /// sessions of an endpoint have one clock and therefore measure at the same time: otherwise
    /// each would measure the queue of the others.
    fn is_rtt_stale(&self, now: Time) -> bool {
        let interval = PROBE_RTT_INTERVAL.as_micros() as u64;
        let began = Time::from_micros(now.as_micros() / interval * interval);
        began > self.min_rtt_at + PROBE_RTT_INTERVAL / 2
    }

    /// A round is over: true if the rate has not grown for some.
    fn stopped_growing(&mut self, now: Time, factor: f64) -> bool {
        let (known, looked, rounds) = self.growth;
        if self.max_rate() > scale(known, factor) || known == 0 {
            self.growth = (self.max_rate(), now, 0);
        } else if now.since(looked) >= MIN_GROWTH_ROUND {
            self.growth = (known, now, rounds + 1);
        }
        self.growth.2 >= ROUNDS_WITHOUT_GROWTH
    }

    fn try_more(&mut self, report: &AckReport, sample: &Sample, round_over: bool) {
        self.raise_bound(report, round_over);
        let min_rtt = self.min_rtt.unwrap_or_default();
        let tried = report.now.since(self.phase_since) > min_rtt;
        let slack = self.segment.saturating_mul(2);
        let full =
            report.outstanding > self.inflight(PROBE_BW_UP_PACING_GAIN).saturating_add(slack);
        let stopped = round_over && self.stopped_growing(report.now, UP_GROWTH);
        if (tried && full && self.has_queue(sample.rtt)) || stopped {
            self.enter(report.now, Phase::Down);
        }
    }

    /// A bound that is reached is raised, in each round by twice as much.
    fn raise_bound(&mut self, report: &AckReport, round_over: bool) {
        if self.inflight_high == u64::MAX {
            return;
        }
        if round_over {
            self.up_rounds = (self.up_rounds + 1).min(30);
        }
        if report.outstanding_before.saturating_add(self.segment) < self.window {
            return;
        }
        self.up_acked = self.up_acked.saturating_add(report.acked_bytes);
        let each = (self.inflight_high >> self.up_rounds).max(self.segment);
        let steps = self.up_acked / each;
        self.up_acked %= each;
        self.inflight_high = self.inflight_high.saturating_add(steps.saturating_mul(self.segment));
    }

    fn measure_rtt(&mut self, report: &AckReport, round_over: bool) {
        self.sampler.on_app_limited(report.outstanding);
        let now = report.now;
        match self.probe_rtt_done {
            None if report.outstanding <= self.probe_rtt_window() => {
                let (least, most) = PROBE_RTT_DURATION;
                let time = (self.min_rtt.unwrap_or_default() * PROBE_RTT_ROUNDS).clamp(least, most);
                self.probe_rtt_done = Some(now + time);
                // What was measured until now had a queue.
                self.probed_rtt = None;
                self.begin_round();
            }
            Some(done) if now >= done && round_over => {
                self.min_rtt = self.probed_rtt.or(self.min_rtt);
                self.min_rtt_at = now;
                self.window = self.prior_window;
                let next = if self.full_bw_reached { Phase::Down } else { Phase::Startup };
                let rates = self.rates;
                self.enter(now, next);
                // Little was sent: that is no evidence against the earlier rates.
                self.rates = rates;
            }
            _ => {}
        }
    }

    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.bdp_multiple(PROBE_RTT_CWND_GAIN).max(self.segment.saturating_mul(MIN_CONGESTED_CWND))
    }

    /// Window known to be safe, without the part that is left to others.
    pub(super) fn with_headroom(&self) -> u64 {
        if self.inflight_high == u64::MAX {
            return u64::MAX;
        }
        scale(self.inflight_high, 1.0 - HEADROOM).max(self.min_window())
    }
}
