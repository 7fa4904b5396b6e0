//! The sessions of an endpoint, and its timers.
//!
//! A session's timer may stand too early: it is moved only when it must come sooner, and looked
//! at again when it fires. That keeps the ordered set still while packets stream.

use super::Session;
use super::unconfirmed::Unconfirmed;
use super::worker::Worker;
use crate::crypto::Fingerprint;
use crate::transport::job::PendingKey;
use crate::transport::{SessionId, Time};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bytes of memory that the flows of a session may hold without being counted: some idle flows and
/// short queues, as every session has them. The bound on these is the number of sessions.
pub const SESSION_ALLOWANCE: u64 = 8 << 10;
/// Memory of sessions is counted in multiples of this.
const CHARGE_UNIT: u64 = 4096;
/// Places that an empty collection keeps.
const KEPT_PLACES: usize = 1024;

/// Owner of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Session(SessionId),
    Attempt(u64),
    /// Pieces of startup packets wait for their time.
    Startup,
    /// A session that is watched.
    Watch(SessionId),
}

#[derive(Debug)]
struct Entry {
    /// Boxed, so that a growing table moves little and its spare places are small.
    session: Box<Session>,
    /// The address under which the session is counted; its path may change.
    ip: IpAddr,
    /// In the queue of those that may have something to send.
    queued: bool,
    scheduled: Option<Time>,
    /// Memory that was taken account of, in bytes, beyond the allowance.
    charged: u64,
}

#[derive(Debug)]
pub(super) struct Table {
    worker: Worker,
    sessions: HashMap<SessionId, Entry>,
    /// Sessions of which the owner knows, oldest first. There is more than one for a fingerprint
    /// only if the certificate does not prove who is behind it.
    by_fingerprint: HashMap<Fingerprint, Vec<SessionId>>,
    /// Sessions that were opened by their far ends and not used yet.
    unconfirmed: HashMap<Fingerprint, Vec<SessionId>>,
    /// The same by source.
    unconfirmed_from: Unconfirmed,
    /// Memory of all sessions with one address, if they hold any beyond their allowances.
    addresses: HashMap<IpAddr, u64>,
    /// Memory of all sessions, in bytes, beyond the allowance of each.
    memory: u64,
    /// Sessions that were opened by a keying.
    answered: HashMap<PendingKey, SessionId>,
    ready: VecDeque<SessionId>,
    timers: BTreeSet<(Time, Timer)>,
}

