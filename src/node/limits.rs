//! [`Limits`]: how fast a node sends and receives.
//!
//! What is sent is limited by the endpoint. What is received is limited by what the groups ask for:
//! a request of an object needs a permit, and permits are paid from a token bucket that everything
//! received is taken from. So the rate includes headers, acknowledgements and repetitions, whoever
//! they come from.

use super::{GroupHandle, Node};
use crate::group::Group;
use crate::transport::token_bucket::TokenBucket;
use crate::transport::{Bandwidth, LinkRates, Time};
use std::ops::Bound;
use std::time::Duration;

/// What was not received may be received later, as far as it is worth this time at the rate.
const BURST: Duration = Duration::from_millis(50);
/// Not more than the rate brings in this time is asked for at once, or so many objects: all of it
/// may arrive together when a member that was slow becomes fast.
const MAX_EXPECTED: Duration = Duration::from_secs(4);
const EXPECTED_OBJECTS: u64 = 4;
/// What arrives without being asked for delays requests by not more than this time.
const MAX_DEBT: Duration = Duration::from_secs(2);

/// Answers to one member take so long at the limit, or there is one of them: requests to that member
/// are sent after them.
const PENDING: Duration = Duration::from_secs(2);

/// Limits of what a node, or a connection, sends and receives; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of UDP payload per second that are sent, by all sessions together. Handshakes and
    /// acknowledgements do not wait for the limit, but count; sessions get equal shares of the rest.
    /// At most 20 ms of it, or three datagrams, leave at once.
    pub up: Option<Bandwidth>,
    /// Bytes of UDP payload per second that are received. Objects of groups are asked for at this
    /// rate, by all groups together, which works with every peer. An object that was asked for
    /// arrives as fast as it is sent, so that the rate holds on average over some objects: with
    /// chunks of 64 KiB and 64 KB/s, over some seconds.
    pub down: Option<Bandwidth>,
}

impl Limits {
    /// The same with this limit of what is sent.
    pub const fn with_up(self, up: Option<Bandwidth>) -> Self {
        Self { up, ..self }
    }

    /// The same with this limit of what is received.
    pub const fn with_down(self, down: Option<Bandwidth>) -> Self {
        Self { down, ..self }
    }

    /// Tells a group what it needs to know of the limits.
    pub(super) fn apply(self, now: Time, group: &mut Group) {
        let pending = self.up.map_or(u64::MAX, |up| up.worth(PENDING));
        group.replication_mut(now).set_pending_bytes(pending);
        group.replication_mut(now).set_paced(self.down.is_some());
    }
}

/// What may be asked for.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    bucket: Option<TokenBucket>,
    /// Bytes that were taken from the bucket so far.
    received: u64,
    /// The group that got the last permit.
    last: GroupHandle,
    /// When the bucket has something again, if that is waited for.
    wake: Option<Time>,
}

impl Downloads {
    pub(super) const fn is_limited(&self) -> bool {
        self.bucket.is_some()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Time> {
        self.wake
    }

    fn limit(&self) -> Option<Bandwidth> {
        self.bucket.as_ref().map(TokenBucket::rate)
    }

    fn set_limit(&mut self, now: Time, received: u64, limit: Option<Bandwidth>) {
        match (&mut self.bucket, limit) {
            (Some(bucket), Some(limit)) => bucket.set_rate(now, limit),
            (bucket, limit) => {
                *bucket = limit.map(|limit| TokenBucket::new(now, limit));
                self.received = received;
            }
        }
        self.wake = None;
    }

    /// True if an object may be asked for while `expected` bytes are on the way. Otherwise the timer
    /// is set, unless answers must come first.
    fn may_ask(&mut self, now: Time, received: u64, expected: u64, object: u64) -> bool {
        self.wake = None;
        let Some(bucket) = &mut self.bucket else { return false };
        let worth = |time: Duration| bucket.rate().worth(time);
        let objects = EXPECTED_OBJECTS.saturating_mul(object);
        let (burst, most) = (worth(BURST), worth(MAX_EXPECTED).max(objects));
        let debt = worth(MAX_DEBT).saturating_add(objects);
        let news = received.saturating_sub(std::mem::replace(&mut self.received, received));
        bucket.spend(news, debt);
        bucket.fill(now, burst.saturating_add(expected));
        if expected > 0 && expected.saturating_add(object) > most {
            return false;
        }
        let is_due = u64::try_from(bucket.level()).is_ok_and(|level| level > expected);
        self.wake = (!is_due).then(|| bucket.when(expected.saturating_add(1)));
        is_due
    }
}

impl Node {
    /// Sets the limits of what is sent and received, which take effect at once.
    pub fn set_limits(&mut self, now: Time, limits: Limits) {
        self.endpoint.set_send_limit(now, limits.up);
        let received = self.endpoint.stats().bytes_received;
        self.downloads.set_limit(now, received, limits.down);
        self.touch_all(|group| limits.apply(now, group));
        self.process(now);
    }

    /// The limits of what is sent and received.
    pub fn limits(&self) -> Limits {
        Limits { up: self.endpoint.send_limit(), down: self.downloads.limit() }
    }

    /// Begins with what the links to other networks have carried in an earlier run, for which a
    /// measurement is substituted once there is one.
    pub fn remember_links(&mut self, now: Time, links: LinkRates) {
        self.endpoint.remember_links(links);
        self.process(now);
    }

    /// Tells the groups what the uplink carries, or may carry, if that has changed by a quarter.
    pub(super) fn note_uplink(&mut self, now: Time) {
        let rate = |it: Option<Bandwidth>| it.map_or(0, Bandwidth::as_bytes_per_second);
        let known = [self.endpoint.believed_uplink(), self.endpoint.send_limit()];
        let least = known.into_iter().flatten().min();
        if rate(least).abs_diff(rate(self.uplink)) * 4 > rate(self.uplink) {
            self.uplink = least;
            self.touch_all(|group| group.replication_mut(now).set_uplink(least));
        }
    }

    /// Permits one group a request, if the limit allows it. True if a group was called.
    pub(super) fn permit_request(&mut self, now: Time) -> bool {
        let Some(handle) = self.next_asking().filter(|_| self.downloads.is_limited()) else {
            return false;
        };
        let replications = || self.groups.values().map(|joined| joined.group.replication());
        let expected = replications().map(|replication| replication.expected_bytes()).sum();
        let group = self.group(handle);
        let object = group.map_or(0, |group| group.replication().expected_object());
        let received = self.endpoint.stats().bytes_received;
        if !self.downloads.may_ask(now, received, expected, object) {
            return false;
        }
        self.downloads.last = handle;
        if let Some(group) = self.touch(handle) {
            group.replication_mut(now).permit_request();
        }
        true
    }

    /// The group that waits for a permit and whose turn it is.
    fn next_asking(&self) -> Option<GroupHandle> {
        let last = self.downloads.last;
        let later = self.groups.range((Bound::Excluded(last), Bound::Unbounded));
        let mut turns = later.chain(self.groups.range(..=last));
        turns.find(|(_, joined)| joined.group.replication().wants_permit()).map(|(&at, _)| at)
    }
}
