//! The fragments that a member holds of one stream.

use super::message::{Map, MulticastData};
use crate::transport::{SessionId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes that a held fragment takes besides its own.
const OVERHEAD: usize = 192;

/// A fragment, or the end of the stream.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) data: MulticastData,
    /// When this member first knew of it: it is held for a time from then on.
    pub(super) known: Time,
    pub(super) received: Time,
    /// The neighbor that it came from; `None` for what is published here.
    pub(super) from: Option<SessionId>,
    size: usize,
}

impl Piece {
    pub(super) fn new(
        data: MulticastData,
        known: Time,
        received: Time,
        from: Option<SessionId>,
    ) -> Self {
        let size = OVERHEAD + data.to_bytes().len();
        Self { data, known, received, from, size }
    }
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: BTreeMap<u64, Piece>,
    bytes: usize,
    /// The number of pieces that were ever added: maps are sent when it grows.
    version: u64,
}

impl Held {
    /// Bytes that the pieces take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.pieces.contains_key(&number)
    }

    pub(super) fn piece(&self, number: u64) -> Option<&Piece> {
        self.pieces.get(&number)
    }

    /// The first piece after a number.
    pub(super) fn after(&self, number: u64) -> Option<(u64, &Piece)> {
        let from = number.checked_add(1)?;
        self.pieces.range(from..).next().map(|(number, piece)| (*number, piece))
    }

    /// The numbers from this one on.
    pub(super) fn numbers(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        self.pieces.range(from..).map(|(number, _)| *number)
    }

    /// The newest that is not an end.
    pub(super) fn newest_fragment(&self) -> Option<u64> {
        let is_fragment = |piece: &Piece| matches!(piece.data, MulticastData::Fragment(_));
        let mut fragments = self.pieces.iter().rev().filter(|(_, piece)| is_fragment(piece));
        fragments.next().map(|(number, _)| *number)
    }

    pub(super) fn map(&self) -> Option<Map> {
        Map::of(self.pieces.keys().rev().copied())
    }

    /// Adds a piece that is not held. False if it is older than all others, and they take `max_bytes`
    /// already; the oldest make place for a newer one.
    pub(super) fn insert(&mut self, number: u64, piece: Piece, max_bytes: usize) -> bool {
        while self.bytes + piece.size > max_bytes {
            match self.pieces.first_key_value() {
                Some((&oldest, _)) if oldest < number => drop(self.remove(oldest)),
                _ => return false,
            }
        }
        self.bytes += piece.size;
        self.version += 1;
        if let Some(before) = self.pieces.insert(number, piece) {
            self.bytes -= before.size;
        }
        true
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Piece> {
        let piece = self.pieces.remove(&number)?;
        self.bytes -= piece.size;
        Some(piece)
    }

    /// Removes the oldest piece, to make place for other streams.
    pub(super) fn evict(&mut self) {
        if let Some((_, piece)) = self.pieces.pop_first() {
            self.bytes -= piece.size;
        }
    }

    /// Removes the pieces before `end` that were held for the whole time.
    pub(super) fn expire(&mut self, now: Time, time: Duration, end: u64) {
        while let Some(first) = self.pieces.first_entry() {
            if *first.key() >= end || first.get().known + time > now {
                return;
            }
            self.bytes -= first.remove().size;
        }
    }

    /// When the oldest piece, if before `end`, will have been held for the whole time.
    pub(super) fn expires(&self, time: Duration, end: u64) -> Option<Time> {
        let first = self.pieces.first_key_value().filter(|(number, _)| **number < end);
        first.map(|(_, piece)| piece.known + time)
    }
}
