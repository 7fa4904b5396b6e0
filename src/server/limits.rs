//! Which limits are reached. A flood reaches one for each of its packets, so that a limit is
//! reported at once, and then once a minute at most.

use crate::rendezvous::RendezvousStats;
use crate::transport::Time;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The shortest time between two reports of one limit.
const SILENCE: Duration = Duration::from_secs(60);
/// The shortest time between two looks at the counters: under load they change with each datagram.
const PERIOD: Duration = Duration::from_millis(20);

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitReached {
    /// The settings that could have been the reason, as they are called in a configuration file;
    /// `fixed` for a limit without a setting.
    pub limit: &'static str,
    /// What the server did.
    pub effect: &'static str,
    /// How often since the last report.
    pub times: u64,
}

macro_rules! limits {
    ($($settings:literal, $effect:literal, $($counter:ident).+;)*) => {
        /// The settings of each limit, and what the server does at it.
        const LIMITS: &[(&str, &str)] = &[$(($settings, $effect)),*];

        /// The counter of each limit.
        fn counts(stats: &RendezvousStats) -> [u64; LIMITS.len()] {
            [$(stats.$($counter).+),*]
        }
    };
}

limits! {
    "limits.keyings_per_address, limits.pending_keyings, limits.sessions, \
     limits.sessions_per_address",
        "new sessions not answered", endpoint.keyings_ignored;
    "limits.unused_sessions, limits.unused_sessions_per_address, limits.sessions, \
     limits.sessions_per_address",
        "sessions that nobody had used closed for others", endpoint.unconfirmed_evicted;
    "clients.connect_within", "sessions closed whose clients had not connected",
        connects_timed_out;
    "limits.reply_factor", "answers left out or shortened", endpoint.answers_limited;
    "fixed", "answers dropped", endpoint.answers_dropped;
    "limits.memory, limits.memory_per_address", "sessions closed that held most",
        endpoint.sessions_evicted;
    "limits.memory_per_session", "flows closed that held most", endpoint.flows_rejected;
    "limits.memory_per_session, limits.receive_buffer", "parts of messages taken for lost",
        endpoint.fragments_refused;
    "limits.send_queue", "clients closed that did not take what they were sent", laggards_closed;
    "limits.message", "messages dropped that were too long", messages_too_long;
    "limits.flows_per_session", "flows refused", endpoint.flows_refused;
    "limits.groups_per_client, limits.members_per_group", "joins refused", joins_refused;
    "introductions.from_host", "hellos ignored", introductions_limited;
    "introductions.from_address, introductions.to_client, introductions.from_host_to_client, \
     introductions.beyond_factor",
        "hellos answered but not forwarded", forwards_limited;
    "relay.message, relay.from_client, relay.to_client, relay.queue", "calls of relay refused",
        relays_limited;
    "streams.per_client", "NetStreams refused", net_streams_refused;
    "streams.streams, streams.players", "streams refused to who publishes or plays",
        streams_refused;
    "streams.cache, streams.cache_in_all", "frames not kept for who comes late", caches_cut;
    "streams.queue", "messages of streams dropped", stream_messages_dropped;
    "shared_objects.objects, shared_objects.per_client, shared_objects.users",
        "shared objects refused", objects_refused;
    "shared_objects.slots, shared_objects.bytes, shared_objects.bytes_in_all",
        "changes of shared objects undone", object_changes_undone;
    "shared_objects.queue", "news of shared objects held back", object_messages_held_back;
    "connectivity.from_host, connectivity.at_once", "connectivity checks refused",
        checks_refused;
    "hooks.pending, hooks.per_client", "questions to the hook not asked", hook_queries_dropped;
    "fixed", "commands to other workers lost", commands_lost;
    "fixed", "datagrams for other workers dropped", endpoint.strays_dropped;
}

/// What was reported of each limit, by whatever worker.
#[derive(Debug)]
struct Reported([State; LIMITS.len()]);

#[derive(Debug, Default)]
struct State {
    /// Microseconds of the time of the next report at the earliest.
    silent_until: AtomicU64,
    /// Times that have not been reported yet.
    waiting: AtomicU64,
}

impl State {
    /// Times that are to be reported now.
    fn take(&self, now: Time) -> Option<u64> {
        let until = self.silent_until.load(Relaxed);
        if self.waiting.load(Relaxed) == 0 || now.as_micros() < until {
            return None;
        }
        let next = (now + SILENCE).as_micros();
        // One worker reports for all.
        self.silent_until.compare_exchange(until, next, Relaxed, Relaxed).ok()?;
        Some(self.waiting.swap(0, Relaxed)).filter(|times| *times > 0)
    }
}

/// Looks at the counters of one worker for limits that were reached. Clones are for other workers of
/// the server, which report together.
#[derive(Debug)]
pub(super) struct Limits {
    reported: Arc<Reported>,
    seen: [u64; LIMITS.len()],
    /// Something of this worker has perhaps not been reported yet.
    is_waiting: bool,
    /// The earliest time of the next look.
    next: Time,
    /// Counters may have changed since the last look.
    is_pending: bool,
    /// Reports that have not been polled yet.
    queue: VecDeque<LimitReached>,
}

