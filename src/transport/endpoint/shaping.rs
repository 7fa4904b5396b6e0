//! A limit of everything that an endpoint sends.
//!
//! One token bucket for all sessions. Startup packets, acknowledgements and other chunks outside of
//! flows leave at once and are paid for afterwards; user data leaves while the bucket is not empty,
//! time critical data first, and the sessions take turns.

use super::{Context, Endpoint};
use crate::transport::token_bucket::TokenBucket;
use crate::transport::{Bandwidth, SessionId, Time, Transmit, TransmitBuf};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What was not sent may be sent later, as far as it is worth this time at the rate. It is longer
/// than timers are late.
const BURST: Duration = Duration::from_millis(20);
/// So many datagrams may leave at once at any rate.
const BURST_DATAGRAMS: u64 = 2;
/// A turn of a session takes this part of the burst, to the next whole datagram.
const TURNS_OF_BURST: u64 = 4;
/// What left without waiting delays user data by not more than this, however much it was.
const MAX_DEBT: Duration = Duration::from_secs(1);

/// A flow's queue takes what leaves in this time at the limit, and one message in any case: short
/// messages should not wait behind more than that.
const QUEUE: Duration = Duration::from_secs(2);

/// The place of a session that waits: bulk data comes last; then its number.
type Place = (bool, u64);

/// What waits for the limit.
#[derive(Debug, Default)]
pub(super) struct Shaping {
    bucket: Option<TokenBucket>,
    /// Sessions with user data.
    waiting: BTreeMap<Place, SessionId>,
    places: HashMap<SessionId, Place>,
    number: u64,
    /// When the bucket has enough for a turn, if that is waited for.
    wake: Option<Time>,
}

impl Shaping {
    fn limit(&self) -> Option<Bandwidth> {
        self.bucket.as_ref().map(TokenBucket::rate)
    }

    pub(super) const fn is_limited(&self) -> bool {
        self.bucket.is_some()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(super) const fn poll_timeout(&self) -> Option<Time> {
        self.wake
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.wake.take_if(|at| *at <= now);
    }

    /// Bytes were sent.
    fn on_sent(&mut self, now: Time, bytes: usize, datagram: usize) {
        if let Some(bucket) = &mut self.bucket {
            bucket.fill(now, burst(bucket.rate(), datagram));
            bucket.spend(bytes as u64, bucket.rate().worth(MAX_DEBT));
        }
    }

    /// Queues a session with user data. One that waits already keeps its place, unless its data has
    /// become time critical.
    fn hold(&mut self, session: SessionId, is_time_critical: bool) {
        self.number += 1;
        let place = (!is_time_critical, self.number);
        match self.places.get(&session) {
            Some(before) if before.0 <= place.0 => return,
            Some(before) => drop(self.waiting.remove(before)),
            None => {}
        }
        self.places.insert(session, place);
        self.waiting.insert(place, session);
    }

    /// The session whose turn it is, if the bucket is not empty, and the bytes that it may send.
    fn next_turn(&mut self, now: Time, datagram: usize) -> Option<(SessionId, u64)> {
        let bucket = self.bucket.as_mut()?;
        let burst = burst(bucket.rate(), datagram);
        bucket.fill(now, burst);
        if bucket.level() <= 0 {
            return None;
        }
        let ((is_bulk, _), session) = self.waiting.pop_first()?;
        self.places.remove(&session);
        // A whole turn even if the bucket has less, as all turns should be alike; but a datagram of
        // time critical data, and then it is looked whether others have some.
        let turn = if is_bulk { burst / TURNS_OF_BURST } else { 1 };
        Some((session, turn.max(1)))
    }

    /// The bucket is empty while sessions wait: sets the timer. True if it was not set before.
    fn sleep(&mut self, datagram: usize) -> bool {
        let Some(bucket) = self.bucket.as_ref().filter(|_| !self.waiting.is_empty()) else {
            return false;
        };
        let turn = burst(bucket.rate(), datagram) / TURNS_OF_BURST;
        let at = bucket.when(turn.max(1));
        self.wake.replace(at).is_none()
    }
}

/// Bytes that may leave at once.
fn burst(rate: Bandwidth, datagram: usize) -> u64 {
    rate.worth(BURST).max(BURST_DATAGRAMS * datagram as u64)
}

impl Endpoint {
    /// Limits what all sessions and startup packets together send, in bytes of UDP payload, from
    /// now on; `None` for no limit. Over seconds the rate is kept to the byte, unless
    /// acknowledgements and handshakes alone take more: those never wait. At most 20 ms of it, or
    /// two datagrams, leave at once. Sessions get equal shares, and time critical data goes first.
    /// Meanwhile a flow's queue takes not more than leaves in 2 s, or one message
    /// ([`Config::max_send_queue`](crate::transport::Config::max_send_queue)).
    pub fn set_send_limit(&mut self, now: Time, limit: Option<Bandwidth>) {
        match (&mut self.shaping.bucket, limit) {
            (Some(bucket), Some(limit)) => bucket.set_rate(now, limit),
            (bucket, limit) => *bucket = limit.map(|limit| TokenBucket::new(now, limit)),
        }
        let queue = limit.map_or(u64::MAX, |limit| limit.worth(QUEUE));
        self.max_queue = queue.min(self.config.max_send_queue);
        // Whoever waits is looked at again under the new limit.
        let waiting = std::mem::take(&mut self.shaping.waiting);
        self.shaping.places.clear();
        self.shaping.wake = None;
        waiting.into_values().for_each(|session| self.table.touch(session));
    }

