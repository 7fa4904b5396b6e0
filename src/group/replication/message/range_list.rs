//! Range lists: the form of sets of indices in `GR 15`.

use crate::range::{IndexSet, MAX_INDEX};
use crate::wire::{Reason, WireError, vlu};
use std::ops::RangeInclusive;

/// The most ranges in one list; a longer list is refused with [`Reason::TooMany`].
pub const MAX_LIST_RANGES: usize = 65_536;

/// Ranges of indices in ascending order, with at least one missing index between two of them.
///
/// On the wire: the first start and its length - 1, then for each further range the length of the
/// gap - 1 and the length of the range - 1, all VLUs. A last length of 1 may be omitted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeList {
    /// The ranges, ascending.
    pub ranges: Vec<RangeInclusive<u64>>,
    /// True if a last range of one index is written with its length (`10 00 00`). The player does
    /// so in the complete set, and omits the length in changes (`10 00`).
    pub trailing_zero: bool,
}

impl RangeList {
    /// The form of a complete Have set.
    pub fn complete(set: &IndexSet) -> Self {
        let ranges: Vec<_> = set.ranges().collect();
        let trailing_zero = ranges.last().is_some_and(|r| r.start() == r.end());
        Self { ranges, trailing_zero }
    }

    /// The form of a change: the one range that was added or removed.
    pub fn change(range: RangeInclusive<u64>) -> Self {
        Self { ranges: vec![range], trailing_zero: false }
    }

    /// Parses a list that takes up all of `input`.
    pub fn parse(input: &[u8]) -> Result<Self, WireError> {
        let field = "range list";
        let mut list = Self::default();
        let mut rest = input;
        let mut next: u64 = 0;
        while !rest.is_empty() {
            let error = |reason| WireError::new(field, input.len() - rest.len(), reason);
            if list.ranges.len() == MAX_LIST_RANGES {
                return Err(error(Reason::TooMany));
            }
            let (skip, after) = vlu::parse(field, rest).map_err(|e| error(e.reason))?;
            let (more, after, written) = match after {
                [] => (0, after, false),
                _ => {
                    let (more, after) = vlu::parse(field, after).map_err(|e| error(e.reason))?;
                    (more, after, true)
                }
            };
            list.trailing_zero = written && more == 0;
            let start = next.checked_add(skip).ok_or(error(Reason::TooLarge))?;
            let end = start.checked_add(more).ok_or(error(Reason::TooLarge))?;
            if end > MAX_INDEX {
                return Err(error(Reason::TooLarge));
            }
            list.ranges.push(start..=end);
            // The gap is written less one, so the next range starts at least two higher.
            next = end + 2;
            rest = after;
        }
        Ok(list)
    }

    /// Appends the list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut next = 0;
        for (i, range) in self.ranges.iter().enumerate() {
            let (start, end) = (*range.start(), *range.end());
            vlu::encode(start.saturating_sub(next), out);
            let last = i + 1 == self.ranges.len();
            if end > start || !last || self.trailing_zero {
                vlu::encode(end.saturating_sub(start), out);
            }
            next = end.saturating_add(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = MAX_INDEX;

    fn check(bytes: &[u8], ranges: &[RangeInclusive<u64>], trailing_zero: bool) {
        let list = RangeList::parse(bytes).unwrap();
        assert_eq!(list, RangeList { ranges: ranges.to_vec(), trailing_zero });
        let mut out = Vec::new();
        list.encode(&mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn literal_bytes_of_the_player() {
        check(&[], &[], false);
        check(&[0, 0], &[0..=0], true);
        check(&[0], &[0..=0], false);
        check(&[5, 4], &[5..=9], false);
        check(&[0x64, 0xbd, 0x84, 0x3f], &[100..=1_000_099], false);
        let top = [0x8f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7e, 0x02];
        check(&top, &[TOP - 2..=TOP], false);
        let complete = [
            0x00, 0x00, 0x03, 0x01, 0x00, 0x01, 0x09, 0x0a, 0x8f, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0x5e, 0x02,
        ];
        check(&complete, &[0..=0, 5..=6, 8..=9, 20..=30, TOP - 2..=TOP], false);
    }

    #[test]
    fn complete_and_change_differ_in_the_last_zero() {
        let mut set = IndexSet::new();
        set.insert_range(0..=3).unwrap();
        assert!(!RangeList::complete(&set).trailing_zero);
        set.insert(9).unwrap();
        assert!(RangeList::complete(&set).trailing_zero);
        assert!(!RangeList::change(9..=9).trailing_zero);
    }

    #[test]
    fn hostile_lists() {
        let reason = |bytes: &[u8]| RangeList::parse(bytes).unwrap_err().reason;
        assert_eq!(reason(&[0x80]), Reason::Truncated);
        assert_eq!(reason(&[0, 0x80]), Reason::Truncated);
        assert_eq!(reason(&[0x90, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), Reason::TooLarge);
        let max = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(reason(&[[1].as_slice(), &max].concat()), Reason::TooLarge);
        assert_eq!(reason(&[[0, 0].as_slice(), &max].concat()), Reason::TooLarge);
        assert_eq!(reason(&vec![0; 2 * MAX_LIST_RANGES + 2]), Reason::TooMany);
        assert!(RangeList::parse(&vec![0; 2 * MAX_LIST_RANGES]).is_ok());
    }

    proptest! {
        #[test]
        fn what_parses_is_written_the_same(bytes in prop::collection::vec(0u8..0x80, 0..60)) {
            let list = RangeList::parse(&bytes).unwrap();
            let mut out = Vec::new();
            list.encode(&mut out);
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = RangeList::parse(&bytes);
        }
    }
}
