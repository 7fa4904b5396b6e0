//! Which limits are reached. A flood reaches one for each of its packets, so that a limit is
//! reported at once, and then once a minute at most.

use crate::rendezvous::RendezvousStats;
use crate::transport::Time;
use std::time::Duration;

/// The shortest time between two reports of one limit.
const SILENCE: Duration = Duration::from_secs(60);

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitReached {
    /// The settings that could have been the reason, as they are called in a configuration file.
    pub limit: &'static str,
    /// What the server did.
    pub effect: &'static str,
    /// How often since the last report.
    pub times: u64,
}

/// A limit: the settings, what the server does, and the counter of it.
type Limit = (&'static str, &'static str, fn(&RendezvousStats) -> u64);

const LIMITS: [Limit; 9] = [
    ("hooks.pending, hooks.per_client", "questions to the hook not asked", |stats| {
        stats.hook_queries_dropped
    }),
    ("limits.groups_per_client, limits.members_per_group", "joins refused", |stats| {
        stats.joins_refused
    }),
    ("connectivity.from_host, connectivity.at_once", "connectivity checks refused", |stats| {
        stats.checks_refused
    }),
    ("introductions.from_host", "hellos ignored", |stats| stats.introductions_limited),
    (
        "limits.keyings_per_address, limits.pending_keyings, limits.sessions, \
         limits.sessions_per_address",
        "new sessions not answered",
        |stats| stats.endpoint.keyings_ignored,
    ),
    (
        "limits.unused_sessions, limits.unused_sessions_per_address, limits.sessions, \
         limits.sessions_per_address",
        "sessions that nobody had used closed for others",
        |stats| stats.endpoint.unconfirmed_evicted,
    ),
    ("limits.memory, limits.memory_per_address", "sessions closed that held most", |stats| {
        stats.endpoint.sessions_evicted
    }),
    ("limits.memory_per_session", "flows closed that held most", |stats| {
        stats.endpoint.flows_rejected
    }),
    ("limits.memory_per_session", "parts of messages taken for lost", |stats| {
        stats.endpoint.fragments_refused
    }),
];

/// What was reported of each limit.
#[derive(Debug, Default)]
pub(super) struct Limits {
    states: [State; LIMITS.len()],
}

#[derive(Debug, Default)]
struct State {
    reported: u64,
    silent_until: Time,
    /// Times of a report that has not been polled yet.
    waiting: u64,
}

impl Limits {
    /// Looks for limits that were reached meanwhile.
    pub(super) fn look(&mut self, now: Time, stats: &RendezvousStats) {
        for (state, (_, _, count)) in self.states.iter_mut().zip(LIMITS) {
            let count = count(stats);
            if count > state.reported && now >= state.silent_until {
                state.waiting += count - state.reported;
                state.reported = count;
                state.silent_until = now + SILENCE;
            }
        }
    }

    /// The next report.
    pub(super) fn poll(&mut self) -> Option<LimitReached> {
        let mut states = self.states.iter_mut().zip(LIMITS);
        let (state, (limit, effect, _)) = states.find(|(state, _)| state.waiting > 0)?;
        Some(LimitReached { limit, effect, times: std::mem::take(&mut state.waiting) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_minute() {
        let mut limits = Limits::default();
        let mut stats = RendezvousStats::default();
        let mut times = Vec::new();
        for ms in 0..150_000 {
            stats.introductions_limited += 1;
            limits.look(Time::from_millis(ms), &stats);
            times.extend(std::iter::from_fn(|| limits.poll()).map(|reached| reached.times));
        }
        assert_eq!(times, [1, 60_000, 60_000]);
        // The rest is not lost.
        limits.look(Time::from_millis(400_000), &stats);
        assert_eq!(limits.poll().unwrap().times, 29_999);
        assert_eq!(limits.poll(), None);
    }

    #[test]
    fn each_limit_has_its_own_line() {
        let mut limits = Limits::default();
        let stats =
            RendezvousStats { joins_refused: 2, introductions_limited: 3, ..Default::default() };
        limits.look(Time::ZERO, &stats);
        let first = limits.poll().unwrap();
        assert_eq!((first.effect, first.times), ("joins refused", 2));
        assert_eq!(limits.poll().unwrap().limit, "introductions.from_host");
        assert_eq!(limits.poll(), None);
    }

    #[cfg(feature = "settings")]
    #[test]
    fn the_settings_exist() {
        let sample = crate::server::Settings::default().to_toml();
        let names = LIMITS.iter().flat_map(|(limit, _, _)| limit.split(", "));
        for (section, key) in names.filter_map(|name| name.split_once('.')) {
            let (_, rest) = sample.split_once(&format!("\n[{section}]\n")).unwrap();
            let section = rest.split("\n[").next().unwrap_or_default();
            assert!(section.contains(&format!("\n{key} = ")), "{section}.{key}");
        }
    }
}
