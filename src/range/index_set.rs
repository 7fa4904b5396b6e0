//! [`IndexSet`]: a bounded set of indices.

use std::fmt;
use std::ops::RangeInclusive;

use range_set_blaze::RangeSetBlaze;

/// The highest object index, 2^53: the largest whole number below which an ActionScript `Number`
/// counts without gaps.
pub const MAX_INDEX: u64 = 1 << 53;

/// Number of separate ranges that a set holds unless it was made with another limit.
///
/// An operation that would leave more is refused with [`RangeError::TooManyRanges`] and changes
/// nothing. 4096 ranges take about 100 kB.
pub const MAX_RANGES: usize = 4096;

/// Reason for which an operation on an [`IndexSet`] was refused. The set is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// An index above [`MAX_INDEX`].
    #[error("object index {0} is above 2^53")]
    IndexTooLarge(u64),
    /// The result would fall into more ranges than the set may hold.
    #[error("more than {limit} separate ranges")]
    TooManyRanges {
        /// The limit of the set.
        limit: usize,
    },
}

/// A set of indices in `0..=2^53`, kept as disjoint ranges that do not touch each other.
///
/// The number of ranges is bounded by [`max_ranges`](Self::max_ranges). Sets of another peer's
/// making keep the default bound; a set that only grows by one's own progress (the chunks on one's
/// own disk) may be [`unbounded`](Self::unbounded).
///
/// A reversed range (start above end) is empty, as it is for Flash Player: adding or removing it
/// does nothing.
#[derive(Clone)]
pub struct IndexSet {
    ranges: RangeSetBlaze<u64>,
    max_ranges: usize,
}

impl Default for IndexSet {
    fn default() -> Self {
        Self::new()
    }
}

impl IndexSet {
    /// An empty set of at most [`MAX_RANGES`] ranges.
    pub fn new() -> Self {
        Self::with_max_ranges(MAX_RANGES)
    }

    /// An empty set of at most `max_ranges` ranges.
    pub fn with_max_ranges(max_ranges: usize) -> Self {
        Self { ranges: RangeSetBlaze::new(), max_ranges }
    }

    /// An empty set without a bound, for indices that no peer can fragment.
    pub fn unbounded() -> Self {
        Self::with_max_ranges(usize::MAX)
    }

    /// A set with the default bound, made of `ranges` in any order; they may overlap.
    pub fn from_ranges(
        ranges: impl IntoIterator<Item = RangeInclusive<u64>>,
    ) -> Result<Self, RangeError> {
        let mut set = Self::new();
        for range in ranges {
            set.insert_range(range)?;
        }
        Ok(set)
    }

    /// The same indices under another bound.
    pub fn bounded_to(self, max_ranges: usize) -> Result<Self, RangeError> {
        Self { ranges: self.ranges, max_ranges }.checked()
    }

    /// Adds every index of `range`. Returns whether the set grew. O(log ranges) amortised.
    pub fn insert_range(&mut self, range: RangeInclusive<u64>) -> Result<bool, RangeError> {
        let (start, end) = (*range.start(), *range.end());
        if start > end {
            return Ok(false);
        }
        if end > MAX_INDEX {
            return Err(RangeError::IndexTooLarge(end));
        }
        if self.range_count() >= self.max_ranges && !self.touches(start, end) {
            return Err(RangeError::TooManyRanges { limit: self.max_ranges });
        }
        Ok(self.ranges.ranges_insert(start..=end))
    }

    /// Adds one index. Returns whether it was new.
    pub fn insert(&mut self, index: u64) -> Result<bool, RangeError> {
        self.insert_range(index..=index)
    }

    /// Takes every index of `range` out. Returns whether the set shrank.
    ///
    /// Taking out the middle of a range makes two of it, so this too can meet the bound. Cost is
    /// O(log ranges) for a single index, O(ranges) otherwise; for many ranges at once use
    /// [`subtract`](Self::subtract).
    pub fn remove_range(&mut self, range: RangeInclusive<u64>) -> Result<bool, RangeError> {
        let (start, end) = (*range.start(), *range.end());
        if start > end || self.first_at_or_after(start).is_none_or(|first| first > end) {
            return Ok(false);
        }
        let splits =
            self.ranges.range_at(start).is_some_and(|r| *r.start() < start && *r.end() > end);
        if splits && self.range_count() >= self.max_ranges {
            return Err(RangeError::TooManyRanges { limit: self.max_ranges });
        }
        if start == end {
            self.ranges.remove(start);
        } else {
            self.ranges = &self.ranges - &RangeSetBlaze::from_iter([start..=end]);
        }
        Ok(true)
    }

