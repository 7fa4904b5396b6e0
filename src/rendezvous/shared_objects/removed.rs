//! Slots of an object that were removed not long ago, so that a change which was on the way meanwhile does
//! not bring one back.

use super::object::SLOT_OVERHEAD;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most slots of an object of which the removal is known.
const MAX_REMOVED: usize = 32;

/// The slots that were removed last, with the versions of the object since which they are gone; the
/// last one at the back.
#[derive(Debug, Default)]
pub(super) struct Removed(VecDeque<(Arc<str>, u32)>);

impl Removed {
    /// Notes a removal, and forgets the oldest if there are too many.
    pub(super) fn add(&mut self, slot: Arc<str>, version: u32) {
        if self.0.len() == MAX_REMOVED {
            self.0.pop_front();
        }
        self.0.push_back((slot, version));
    }

    /// The slot is there again.
    pub(super) fn forget(&mut self, slot: &str) {
        self.0.retain(|(removed, _)| **removed != *slot);
    }

    /// The version since which a slot is gone.
    pub(super) fn find(&self, slot: &str) -> Option<u32> {
        self.0.iter().find(|(removed, _)| **removed == *slot).map(|(_, version)| *version)
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|(slot, _)| slot.len() + SLOT_OVERHEAD).sum()
    }
}
