//! The queue of this end's own uplink, and the pace that keeps it short.
//!
//! Each session by itself keeps little in flight, but many of them together fill the queue of the
//! uplink that they share: the smallest windows add up. What they have in common shows. When packets
//! of most sessions wait on their way at the same time, it is here that they wait. Then the
//! endpoint as a whole sends what is delivered, a little more while the queue is short, and a little
//! less while it is long (`protocol-notes/congestion.md`).

use super::{Bandwidth, SessionId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Queues are looked at in this interval.
const INTERVAL: Duration = Duration::from_millis(50);
/// After a pause of so long, what was measured before means nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// The rate is averaged over this time.
const AVERAGE: f64 = 0.4;
/// What a session's packets have waited is of use for so long.
const RECENT: Duration = Duration::from_millis(300);
/// Sessions whose delays are looked at; further ones, while these go on, are not.
const MAX_SESSIONS: usize = 256;
/// A queue so long, in so many intervals one after the other, begins a pace.
const LONG: Duration = Duration::from_millis(24);
const LONG_INTERVALS: u32 = 4;
/// With a queue so long the uplink is busy; timestamps are not finer than this.
const BUSY: Duration = Duration::from_millis(8);
/// The queue that is aimed at.
const TARGET: Duration = Duration::from_millis(30);
/// A queue that is too long is to be gone after this time, one that is too short to be filled.
const SHRINK: f64 = 0.5;
const GROW: f64 = 0.25;
/// What leaves in this time is in flight beyond the congestion windows: the target, as much at the
/// far end, and the delay of acknowledgements.
const IN_FLIGHT: Duration = Duration::from_millis(80);
/// The uplink is full if somebody has waited for the pace so recently.
const FULL: Duration = Duration::from_millis(500);
/// The pace ends when nobody has waited for it for so long.
const UNUSED: Duration = Duration::from_secs(2);
/// It ends also when the queue is longer than twice the target, or the pace as low as it may be, for
/// so much longer than not: the uplink has become another, the queue is not ours, or the delays are
/// not true.
const FUTILE: Duration = Duration::from_secs(4);
/// Then delays are ignored for so long at first, and after each further time twice as long.
const IGNORE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(160));
/// The pace is never less than this share of the highest rate that was delivered since it began.
const FLOOR: f64 = 0.5;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Uplink {
    /// The shortest wait of each session in the interval in which its packets came last, and when
    /// the first of these came.
    waits: BTreeMap<SessionId, (Duration, Time)>,
    /// Bytes acknowledged in this interval, and when it began.
    acked: u64,
    since: Time,
    /// Bytes delivered per second.
    delivered: f64,
    long_intervals: u32,
    pace: Option<Pace>,
    ignored_until: Time,
    ignored_for: Duration,
}

#[derive(Debug)]
struct Pace {
    /// What the uplink is taken to carry, in bytes of user data per second.
    capacity: f64,
    /// The highest rate that was delivered.
    highest: f64,
    began: Time,
    /// When somebody last waited.
    used: Time,
    /// For how much longer the queue was too long, or the pace at its floor, than not.
    futile: Duration,
    rate: Bandwidth,
}

impl Uplink {
    /// Acknowledgements of a session have come: so many bytes, and the time that its packets have
    /// waited since the last call. True if the pace has changed.
    pub(crate) fn on_acknowledged(
        &mut self,
        now: Time,
        session: SessionId,
        bytes: u64,
        wait: Option<Duration>,
    ) -> bool {
        self.acked = self.acked.saturating_add(bytes);
        self.note_wait(now, session, wait);
        let elapsed = now.since(self.since);
        if elapsed < INTERVAL {
            return false;
        }
        let before = self.pace();
        let acked = std::mem::take(&mut self.acked);
        self.since = now;
        self.waits.retain(|_, (_, at)| now.since(*at) < RECENT);
        if elapsed > PAUSE {
            self.delivered = 0.0;
            self.long_intervals = 0;
            self.pace = None;
        } else {
            let seconds = elapsed.as_secs_f64();
            // The first of several is all that is known.
            let weight = if self.delivered > 0.0 { (seconds / AVERAGE).min(1.0) } else { 1.0 };
            self.delivered += weight * (acked as f64 / seconds - self.delivered);
            self.update(now, elapsed, common(self.waits.values().map(|(wait, _)| *wait)));
        }
        self.pace() != before
    }

    fn note_wait(&mut self, now: Time, session: SessionId, wait: Option<Duration>) {
        let Some(wait) = wait else { return };
        let full = self.waits.len() >= MAX_SESSIONS;
        match self.waits.get_mut(&session) {
            Some((least, at)) if *at >= self.since => *least = wait.min(*least),
            Some(place) => *place = (wait, now),
            None if full => {}
            None => drop(self.waits.insert(session, (wait, now))),
        }
    }