impl Table {
    pub(super) fn new(worker: Worker) -> Self {
        Self {
            worker,
            sessions: HashMap::new(),
            by_fingerprint: HashMap::new(),
            unconfirmed: HashMap::new(),
            unconfirmed_from: Unconfirmed::default(),
            addresses: HashMap::new(),
            memory: 0,
            answered: HashMap::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The same of all workers together.
    pub(super) fn len_of_all(&self) -> usize {
        self.worker.sessions().all()
    }

    /// A place for one more session with `ip`, unless there are `max_per_ip` of these or `max` of
    /// all. To be followed by [`insert`](Self::insert) or [`leave`](Self::leave).
    pub(super) fn enter(&self, ip: IpAddr, max_per_ip: usize, max: usize) -> bool {
        self.worker.sessions().enter(source(ip), max_per_ip, max)
    }

    /// Gives a place back.
    pub(super) fn leave(&self, ip: IpAddr) {
        self.worker.sessions().leave(source(ip));
    }

    /// True if some session is open, or one of its ends has not confirmed its close.
    pub(super) fn is_busy(&self) -> bool {
        let mut sessions = self.sessions.values().map(|entry| &entry.session);
        sessions.any(|s| s.is_closing() || (s.is_open() && s.confirmed))
    }

    /// Sessions of all workers with `ip`, closing ones included.
    pub(super) fn count_with(&self, ip: IpAddr) -> usize {
        self.worker.sessions().of(source(ip))
    }

    /// Sessions with `ip` that their initiators have not used yet.
    pub(super) fn unconfirmed_with(&self, ip: IpAddr) -> usize {
        self.unconfirmed_from.of(source(ip)).len()
    }

    /// Drops the oldest session with `ip` that its initiator has not used yet, of the port that
    /// has most of them. False if there is none.
    pub(super) fn evict_unconfirmed(&mut self, ip: IpAddr) -> bool {
        let ids = self.unconfirmed_from.of(source(ip));
        let remote = |id: SessionId| Some(self.sessions.get(&id)?.session.path.remote);
        let mut counts = HashMap::<SocketAddr, usize>::new();
        for remote in ids.clone().filter_map(remote) {
            *counts.entry(remote).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let of_greediest =
            |id: &SessionId| remote(*id).is_some_and(|remote| counts.get(&remote) == Some(&most));
        let oldest = ids.into_iter().find(of_greediest);
        if let Some(oldest) = oldest {
            self.remove(oldest);
        }
        oldest.is_some()
    }

    /// Sessions that their initiators have not used yet.
    pub(super) const fn unconfirmed(&self) -> usize {
        self.unconfirmed_from.len()
    }

    /// Drops such a session of whichever source has most of them. False if there is none.
    pub(super) fn evict_unconfirmed_anywhere(&mut self) -> bool {
        self.unconfirmed_from.greediest().is_some_and(|ip| self.evict_unconfirmed(ip))
    }

    /// Memory of all sessions, in bytes, beyond the allowance of each.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    /// Takes account of what a session holds now. Returns what all sessions with its address hold
    /// if that has changed, and the address.
    pub(super) fn charge(&mut self, id: SessionId) -> Option<(IpAddr, u64)> {
        let entry = self.sessions.get_mut(&id)?;
        let beyond = entry.session.memory().saturating_sub(SESSION_ALLOWANCE);
        let memory = beyond.next_multiple_of(CHARGE_UNIT);
        let before = std::mem::replace(&mut entry.charged, memory);
        if before == memory {
            return None;
        }
        self.memory = self.memory + memory - before;
        let ip = entry.ip;
        let of_address = self.addresses.entry(ip).or_default();
        *of_address = *of_address + memory - before;
        let held = *of_address;
        if held == 0 {
            self.addresses.remove(&ip);
        }
        Some((ip, held))
    }

    /// The sessions that hold memory beyond their allowance, those that hold most first; all, or
    /// those with one address.
    pub(super) fn heaviest(&self, ip: Option<IpAddr>) -> Vec<(u64, SessionId)> {
        let of_ip = |entry: &Entry| ip.is_none_or(|ip| ip == entry.ip);
        let heavy = self.sessions.iter().filter(|(_, entry)| entry.charged > 0 && of_ip(entry));
        let mut heavy: Vec<_> = heavy.map(|(&id, entry)| (entry.charged, id)).collect();
        heavy.sort_unstable_by(|a, b| b.cmp(a));
        heavy
    }

    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id).map(|entry| &*entry.session)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id).map(|entry| &mut *entry.session)
    }

    /// The session, if it is open and its owner knows of it.
    pub(super) fn open(&self, id: SessionId) -> Option<&Session> {
        let session = &self.sessions.get(&id)?.session;
        (session.is_open() && session.confirmed).then_some(session)
    }

