//! The model on a path that is computed, without a session.

use super::*;
use std::collections::VecDeque;

const SEGMENT: u64 = 1000;

/// A path without loss: a rate, a round trip, an endless queue.
struct Track {
    bbr: Bbr,
    now: Time,
    rate: u64,
    rtt: Duration,
    busy: Time,
    next: u64,
    /// When each packet in flight is acknowledged.
    flight: VecDeque<Time>,
    /// When the pace lets the next packet go.
    paced: Time,
    fast_grow: bool,
    /// What the far end's timestamps show of the way there.
    waited: Option<Duration>,
}

impl Track {
    fn new(rate: u64, rtt: u64) -> Self {
        let now = Time::from_millis(1000);
        let rtt = Duration::from_millis(rtt);
        let (bbr, flight) = (Bbr::new(SEGMENT), VecDeque::new());
        Self {
            bbr,
            now,
            rate,
            rtt,
            busy: now,
            next: 1,
            flight,
            paced: now,
            fast_grow: true,
            waited: None,
        }
    }

    fn outstanding(&self) -> u64 {
        self.flight.len() as u64 * SEGMENT
    }

    fn send(&mut self) {
        while self.outstanding() < self.bbr.window() && self.paced <= self.now {
            let outstanding_before = self.outstanding();
            let (now, tsn) = (self.now, self.next);
            self.bbr.on_sent(&SentPacket { now, tsn, bytes: SEGMENT, outstanding_before });
            self.next += 1;
            let gap = |rate| Duration::from_secs_f64(SEGMENT as f64 / rate as f64);
            self.busy = self.busy.max(now) + gap(self.rate);
            self.flight.push_back(self.busy + self.rtt);
            if let Some(rate) = self.bbr.pacing_rate() {
                self.paced = self.paced.max(now) + gap(rate);
            }
        }
    }

    fn acknowledge(&mut self) {
        let outstanding_before = self.outstanding();
        self.flight.pop_front();
        let first_tsn = self.next - self.flight.len() as u64;
        self.bbr.on_packet(&AckReport {
            now: self.now,
            outstanding_before,
            outstanding: self.outstanding(),
            acked_bytes: SEGMENT,
            newest_acked: Some(first_tsn - 1),
            first_tsn,
            next_tsn: self.next,
            any_acks: true,
            fast_grow: self.fast_grow,
            waited: self.waited,
            ..AckReport::default()
        });
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            self.send();
            let arrival = self.flight.front().copied();
            let paced = (self.outstanding() < self.bbr.window()).then_some(self.paced);
            let Some(next) = arrival.into_iter().chain(paced).min().filter(|&at| at < end) else {
                break;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                self.acknowledge();
            }
        }
        self.now = end;
    }

    fn model(&self) -> &Model {
        self.bbr.model.as_ref().expect("a model")
    }

    /// The phases that occur within `millis`.
    fn phases(&mut self, millis: u64) -> Vec<Phase> {
        let mut all = Vec::new();
        for _ in 0..millis {
            self.run(1);
            if all.last() != Some(&self.model().phase) {
                all.push(self.model().phase);
            }
        }
        all
    }
}

fn within(value: u64, least: u64, most: u64) {
    assert!((least..=most).contains(&value), "{value} is not in {least}..={most}");
}

#[test]
fn rate_and_round_trip_are_found_in_startup() {
    let mut track = Track::new(5_000_000, 50);
    assert_eq!(track.bbr.window(), 4000);
    assert_eq!(track.bbr.pacing_rate(), None);
    let phases = track.phases(1500);
    assert_eq!(phases[..2], [Phase::Startup, Phase::Drain]);
    assert_eq!(phases.last(), Some(&Phase::Cruise));
    within(track.model().max_rate(), 4_950_000, 5_050_000);
    within(track.model().min_rtt.unwrap().as_micros() as u64, 50_000, 51_000);
    within(track.bbr.window(), 500_000, 600_000);
    within(track.bbr.pacing_rate().unwrap(), 4_900_000, 5_000_000);
    within(track.outstanding(), 230_000, 270_000);
}

#[test]
fn more_is_tried_every_few_seconds() {
    let mut track = Track::new(5_000_000, 50);
    track.run(1500);
    let phases = track.phases(4500);
    let cycle = [Phase::Cruise, Phase::Refill, Phase::Up, Phase::Down, Phase::Cruise];
    assert_eq!(phases[..5], cycle);
    assert!(!phases.contains(&Phase::ProbeRtt), "the queue runs empty: {phases:?}");
}

#[test]
fn a_longer_round_trip_is_found_by_measuring() {
    let mut track = Track::new(5_000_000, 20);
    track.run(3000);
    track.rtt = Duration::from_millis(60);
    let phases = track.phases(8000);
    assert!(phases.contains(&Phase::ProbeRtt), "{phases:?}");
    within(track.model().min_rtt.unwrap().as_millis() as u64, 60, 62);
}

#[test]
fn a_path_that_has_become_slow_is_believed_at_once() {
    let mut track = Track::new(5_000_000, 50);
    track.run(1900);
    track.rate = 500_000;
    track.run(1000);
    within(track.model().max_rate(), 450_000, 2_000_000);
    // The queue was half a megabyte, which takes a second to drain.
    track.run(2000);
    within(track.outstanding(), 10_000, 60_000);
    within(track.model().max_rate(), 450_000, 550_000);
}