    /// The rate at which user data of all sessions may leave.
    pub(crate) fn pace(&self) -> Option<Bandwidth> {
        self.pace.as_ref().map(|pace| pace.rate)
    }

    /// What the uplink is found to carry while there is a pace.
    pub(crate) fn capacity(&self) -> Option<Bandwidth> {
        self.pace.as_ref().map(|pace| Bandwidth::bytes_per_second(pace.capacity as u64))
    }

    /// True if more waits than the pace lets through.
    pub(crate) fn is_full(&self, now: Time) -> bool {
        self.pace.as_ref().is_some_and(|pace| now.since(pace.used) < FULL)
    }

    /// True if delays are ignored, as they were found not to be those of the uplink.
    pub(crate) fn is_doubtful(&self, now: Time) -> bool {
        now < self.ignored_until
    }

    /// Bytes that a session may have in flight beyond its congestion window: those that wait in the
    /// queue here, or for which nobody could know yet that they do not.
    pub(crate) fn own_queue(&self) -> u64 {
        self.pace().map_or(0, |rate| rate.worth(IN_FLIGHT))
    }

    /// Somebody waits for the pace.
    pub(crate) fn on_waiting(&mut self, now: Time) {
        if let Some(pace) = &mut self.pace {
            pace.used = now;
        }
    }

    fn update(&mut self, now: Time, elapsed: Duration, queue: Duration) {
        let Some(pace) = &mut self.pace else { return self.begin_if_long(now, queue) };
        pace.adjust(elapsed, self.delivered, queue);
        if now.since(pace.used) >= UNUSED {
            self.pace = None;
        } else if pace.futile >= FUTILE {
            self.give_up(now);
        }
    }

    fn begin_if_long(&mut self, now: Time, queue: Duration) {
        self.long_intervals = if queue >= LONG { self.long_intervals + 1 } else { 0 };
        if self.long_intervals < LONG_INTERVALS || now < self.ignored_until {
            return;
        }
        self.long_intervals = 0;
        self.pace = Some(Pace {
            capacity: self.delivered,
            highest: self.delivered,
            began: now,
            used: now,
            futile: Duration::ZERO,
            rate: Bandwidth::bytes_per_second(self.delivered as u64),
        });
    }

    /// Sending less does not shorten the queue.
    fn give_up(&mut self, now: Time) {
        let (least, most) = IGNORE;
        let began = self.pace.take().map_or(now, |pace| pace.began);
        // One that has worked for a while is no proof against the next.
        let worked = now.since(began) > 4 * FUTILE;
        let last = if worked { Duration::ZERO } else { self.ignored_for };
        self.ignored_for = (2 * last).clamp(least, most);
        self.ignored_until = now + self.ignored_for;
    }
}

impl Pace {
    fn adjust(&mut self, elapsed: Duration, delivered: f64, queue: Duration) {
        // What a busy uplink delivers is what it carries.
        self.capacity = if queue >= BUSY { delivered } else { self.capacity.max(delivered) };
        let excess = queue.as_secs_f64() - TARGET.as_secs_f64();
        let gain = 1.0 - excess / if excess > 0.0 { SHRINK } else { GROW };
        self.highest = self.highest.max(delivered);
        let (rate, floor) = (self.capacity * gain, FLOOR * self.highest);
        self.rate = Bandwidth::bytes_per_second(rate.max(floor) as u64);
        let works = queue <= 2 * TARGET && rate > floor;
        self.futile =
            if works { self.futile.saturating_sub(elapsed) } else { self.futile + elapsed };
    }
}

