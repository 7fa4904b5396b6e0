//! A BBR-like controller (draft-ietf-ccwg-bbr; differences in `protocol-notes/congestion.md`).
//!
//! It keeps a model of the path, the highest delivery rate and the shortest round trip of late,
//! and sends at that rate with little more in flight than their product. From time to time it
//! sends faster, to see whether there is more, and with less in flight, to see how short the round
//! trip is. A loss by itself means nothing; many of them within a round trip do, the fewer the
//! longer the queue.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the controller, and its model's rate and window |
//! | `phases.rs` | states of the controller |
//! | `sampling.rs` | delivery rate and round trip samples |

mod phases;
mod sampling;

use super::appendix_a::{AppendixA, initial_window};
use super::pacing::quantum;
use super::{AckReport, Congestion, SentPacket};
use crate::transport::Time;
use crate::wire::packet::TICK_MILLIS;
use phases::Phase;
use sampling::{Sample, Sampler};
use std::time::Duration;

/// BBR.MinPipeCwnd: the window is never smaller, in segments.
const MIN_PIPE_CWND: u64 = 4;
/// The same while the path is congested, and while the round trip is measured: what a receiver
/// acknowledges at once.
const MIN_CONGESTED_CWND: u64 = 2;
/// 1 − BBR.PacingMarginPercent: packets leave slightly slower than they are delivered, so that no
/// queue builds up.
const PACING_MARGIN: f64 = 0.99;
/// BBR.Beta: share of rate and window that is kept when a round was congested.
const BETA: f64 = 0.7;
/// BBR.LossThresh: share of bytes that may be lost within a round trip while there is a queue. More
/// are taken for congestion.
const LOSS_THRESH: f64 = 0.02;
/// The same while round trips are as short as ever: such losses are hardly our doing, but a path
/// without any queue loses a fifth when it is probed.
const LOSS_THRESH_WITHOUT_QUEUE: f64 = 0.3;
/// So many segments more must be lost to be taken for congestion: a few are chance.
const CHANCE_LOSS: u64 = 3;
/// Round trips longer by so much than the shortest are a queue.
const QUEUE_GAIN: f64 = 1.25;
const QUEUE_SLACK: Duration = Duration::from_millis(1);
/// When less than half of the highest rate was delivered for so many shortest round trips, with a
/// queue, the model is wrong.
const FALLEN_ROUND_TRIPS: u32 = 2;
/// The same, at least.
const FALLEN_TIME: Duration = Duration::from_millis(100);
/// Longest time that is counted between two acknowledgements.
const FALLEN_STEP: Duration = Duration::from_millis(10);
/// BBR.ExtraAckedFilterLen: rounds that the aggregation filter, which has two slots, looks back on.
const EXTRA_ACKED_FILTER_LEN: u64 = 10;
/// A session that has not sent for so long begins anew.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// In small windows losses are counted over so many segments, since a few are most of a flight.
const LOSS_SEGMENTS: u64 = 32;
/// A burst takes at least so many segments at any rate.
const MIN_BURST: u64 = 2;
/// The same if they are at least [`LARGE`]: as many of the largest as one call sends.
const MIN_LARGE_BURST: u64 = 7;
/// So large, in bytes, are segments only within a computer or a data center, where batches are worth
/// more than short queues.
const LARGE: u64 = 8192;
/// Acknowledgements that come later than this on their way back do not widen the window further.
const MAX_RETURN_DELAY: Duration = Duration::from_millis(100);
/// Steps in which the time on the way there is known.
const WAIT_STEP: Duration = Duration::from_millis(TICK_MILLIS);
/// The window may hold so many bursts, however short the round trip.
const BURSTS_IN_FLIGHT: u64 = 3;

/// The controller. It has no model, and next to no memory, until the session sends.
#[derive(Debug)]
pub struct Bbr {
    segment: u64,
    model: Option<Box<Model>>,
}

/// Model of the path.
#[derive(Debug)]
struct Model {
    segment: u64,
    sampler: Sampler,
    window: u64,
    /// The window before it was made small to measure the round trip.
    prior_window: u64,
    pacing_rate: u64,

