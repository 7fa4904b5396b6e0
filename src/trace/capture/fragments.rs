//! Reassembly of fragmented IP packets.

use super::layers::{Fragment, Transport};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// Packets that are reassembled at a time; beyond this, the oldest is dropped.
pub const MAX_FRAGMENTED: usize = 256;

/// No IP packet is longer.
const MAX_PACKET: usize = 65_535;

/// Holes between the pieces of a packet; beyond this, it is dropped.
const MAX_PIECES: usize = 64;

/// The longest time between the pieces of a packet (RFC 8200 §4.5).
const LIFETIME: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

impl Key {
    pub(super) fn new(transport: Transport, id: u32) -> Self {
        let Transport { source, destination, protocol } = transport;
        Self { source, destination, protocol, id }
    }
}

/// The result of adding a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// The packet behind its IP header, complete.
    Complete(Vec<u8>),
    /// Others are missing.
    Waiting,
    /// The piece cannot be part of a packet.
    Refused,
}

#[derive(Default)]
pub(super) struct Fragments {
    open: HashMap<Key, Partial>,
    /// Oldest first; may name packets that are complete.
    order: VecDeque<Key>,
    incomplete: u64,
}

struct Partial {
    first: Duration,
    bytes: Vec<u8>,
    /// The ranges received: ascending, apart from each other.
    pieces: Vec<Range<usize>>,
    total: Option<usize>,
}

impl Fragments {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len().max(self.order.len())
    }

    /// Packets of which something is missing.
    pub(super) fn incomplete(&self) -> u64 {
        self.incomplete + self.open.len() as u64
    }

    /// Adds a piece.
    pub(super) fn add(
        &mut self,
        key: Key,
        fragment: Fragment,
        data: &[u8],
        now: Duration,
    ) -> Added {
        let end = fragment.offset.saturating_add(data.len());
        // All pieces but the last are multiples of eight bytes (RFC 791).
        if data.is_empty() || end > MAX_PACKET || (fragment.more && !data.len().is_multiple_of(8)) {
            return Added::Refused;
        }
        self.make_space(&key, now);
        let order = &mut self.order;
        let partial = self.open.entry(key).or_insert_with(|| {
            order.push_back(key);
            Partial { first: now, bytes: Vec::new(), pieces: Vec::new(), total: None }
        });
        partial.insert(fragment, data);
        if partial.pieces.len() > MAX_PIECES {
            self.open.remove(&key);
            self.incomplete += 1;
            return Added::Waiting;
        }
        let Some(total) = partial.total else { return Added::Waiting };
        if partial.pieces.first() != Some(&(0..total)) {
            return Added::Waiting;
        }
        let mut bytes = std::mem::take(&mut partial.bytes);
        self.open.remove(&key);
        bytes.truncate(total);
        Added::Complete(bytes)
    }

    fn make_space(&mut self, key: &Key, now: Duration) {
        if self.open.get(key).is_some_and(|p| now.saturating_sub(p.first) > LIFETIME) {
            self.open.remove(key);
            self.incomplete += 1;
        }
        while self.order.len() >= MAX_FRAGMENTED
            && let Some(oldest) = self.order.pop_front()
        {
            // The key may be in use again by a later packet, which is then lost: rare, and counted.
            if oldest != *key && self.open.remove(&oldest).is_some() {
                self.incomplete += 1;
            }
        }
    }
}

impl Partial {
    fn insert(&mut self, fragment: Fragment, data: &[u8]) {
        let mut range = fragment.offset..fragment.offset + data.len();
        if !fragment.more {
            self.total = Some(range.end);
        }
        if self.bytes.len() < range.end {
            self.bytes.resize(range.end, 0);
        }
        self.bytes[range.clone()].copy_from_slice(data);
        self.pieces.retain(|piece| {
            let apart = piece.end < range.start || range.end < piece.start;
            if !apart {
                range = range.start.min(piece.start)..range.end.max(piece.end);
            }
            apart
        });
        let at = self.pieces.partition_point(|piece| piece.start < range.start);
        self.pieces.insert(at, range);
    }
}