    pub(super) fn iter_open(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|e| &*e.session).filter(|s| s.is_open() && s.confirmed)
    }

    /// The open session with `far`; the oldest, if there are several.
    pub(super) fn find(&self, far: Fingerprint) -> Option<SessionId> {
        self.by_fingerprint.get(&far)?.iter().copied().find(|&id| self.open(id).is_some())
    }

    /// True if `far` has opened a session and not used it yet.
    pub(super) fn is_unconfirmed(&self, far: Fingerprint) -> bool {
        let mut ids = self.unconfirmed.get(&far).into_iter().flatten();
        ids.any(|id| self.sessions.get(id).is_some_and(|entry| entry.session.is_open()))
    }

    /// Adds a session that has [entered](Self::enter).
    pub(super) fn insert(&mut self, session: Session) {
        let id = session.id;
        let ip = source(session.path.remote.ip());
        if let Some((key, _)) = &session.keying_answer {
            self.answered.insert(*key, id);
        }
        if !session.confirmed {
            self.unconfirmed.entry(session.far.fingerprint()).or_default().push(id);
            self.unconfirmed_from.insert(ip, id);
        }
        let session = Box::new(session);
        self.sessions.insert(id, Entry { session, ip, queued: false, scheduled: None, charged: 0 });
    }

    /// The session that this keying has opened.
    pub(super) fn answered(&self, key: PendingKey) -> Option<SessionId> {
        self.answered.get(&key).copied()
    }

    /// Lets [`find`](Self::find) give `id` for its peer, unless there is an older session.
    pub(super) fn name(&mut self, id: SessionId) {
        if let Some(entry) = self.sessions.get(&id) {
            let far = entry.session.far.fingerprint();
            forget(&mut self.unconfirmed, far, id);
            self.confirmed(id);
            self.by_fingerprint.entry(far).or_default().push(id);
        }
    }

    fn remove(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.remove(&id) else { return };
        if let Some(at) = entry.scheduled {
            self.timers.remove(&(at, Timer::Session(id)));
        }
        let far = entry.session.far.fingerprint();
        forget(&mut self.by_fingerprint, far, id);
        forget(&mut self.unconfirmed, far, id);
        self.unconfirmed_from.remove(entry.ip, id);
        if let Some((key, _)) = &entry.session.keying_answer
            && self.answered.get(key) == Some(&id)
        {
            self.answered.remove(key);
        }
        self.memory -= entry.charged;
        if let Some(held) = self.addresses.get_mut(&entry.ip) {
            *held -= entry.charged;
            if *held == 0 {
                self.addresses.remove(&entry.ip);
            }
        }
        self.leave(entry.ip);
        self.give_back();
    }

    /// Gives memory back after many sessions are gone.
    fn give_back(&mut self) {
        shrink(&mut self.sessions);
        shrink(&mut self.by_fingerprint);
        shrink(&mut self.unconfirmed);
        shrink(&mut self.answered);
        shrink(&mut self.addresses);
        if self.ready.is_empty() && self.ready.capacity() > KEPT_PLACES {
            self.ready = VecDeque::new();
        }
    }

    /// The initiator of a session has used it.
    fn confirmed(&mut self, id: SessionId) {
        if let Some(ip) = self.sessions.get(&id).map(|entry| entry.ip) {
            self.unconfirmed_from.remove(ip, id);
        }
    }

    /// The session may have something to send.
    pub(super) fn touch(&mut self, id: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&id)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.ready.push_back(id);
        }
    }

    /// The next session that may have something to send; it leaves the queue.
    pub(super) fn next_ready(&mut self) -> Option<SessionId> {
        loop {
            let id = self.ready.pop_front()?;
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.queued = false;
                return Some(id);
            }
        }
    }

    /// Sets the timer of a session, or drops the session if it is over.
    pub(super) fn schedule(&mut self, now: Time, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        if entry.session.is_over() {
            return self.remove(id);
        }
        let Some(next) = entry.session.next_timeout() else { return };
        let next = next.max(now);
        if entry.scheduled.is_some_and(|at| at <= next) {
            return;
        }
        if let Some(old) = entry.scheduled.replace(next) {
            self.timers.remove(&(old, Timer::Session(id)));
        }
        self.timers.insert((next, Timer::Session(id)));
    }

    /// Sets a timer of an attempt. Several may stand; the attempt looks what is due.
    pub(super) fn schedule_attempt(&mut self, at: Time, attempt: u64) {
        self.timers.insert((at, Timer::Attempt(attempt)));
    }

    /// Sets a timer of something else.
    pub(super) fn schedule_other(&mut self, at: Time, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// Takes the next timer that is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let &(at, timer) = self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        if let Timer::Session(id) = timer
            && let Some(entry) = self.sessions.get_mut(&id)
        {
            entry.scheduled = None;
        }
        Some(timer)
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.timers.first().map(|&(at, _)| at)
    }
}

/// The source that an address counts as: an IPv4 address, or the network of 64 bits that one
/// subscriber has of IPv6.
pub(crate) fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Gives most of an almost empty map's memory back.
fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > KEPT_PLACES && map.len() < map.capacity() / 8 {
        map.shrink_to(2 * map.len());
    }
}

/// Takes `id` from the sessions with `far`.
fn forget(index: &mut HashMap<Fingerprint, Vec<SessionId>>, far: Fingerprint, id: SessionId) {
    if let Some(ids) = index.get_mut(&far) {
        ids.retain(|&other| other != id);
        if ids.is_empty() {
            index.remove(&far);
        }
    }
}
