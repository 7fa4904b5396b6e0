//! Sequence numbers seen in a receiving flow.

use crate::wire::chunk::AckRange;

/// Runs above the cumulative number that are kept; a fragment that would make one more is
/// refused as if it had been lost.
pub const MAX_RUNS: usize = 1024;

/// Runs for which memory is kept while there are none.
const KEPT_RUNS: usize = 16;

/// Result of [`SequenceSet::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insert {
    New,
    Seen,
    Refused,
}

/// All numbers from 0 to a cumulative one, and runs above it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SequenceSet {
    cumulative: u64,
    /// Ascending, disjoint, not touching, all above `cumulative + 1`.
    runs: Vec<(u64, u64)>,
}

impl SequenceSet {
    /// The highest number with no gap below it.
    pub(crate) const fn cumulative(&self) -> u64 {
        self.cumulative
    }

    /// Bytes of memory beside the set itself.
    pub(crate) fn memory(&self) -> usize {
        self.runs.capacity() * size_of::<(u64, u64)>()
    }

    pub(crate) const fn has_gaps(&self) -> bool {
        !self.runs.is_empty()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        number <= self.cumulative || {
            let at = self.runs.partition_point(|run| run.1 < number);
            self.runs.get(at).is_some_and(|run| run.0 <= number)
        }
    }

    pub(crate) fn insert(&mut self, number: u64) -> Insert {
        if self.contains(number) {
            return Insert::Seen;
        }
        if number == self.cumulative + 1 {
            self.insert_through(number);
            return Insert::New;
        }
        let at = self.runs.partition_point(|run| run.1 < number);
        let touches_next =
            self.runs.get(at).is_some_and(|next| number.checked_add(1) == Some(next.0));
        let touches_last = at > 0 && self.runs[at - 1].1 + 1 == number;
        match (touches_last, touches_next) {
            (true, true) => {
                self.runs[at - 1].1 = self.runs[at].1;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at - 1].1 = number,
            (false, true) => self.runs[at].0 = number,
            (false, false) if self.runs.len() >= MAX_RUNS => return Insert::Refused,
            (false, false) => self.runs.insert(at, (number, number)),
        }
        Insert::New
    }

    /// Adds every number from 0 to `number`.
    pub(crate) fn insert_through(&mut self, number: u64) {
        if number <= self.cumulative {
            return;
        }
        self.cumulative = number;
        let passed = self.runs.partition_point(|run| run.0 <= self.cumulative.saturating_add(1));
        if let Some(last) = passed.checked_sub(1) {
            self.cumulative = self.cumulative.max(self.runs[last].1);
            self.runs.drain(..passed);
            if self.runs.is_empty() && self.runs.capacity() > KEPT_RUNS {
                self.runs = Vec::new();
            }
        }
    }

    /// The runs above the cumulative number, ascending.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = AckRange> + Clone + '_ {
        self.runs.iter().map(|&(from, to)| from..=to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn bounded_number_of_runs() {
        let mut set = SequenceSet::default();
        for i in 0..MAX_RUNS as u64 {
            assert_eq!(set.insert(10 + 2 * i), Insert::New);
        }
        assert_eq!(set.insert(9_000_000), Insert::Refused);
        assert!(!set.contains(9_000_000));
        assert_eq!(set.insert(11), Insert::New, "joins two runs");
        assert_eq!(set.insert(9_000_000), Insert::New);
    }

    #[test]
    fn the_largest_numbers() {
        let mut set = SequenceSet::default();
        assert_eq!(set.insert(u64::MAX), Insert::New);
        assert_eq!(set.insert(u64::MAX - 1), Insert::New);
        set.insert_through(u64::MAX - 3);
        assert!(!set.contains(u64::MAX - 2));
        set.insert_through(u64::MAX);
        assert!(!set.has_gaps());
        assert_eq!(set.insert(u64::MAX), Insert::Seen);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(steps in proptest::collection::vec((0u64..60, any::<bool>()), 0..80)) {
            let mut set = SequenceSet::default();
            let mut plain = BTreeSet::from([0]);
            for (number, through) in steps {
                // Forward jumps are rare in life; keep them small here.
                if through && number < 20 {
                    set.insert_through(number);
                    plain.extend(0..=number);
                } else {
                    let new = plain.insert(number);
                    prop_assert_eq!(set.insert(number), if new { Insert::New } else { Insert::Seen });
                }
                for n in 0..64 {
                    prop_assert_eq!(set.contains(n), plain.contains(&n));
                }
                let csn = (0..).take_while(|n| plain.contains(n)).last().unwrap();
                prop_assert_eq!(set.cumulative(), csn);
                let above: Vec<u64> = set.ranges().flatten().collect();
                prop_assert_eq!(above, plain.range(csn + 1..).copied().collect::<Vec<_>>());
            }
        }
    }
}