    phase: Phase,
    phase_since: Time,
    /// When more is tried the next time.
    probe_at: Time,
    /// BBR.full_bw_reached: the rate stopped growing, or too much was lost.
    full_bw_reached: bool,
    /// Highest rate when growth was last seen, when that was looked at, and rounds without since.
    growth: (u64, Time, u32),
    probe_rtt_done: Option<Time>,
    /// Rounds of trying more, and what was acknowledged in the window's last enlargement.
    up_rounds: u32,
    up_acked: u64,

    /// Rounds are counted by packets: one ends when a packet sent after its beginning is
    /// acknowledged.
    round: u64,
    round_end: u64,
    /// The round in which congestion was last seen.
    congested_round: Option<u64>,
    /// Bounds the window while time critical data is sent or received elsewhere, and not sent here.
    yielding: Option<AppendixA>,
    /// What was delivered and lost when losses were last looked at.
    loss_counted: (u64, u64),
    /// Congestion marks that were not answered yet.
    marked: bool,
    /// Highest rate in this round, in bytes per second.
    round_rate: u64,
    /// For how long less than half of the highest rate was delivered, with a queue, and when that
    /// was last looked at.
    slow_for: Duration,
    looked_at: Time,
    /// The rate is to be searched for once the queue is drained.
    fallen: bool,
    /// Packets that left before so much was delivered were part of the search for the rate.
    drained: u64,

    /// Highest rates in this probing cycle and the one before (BBR.MaxBwFilterLen 2).
    rates: [u64; 2],
    min_rtt: Option<Duration>,
    min_rtt_at: Time,
    /// Shortest round trip while it is measured.
    probed_rtt: Option<Duration>,
    /// By how much acknowledgements come later than after the shortest round trip although nothing
    /// waits on the way there, smoothed: the far end's delay, and queues on the way back.
    return_delay: Duration,
    /// Upper bounds learned from congestion (BBR.inflight_longterm, BBR.inflight_shortterm,
    /// BBR.bw_shortterm); the low ones hold until more is tried.
    inflight_high: u64,
    inflight_low: u64,
    rate_low: u64,

    /// Bytes acknowledged beyond what the rate explains: highest in this slot and the one before.
    extra_acked: [u64; 2],
    extra_acked_round: u64,
    acked_since: (Time, u64),
}

impl Bbr {
    /// A controller that has sent nothing, for datagrams of up to `segment` bytes.
    pub const fn new(segment: u64) -> Self {
        let segment = if segment == 0 { 1 } else { segment };
        Self { segment, model: None }
    }
}

impl Congestion for Bbr {
    fn window(&self) -> u64 {
        self.model.as_ref().map_or_else(|| initial_window(self.segment), |model| model.window)
    }

    fn window_with(&self, own_queue: u64) -> u64 {
        self.model.as_ref().map_or_else(|| self.window(), |model| model.window_with(own_queue))
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.model.as_ref().map(|model| model.pacing_rate).filter(|&rate| rate > 0)
    }

    fn burst(&self) -> u64 {
        least_burst(self.segment)
    }

    fn set_segment(&mut self, segment: u64) {
        self.segment = segment.max(1);
        if let Some(model) = &mut self.model {
            model.segment = self.segment;
            model.window = model.window.max(model.min_window());
            if let Some(bound) = &mut model.yielding {
                bound.set_segment(self.segment);
            }
        }
    }

    fn on_sent(&mut self, packet: &SentPacket) {
        let idle = packet.outstanding_before == 0;
        self.model.take_if(|m| idle && packet.now.since(m.sampler.delivered_at()) > FORGET_AFTER);
        let segment = self.segment;
        let model = self.model.get_or_insert_with(|| Box::new(Model::new(packet.now, segment)));
        if idle {
            model.on_restart(packet.now);
        }
        model.sampler.on_sent(packet);
    }

    fn on_app_limited(&mut self, outstanding: u64) {
        if let Some(model) = &mut self.model {
            model.sampler.on_app_limited(outstanding);
        }
    }

