//! The part of a share that is fetched, if it is not all of it.

use std::ops::RangeInclusive;

use super::{Replica, Stage};
use crate::range::IndexSet;

impl<P: Ord + Clone, R> Replica<P, R> {
    /// Wants nothing but what is [selected](Self::select) later, and does not finish: the store keeps what is
    /// fetched as that of an unfinished fetch.
    #[must_use]
    pub fn selective(mut self) -> Self {
        self.selection = Some(IndexSet::unbounded());
        self
    }

    /// Wants these chunks, too.
    pub fn select(&mut self, chunks: RangeInclusive<u64>) {
        if let Some(selection) = &mut self.selection {
            // The set is unbounded; what is no chunk is never wanted.
            let _ = selection.insert_range(chunks);
            self.want_missing();
        }
    }

    /// True if all that was selected is held.
    pub fn has_selection(&self) -> bool {
        let is_held = |range: RangeInclusive<u64>| {
            let missing = self.held.first_missing_at_or_after(*range.start());
            missing.is_none_or(|missing| missing > *range.end())
        };
        self.stage == Stage::Chunks
            && self.selection.as_ref().is_some_and(|it| it.ranges().all(is_held))
    }

    /// The chunks that are to be fetched, and those of them that are held; `None` if that is all of them.
    pub fn selected(&self) -> Option<(u64, u64)> {
        let selection = self.selection.as_ref()?;
        let held = |range: RangeInclusive<u64>| {
            let (mut from, last) = range.into_inner();
            let mut count = 0;
            while let Some(start) = self.held.first_at_or_after(from).filter(|&it| it <= last) {
                let end = self.held.first_missing_at_or_after(start).unwrap_or(u64::MAX);
                from = end.min(last + 1);
                count += from - start;
            }
            count
        };
        Some((selection.len(), selection.ranges().map(held).sum()))
    }

    /// The parts of a range that are to be fetched.
    pub(super) fn selected_in(&self, range: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        let Some(selection) = &self.selection else { return vec![range] };
        let (first, last) = range.into_inner();
        let parts = selection.ranges().filter_map(|part| {
            let (from, to) = (first.max(*part.start()), last.min(*part.end()));
            (from <= to).then_some(from..=to)
        });
        parts.collect()
    }

    /// The first chunk from this one on that is to be fetched.
    pub(super) fn first_selected(&self, chunk: u64) -> Option<u64> {
        match &self.selection {
            Some(selection) => selection.first_at_or_after(chunk),
            None => Some(chunk),
        }
    }
}
