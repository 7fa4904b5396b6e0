//! Keyings that wait for their computation, those of hosts first that have had least computed.
//!
//! A keying costs its sender one packet, and this end a power of hundreds of microseconds. Under a flood
//! more arrive than can be computed. A cookie has shown that the sender's address is its own, so keyings
//! can be counted by host. The first keying of a host is computed before those of hosts that have sent
//! many; when there is no space, it takes the place of the keying that would be computed last.

use crate::crypto::Respond;
use crate::transport::Time;
use crate::transport::buckets::Sweeper;
use crate::transport::job::{Job, PendingKey, Work};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// Jobs that are under way at a time. They are few, so that one that comes does not wait for many, and
/// more than processors, so that none of these waits.
const UNDER_WAY: usize = 64;
/// A keying is remembered of its host for so long; of several each for as long again.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Hosts whose keyings are remembered; others count as if they had asked for none.
const MAX_HOSTS: usize = 65_536;
/// Keyings of a host that make a difference.
const MOST: u64 = 64;

/// The place of a keying: the keyings that its host has had of late, and its number.
type Place = (u64, u64);

/// Keyings that wait.
#[derive(Debug, Default)]
pub(super) struct KeyingQueue {
    waiting: BTreeMap<Place, (PendingKey, Box<Respond>)>,
    number: u64,
    under_way: usize,
    /// When the keyings of a host are forgotten.
    hosts: HashMap<IpAddr, Time>,
    sweeper: Sweeper,
}

impl KeyingQueue {
    /// Keyings that `host` has had of late.
    fn rank(&self, now: Time, host: IpAddr) -> u64 {
        let until = self.hosts.get(&host).map_or(Duration::ZERO, |at| at.since(now));
        (until.as_micros() / REMEMBERED.as_micros().max(1)) as u64
    }

    pub(super) fn push(&mut self, now: Time, host: IpAddr, key: PendingKey, work: Box<Respond>) {
        let place = (self.rank(now, host), self.number);
        self.number += 1;
        self.waiting.insert(place, (key, work));
        self.remember(now, host);
    }

    fn remember(&mut self, now: Time, host: IpAddr) {
        let is_full = self.hosts.len() >= MAX_HOSTS;
        self.sweeper.sweep(&mut self.hosts, now, is_full);
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&host) {
            return;
        }
        let at = self.hosts.entry(host).or_insert(now);
        *at = ((*at).max(now) + REMEMBERED).min(now + REMEMBERED * MOST as u32);
    }

    /// A keying of a host was worth it: its session is used. It was not computed, or that.
    pub(super) fn forget(&mut self, host: IpAddr) {
        if let Some(at) = self.hosts.get_mut(&host) {
            let micros = at.as_micros().saturating_sub(REMEMBERED.as_micros() as u64);
            *at = Time::from_micros(micros);
        }
    }

    /// Takes out the keying that would be computed last, if it is of a host that has had more than
    /// `host`.
    pub(super) fn displace(&mut self, now: Time, host: IpAddr) -> Option<PendingKey> {
        let rank = self.rank(now, host);
        let last = self.waiting.last_entry().filter(|entry| entry.key().0 > rank)?;
        Some(last.remove().0)
    }

    /// The next job, unless many are under way.
    pub(super) fn poll(&mut self) -> Option<Job> {
        if self.under_way >= UNDER_WAY {
            return None;
        }
        let (_, (key, work)) = self.waiting.pop_first()?;
        self.under_way += 1;
        Some(Job(Work::Respond { key, work }))
    }

    /// A job of [`poll`](Self::poll) is done, or refused.
    pub(super) const fn on_done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}