    fn on_packet(&mut self, report: &AckReport) {
        if let Some(model) = &mut self.model {
            model.on_packet(report);
        }
    }

    fn on_timeout(&mut self, lost: u64) {
        let Some(model) = &mut self.model else { return };
        model.sampler.on_timeout(lost);
        // Answered by the small window.
        model.loss_counted = (model.sampler.delivered, model.sampler.lost);
        if let Some(bound) = &mut model.yielding {
            bound.on_timeout(lost);
        }
        if lost > 0 {
            model.window = model.min_window();
        }
    }
}

impl Model {
    fn new(now: Time, segment: u64) -> Self {
        let window = initial_window(segment);
        Self {
            segment,
            sampler: Sampler::default(),
            window,
            prior_window: window,
            pacing_rate: 0,
            phase: Phase::Startup,
            phase_since: now,
            probe_at: now,
            full_bw_reached: false,
            growth: (0, now, 0),
            probe_rtt_done: None,
            up_rounds: 0,
            up_acked: 0,
            round: 0,
            round_end: 0,
            congested_round: None,
            yielding: None,
            loss_counted: (0, 0),
            marked: false,
            round_rate: 0,
            slow_for: Duration::ZERO,
            looked_at: now,
            fallen: false,
            drained: 0,
            rates: [0; 2],
            min_rtt: None,
            min_rtt_at: now,
            probed_rtt: None,
            return_delay: Duration::ZERO,
            inflight_high: u64::MAX,
            inflight_low: u64::MAX,
            rate_low: u64::MAX,
            extra_acked: [0; 2],
            extra_acked_round: 0,
            acked_since: (now, 0),
        }
    }

    /// Sending goes on after a pause: the round trip need not be measured at once.
    fn on_restart(&mut self, now: Time) {
        self.min_rtt_at = now;
        self.slow_for = Duration::ZERO;
        self.acked_since = (now, 0);
    }

    fn on_packet(&mut self, report: &AckReport) {
        self.update_yielding(report);
        self.marked |= report.ecn_congestion;
        let min_rtt = self.min_rtt.unwrap_or_default();
        let Some(sample) = self.sampler.on_packet(report, min_rtt) else { return };
        let round_over = sample.prior_delivered >= self.round_end;
        self.update_rtt(report.now, sample.rtt);
        self.update_return_delay(sample.rtt, report.waited);
        if round_over {
            self.begin_round();
            self.round_rate = 0;
        }
        self.update_rate(&sample);
        self.check_fallen(report.now, &sample);
        self.update_aggregation(report);
        if std::mem::take(&mut self.marked) || self.is_congested(&sample) {
            self.congested_round = Some(self.round);
            self.on_congestion(report.now, &sample);
        }
        self.advance(report, &sample, round_over);
        self.set_pacing_rate();
        self.set_window(report);
    }

    /// Appendix A takes over from what is in flight now, so that losses count as it wants, and the
    /// window grows no faster than RFC 7016 §3.5.2.1 allows.
    fn update_yielding(&mut self, report: &AckReport) {
        if report.fast_grow || report.time_critical_sent {
            self.yielding = None;
            return;
        }
        let (segment, in_flight) = (self.segment, report.outstanding_before);
        let bound = self.yielding.get_or_insert_with(|| AppendixA::with_window(segment, in_flight));
        bound.on_packet(report);
        if bound.window() < self.window {
            self.window = bound.window();
            self.sampler.on_app_limited(report.outstanding);
        }
    }

    fn begin_round(&mut self) {
        self.round_end = self.sampler.delivered;
        self.round += 1;
    }

    fn update_rtt(&mut self, now: Time, rtt: Duration) {
        let best = self.min_rtt.unwrap_or(Duration::MAX);
        if rtt <= best {
            self.min_rtt = Some(rtt);
        }
        // An almost empty path is as good as an empty one.
        if rtt <= best.saturating_add(best / 64) {
            self.min_rtt_at = now;
        }
        if self.phase == Phase::ProbeRtt {
            self.probed_rtt = Some(self.probed_rtt.map_or(rtt, |best| best.min(rtt)));
        }
    }