/// The wait that three quarters of the sessions have in common, of which there are two at least.
fn common(waits: impl Iterator<Item = Duration>) -> Duration {
    let mut waits: Vec<_> = waits.collect();
    if waits.len() < 2 {
        return Duration::ZERO;
    }
    waits.sort_unstable();
    waits[waits.len() / 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);
    /// What the uplink carries.
    const RATE: f64 = 1e6;

    /// An uplink with a queue, the sessions that use it, and how long each claims to wait beyond
    /// the queue.
    struct Model {
        uplink: Uplink,
        now: Time,
        claims: Vec<Duration>,
        /// Seconds of the queue.
        queue: f64,
        /// Bytes that leave without a pace, per second.
        greed: f64,
    }

    impl Model {
        fn new(claims: &[u64]) -> Self {
            let claims = claims.iter().map(|&millis| Duration::from_millis(millis)).collect();
            let now = Time::from_millis(1000);
            Self { uplink: Uplink::default(), now, claims, queue: 0.0, greed: 1.3 * RATE }
        }

        /// Lets time pass. Returns the least and the last share of the uplink that was paced.
        fn run(&mut self, time: Duration) -> (f64, f64) {
            let end = self.now + time;
            let (mut least, mut last) = (f64::MAX, f64::MAX);
            while self.now < end {
                self.now += STEP;
                let pace = self.uplink.pace().map(|rate| rate.as_bytes_per_second() as f64);
                last = pace.map_or(f64::MAX, |pace| pace / RATE);
                least = least.min(last);
                let sent = pace.map_or(self.greed, |pace| pace.min(self.greed));
                if sent < self.greed {
                    self.uplink.on_waiting(self.now);
                }
                let seconds = STEP.as_secs_f64();
                let before = self.queue;
                // A tenth of a second fits.
                self.queue = (before + (sent / RATE - 1.0) * seconds).clamp(0.0, 0.1);
                let carried = if self.queue > 0.0 { RATE } else { sent.min(RATE) };
                let bytes = (carried * seconds) as u64 / self.claims.len() as u64;
                for (session, claim) in (0..).zip(&self.claims) {
                    let wait = Duration::from_secs_f64(self.queue) + *claim;
                    self.uplink.on_acknowledged(self.now, SessionId(session), bytes, Some(wait));
                }
            }
            (least, last)
        }
    }

    #[test]
    fn the_queue_is_kept_at_the_target() {
        let mut model = Model::new(&[0; 4]);
        model.run(Duration::from_secs(3));
        for _ in 0..100 {
            let (least, _) = model.run(Duration::from_millis(100));
            assert!((0.02..0.04).contains(&model.queue), "{}", model.queue);
            assert!((0.9..1.1).contains(&least), "{least}");
        }
    }

    #[test]
    fn one_session_and_queues_of_some_far_ends_are_not_ours() {
        for claims in [&[200][..], &[200, 0], &[0, 200, 0, 0], &[0, 300, 0, 300, 300]] {
            let mut model = Model::new(claims);
            model.greed = 0.9 * RATE;
            assert_eq!(model.run(Duration::from_secs(10)).0, f64::MAX, "{claims:?}");
        }
    }

    #[test]
    fn a_pace_that_nobody_waits_for_ends() {
        let mut model = Model::new(&[0; 4]);
        model.run(Duration::from_secs(3));
        assert!(model.uplink.pace().is_some());
        model.greed = 0.5 * RATE;
        model.run(Duration::from_secs(4));
        assert_eq!(model.uplink.pace(), None);
    }

    #[test]
    fn hostile_claims_of_delays() {
        // One of four is outvoted.
        let mut model = Model::new(&[500, 0, 0, 0]);
        model.run(Duration::from_secs(3));
        let (least, _) = model.run(Duration::from_secs(20));
        assert!(least > 0.9, "{least}");
        // Three, and all, are not: the pace stays above half of what was carried for some seconds,
        // and then there is none for a while.
        // Nor those who claim hardly more than what is aimed at.
        for claims in [[500, 500, 500, 0], [60_000; 4], [50, 50, 50, 0], [40; 4]] {
            let mut model = Model::new(&claims);
            let (least, _) = model.run(Duration::from_secs(4));
            assert!(least >= 0.45, "{least}");
            let shares = (0..100).map(|_| model.run(Duration::from_secs(1)).1.min(1.0));
            let mean = shares.sum::<f64>() / 100.0;
            assert!(mean > 0.7, "{claims:?}: {mean}");
        }
    }

    #[test]
    fn hostile_silence_does_not_stop_the_others() {
        let mut model = Model::new(&[0; 4]);
        model.run(Duration::from_secs(3));
        // Nobody acknowledges anything any more, then they go on.
        for _ in 0..100 {
            model.now += STEP;
            model.uplink.on_acknowledged(model.now, SessionId(1), 0, Some(TARGET * 2));
            model.uplink.on_acknowledged(model.now, SessionId(2), 0, Some(TARGET * 2));
        }
        let pace = model.uplink.pace().map_or(u64::MAX, Bandwidth::as_bytes_per_second);
        assert!(pace as f64 > 0.45 * RATE, "{pace}");
    }

    #[test]
    fn the_sessions_of_an_interval_are_bounded() {
        let mut uplink = Uplink::default();
        let now = Time::from_millis(1000);
        uplink.on_acknowledged(now, SessionId(0), u64::MAX, None);
        for session in 0..10_000 {
            uplink.on_acknowledged(now, SessionId(session), u64::MAX, Some(Duration::MAX));
        }
        assert_eq!(uplink.waits.len(), MAX_SESSIONS);
    }
}
