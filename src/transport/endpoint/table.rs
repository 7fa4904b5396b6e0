//! The sessions of an endpoint, and its timers.
//!
//! A session's timer may stand too early: it is moved only when it must come sooner, and looked
//! at again when it fires. That keeps the ordered set still while packets stream.

use super::Session;
use crate::crypto::Fingerprint;
use crate::transport::job::PendingKey;
use crate::transport::{SessionId, Time};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

/// What a timer belongs to.
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
}

#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: HashMap<SessionId, Entry>,
    /// Sessions of which the owner knows, oldest first. There is more than one for a fingerprint
    /// only if the certificate does not prove who is behind it.
    by_fingerprint: HashMap<Fingerprint, Vec<SessionId>>,
    /// Sessions that were opened by their far ends and not used yet.
    unconfirmed: HashMap<Fingerprint, Vec<SessionId>>,
    per_ip: HashMap<IpAddr, usize>,
    /// Sessions that were opened by a keying.
    answered: HashMap<PendingKey, SessionId>,
    ready: VecDeque<SessionId>,
    timers: BTreeSet<(Time, Timer)>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Some session is open, or one of its ends has not heard of its close.
    pub(super) fn is_busy(&self) -> bool {
        let mut sessions = self.sessions.values().map(|entry| &entry.session);
        sessions.any(|s| s.is_closing() || (s.is_open() && s.confirmed))
    }

    /// Sessions with `ip`, closing ones included.
    pub(super) fn count_with(&self, ip: IpAddr) -> usize {
        self.per_ip.get(&ip).copied().unwrap_or(0)
    }

    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
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

    pub(super) fn insert(&mut self, session: Session) {
        let id = session.id;
        let ip = session.path.remote.ip();
        *self.per_ip.entry(ip).or_default() += 1;
        if let Some((key, _)) = &session.keying_answer {
            self.answered.insert(*key, id);
        }
        if !session.confirmed {
            self.unconfirmed.entry(session.far.fingerprint()).or_default().push(id);
        }
        let session = Box::new(session);
        self.sessions.insert(id, Entry { session, ip, queued: false, scheduled: None });
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
        if let Some((key, _)) = &entry.session.keying_answer
            && self.answered.get(key) == Some(&id)
        {
            self.answered.remove(key);
        }
        let ip = entry.ip;
        if let Some(count) = self.per_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&ip);
            }
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

    /// Sets the timer of a session, or forgets the session if it is over.
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

/// Takes `id` from the sessions with `far`.
fn forget(index: &mut HashMap<Fingerprint, Vec<SessionId>>, far: Fingerprint, id: SessionId) {
    if let Some(ids) = index.get_mut(&far) {
        ids.retain(|&other| other != id);
        if ids.is_empty() {
            index.remove(&far);
        }
    }
}