    fn update_return_delay(&mut self, rtt: Duration, waited: Option<Duration>) {
        let Some(waited) = waited else { return };
        let queue = rtt.saturating_sub(self.min_rtt.unwrap_or(rtt));
        let late = queue.saturating_sub(waited.saturating_add(WAIT_STEP)).min(MAX_RETURN_DELAY);
        self.return_delay = (self.return_delay * 7 + late) / 8;
    }

    fn update_rate(&mut self, sample: &Sample) {
        let Some(rate) = sample.rate else { return };
        self.round_rate = self.round_rate.max(rate);
        if !sample.app_limited || rate > self.max_rate() {
            self.rates[0] = self.rates[0].max(rate);
        }
    }

    /// Counts bytes acknowledged beyond what the rate explains: receivers and networks
    /// acknowledge in heaps, and the window must cover them.
    fn update_aggregation(&mut self, report: &AckReport) {
        let (since, acked) = self.acked_since;
        let expected = scale(self.max_rate(), report.now.since(since).as_secs_f64());
        if acked <= expected {
            self.acked_since = (report.now, report.acked_bytes);
        } else {
            self.acked_since.1 = acked.saturating_add(report.acked_bytes);
        }
        if self.round.saturating_sub(self.extra_acked_round) >= EXTRA_ACKED_FILTER_LEN / 2 {
            self.extra_acked = [0, self.extra_acked[0]];
            self.extra_acked_round = self.round;
        }
        let extra = if acked <= expected { 0 } else { self.acked_since.1 - expected };
        let most = self.bdp_multiple(1.0).max(self.bursts());
        self.extra_acked[0] = self.extra_acked[0].max(extra.min(most));
    }

    fn has_queue(&self, rtt: Duration) -> bool {
        let min = self.min_rtt.unwrap_or(Duration::MAX);
        rtt > min.saturating_add(QUEUE_SLACK).max(min.saturating_add(min.mul_f64(QUEUE_GAIN - 1.0)))
    }

    fn is_congested(&mut self, sample: &Sample) -> bool {
        let bearable =
            if self.has_queue(sample.rtt) { LOSS_THRESH } else { LOSS_THRESH_WITHOUT_QUEUE };
        let chance = self.segment.saturating_mul(CHANCE_LOSS);
        let too_many = |lost: u64, of: u64| lost > scale(of, bearable).saturating_add(chance);
        let (delivered, lost) = self.loss_counted;
        let lost = self.sampler.lost.saturating_sub(lost);
        let sent = self.sampler.delivered.saturating_sub(delivered).saturating_add(lost);
        let counted = sent >= self.segment.saturating_mul(LOSS_SEGMENTS);
        if counted {
            self.loss_counted = (self.sampler.delivered, self.sampler.lost);
        }
        self.congested_round != Some(self.round)
            && (too_many(sample.lost, sample.in_flight) || counted && too_many(lost, sent))
    }

    /// A path that has become much slower is not found out by waiting for old rates to expire. Time
    /// without acknowledgements counts little: it may be a stall of this computer. As that can't
    /// be determined for certain, the rate is searched for anew.
    fn check_fallen(&mut self, now: Time, sample: &Sample) {
        let since_last = now.since(std::mem::replace(&mut self.looked_at, now));
        // While a queue is drained, little is delivered because little was sent.
        let limited = sample.app_limited || sample.send_limited;
        let measured = self.full_bw_reached && self.phase != Phase::ProbeRtt && !limited;
        let fast = sample.rate.is_none_or(|rate| rate >= self.max_rate() / 2);
        if fast || !measured || !self.has_queue(sample.rtt) {
            self.slow_for = Duration::ZERO;
            return;
        }
        self.slow_for += since_last.min(FALLEN_STEP);
        let patience = (self.min_rtt.unwrap_or_default() * FALLEN_ROUND_TRIPS).max(FALLEN_TIME);
        if self.slow_for < patience {
            return;
        }
        self.rates = [sample.rate.unwrap_or(self.round_rate), 0];
        self.rate_low = u64::MAX;
        self.extra_acked = [0; 2];
        self.fallen = true;
        self.on_restart(now);
        self.enter(now, Phase::Drain);
    }

