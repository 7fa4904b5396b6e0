//! A limit of everything that an endpoint sends.
//!
//! One token bucket for all sessions. Startup packets, acknowledgements and other chunks outside of
//! flows leave at once and are paid for afterwards; user data leaves while the bucket is not empty,
//! time critical data first, and the sessions take turns.

use super::{Context, Endpoint};
use crate::transport::link_rate::LinkGauge;
use crate::transport::token_bucket::TokenBucket;
use crate::transport::uplink::Uplink;
use crate::transport::{
    Bandwidth, Controller, LinkRate, LinkRates, SessionId, Time, Transmit, TransmitBuf,
};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What was not sent may be sent later, as far as it is worth this time at the rate. It is longer
/// than timers are late.
const BURST: Duration = Duration::from_millis(20);
/// So many datagrams may leave at once at any rate.
const BURST_DATAGRAMS: u64 = 2;
/// A turn of a session takes this part of the burst, to the next whole datagram.
const TURNS_OF_BURST: u64 = 4;
/// While the uplink has a pace, a session goes first until it has sent so much: the object that it
/// has begun. Others send what it leaves.
const TURN: u64 = 64 << 10;
/// Turns that are remembered; then all begin anew. Those of closed sessions are among them.
const MAX_TURNS: usize = 4096;
/// What left without waiting delays user data by not more than this, however much it was.
const MAX_DEBT: Duration = Duration::from_secs(1);

/// A flow's queue takes what leaves in this time at the limit, and one message in any case: short
/// messages should not wait behind more than that.
const QUEUE: Duration = Duration::from_secs(2);

/// The place of a session that waits: bulk data comes last; then its number.
type Place = (bool, u64);

/// What waits for the limit, or for the pace of the own uplink.
#[derive(Debug, Default)]
pub(super) struct Shaping {
    /// The limit.
    bucket: Option<TokenBucket>,
    uplink: Uplink,
    /// What passes to other networks, and from them.
    up: LinkGauge,
    down: LinkGauge,
    /// The pace of the uplink, for user data to other networks.
    pace: Option<TokenBucket>,
    /// Sessions with user data.
    waiting: BTreeMap<Place, SessionId>,
    places: HashMap<SessionId, Place>,
    /// The turns that sessions have begun while there is a pace: their numbers, and the bytes that
    /// are left of each.
    turns: HashMap<SessionId, (u64, u64)>,
    number: u64,
    /// When the buckets have enough for a turn, if that is waited for.
    wake: Option<Time>,
}

impl Shaping {
    fn limit(&self) -> Option<Bandwidth> {
        self.bucket.as_ref().map(TokenBucket::rate)
    }

    const fn is_limited(&self) -> bool {
        self.bucket.is_some()
    }