    /// Takes one index out. Returns whether it was in.
    pub fn remove(&mut self, index: u64) -> Result<bool, RangeError> {
        self.remove_range(index..=index)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Adds all of `other`. O(ranges of both).
    pub fn extend(&mut self, other: &Self) -> Result<(), RangeError> {
        self.replace_by(&self.ranges | &other.ranges)
    }

    /// Takes all of `other` out. O(ranges of both).
    pub fn subtract(&mut self, other: &Self) -> Result<(), RangeError> {
        self.replace_by(&self.ranges - &other.ranges)
    }

    /// Union of both sets, under this set's bound.
    pub fn union(&self, other: &Self) -> Result<Self, RangeError> {
        self.derived(&self.ranges | &other.ranges)
    }

    /// Intersection of both sets, under this set's bound.
    pub fn intersection(&self, other: &Self) -> Result<Self, RangeError> {
        self.derived(&self.ranges & &other.ranges)
    }

    /// Difference: the indices of this set that are not in the other, under this set's bound.
    pub fn difference(&self, other: &Self) -> Result<Self, RangeError> {
        self.derived(&self.ranges - &other.ranges)
    }

    /// True if `index` is in the set.
    pub fn contains(&self, index: u64) -> bool {
        self.ranges.contains(index)
    }

    /// True if every index of `range` is in the set, or the range is reversed.
    pub fn contains_range(&self, range: RangeInclusive<u64>) -> bool {
        range.is_empty()
            || self.ranges.range_at(*range.start()).is_some_and(|held| held.end() >= range.end())
    }

    /// True if at least one index of `range` is in the set.
    pub fn has_some_of(&self, range: &RangeInclusive<u64>) -> bool {
        self.first_at_or_after(*range.start()).is_some_and(|first| first <= *range.end())
    }

    /// True if no index is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of indices in the set, at most 2^53 + 1. Constant time.
    pub fn len(&self) -> u64 {
        u64::try_from(self.ranges.len()).unwrap_or(u64::MAX)
    }

    /// Number of separate ranges in the set.
    pub fn range_count(&self) -> usize {
        self.ranges.ranges_len()
    }

    /// Bound on the number of ranges.
    pub fn max_ranges(&self) -> usize {
        self.max_ranges
    }

    /// The ranges in ascending order; between two of them at least one index is missing.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = RangeInclusive<u64>> + '_ {
        self.ranges.ranges()
    }

    /// The indices in ascending order. There may be 2^53 of them: take what you need.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges().flatten()
    }

    /// The lowest index.
    pub fn first(&self) -> Option<u64> {
        self.ranges.first()
    }

    /// The highest index.
    pub fn last(&self) -> Option<u64> {
        self.ranges.last()
    }

    /// The lowest index that is at least `index`. O(log ranges).
    pub fn first_at_or_after(&self, index: u64) -> Option<u64> {
        self.range_at_or_after(index).map(|range| index.max(*range.start()))
    }

    /// The lowest index that is at least `index` and *not* in the set, up to [`MAX_INDEX`].
    pub fn first_missing_at_or_after(&self, index: u64) -> Option<u64> {
        let missing = match self.ranges.range_at(index) {
            Some(held) => held.end().checked_add(1)?,
            None => index,
        };
        (missing <= MAX_INDEX).then_some(missing)
    }

    /// The lowest index that is at least `index` and in both sets.
    ///
    /// Leaps from range to range of either set and stops at the first hit.
    pub fn first_common_at_or_after(&self, other: &Self, index: u64) -> Option<u64> {
        let mut at = index;
        loop {
            let ours = self.first_at_or_after(at)?;
            let theirs = other.first_at_or_after(ours)?;
            if ours == theirs {
                return Some(ours);
            }
            at = theirs;
        }
    }

    /// The ranges that are in both sets, in ascending order. Makes no new set.
    pub fn common_ranges(&self, other: &Self) -> impl Iterator<Item = RangeInclusive<u64>> {
        let (mut ours, mut theirs) = (self.ranges().peekable(), other.ranges().peekable());
        std::iter::from_fn(move || {
            loop {
                let (a, b) = (ours.peek()?, theirs.peek()?);
                let common = *a.start().max(b.start())..=*a.end().min(b.end());
                if a.end() <= b.end() {
                    ours.next();
                } else {
                    theirs.next();
                }
                if !common.is_empty() {
                    return Some(common);
                }
            }
        })
    }

    /// True if the two sets share an index.
    pub fn intersects(&self, other: &Self) -> bool {
        self.first_common_at_or_after(other, 0).is_some()
    }

    fn range_at_or_after(&self, index: u64) -> Option<RangeInclusive<u64>> {
        let (found, present) = self.ranges.range_or_gap_at(index);
        if present {
            return Some(found);
        }
        self.ranges.range_at(found.end().checked_add(1)?)
    }

    /// True if the range meets or touches one that is there, so that adding it makes no new one.
    fn touches(&self, start: u64, end: u64) -> bool {
        self.first_at_or_after(start.saturating_sub(1))
            .is_some_and(|found| found <= end.saturating_add(1))
    }

    fn derived(&self, ranges: RangeSetBlaze<u64>) -> Result<Self, RangeError> {
        Self { ranges, max_ranges: self.max_ranges }.checked()
    }

    fn replace_by(&mut self, ranges: RangeSetBlaze<u64>) -> Result<(), RangeError> {
        *self = self.derived(ranges)?;
        Ok(())
    }

    fn checked(self) -> Result<Self, RangeError> {
        if self.range_count() > self.max_ranges {
            return Err(RangeError::TooManyRanges { limit: self.max_ranges });
        }
        Ok(self)
    }
}