#[test]
fn a_lone_message_is_not_a_rate() {
    let mut bbr = Bbr::new(SEGMENT);
    let mut now = Time::from_millis(1000);
    for tsn in 1..200 {
        let bytes = 100;
        bbr.on_sent(&SentPacket { now, tsn, bytes, outstanding_before: 0 });
        bbr.on_app_limited(bytes);
        now += Duration::from_millis(50);
        bbr.on_packet(&AckReport {
            now,
            outstanding_before: bytes,
            acked_bytes: bytes,
            newest_acked: Some(tsn),
            first_tsn: tsn + 1,
            next_tsn: tsn + 1,
            any_acks: true,
            fast_grow: true,
            ..AckReport::default()
        });
    }
    let model = bbr.model.as_ref().unwrap();
    assert_eq!(model.phase, Phase::Startup, "nothing shows that there is no more");
    assert!(!model.full_bw_reached);
    // What a full window would need at least: the pace does not hold the next burst back.
    within(bbr.pacing_rate().unwrap(), 2000, 100_000);
}

#[test]
fn a_long_pause_forgets_the_path() {
    let mut track = Track::new(5_000_000, 50);
    track.run(1500);
    while !track.flight.is_empty() {
        track.now = track.flight[0];
        track.acknowledge();
    }
    track.now += Duration::from_secs(9);
    track.run(1);
    within(track.bbr.window(), 500_000, 600_000);
    while !track.flight.is_empty() {
        track.now = track.flight[0];
        track.acknowledge();
    }
    track.now += Duration::from_secs(11);
    track.run(1);
    assert_eq!(track.bbr.window(), 4000);
    assert_eq!(track.bbr.pacing_rate(), None);
}

#[test]
fn a_timeout_begins_with_a_small_window_and_keeps_the_model() {
    let mut track = Track::new(5_000_000, 50);
    track.run(1500);
    let rate = track.model().max_rate();
    track.bbr.on_timeout(track.outstanding());
    track.flight.clear();
    assert_eq!(track.bbr.window(), 4000);
    assert_eq!(track.model().max_rate(), rate);
    track.bbr.on_timeout(0);
    assert_eq!(track.bbr.window(), 4000, "nothing was lost by a pause");
    track.run(500);
    within(track.bbr.window(), 500_000, 600_000);
}

#[test]
fn time_critical_data_elsewhere_ends_growth() {
    let mut track = Track::new(5_000_000, 50);
    track.fast_grow = false;
    track.run(1000);
    within(track.bbr.window(), 4000, 4000 + 20 * 384);
    let mut track = Track::new(5_000_000, 50);
    track.run(1500);
    track.fast_grow = false;
    let phases = track.phases(8000);
    assert!(!phases.contains(&Phase::Refill) && !phases.contains(&Phase::Up), "{phases:?}");
}

#[test]
fn a_loss_halves_the_window_while_time_critical_data_is_elsewhere() {
    let mut track = Track::new(5_000_000, 50);
    track.run(1500);
    track.fast_grow = false;
    track.run(10);
    let outstanding = track.outstanding();
    track.flight.pop_front();
    let first_tsn = track.next - track.flight.len() as u64;
    let loss = AckReport {
        now: track.now,
        outstanding_before: outstanding,
        outstanding: track.outstanding(),
        lost_bytes: SEGMENT,
        newest_lost: Some(first_tsn - 1),
        first_tsn,
        next_tsn: track.next,
        any_acks: true,
        any_naks: true,
        any_loss: true,
        ..AckReport::default()
    };
    track.bbr.on_packet(&loss);
    assert_eq!(track.bbr.window(), outstanding / 2);
    track.run(1000);
    within(track.bbr.window(), outstanding / 2, outstanding / 2 + 20 * 700);
    track.fast_grow = true;
    track.run(200);
    within(track.bbr.window(), outstanding, 4 * outstanding);
}

#[test]
fn large_datagrams_leave_seven_at_a_time() {
    let mut track = Track::new(1_000_000, 1);
    track.run(1000);
    assert_eq!(track.bbr.burst(), 2 * SEGMENT);
    assert!(track.bbr.window() < 20 * SEGMENT);
    track.bbr.set_segment(8972);
    assert_eq!(track.bbr.burst(), 7 * 8972);
    track.run(1000);
    assert!(track.bbr.window() >= 3 * 7 * 8972, "{}", track.bbr.window());
}

/// A far end whose own uplink is full acknowledges late. The window makes up for it if nothing waits
/// on the way there, and does not if it is that way which has become longer.
#[test]
fn late_acknowledgements_do_not_slow_a_session_down() {
    let late = Duration::from_millis(41);
    for (waited, least, most) in [(Some(Duration::ZERO), 540_000, 610_000), (None, 0, 200_000)] {
        let mut track = Track::new(600_000, 1);
        track.waited = Some(Duration::ZERO);
        track.run(1500);
        (track.rtt, track.waited) = (late, waited);
        track.run(1000);
        let before = track.model().sampler.delivered;
        track.run(1000);
        within(track.model().sampler.delivered - before, least, most);
        within(track.bbr.window(), 4 * SEGMENT, 60 * SEGMENT);
    }
}
