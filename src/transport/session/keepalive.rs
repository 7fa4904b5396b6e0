//! Signs of life: keepalive pings, and when a far end counts as dead (RFC 7016 §3.5.4.1).

use super::Session;
use super::mobility::MOBILITY_PING;
use crate::transport::{Config, Time};
use crate::wire::chunk::kind;
use std::time::Duration;

/// Shortest keepalive period that can be set (RFC 7425 §5.3.4).
pub const MIN_KEEPALIVE: Duration = Duration::from_secs(5);
/// An initiator whose owner sends nothing for this long after the keying sends a ping.
const FIRST_PING: Duration = Duration::from_millis(50);

/// Signs of life of the far end, and pings for them.
#[derive(Debug)]
pub(super) struct Keepalive {
    /// A session that was silent for this long is pinged.
    period: Duration,
    /// A far end that answers nothing for this long is dead.
    dead_after: Duration,
    last_received: Time,
    /// When a ping confirms the session if nothing else has.
    first_ping: Option<Time>,
    pinging: Option<Pinging>,
    /// Since when data in flight has not been acknowledged at all.
    unacknowledged_since: Option<Time>,
}

/// Pings that wait for any sign of life.
#[derive(Debug, Clone, Copy)]
struct Pinging {
    first: Time,
    again: Time,
}

impl Keepalive {
    pub(super) const fn new(now: Time, config: &Config) -> Self {
        Self {
            period: config.keepalive,
            dead_after: config.dead_after,
            last_received: now,
            first_ping: None,
            pinging: None,
            unacknowledged_since: None,
        }
    }

    /// A packet of the far end arrived.
    pub(super) const fn on_packet(&mut self, now: Time) {
        self.last_received = now;
        self.pinging = None;
    }

    /// A packet with user data is sent.
    pub(super) fn on_data_sent(&mut self, now: Time) {
        self.unacknowledged_since.get_or_insert(now);
    }

    /// An acknowledgement arrived; other data may still be in flight.
    pub(super) fn on_acknowledged(&mut self, now: Time, in_flight: bool) {
        self.unacknowledged_since = in_flight.then_some(now);
    }

    /// No answer is waited for.
    pub(super) const fn clear(&mut self) {
        self.pinging = None;
        self.unacknowledged_since = None;
    }

    pub(super) const fn last_received(&self) -> Time {
        self.last_received
    }

    /// True if the far end has answered nothing for too long.
    pub(super) fn is_dead(&self, now: Time) -> bool {
        self.unanswered_since().is_some_and(|since| now.since(since) >= self.dead_after)
    }

    pub(super) fn next_timeout(&self) -> Time {
        let ping = match self.pinging {
            Some(pinging) => pinging.again.min(pinging.first + self.dead_after),
            None => self.last_received + self.period,
        };
        let dead = self.unacknowledged_since.map(|since| since + self.dead_after);
        [dead, self.first_ping].into_iter().flatten().fold(ping, Time::min)
    }

    fn unanswered_since(&self) -> Option<Time> {
        let pinging = self.pinging.map(|pinging| pinging.first);
        pinging.into_iter().chain(self.unacknowledged_since).min()
    }
}

impl Session {
    /// Sets the keepalive period and how long to wait for a sign of life, both at least
    /// [`MIN_KEEPALIVE`].
    pub(crate) fn set_keepalive(&mut self, period: Duration, dead_after: Duration) {
        self.keepalive.period = period.max(MIN_KEEPALIVE);
        self.keepalive.dead_after = dead_after.max(MIN_KEEPALIVE);
    }

    /// The keepalive period.
    pub(crate) const fn keepalive(&self) -> Duration {
        self.keepalive.period
    }

    /// When the last packet arrived.
    pub(crate) const fn last_received(&self) -> Time {
        self.keepalive.last_received
    }

    /// Since when pings or user data have waited for any answer.
    pub(crate) fn unanswered_since(&self) -> Option<Time> {
        self.keepalive.unanswered_since()
    }

    /// The initiator has repeated its keying: it is still there.
    pub(crate) const fn on_keying_repeated(&mut self, now: Time) {
        if !self.confirmed {
            self.keepalive.last_received = now;
        }
    }

    /// The responder waits for a packet that shows that its keying has arrived: a ping, unless the
    /// owner of the session has something to send. At least one server (MonaServer 1.x) closes a
    /// session whose first packet is anything but a request to connect.
    pub(crate) fn ping_unless_used(&mut self, now: Time) {
        self.keepalive.first_ping = Some(now + FIRST_PING);
    }

    /// Sends an empty ping that is repeated until there is a sign of life.
    pub(crate) fn ping(&mut self, now: Time) {
        self.outbox.push(None, kind::PING, &[]);
        self.keepalive.pinging = Some(Pinging { first: now, again: now + self.rtt.timeout() });
    }

    /// Sends one ping without waiting for the answer.
    pub(crate) fn probe(&mut self) {
        if self.is_open() {
            self.outbox.push(None, kind::PING, &[]);
        }
    }

    pub(super) fn ping_if_unused(&mut self, now: Time) {
        if self.keepalive.first_ping.is_some_and(|at| at <= now) {
            self.keepalive.first_ping = None;
            if self.stats.datagrams_sent == 0 && self.outbox.is_empty() {
                self.ping(now);
            }
        }
    }

    /// Keepalive (§3.5.4.1): an empty ping after silence, repeated until there is a sign of life.
    pub(super) fn ping_if_silent(&mut self, now: Time) {
        let Keepalive { period, last_received, pinging, .. } = self.keepalive;
        match pinging {
            None if now.since(last_received) >= period => self.ping(now),
            Some(pinging) if pinging.again <= now => {
                self.rtt.back_off();
                self.outbox.push(None, kind::PING, &[]);
                let again = now + self.rtt.timeout();
                self.keepalive.pinging = Some(Pinging { again, ..pinging });
                self.seek(now);
            }
            _ => {}
        }
    }

    /// Pings the other addresses where the far end may be.
    pub(super) fn seek(&mut self, now: Time) {
        for (path, message) in self.mobility.seek(now, self.path) {
            if self.credit() >= MOBILITY_PING {
                self.spend_credit(MOBILITY_PING);
                self.outbox.push(Some(path), kind::PING, &message);
            }
        }
    }
}
