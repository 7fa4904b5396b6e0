//! Fragments of a receiving flow that wait for earlier ones, packed densely.
//!
//! A fragment of one byte arrives in five bytes of a packet, so that whatever is allocated for each
//! fragment by itself costs many times what was sent. Here fragments lie one after the other in
//! blocks of [`BLOCK`] bytes, ordered by sequence number: two or three bytes of header, then the
//! data. A block is split or begun only when its neighbors are full, so that at least half of the
//! memory is in use whatever the order of arrival, but for the last doubling of a block.

use crate::wire::chunk::FragmentControl;
use crate::wire::vlu;
use std::collections::BTreeMap;

/// Bytes of a block, unless a single fragment is longer. Within a block fragments are found one
/// after the other, so that this bounds the work for a fragment as well.
const BLOCK: usize = 4096;
/// Bytes that a block costs beside its capacity: its place in the map, whose nodes may be half
/// empty, and what an allocator adds.
const BLOCK_OVERHEAD: usize = 2 * (size_of::<u64>() + size_of::<Block>()) + 16;

/// A fragment that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldFragment<'a> {
    pub(super) sequence: u64,
    pub(super) control: FragmentControl,
    pub(super) data: &'a [u8],
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct HeldFragments {
    /// By the sequence number of the first fragment that the block had.
    blocks: BTreeMap<u64, Block>,
    memory: usize,
    used: usize,
}

/// Fragments in ascending order: how far the sequence number lies above the one before, control and
/// length, data.
#[derive(Debug)]
struct Block {
    records: Vec<u8>,
    /// Position of the first fragment that was not removed.
    start: usize,
    /// The sequence number above which the distance of that fragment counts.
    before: u64,
    /// The sequence number of the last fragment.
    last: u64,
}

/// One record and what follows it.
struct Record<'a> {
    distance: u64,
    control: FragmentControl,
    data: &'a [u8],
    rest: &'a [u8],
}

impl HeldFragments {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes of memory, with all that is needed to keep order.
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes of data and headers.
    pub(super) const fn used(&self) -> usize {
        self.used
    }

    /// Takes a fragment whose sequence number is above 0 and not held yet.
    pub(super) fn insert(&mut self, sequence: u64, control: FragmentControl, data: &[u8]) {
        let needed = 2 * vlu::MAX_LEN + data.len();
        let below = self.blocks.range(..sequence).next_back();
        if let Some((&key, block)) = below {
            if block.has_space(needed) {
                return self.change(key, key, |block| block.insert(sequence, control, data));
            }
            if sequence < block.last {
                self.split(key, sequence);
            }
        }
        let above = self.blocks.range(sequence..).next();
        if let Some((&key, block)) = above
            && block.has_space(needed)
        {
            return self.change(key, sequence, |block| block.insert(sequence, control, data));
        }
        let mut block = Block::new(sequence - 1);
        block.insert(sequence, control, data);
        self.add(sequence, block);
    }

    /// The fragment with the lowest sequence number.
    pub(super) fn first(&self) -> Option<HeldFragment<'_>> {
        let (_, block) = self.blocks.first_key_value()?;
        let Record { distance, control, data, .. } = Record::parse(block.rest())?;
        Some(HeldFragment { sequence: block.before + distance, control, data })
    }

    /// Lets the fragment with the lowest sequence number go.
    pub(super) fn drop_first(&mut self) {
        let Some(mut entry) = self.blocks.first_entry() else { return };
        let block = entry.get_mut();
        if let Some(record) = Record::parse(block.rest()) {
            let (distance, rest) = (record.distance, record.rest.len());
            block.before += distance;
            self.used -= block.rest().len() - rest;
            block.start = block.records.len() - rest;
        }
        if block.start == block.records.len() {
            self.memory -= entry.remove().memory();
        }
    }

    fn add(&mut self, key: u64, block: Block) {
        self.memory += block.memory();
        self.used += block.rest().len();
        self.blocks.insert(key, block);
    }

    /// Changes a block and maybe its place.
    fn change(&mut self, key: u64, new_key: u64, change: impl FnOnce(&mut Block)) {
        let Some(block) = self.blocks.get_mut(&key) else { return };
        (self.memory, self.used) = (self.memory - block.memory(), self.used - block.rest().len());
        change(block);
        (self.memory, self.used) = (self.memory + block.memory(), self.used + block.rest().len());
        if new_key != key
            && let Some(block) = self.blocks.remove(&key)
        {
            self.blocks.insert(new_key, block);
        }
    }

    /// Divides a block where `sequence` belongs.
    fn split(&mut self, key: u64, sequence: u64) {
        let Some(mut lower) = self.blocks.remove(&key) else { return };
        (self.memory, self.used) = (self.memory - lower.memory(), self.used - lower.rest().len());
        let (upper_key, upper) = lower.split_off(sequence);
        self.add(upper_key, upper);
        if !lower.rest().is_empty() {
            self.add(key, lower);
        }
    }
}

