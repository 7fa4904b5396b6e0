//! [`Reorder`]: chunks in the order of the file, whatever order they came in.

use std::ops::Range;

use crate::range::IndexSet;

/// Where a reader of the file stands: a player, a pipe, a progress bar.
///
/// Chunks arrive in any order and lie in a [store](super::store) that can be read at any place, so
/// nothing is held back in memory here: the reader only needs to know how far the file is there
/// without a gap.
///
/// ```
/// use rtmfp::range::IndexSet;
/// use rtmfp::vod::reorder::Reorder;
///
/// let mut held = IndexSet::new();
/// let mut reader = Reorder::new(3);
/// held.insert(2)?;
/// assert_eq!(reader.next_ready(&held), None);
/// held.insert(1)?;
/// assert_eq!(reader.next_ready(&held), Some(1));
/// assert_eq!(reader.next_ready(&held), Some(2));
/// assert_eq!(reader.next_ready(&held), None);
/// assert_eq!(reader.next_needed(), Some(3));
/// # Ok::<(), rtmfp::range::RangeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reorder {
    next: u64,
    chunks: u64,
}

impl Reorder {
    /// A reader at the first chunk of `chunks`.
    pub fn new(chunks: u64) -> Self {
        Self { next: 1, chunks }
    }

    /// The next chunk of the file, if it is held; the reader moves on behind it.
    pub fn next_ready(&mut self, held: &IndexSet) -> Option<u64> {
        let index = self.next_needed().filter(|&index| held.contains(index))?;
        self.next = index + 1;
        Some(index)
    }

    /// All chunks that can be read now without a gap, from the next one on; the reader stays.
    pub fn ready(&self, held: &IndexSet) -> Range<u64> {
        let end = held.first_missing_at_or_after(self.next).unwrap_or(self.end());
        self.next..end.clamp(self.next, self.end())
    }

    /// The chunk the reader waits for; `None` at the end of the file.
    pub fn next_needed(&self) -> Option<u64> {
        (self.next < self.end()).then_some(self.next)
    }

    /// Whether everything has been read.
    pub fn is_finished(&self) -> bool {
        self.next_needed().is_none()
    }

    /// Moves the reader to a chunk, as a player does that seeks; beyond the last is the end.
    pub fn seek(&mut self, index: u64) {
        self.next = index.clamp(1, self.end());
    }

    /// One behind the last chunk.
    fn end(&self) -> u64 {
        self.chunks.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(indices: &[u64]) -> IndexSet {
        IndexSet::from_ranges(indices.iter().map(|&i| i..=i)).unwrap()
    }

    #[test]
    fn only_the_prefix_without_gap_is_handed_out() {
        let mut reader = Reorder::new(5);
        assert_eq!(reader.ready(&held(&[0, 1, 2, 4])), 1..3);
        assert_eq!(reader.ready(&held(&[2, 3])), 1..1);
        assert_eq!(reader.next_ready(&held(&[0, 2, 3])), None);
        assert_eq!(reader.next_ready(&held(&[1, 3])), Some(1));
        assert_eq!(reader.next_ready(&held(&[1, 3])), None);
        assert_eq!(reader.next_needed(), Some(2));
    }

    #[test]
    fn the_end_is_the_last_chunk_even_if_more_is_held() {
        let mut reader = Reorder::new(2);
        let more = held(&[1, 2, 3, 4]);
        assert_eq!(reader.ready(&more), 1..3);
        assert_eq!((reader.next_ready(&more), reader.next_ready(&more)), (Some(1), Some(2)));
        assert_eq!(reader.next_ready(&more), None);
        assert!(reader.is_finished());
        assert_eq!(reader.ready(&more), 3..3);
    }

    #[test]
    fn an_empty_file_is_finished_at_once() {
        let mut reader = Reorder::new(0);
        assert!(reader.is_finished());
        assert_eq!(reader.next_ready(&held(&[1])), None);
    }

    #[test]
    fn seeking_stays_inside_the_file() {
        let mut reader = Reorder::new(9);
        reader.seek(4);
        assert_eq!(reader.next_ready(&held(&[4])), Some(4));
        reader.seek(0);
        assert_eq!(reader.next_needed(), Some(1));
        reader.seek(u64::MAX);
        assert!(reader.is_finished());
    }

    proptest! {
        #[test]
        fn any_order_of_arrival_is_read_in_file_order(
            order in Just((1..=40u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let (mut reader, mut held, mut read) = (Reorder::new(40), IndexSet::unbounded(), Vec::new());
            for index in order {
                held.insert(index).unwrap();
                let ready = reader.ready(&held);
                let now: Vec<u64> = std::iter::from_fn(|| reader.next_ready(&held)).collect();
                prop_assert_eq!(&now, &ready.collect::<Vec<_>>());
                read.extend(now);
            }
            prop_assert_eq!(read, (1..=40).collect::<Vec<_>>());
        }
    }
}