    const fn is_paced(&self) -> bool {
        self.pace.is_some()
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

    /// So many bytes of user data were sent to another network.
    fn on_data_sent(&mut self, now: Time, session: SessionId, bytes: u64, datagram: usize) {
        let Some(pace) = &mut self.pace else { return };
        pace.fill(now, burst(pace.rate(), datagram));
        pace.spend(bytes, pace.rate().worth(MAX_DEBT));
        if let Some((_, left)) = self.turns.get_mut(&session) {
            *left = left.saturating_sub(bytes);
        }
    }

    /// So much of what was sent has arrived.
    fn note_acknowledged(&mut self, now: Time, bytes: u64) {
        if self.uplink.is_doubtful(now) {
            self.up.doubt();
        }
        let is_full = self.uplink.is_full(now);
        self.up.on_bytes(now, bytes, is_full);
    }

    /// The pace may have changed. Returns the sessions that wait for none any more.
    fn set_pace(&mut self, now: Time) -> Vec<SessionId> {
        match (&mut self.pace, self.uplink.pace()) {
            (Some(bucket), Some(rate)) => bucket.set_rate(now, rate),
            (None, Some(rate)) => self.pace = Some(TokenBucket::new(now, rate)),
            (_, None) => {
                self.pace = None;
                self.turns.clear();
                return self.release();
            }
        }
        self.wake = None;
        Vec::new()
    }

    /// Nobody waits any more.
    fn release(&mut self) -> Vec<SessionId> {
        self.places.clear();
        self.wake = None;
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// Queues a session with user data. One that waits already keeps its place, unless its data has
    /// become time critical.
    fn hold(&mut self, session: SessionId, is_time_critical: bool) {
        let place = (!is_time_critical, self.number_of(session));
        match self.places.get(&session) {
            Some(before) if before.0 <= place.0 => return,
            Some(before) => drop(self.waiting.remove(before)),
            None => {}
        }
        self.places.insert(session, place);
        self.waiting.insert(place, session);
    }

    /// A new number, or that of a turn which the session has begun.
    fn number_of(&mut self, session: SessionId) -> u64 {
        if self.is_paced() && !self.is_limited() {
            if let Some(&(number, left)) = self.turns.get(&session)
                && left > 0
            {
                return number;
            }
            self.number += 1;
            if self.turns.len() >= MAX_TURNS {
                self.turns.clear();
            }
            self.turns.insert(session, (self.number, TURN));
        } else {
            self.number += 1;
        }
        self.number
    }

    /// True if a datagram may leave out of turn: what is then owed delays the turns by no more than
    /// may leave at once.
    fn may_interrupt(&self, datagram: usize) -> bool {
        let owed = |bucket: &TokenBucket| bucket.level().saturating_neg();
        let most = |bucket: &TokenBucket| burst(bucket.rate(), datagram).cast_signed();
        self.pace.as_ref().is_some_and(|bucket| owed(bucket) < most(bucket))
    }

    /// The session whose turn it is, if no bucket is empty, and the bytes that it may send.
    fn next_turn(&mut self, now: Time, datagram: usize) -> Option<(SessionId, u64)> {
        let mut allowance = u64::MAX;
        for bucket in [&mut self.bucket, &mut self.pace].into_iter().flatten() {
            let burst = burst(bucket.rate(), datagram);
            bucket.fill(now, burst);
            if bucket.level() <= 0 {
                return None;
            }
            // A whole turn even if the bucket has less, as all turns should be alike.
            allowance = allowance.min(burst / TURNS_OF_BURST);
        }
        let ((is_bulk, _), session) = self.waiting.pop_first()?;
        self.places.remove(&session);
        // A datagram of time critical data, and then it is looked whether others have some.
        let allowance = if is_bulk { allowance } else { 1 };
        Some((session, allowance.max(1)))
    }

    /// A bucket is empty while sessions wait: sets the timer. True if it was not set before.
    fn sleep(&mut self, now: Time, datagram: usize) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        if self.pace.as_ref().is_some_and(|pace| pace.level() <= 0) {
            self.uplink.on_waiting(now);
        }
        let when = |bucket: &TokenBucket| {
            let turn = burst(bucket.rate(), datagram) / TURNS_OF_BURST;
            bucket.when(turn.max(1))
        };
        let at = [&self.bucket, &self.pace].into_iter().flatten().map(when).max();
        at.is_some_and(|at| self.wake.replace(at).is_none())
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
        self.shaping.release().into_iter().for_each(|session| self.table.touch(session));
    }

    /// What the uplink to other networks carries, in bytes of user data per second. It is
    /// [full](LinkRate::is_full) when sessions with other computers have shared a pace for 2 s, as they
    /// do while their packets wait in its queue; otherwise the rate is the best that was sustained for
    /// 2 s, in the last 10 to 20 minutes.
    pub fn uplink(&self) -> Option<LinkRate> {
        self.shaping.up.rate()
    }

    /// What the downlink from other networks carries at least, in bytes of UDP payload per second: the
    /// best rate that was sustained for 2 s, in the last 10 to 20 minutes. It is the rate of the link
    /// while the link is the bottleneck, which does not show: packets that have waited here and packets
    /// that have waited in the uplinks of their senders look alike.
    pub fn downlink(&self) -> Option<LinkRate> {
        self.shaping.down.rate()
    }

    /// [`uplink`](Self::uplink) and [`downlink`](Self::downlink).
    pub fn links(&self) -> LinkRates {
        LinkRates { up: self.uplink(), down: self.downlink() }
    }

    /// What those are to take the uplink to carry who send less because of it. While the uplink is
    /// full, that is its rate; after each 10 s of transfers that do not fill it, it is twice as much, and
    /// `None` after a minute.
    pub fn believed_uplink(&self) -> Option<Bandwidth> {
        match self.shaping.uplink.capacity() {
            Some(capacity) => Some(capacity),
            None => self.shaping.up.believed(),
        }
    }

    /// Begins with what the links have carried in an earlier run. A measurement replaces it, and it
    /// changes nothing if there is one already.
    pub fn remember_links(&mut self, links: LinkRates) {
        links.up.into_iter().for_each(|up| self.shaping.up.remember(up));
        links.down.into_iter().for_each(|down| self.shaping.down.remember(down));
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
        while let Some(id) = self.table.next_ready() {
            let allowance = self.allowance(id);
            let transmit = self.fill(now, id, allowance, buf);
            if transmit.is_some() {
                return transmit;
            }
            if allowance == 0 {
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
        if self.shaping.sleep(now, datagram) {
            self.note_limited(now);
        }
        None
    }

    /// Bytes of user data that a session may send without waiting for its turn.
    fn allowance(&mut self, id: SessionId) -> u64 {
        if self.shaping.is_limited() {
            return 0;
        }
        if !self.shaping.is_paced() {
            return u64::MAX;
        }
        let may_interrupt = self.shaping.may_interrupt(self.config.max_datagram);
        let passes_uplink = !self.is_local(id);
        match self.table.get_mut(id) {
            Some(session) if passes_uplink => {
                // A datagram of time critical data, and then it is looked what comes next. One with
                // acknowledgements would leave in any case, and costs less with data in it.
                let has_acks = may_interrupt && session.wants_ack_packet();
                u64::from(has_acks || session.is_next_time_critical())
            }
            _ => u64::MAX,
        }
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
        let own_queue = self.shaping.uplink.own_queue();
        let is_local = self.is_local(id);
        let (session, mut cx) = self.entry(now, id)?;
        cx.allowance = allowance;
        cx.own_queue = if is_local { 0 } else { own_queue };
        let (_, before) = session.window();
        let transmit = session.fill(&mut cx, buf);
        let (_, after) = session.window();
        if !is_local {
            let datagram = self.config.max_datagram;
            self.shaping.on_data_sent(now, id, after.saturating_sub(before), datagram);
        }
        if transmit.is_some() {
            // It may have more, but others come first.
            self.table.touch(id);
        }
        self.table.schedule(now, id);
        transmit
    }

    /// Lets a session wait for the limit, if it has user data that could be sent.
    fn hold(&mut self, now: Time, id: SessionId) {
        let own_queue = self.shaping.uplink.own_queue();
        let is_local = self.is_local(id);
        let Some((session, mut cx)) = self.entry(now, id) else { return };
        cx.own_queue = if is_local { 0 } else { own_queue };
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

    /// Packets of a session have come, with so many bytes: looks what they say about the links.
    pub(super) fn note_delivered(&mut self, now: Time, id: SessionId, received: u64) {
        if self.is_local(id) {
            return;
        }
        let Some(session) = self.table.get_mut(id) else { return };
        let (bytes, wait) = session.take_delivered();
        self.shaping.down.on_bytes(now, received, false);
        self.shaping.note_acknowledged(now, bytes);
        if self.config.controller == Controller::Bbr
            && self.shaping.uplink.on_acknowledged(now, id, bytes, wait)
        {
            let waiting = self.shaping.set_pace(now);
            waiting.into_iter().for_each(|session| self.table.touch(session));
        }
    }

    /// A batch has left.
    pub(super) fn note_sent(&mut self, now: Time, bytes: usize) {
        self.counters.bytes_sent += bytes as u64;
        self.shaping.on_sent(now, bytes, self.config.max_datagram);
    }
}