impl Block {
    const fn new(before: u64) -> Self {
        Self { records: Vec::new(), start: 0, before, last: before }
    }

    fn memory(&self) -> usize {
        BLOCK_OVERHEAD + self.records.capacity()
    }

    fn rest(&self) -> &[u8] {
        self.records.get(self.start..).unwrap_or_default()
    }

    fn has_space(&self, needed: usize) -> bool {
        self.records.len() + needed <= BLOCK
    }

    /// Position of the first fragment above `sequence`, and the sequence number before it.
    fn find(&self, sequence: u64) -> (usize, u64) {
        if self.last < sequence {
            return (self.records.len(), self.last);
        }
        let (mut before, mut rest) = (self.before, self.rest());
        while let Some(record) = Record::parse(rest)
            && before + record.distance < sequence
        {
            (before, rest) = (before + record.distance, record.rest);
        }
        (self.records.len() - rest.len(), before)
    }

    fn insert(&mut self, sequence: u64, control: FragmentControl, data: &[u8]) {
        let (at, found) = self.find(sequence);
        // In front of everything the fragment may lie below it.
        let before = found.min(sequence - 1);
        self.before = self.before.min(before);
        let distance = sequence - before;
        let Some(follower) = Record::parse(self.records.get(at..).unwrap_or_default()) else {
            self.grow(vlu::encoded_len(distance) + vlu::MAX_LEN + data.len());
            Record::encode(distance, control, data, &mut self.records);
            self.last = sequence;
            return;
        };
        let old_distance = vlu::encoded_len(follower.distance);
        let above = found + follower.distance - sequence;
        let mut new = Vec::with_capacity(3 * vlu::MAX_LEN + data.len());
        Record::encode(distance, control, data, &mut new);
        vlu::encode(above, &mut new);
        self.grow(new.len());
        self.records.splice(at..at + old_distance, new);
    }

    /// Reserves memory for `more` bytes, no more than twice what is in use or than a block.
    fn grow(&mut self, more: usize) {
        let needed = self.records.len() + more;
        if needed > self.records.capacity() {
            let wanted = needed.max(BLOCK.min(2 * self.records.capacity()));
            self.records.reserve_exact(wanted - self.records.len());
        }
    }

    /// Takes the fragments above `sequence`, of which there must be one, into a block of their own,
    /// with its key.
    fn split_off(&mut self, sequence: u64) -> (u64, Self) {
        let (at, before) = self.find(sequence);
        let upper = self.records.get(at..).unwrap_or_default();
        let first = before + Record::parse(upper).map_or(0, |record| record.distance);
        let upper = Self { records: upper.to_vec(), start: 0, before, last: self.last };
        let lower = self.records.get(self.start..at).unwrap_or_default().to_vec();
        *self = Self { records: lower, start: 0, before: self.before, last: before };
        (first, upper)
    }
}

impl<'a> Record<'a> {
    fn encode(distance: u64, control: FragmentControl, data: &[u8], out: &mut Vec<u8>) {
        vlu::encode(distance, out);
        vlu::encode((data.len() as u64) << 2 | control as u64, out);
        out.extend_from_slice(data);
    }