impl Default for Limits {
    fn default() -> Self {
        let reported = Arc::new(Reported(std::array::from_fn(|_| State::default())));
        Self {
            reported,
            seen: [0; LIMITS.len()],
            is_waiting: false,
            next: Time::ZERO,
            is_pending: false,
            queue: VecDeque::new(),
        }
    }
}

impl Clone for Limits {
    fn clone(&self) -> Self {
        Self { reported: Arc::clone(&self.reported), ..Self::default() }
    }
}

impl Limits {
    /// True if it is time to [look](Self::look), after counters may have changed.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        self.is_pending = now < self.next;
        if !self.is_pending {
            self.next = now + PERIOD;
        }
        !self.is_pending
    }

    /// When it is time to look, if that is to be.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.is_pending.then_some(self.next)
    }

    /// Looks for limits that were reached meanwhile.
    pub(super) fn look(&mut self, now: Time, stats: &RendezvousStats) {
        let counts = counts(stats);
        if counts == self.seen && !self.is_waiting {
            return;
        }
        self.is_waiting = false;
        let states = self.reported.0.iter().zip(LIMITS);
        for ((state, &(limit, effect)), (count, seen)) in
            states.zip(counts.iter().zip(&mut self.seen))
        {
            state.waiting.fetch_add(count.saturating_sub(*seen), Relaxed);
            *seen = *count;
            if let Some(times) = state.take(now) {
                self.queue.push_back(LimitReached { limit, effect, times });
            }
            self.is_waiting |= state.waiting.load(Relaxed) > 0;
        }
    }

    /// The next report.
    pub(super) fn poll(&mut self) -> Option<LimitReached> {
        self.queue.pop_front()
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
    fn nothing_waits_for_a_look_for_long() {
        let mut limits = Limits::default();
        assert!(limits.is_due(Time::from_millis(5)) && limits.poll_timeout().is_none());
        assert!(!limits.is_due(Time::from_millis(6)));
        assert_eq!(limits.poll_timeout(), Some(Time::from_millis(25)));
        assert!(limits.is_due(Time::from_millis(25)) && limits.poll_timeout().is_none());
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

    #[test]
    fn workers_report_together() {
        let first = Limits::default();
        let mut workers = [first.clone(), first.clone(), first];
        let mut times = Vec::new();
        for ms in 0..100_000 {
            let stats = RendezvousStats { joins_refused: ms + 1, ..Default::default() };
            for worker in &mut workers {
                worker.look(Time::from_millis(ms), &stats);
                times.extend(std::iter::from_fn(|| worker.poll()).map(|reached| reached.times));
            }
        }
        assert_eq!(times, [1, 180_000]);
    }

    #[test]
    fn nothing_is_done_while_nothing_is_reached() {
        let mut limits = Limits::default();
        limits.look(Time::ZERO, &RendezvousStats::default());
        assert!(!limits.is_waiting && limits.poll().is_none());
    }

    /// The table in `docs/server.md` has the line of each limit.
    #[test]
    fn the_manual_has_every_line() {
        let manual = include_str!("../../docs/server.md");
        let (_, table) = manual.split_once("\n## Limits\n").unwrap();
        let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
        let rows = || table.lines().filter(|line| line.starts_with("| "));
        let cells = |row: &'static str| row.trim_matches('|').split(" | ").map(str::trim);
        for &(settings, effect) in LIMITS {
            let lines = rows().filter(|row| cells(row).last() == Some(effect));
            let named: Vec<&str> = lines.filter_map(|row| cells(row).nth(1)).collect();
            assert!(!named.is_empty(), "{effect:?} is in no row");
            // A setting may be the reason of several lines, and is in the row of one of them.
            for name in named.iter().filter(|name| **name != "–") {
                let is_known = settings.split(", ").any(|it| *name == format!("`{it}`"));
                assert!(is_known, "{name} is not among {settings}");
            }
        }
        let effects = rows().skip(1).filter_map(|row| cells(row).last());
        for effect in effects.filter(|effect| !effect.starts_with(['–', '-'])) {
            assert!(LIMITS.iter().any(|(_, known)| *known == effect), "{effect:?} is no line");
        }
    }

    #[cfg(feature = "settings")]
    #[test]
    fn the_settings_exist() {
        let sample = crate::server::Settings::default().to_toml();
        let names = LIMITS.iter().flat_map(|(limit, _)| limit.split(", "));
        for (section, key) in names.filter_map(|name| name.split_once('.')) {
            let (_, rest) = sample.split_once(&format!("\n[{section}]\n")).unwrap();
            let section = rest.split("\n[").next().unwrap_or_default();
            assert!(section.contains(&format!("\n{key} = ")), "{section}.{key}");
        }
    }
}
