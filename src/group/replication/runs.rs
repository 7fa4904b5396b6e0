//! [`Runs`]: a sorted list of ranges, for a set that is built at once and then only searched.

use std::ops::{Range, RangeInclusive};

/// A set of indices as ascending, disjoint and non-adjacent inclusive ranges.
///
/// A search takes a fraction of the time of one in an [`IndexSet`](crate::range::IndexSet), as the
/// ranges are contiguous in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runs {
    ranges: Vec<(u64, u64)>,
}

impl Runs {
    /// Appends a range above all ranges of the list.
    pub(super) fn push(&mut self, start: u64, end: u64) {
        match self.ranges.last_mut() {
            Some((_, last)) if *last + 1 == start => *last = end,
            _ => self.ranges.push((start, end)),
        }
    }

    /// True if the set is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lowest index that `accept` accepts.
    pub(super) fn find(&self, accept: impl Fn(u64) -> bool) -> Option<u64> {
        self.ranges.iter().flat_map(|&(start, end)| start..=end).find(|&index| accept(index))
    }

    /// The lowest index of `within` that is in both sets and that `accept` accepts.
    pub(super) fn find_common(
        &self,
        other: &Self,
        within: Range<u64>,
        accept: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let (mut ours, mut theirs, mut at) = (0, 0, within.start);
        while at < within.end {
            ours = self.seek(ours, at);
            let candidate = at.max(self.ranges.get(ours)?.0);
            theirs = other.seek(theirs, candidate);
            at = candidate.max(other.ranges.get(theirs)?.0);
            if at == candidate {
                if at < within.end && accept(at) {
                    return Some(at);
                }
                at += 1;
            }
        }
        None
    }

    /// The position of the first range, from position `from` on, that does not end before `index`.
    /// Searches in doubling steps, as the next range is usually near.
    fn seek(&self, from: usize, index: u64) -> usize {
        let ends_before = |range: &(u64, u64)| range.1 < index;
        let (mut low, mut step) = (from, 1);
        while self.ranges.get(low + step).is_some_and(ends_before) {
            low += step;
            step *= 2;
        }
        let high = self.ranges.len().min(low + step);
        self.ranges.get(low..high).map_or(low, |near| low + near.partition_point(ends_before))
    }
}

impl FromIterator<RangeInclusive<u64>> for Runs {
    /// Collects ascending ranges that do not overlap.
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u64>>>(ranges: I) -> Self {
        let mut runs = Self::default();
        for range in ranges {
            runs.push(*range.start(), *range.end());
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn runs(indices: &BTreeSet<u64>) -> Runs {
        indices.iter().map(|&index| index..=index).collect()
    }

    #[test]
    fn ranges_that_touch_are_joined() {
        let runs = Runs::from_iter([0..=3, 4..=4, 6..=9]);
        assert_eq!(runs.ranges, [(0, 4), (6, 9)]);
        assert!(!runs.is_empty());
        assert_eq!(runs.find(|index| index > 4), Some(6));
        assert!(Runs::default().is_empty());
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            ours in prop::collection::btree_set(0..300u64, 0..200),
            theirs in prop::collection::btree_set(0..300u64, 0..200),
            start in 0..310u64,
            end in 0..310u64,
            modulus in 1..4u64,
        ) {
            let accept = |index: u64| index.is_multiple_of(modulus);
            let expected = ours
                .intersection(&theirs)
                .copied()
                .find(|index| (start..end).contains(index) && accept(*index));
            let found = runs(&ours).find_common(&runs(&theirs), start..end, accept);
            prop_assert_eq!(found, expected);
        }
    }
}