    /// `None` at the end.
    fn parse(records: &'a [u8]) -> Option<Self> {
        let (distance, rest) = vlu::parse("held.distance", records).ok()?;
        let (head, rest) = vlu::parse("held.head", rest).ok()?;
        let (data, rest) = rest.split_at_checked((head >> 2) as usize)?;
        let control = FragmentControl::from_bits((head & 3) as u8);
        Some(Self { distance, control, data, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drained(mut held: HeldFragments) -> Vec<(u64, usize)> {
        let mut all = Vec::new();
        while let Some(HeldFragment { sequence, data, .. }) = held.first() {
            all.push((sequence, data.len()));
            held.drop_first();
        }
        assert_eq!((held.memory(), held.used()), (0, 0));
        all
    }

    /// Bytes held for each fragment of one byte, in this order of arrival.
    fn cost(order: impl Iterator<Item = u64>) -> usize {
        let (mut held, mut count) = (HeldFragments::default(), 0);
        for sequence in order {
            held.insert(sequence, FragmentControl::Whole, &[7]);
            count += 1;
        }
        held.memory() / count
    }

    #[test]
    fn fragments_of_one_byte_are_cheap_in_every_order() {
        assert!(cost(2..50_002) <= 4);
        assert!(cost((2..50_002).rev()) <= 6);
        assert!(cost((1..50_001).map(|i| 2 * i)) <= 4);
        assert!(cost((1..50_001).rev().map(|i| 2 * i)) <= 6);
        assert!(cost((1..50_001).map(|i| 1 + i * 7919 % 50_021)) <= 9);
        assert!(cost((0..25_000).flat_map(|i| [2 + i, 100_000 - i])) <= 9);
    }

    #[test]
    fn few_and_long_fragments_cost_what_they_are() {
        let mut held = HeldFragments::default();
        for sequence in 2..200 {
            held.insert(sequence, FragmentControl::Middle, &[0; 1200]);
        }
        assert!(held.memory() < 198 * 1500, "{}", held.memory());
        let mut held = HeldFragments::default();
        held.insert(9, FragmentControl::End, &[0; 60_000]);
        held.insert(7, FragmentControl::Begin, &[0; 60_000]);
        assert!(held.memory() < 120_500, "{}", held.memory());
        let first = held.first().unwrap();
        assert_eq!((first.sequence, first.control), (7, FragmentControl::Begin));
        assert_eq!(drained(held), [(7, 60_000), (9, 60_000)]);
    }

    #[test]
    fn the_largest_sequence_numbers() {
        let mut held = HeldFragments::default();
        for sequence in [u64::MAX, 1, u64::MAX - 1, 1 << 40] {
            held.insert(sequence, FragmentControl::Whole, b"x");
        }
        assert_eq!(drained(held), [(1, 1), (1 << 40, 1), (u64::MAX - 1, 1), (u64::MAX, 1)]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(
            steps in proptest::collection::vec((1u64..3000, 0usize..40, any::<bool>()), 0..2000),
            factor in 1usize..60,
        ) {
            let mut held = HeldFragments::default();
            let mut plain = BTreeMap::new();
            let mut delivered = 0;
            for (sequence, len, drop) in steps {
                if drop && let Some(first) = held.first() {
                    prop_assert_eq!(plain.pop_first(), Some((first.sequence, first.data.to_vec())));
                    delivered = first.sequence;
                    held.drop_first();
                } else if sequence > delivered && !plain.contains_key(&sequence) {
                    let data = vec![sequence as u8; len * factor];
                    held.insert(sequence, FragmentControl::Whole, &data);
                    plain.insert(sequence, data);
                }
                let memory: usize = held.blocks.values().map(Block::memory).sum();
                let used: usize = held.blocks.values().map(|block| block.rest().len()).sum();
                prop_assert_eq!((held.memory(), held.used()), (memory, used));
                prop_assert_eq!(held.is_empty(), plain.is_empty());
            }
            let rest: Vec<_> = plain.into_iter().map(|(s, d)| (s, d.len())).collect();
            prop_assert_eq!(drained(held), rest);
        }
    }
}
