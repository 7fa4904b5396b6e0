//! [`Samples`]: what peers send, compared with the origin by samples.
//!
//! A descriptor without hashes cannot tell a right chunk from a wrong one, but whoever can read from the
//! file's origin can compare. Of each sender the first chunk is compared, and one of
//! [`ONE_OF`] on average: which one and which piece of it nobody else can know.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::senders::MAX_SENDERS;
use crate::range::IndexSet;

/// Of so many chunks one is compared.
pub const ONE_OF: u64 = 64;

/// Bytes of a chunk that are compared.
pub const PIECE: usize = 8 << 10;

/// Pieces that wait to be compared; further ones are not compared.
const MAX_WAITING: usize = 64;

/// A piece of a chunk to be compared with the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<P> {
    pub(super) from: P,
    /// The chunk.
    pub index: u64,
    /// Offset of the piece in the chunk, in bytes.
    pub offset: u64,
    /// The piece as the peer has sent it.
    pub piece: Bytes,
}

/// The samples that are due, and what came from whom.
#[derive(Debug)]
pub(super) struct Samples<P> {
    /// `None`: nothing is compared.
    secret: Option<u64>,
    from: BTreeMap<P, IndexSet>,
    waiting: VecDeque<Sample<P>>,
    /// Samples that were taken and have no result yet.
    taken: usize,
}

impl<P: Ord + Clone> Samples<P> {
    pub(super) fn new() -> Self {
        Self { secret: None, from: BTreeMap::new(), waiting: VecDeque::new(), taken: 0 }
    }

    /// Begins to compare; the secret decides what.
    pub(super) fn begin(&mut self, secret: u64) {
        self.secret.get_or_insert(secret);
    }

    /// Nothing can be compared any more.
    pub(super) fn end(&mut self) {
        self.secret = None;
        self.waiting.clear();
        self.taken = 0;
    }

    /// A chunk without a hash has come from a peer.
    pub(super) fn note(&mut self, index: u64, data: &Bytes, from: &P) {
        if self.from.len() >= MAX_SENDERS && !self.from.contains_key(from) {
            return;
        }
        let is_first = !self.from.contains_key(from);
        let chunks = self.from.entry(from.clone()).or_insert_with(IndexSet::unbounded);
        // The set is unbounded and the index is that of a chunk: this cannot fail.
        let _ = chunks.insert(index);
        let Some(secret) = self.secret else { return };
        let chance = mixed(secret, index);
        let is_due = is_first || chance.is_multiple_of(ONE_OF);
        if !is_due || data.is_empty() || self.waiting.len() >= MAX_WAITING {
            return;
        }
        let last = data.len().saturating_sub(PIECE) as u64;
        let offset = mixed(chance, secret) % (last + 1);
        let start = usize::try_from(offset).unwrap_or(0);
        let piece = data.slice(start..data.len().min(start + PIECE));
        self.waiting.push_back(Sample { from: from.clone(), index, offset, piece });
    }

    /// The next piece to compare; its result goes to [`compared`](Self::compared).
    pub(super) fn take(&mut self) -> Option<Sample<P>> {
        let sample = self.waiting.pop_front()?;
        self.taken += 1;
        Some(sample)
    }

    /// A sample has a result.
    pub(super) fn compared(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// True if results are awaited.
    pub(super) fn are_pending(&self) -> bool {
        self.taken > 0 || !self.waiting.is_empty()
    }

    /// Forgets a peer; returns the chunks that came from it.
    pub(super) fn forget(&mut self, from: &P) -> Vec<RangeInclusive<u64>> {
        self.waiting.retain(|sample| sample.from != *from);
        self.from.remove(from).map(|chunks| chunks.ranges().collect()).unwrap_or_default()
    }
}

/// A number that nobody can guess who does not know both.
fn mixed(secret: u64, number: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (secret, number).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Bytes {
        vec![7; 65_536].into()
    }

    #[test]
    fn the_first_of_each_sender_and_some_more_are_compared() {
        let mut samples = Samples::new();
        samples.begin(42);
        let mut taken = Vec::new();
        for index in 1..=6400 {
            samples.note(index, &chunk(), &(index % 2));
            taken.extend(std::iter::from_fn(|| samples.take()));
        }
        assert_eq!((taken[0].index, taken[1].index), (1, 2));
        assert!((70..140).contains(&taken.len()), "{}", taken.len());
        assert!(taken.iter().all(|it| it.piece.len() == PIECE && it.offset <= 65_536 - 8192));
        assert!(taken.iter().any(|it| it.offset != taken[0].offset));
        assert!(samples.are_pending());
        taken.iter().for_each(|_| samples.compared());
        assert!(!samples.are_pending());
    }

    #[test]
    fn what_waits_is_bounded_and_nothing_is_compared_without_an_origin() {
        let mut samples = Samples::new();
        (1..=1000).for_each(|index| samples.note(index, &chunk(), &index));
        assert!(!samples.are_pending());
        samples.begin(1);
        (1001..=2000).for_each(|index| samples.note(index, &chunk(), &index));
        assert_eq!(std::iter::from_fn(|| samples.take()).count(), MAX_WAITING);
        samples.end();
        assert!(!samples.are_pending());
    }

    #[test]
    fn a_forgotten_sender_leaves_its_chunks() {
        let mut samples = Samples::new();
        for index in [1, 2, 3, 9] {
            samples.note(index, &chunk(), &'a');
        }
        samples.note(4, &chunk(), &'b');
        assert_eq!(samples.forget(&'a'), [1..=3, 9..=9]);
        assert!(samples.forget(&'a').is_empty());
    }
}