/// Equal when they hold the same indices, whatever their bounds.
impl PartialEq for IndexSet {
    fn eq(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

impl Eq for IndexSet {}

/// The ranges as `{0..=3, 7..=7}`; long sets are cut after sixteen.
impl fmt::Debug for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let mut set = f.debug_set();
        set.entries(self.ranges().take(SHOWN));
        if self.range_count() > SHOWN {
            set.entry(&format_args!("{} more ranges", self.range_count() - SHOWN));
        }
        set.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(ranges: &[RangeInclusive<u64>]) -> IndexSet {
        IndexSet::from_ranges(ranges.iter().cloned()).unwrap()
    }

    #[test]
    fn everything_there_is_costs_one_range() {
        let mut all = IndexSet::new();
        for _ in 0..100_000 {
            // 100 000 times in well under a second, or this test hangs.
            all.insert_range(0..=MAX_INDEX).unwrap();
        }
        assert_eq!(all.len(), MAX_INDEX + 1);
        assert_eq!(all.range_count(), 1);
        assert!(all.contains(0) && all.contains(MAX_INDEX) && !all.contains(MAX_INDEX + 1));
        assert_eq!(all.first_missing_at_or_after(5), None);
        all.remove(7).unwrap();
        assert_eq!(all.ranges().collect::<Vec<_>>(), [0..=6, 8..=MAX_INDEX]);
        assert_eq!(all.first_missing_at_or_after(5), Some(7));
    }

    #[test]
    fn an_index_above_2_pow_53_is_refused() {
        let mut it = IndexSet::new();
        assert_eq!(it.insert(MAX_INDEX + 1), Err(RangeError::IndexTooLarge(MAX_INDEX + 1)));
        assert_eq!(it.insert_range(0..=u64::MAX), Err(RangeError::IndexTooLarge(u64::MAX)));
        assert!(it.is_empty());
        assert_eq!(it.remove_range(0..=u64::MAX), Ok(false));
        assert_eq!(it.first_at_or_after(u64::MAX), None);
        assert_eq!(it.first_missing_at_or_after(u64::MAX), None);
        assert!(!it.contains(u64::MAX));
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn a_reversed_range_is_empty() {
        let mut it = set(&[0..=9]);
        assert_eq!(it.insert_range(20..=15), Ok(false));
        assert_eq!(it.remove_range(5..=3), Ok(false));
        assert_eq!(it.len(), 10);
        assert!(it.contains_range(30..=20));
    }

    #[test]
    fn the_bound_on_ranges_refuses_and_changes_nothing() {
        let mut it = IndexSet::new();
        for n in 0..MAX_RANGES as u64 {
            it.insert(n * 10).unwrap();
        }
        let full = it.clone();
        let refused = Err(RangeError::TooManyRanges { limit: MAX_RANGES });
        assert_eq!(it.insert(5), refused);
        assert_eq!(it, full);
        // What touches or joins is still welcome.
        assert_eq!(it.insert(1), Ok(true));
        assert_eq!(it.insert(9), Ok(true));
        assert_eq!(it.insert_range(2..=8), Ok(true));
        assert_eq!(it.range_count(), MAX_RANGES - 1);
        it.insert(5_000_000).unwrap();
        // Splitting a range needs a place as well.
        assert_eq!(it.remove(5), refused);
        assert_eq!(it.remove_range(4..=6), refused);
        assert_eq!(it.remove_range(0..=6), Ok(true));
        assert_eq!(
            full.union(&set(&[3..=3])),
            Err(RangeError::TooManyRanges { limit: MAX_RANGES })
        );
        assert_eq!(full.clone().bounded_to(10), Err(RangeError::TooManyRanges { limit: 10 }));
    }

    #[test]
    fn an_unbounded_set_takes_more() {
        let mut it = IndexSet::unbounded();
        for n in 0..=MAX_RANGES as u64 {
            it.insert(n * 2).unwrap();
        }
        assert_eq!(it.range_count(), MAX_RANGES + 1);
        assert!(it.remove_range(0..=10).unwrap());
    }

    #[test]
    fn intersection_is_found_by_leaping() {
        let want = set(&[0..=0, 500..=MAX_INDEX]);
        let have = set(&[1..=499, MAX_INDEX..=MAX_INDEX]);
        assert!(want.intersects(&have));
        assert_eq!(want.first_common_at_or_after(&have, 0), Some(MAX_INDEX));
        assert!(!set(&[0..=4]).intersects(&set(&[5..=9])));
        assert!(!IndexSet::new().intersects(&set(&[0..=MAX_INDEX])));
    }

    #[test]
    fn debug_output_of_a_long_set_is_short() {
        let long = set(&(0..100).map(|n| n * 2..=n * 2).collect::<Vec<_>>());
        assert!(format!("{long:?}").ends_with("84 more ranges}"));
        assert_eq!(format!("{:?}", set(&[1..=2])), "{1..=2}");
    }

    const SMALL: u64 = 64;
    const FEW: usize = 5;

    fn naive_ranges(naive: &BTreeSet<u64>) -> usize {
        naive.iter().filter(|&&i| i == 0 || !naive.contains(&(i - 1))).count()
    }

    fn any_set() -> impl Strategy<Value = BTreeSet<u64>> {
        proptest::collection::btree_set(0..SMALL, 0..40)
    }

    fn from_naive(naive: &BTreeSet<u64>) -> IndexSet {
        let mut it = IndexSet::unbounded();
        naive.iter().for_each(|&i| {
            it.insert(i).unwrap();
        });
        it
    }

    proptest! {
        #[test]
        fn behaves_as_a_naive_set(
            steps in proptest::collection::vec((any::<bool>(), 0..SMALL, 0..12u64), 0..80),
        ) {
            let mut it = IndexSet::with_max_ranges(FEW);
            let mut naive = BTreeSet::new();
            for (adding, start, extra) in steps {
                let range = start..=start + extra;
                let mut after: BTreeSet<u64> = naive.clone();
                let result = if adding {
                    after.extend(range.clone());
                    it.insert_range(range)
                } else {
                    after.retain(|i| !range.contains(i));
                    it.remove_range(range)
                };
                if naive_ranges(&after) > FEW {
                    prop_assert_eq!(result, Err(RangeError::TooManyRanges { limit: FEW }));
                } else {
                    prop_assert_eq!(result, Ok(after != naive));
                    naive = after;
                }
                prop_assert_eq!(it.iter().collect::<Vec<_>>(), naive.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(it.len(), naive.len() as u64);
                prop_assert_eq!(it.is_empty(), naive.is_empty());
                prop_assert_eq!(it.range_count(), naive_ranges(&naive));
                prop_assert_eq!(it.first(), naive.first().copied());
                prop_assert_eq!(it.last(), naive.last().copied());
            }
        }

        #[test]
        fn queries_agree_with_a_naive_set(a in any_set(), b in any_set(), at in 0..SMALL) {
            let (x, y) = (from_naive(&a), from_naive(&b));
            prop_assert_eq!(x.contains(at), a.contains(&at));
            prop_assert_eq!(x.first_at_or_after(at), a.range(at..).next().copied());
            prop_assert_eq!(x.first_missing_at_or_after(at), (at..).find(|i| !a.contains(i)));
            prop_assert_eq!(x.first_common_at_or_after(&y, at), a.intersection(&b).copied().find(|&i| i >= at));
            prop_assert_eq!(x.intersects(&y), !a.is_disjoint(&b));
            prop_assert_eq!(x.contains_range(at..=at + 3), (at..=at + 3).all(|i| a.contains(&i)));
            prop_assert_eq!(x.union(&y).unwrap(), from_naive(&a.union(&b).copied().collect()));
            prop_assert_eq!(x.intersection(&y).unwrap(), from_naive(&a.intersection(&b).copied().collect()));
            prop_assert_eq!(x.difference(&y).unwrap(), from_naive(&a.difference(&b).copied().collect()));
            let (mut added, mut taken) = (x.clone(), x.clone());
            added.extend(&y).unwrap();
            taken.subtract(&y).unwrap();
            prop_assert_eq!(added, x.union(&y).unwrap());
            prop_assert_eq!(taken, x.difference(&y).unwrap());
        }
    }
}