    fn max_rate(&self) -> u64 {
        self.rates[0].max(self.rates[1])
    }

    /// The rate that the path is taken to have, in bytes per second.
    fn rate(&self) -> u64 {
        self.max_rate().min(self.rate_low)
    }

    /// `gain` times the bandwidth-delay product (BBRBDPMultiple), which fills the path without a
    /// queue.
    fn bdp_multiple(&self, gain: f64) -> u64 {
        let Some(min_rtt) = self.min_rtt else { return initial_window(self.segment) };
        scale(self.rate(), min_rtt.as_secs_f64() * gain)
    }

    /// The same, but enough for acknowledgements that come late, and for bursts on short paths
    /// (BBRInflight).
    fn inflight(&self, gain: f64) -> u64 {
        let late = scale(self.rate(), self.return_delay.as_secs_f64());
        let path = self.bdp_multiple(gain).saturating_add(late);
        path.max(self.bursts()).max(self.min_window())
    }

    fn bursts(&self) -> u64 {
        let least = if self.segment >= LARGE { least_burst(self.segment) } else { 0 };
        quantum(self.pacing_rate).max(least).saturating_mul(BURSTS_IN_FLIGHT)
    }

    fn min_window(&self) -> u64 {
        self.segment.saturating_mul(MIN_PIPE_CWND)
    }

    fn set_pacing_rate(&mut self) {
        if self.max_rate() == 0 {
            return;
        }
        let rate = scale(self.rate(), self.phase.pacing_gain() * PACING_MARGIN);
        let round_trip = self.min_rtt.unwrap_or_default().max(QUEUE_SLACK);
        let floor = scale(self.min_window(), 1.0 / round_trip.as_secs_f64());
        if self.full_bw_reached || rate > self.pacing_rate {
            self.pacing_rate = rate.max(floor.min(self.rate())).max(self.segment);
        }
    }

    fn set_window(&mut self, report: &AckReport) {
        let extra = self.extra_acked[0].max(self.extra_acked[1]);
        let target = self.inflight(self.phase.window_gain()).saturating_add(extra);
        let grown = self.window.saturating_add(report.acked_bytes);
        if self.full_bw_reached {
            self.window = grown.min(target);
        } else if self.window < target || self.max_rate() == 0 {
            self.window = grown;
        }
        let small = self.phase == Phase::ProbeRtt || self.inflight_low < u64::MAX;
        let least = if small { MIN_CONGESTED_CWND } else { MIN_PIPE_CWND };
        self.window = self.window.min(self.bound()).max(self.segment.saturating_mul(least));
        if let Some(bound) = &self.yielding {
            self.window = self.window.min(bound.window());
        }
    }

    /// The window and what waits at this end's own uplink, unless the round trip is being measured,
    /// losses have set a bound, or others must go first.
    fn window_with(&self, own_queue: u64) -> u64 {
        if self.phase == Phase::ProbeRtt || self.yielding.is_some() {
            return self.window;
        }
        self.window.saturating_add(own_queue).min(self.bound().max(self.window))
    }

    /// The most that may be in flight in this phase.
    fn bound(&self) -> u64 {
        match self.phase {
            Phase::Up | Phase::Refill | Phase::Startup => self.inflight_high,
            Phase::ProbeRtt => self.probe_rtt_window(),
            Phase::Cruise => self.with_headroom().min(self.inflight_low),
            Phase::Down | Phase::Drain => self.inflight_high.min(self.inflight_low),
        }
    }
}

/// Bytes that may leave at once at any rate.
const fn least_burst(segment: u64) -> u64 {
    segment.saturating_mul(if segment >= LARGE { MIN_LARGE_BURST } else { MIN_BURST })
}

fn scale(value: u64, factor: f64) -> u64 {
    // Conversion saturates.
    (value as f64 * factor) as u64
}

#[cfg(test)]
mod tests;
