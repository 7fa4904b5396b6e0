//! [`Backlog`]: chunks that wait for the store.

use std::collections::BTreeMap;

/// Bytes of chunks that may wait for the store. Beyond this, nothing more is wanted from the group
/// until half of it is stored, so that a disk that is slower than the network does not fill the
/// memory; objects that were already requested still arrive.
pub const MAX_BACKLOG: u64 = 24 << 20;

/// The chunks that the store has not confirmed.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Index and length.
    chunks: BTreeMap<u64, u64>,
    bytes: u64,
    limit: u64,
    is_full: bool,
}

impl Backlog {
    pub(super) fn new(limit: u64) -> Self {
        Self { chunks: BTreeMap::new(), bytes: 0, limit, is_full: false }
    }

    /// Adds a chunk. Returns true if this exceeds the limit for the first time.
    pub(super) fn push(&mut self, index: u64, bytes: u64) -> bool {
        self.bytes += bytes - self.chunks.insert(index, bytes).unwrap_or(0).min(bytes);
        let was_full = self.is_full;
        self.is_full |= self.bytes > self.limit;
        self.is_full && !was_full
    }

    /// Removes a chunk. Returns `None` if it is not there, otherwise true if the backlog ceases to
    /// be full.
    pub(super) fn take(&mut self, index: u64) -> Option<bool> {
        self.bytes = self.bytes.saturating_sub(self.chunks.remove(&index)?);
        let was_full = self.is_full;
        self.is_full &= self.bytes > self.limit / 2;
        Some(was_full && !self.is_full)
    }

    /// True if nothing more should arrive.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.chunks.contains_key(&index)
    }

    /// The first chunk from `index` on.
    pub(super) fn first_at_or_after(&self, index: u64) -> Option<u64> {
        self.chunks.range(index..).next().map(|(&first, _)| first)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}