    /// The limit of what is sent.
    pub fn send_limit(&self) -> Option<Bandwidth> {
        self.shaping.limit()
    }

    /// The next batch of any session. With a limit, user data comes after everything else.
    pub(super) fn transmit_session(
        &mut self,
        now: Time,
        buf: &mut TransmitBuf,
    ) -> Option<Transmit> {
        let is_limited = self.shaping.is_limited();
        while let Some(id) = self.table.next_ready() {
            let allowance = if is_limited { 0 } else { u64::MAX };
            let transmit = self.fill(now, id, allowance, buf);
            if transmit.is_some() {
                return transmit;
            }
            if is_limited {
                self.hold(now, id);
            }
        }
        let datagram = self.config.max_datagram;
        while let Some((id, allowance)) = self.shaping.next_turn(now, datagram) {
            let transmit = self.fill(now, id, allowance, buf);
            if transmit.is_some() {
                return transmit;
            }
        }
        if self.shaping.sleep(datagram) {
            self.note_limited(now);
        }
        None
    }

    /// A batch of one session with at most `allowance` bytes of packets with user data, and what
    /// exceeds it of the last one.
    fn fill(
        &mut self,
        now: Time,
        id: SessionId,
        allowance: u64,
        buf: &mut TransmitBuf,
    ) -> Option<Transmit> {
        let (session, mut cx) = self.entry(now, id)?;
        cx.allowance = allowance;
        let transmit = session.fill(&mut cx, buf);
        if transmit.is_some() {
            // It may have more, but others come first.
            self.table.touch(id);
        }
        self.table.schedule(now, id);
        transmit
    }

    /// Lets a session wait for the limit, if it has user data that could be sent.
    fn hold(&mut self, now: Time, id: SessionId) {
        let Some((session, cx)) = self.entry(now, id) else { return };
        if session.wants_to_send(&cx) {
            let is_time_critical = session.is_next_time_critical();
            self.shaping.hold(id, is_time_critical);
        }
    }

    /// The sessions that wait have less to send than their paths would take.
    fn note_limited(&mut self, now: Time) {
        let waiting: Vec<_> = self.shaping.waiting.values().copied().collect();
        for id in waiting {
            if let Some((session, Context { .. })) = self.entry(now, id) {
                session.on_limited();
            }
        }
    }

    /// A batch has left.
    pub(super) fn note_sent(&mut self, now: Time, bytes: usize) {
        self.counters.bytes_sent += bytes as u64;
        self.shaping.on_sent(now, bytes, self.config.max_datagram);
    }
}
