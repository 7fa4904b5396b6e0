//! Requests by permission, where the owner bounds the rate at which objects arrive.
//!
//! Pacing requests works with every peer: whoever serves objects sends exactly what it was asked
//! for. The advertised receive window would slow a sender down as well, but by window and round
//! trip, for each flow on its own, and in steps of 1,024 bytes.

use super::serve::MAX_PENDING_BYTES;
use super::{Replication, ReplicationMut};
use crate::transport::Time;

/// Bytes that an object is expected to have while few have been seen: a chunk of a file.
const FIRST_OBJECT: u64 = 64 << 10;

/// So many objects show how large they are. The first may be much smaller than all others: it is the
/// descriptor of a file.
const SHOWN_BY: u64 = 8;

/// The permission to send requests.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// Each request needs a permit.
    is_paced: bool,
    has_permit: bool,
    /// There was something to ask for, and no permit.
    is_starved: bool,
}

impl Throttle {
    /// Requests are about to be searched for.
    pub(super) fn begin(&mut self) {
        self.is_starved = false;
    }

    /// Something can be asked for: true if the request may be sent.
    pub(super) fn admit(&mut self) -> bool {
        let admitted = !self.is_paced || std::mem::take(&mut self.has_permit);
        self.is_starved |= !admitted;
        admitted
    }

    /// No further request may be sent.
    pub(super) fn is_starved(&self) -> bool {
        self.is_starved
    }
}

impl Replication {
    /// True if a request waits for [`permit_request`](ReplicationMut::permit_request).
    pub fn wants_permit(&self) -> bool {
        self.throttle.is_starved
    }

    /// The bytes that the next request is expected to bring.
    pub fn expected_object(&self) -> u64 {
        let seen = self.stats.objects_received + self.stats.objects_sent;
        let least = if seen < SHOWN_BY { FIRST_OBJECT } else { 1 };
        (self.object_size as u64).max(least)
    }

    /// The bytes that the requests in flight are expected to bring, without those that are overdue.
    pub fn expected_bytes(&self) -> u64 {
        let requests: usize = self.neighbors.values().map(|n| n.live_requests().count()).sum();
        (requests as u64).saturating_mul(self.expected_object())
    }

    fn set_paced(&mut self, now: Time, is_paced: bool) {
        self.throttle.is_paced = is_paced;
        self.fill(now);
    }

    fn permit_request(&mut self, now: Time) -> bool {
        self.throttle.has_permit = true;
        self.fill(now);
        !std::mem::take(&mut self.throttle.has_permit)
    }
}

impl ReplicationMut<'_> {
    /// From now on each request needs a permit, or none does any more.
    pub fn set_paced(&mut self, is_paced: bool) {
        self.group.replication.set_paced(self.now, is_paced);
        self.group.drain_features();
    }

    /// Bounds the bytes of objects that one neighbor is answered with before our own requests to it,
    /// which share its flow; the answer to one request is always possible.
    pub fn set_pending_bytes(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.group.replication.pending_bytes = bytes.min(MAX_PENDING_BYTES);
    }

    /// Permits one request now. False if there is nothing to ask for.
    pub fn permit_request(&mut self) -> bool {
        let is_sent = self.group.replication.permit_request(self.now);
        self.group.drain_features();
        is_sent
    }
}
