//! Sessions with far ends that may be restarted.
//!
//! A restarted server or peer does not know the keys of its earlier sessions, drops their packets
//! like any that it cannot decrypt, and RTMFP has no message for that. It does answer a hello. So a
//! watched session whose pings or data stay unanswered is asked about outside of it: each hello
//! leaves together with a ping in the session. If the far end answers several hellos, one after the
//! other, and nothing in the session all the while, it has lost the session.
//!
//! The answer to a hello counts only from the session's own address and with the tag of the hello,
//! 16 random bytes, so that nobody who cannot read the packets of this end can end a session that
//! way; and anything at all that arrives in the session ends the inquiry.

use super::{Endpoint, Timer};
use crate::crypto::Epd;
use crate::transport::{CloseReason, Path, SessionId, Time};
use crate::wire::Chunk;
use crate::wire::chunk::InitiatorHello;
use std::time::Duration;

/// The far end is asked outside of the session when it has not answered in it for this long.
const SUSPECT: Duration = Duration::from_secs(1);
/// Answered hellos, one after the other, after which the session is over.
const ANSWERS: u32 = 3;
/// From the answer to a hello to the next one: the ping that went with it must be answered by then.
const PAUSE: Duration = Duration::from_millis(400);
/// Increment of the pause after each unanswered hello, and the longest pause.
const BACKOFF: Duration = Duration::from_millis(1500);
const BACKOFF_MAX: Duration = Duration::from_secs(6);

/// A session that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    epd: Epd,
    inquiry: Option<Inquiry>,
}

#[derive(Debug)]
struct Inquiry {
    /// A packet of the session after this time ends the inquiry.
    since: Time,
    tag: [u8; 16],
    /// The last hello, unless it was answered.
    waiting: bool,
    unanswered: u32,
    answered: u32,
    next: Time,
}

impl Endpoint {
    /// Watches over the session with a far end until it ends: if the far end is restarted
    /// and so has lost it, the session is closed with [`CloseReason::SessionLost`] within a few
    /// seconds after the next ping ([`set_keepalive`](Self::set_keepalive)). `epd` is the
    /// discriminator by which the far end was called.
    pub fn watch(&mut self, now: Time, session: SessionId, epd: Epd) {
        if self.table.open(session).is_some() {
            self.watches.insert(session, Watch { epd, inquiry: None });
            self.table.schedule_other(now + SUSPECT, Timer::Watch(session));
        }
    }

    /// Checks now if the far end of a watched session still has it, because there is reason to
    /// doubt that: it is introduced as if there were no session.
    pub fn doubt(&mut self, now: Time, session: SessionId) {
        if self.watches.get(&session).is_some_and(|watch| watch.inquiry.is_none()) {
            self.inquire(now, session);
        }
    }

    /// The timer of a watched session is due.
    pub(super) fn watch_timeout(&mut self, now: Time, id: SessionId) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let Some(session) = self.table.open(id) else {
            self.watches.remove(&id);
            return;
        };
        let last_received = session.last_received();
        let suspect_at = match session.unanswered_since() {
            Some(since) => since.max(last_received) + SUSPECT,
            None => last_received + session.keepalive() + SUSPECT,
        };
        let inquires = watch.inquiry.as_ref().is_some_and(|inquiry| last_received <= inquiry.since);
        if !inquires && now < suspect_at {
            watch.inquiry = None;
            return self.table.schedule_other(suspect_at, Timer::Watch(id));
        }
        match &watch.inquiry {
            Some(inquiry) if inquiry.next > now => {
                let next = inquiry.next;
                self.table.schedule_other(next, Timer::Watch(id));
            }
            Some(inquiry) if inquiry.answered >= ANSWERS => self.end_forgotten(now, id),
            _ => self.inquire(now, id),
        }
    }

    /// Sends a ping in the session and a hello outside of it.
    fn inquire(&mut self, now: Time, id: SessionId) {
        let fresh = self.random_bytes();
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let inquiry = watch.inquiry.get_or_insert(Inquiry {
            since: now,
            tag: fresh,
            waiting: false,
            unanswered: 0,
            answered: 0,
            next: now,
        });
        inquiry.unanswered += 1;
        inquiry.waiting = true;
        inquiry.next = now + (BACKOFF * inquiry.unanswered).min(BACKOFF_MAX);
        let (epd, tag, next) = (watch.epd.clone(), inquiry.tag, inquiry.next);
        let Some(path) = self.table.open(id).map(|session| session.path) else { return };
        self.probe(now, id);
        let hello = InitiatorHello { epd: epd.as_bytes(), tag: &tag };
        self.send_startup(path, 0, &Chunk::InitiatorHello(hello));
        self.table.schedule_other(next, Timer::Watch(id));
    }

    /// An answer to a hello. True if it belongs to a watched session.
    pub(super) fn on_watched_hello(&mut self, now: Time, path: Path, tag: &[u8]) -> bool {
        let asked = |watch: &Watch| watch.inquiry.as_ref().is_some_and(|i| i.tag[..] == *tag);
        let Some((&id, watch)) = self.watches.iter_mut().find(|(_, watch)| asked(watch)) else {
            return false;
        };
        let session = self.table.open(id).filter(|session| session.path.remote == path.remote);
        if let (Some(session), Some(inquiry)) = (session, &mut watch.inquiry)
            && std::mem::take(&mut inquiry.waiting)
        {
            inquiry.answered += 1;
            inquiry.unanswered = 0;
            let round_trip = session.round_trip().unwrap_or_default();
            inquiry.next = now + PAUSE.max(round_trip * 2);
            let next = inquiry.next;
            self.table.schedule_other(next, Timer::Watch(id));
        }
        true
    }

    fn end_forgotten(&mut self, now: Time, id: SessionId) {
        self.watches.remove(&id);
        if let Some((session, mut cx)) = self.entry(now, id) {
            session.close_abruptly(&mut cx, CloseReason::SessionLost);
            self.settle(now, id);
        }
    }
}
