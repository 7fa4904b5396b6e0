//! Acknowledgements: the sequence numbers of a flow that were received, and the receive window.

use crate::wire::{WireError, vlu};
use std::ops::RangeInclusive;

/// Sequence numbers from the first to the last, both included.
pub type AckRange = RangeInclusive<u64>;

/// Data Acknowledgement Bitmap (§2.3.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitmapAck<'a> {
    /// The sender's flow ID.
    pub flow: u64,
    /// Free space in the receiver's buffer, in blocks of 1,024 bytes.
    pub buffer_blocks: u64,
    /// Every sequence number up to this one was received or given up.
    pub cumulative: u64,
    /// Bits for the sequence numbers from `cumulative + 2`, least significant bit first.
    pub bits: &'a [u8],
}

impl<'a> BitmapAck<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (flow, buffer_blocks, cumulative, bits) = parse_head(input)?;
        Ok(Self { flow, buffer_blocks, cumulative, bits })
    }

    /// The received runs above `cumulative`, ascending. Ends at a run that leaves the range of
    /// `u64`.
    pub fn ranges(&self) -> impl Iterator<Item = AckRange> + 'a {
        let bits = self.bits;
        let base = self.cumulative.checked_add(2);
        let is_set = move |i: usize| bits.get(i / 8).is_some_and(|b| b >> (i % 8) & 1 == 1);
        let mut at = 0;
        std::iter::from_fn(move || {
            let end = bits.len() * 8;
            let from = (at..end).find(|&i| is_set(i))?;
            let to = (from..end).take_while(|&i| is_set(i)).last()?;
            at = to + 1;
            let number = |bit: usize| base?.checked_add(bit as u64);
            Some(number(from)?..=number(to)?)
        })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        head_len(self.flow, self.buffer_blocks, self.cumulative) + self.bits.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_head(self.flow, self.buffer_blocks, self.cumulative, out);
        out.extend_from_slice(self.bits);
    }
}

/// Data Acknowledgement Ranges (§2.3.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeAck<'a> {
    /// The sender's flow ID.
    pub flow: u64,
    /// Free space in the receiver's buffer, in blocks of 1,024 bytes.
    pub buffer_blocks: u64,
    /// Every sequence number up to this one was received or given up.
    pub cumulative: u64,
    /// The encoded runs; a run cut off at the end is ignored.
    pub runs: &'a [u8],
}

impl<'a> RangeAck<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (flow, buffer_blocks, cumulative, runs) = parse_head(input)?;
        Ok(Self { flow, buffer_blocks, cumulative, runs })
    }

    /// The received runs above `cumulative`, ascending. Ends at a run that is cut off or that
    /// leaves the range of `u64`.
    pub fn ranges(&self) -> impl Iterator<Item = AckRange> + 'a {
        let mut rest = self.runs;
        let mut cursor = self.cumulative;
        std::iter::from_fn(move || {
            let (holes, after) = vlu::parse("rangeAck.holes", rest).ok()?;
            let (received, after) = vlu::parse("rangeAck.received", after).ok()?;
            let from = cursor.checked_add(2)?.checked_add(holes)?;
            let to = from.checked_add(received)?;
            rest = after;
            cursor = to;
            Some(from..=to)
        })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        head_len(self.flow, self.buffer_blocks, self.cumulative) + self.runs.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_head(self.flow, self.buffer_blocks, self.cumulative, out);
        out.extend_from_slice(self.runs);
    }
}

/// Appends a whole Data Acknowledgement Ranges chunk, header included, and returns whether it
/// stayed within `limit` bytes with all ranges; otherwise as [`encode_ack`].
pub fn encode_range_ack(
    flow: u64,
    buffer_blocks: u64,
    cumulative: u64,
    ranges: impl Iterator<Item = AckRange> + Clone,
    limit: usize,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let fixed = 3 + head_len(flow, buffer_blocks, cumulative);
    let space = limit.min(usize::from(u16::MAX)).checked_sub(fixed)?;
    let (run_bytes, all_runs) = runs_len(cumulative, ranges.clone(), space);
    let start = out.len();
    out.extend_from_slice(&[super::kind::RANGE_ACK, 0, 0]);
    encode_head(flow, buffer_blocks, cumulative, out);
    encode_runs(cumulative, ranges, start + fixed + run_bytes, out);
    fill_in_length(start, out);
    Some(all_runs)
}

/// Appends a whole acknowledgement chunk, header included, in the more compact of the two forms
/// (§3.6.3.4.3), and returns whether it stayed within `limit` bytes with all ranges.
///
/// `ranges` are ascending, disjoint, not touching, and above `cumulative`. Ranges that do not fit
/// are left out from the end. Nothing is appended, and `None` returned, if not even the cumulative
/// part fits.
pub fn encode_ack(
    flow: u64,
    buffer_blocks: u64,
    cumulative: u64,
    ranges: impl Iterator<Item = AckRange> + Clone,
    limit: usize,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let fixed = 3 + head_len(flow, buffer_blocks, cumulative);
    let space = limit.min(usize::from(u16::MAX)).checked_sub(fixed)?;
    let (run_bytes, all_runs) = runs_len(cumulative, ranges.clone(), space);
    let bit_bytes = bitmap_len(cumulative, ranges.clone());
    let bitmap = bit_bytes.filter(|&len| len <= space && (len < run_bytes || !all_runs));
    let Some(bit_bytes) = bitmap else {
        return encode_range_ack(flow, buffer_blocks, cumulative, ranges, limit, out);
    };
    let start = out.len();
    out.extend_from_slice(&[super::kind::BITMAP_ACK, 0, 0]);
    encode_head(flow, buffer_blocks, cumulative, out);
    encode_bitmap(cumulative, ranges, bit_bytes, out);
    fill_in_length(start, out);
    Some(true)
}

/// Writes the length of the chunk that began at `start` into its header.
fn fill_in_length(start: usize, out: &mut [u8]) {
    let len = (out.len() - start - 3) as u16;
    out[start + 1..start + 3].copy_from_slice(&len.to_be_bytes());
}

/// Gap and run as on the wire, given the end of the run before.
fn run(cursor: u64, range: &AckRange) -> (u64, u64) {
    let holes = range.start().saturating_sub(cursor).saturating_sub(2);
    (holes, range.end().saturating_sub(*range.start()))
}

fn runs_len(
    cumulative: u64,
    ranges: impl Iterator<Item = AckRange>,
    space: usize,
) -> (usize, bool) {
    let (mut cursor, mut len) = (cumulative, 0);
    for range in ranges {
        let (holes, received) = run(cursor, &range);
        let next = len + vlu::encoded_len(holes) + vlu::encoded_len(received);
        if next > space {
            return (len, false);
        }
        (cursor, len) = (*range.end(), next);
    }
    (len, true)
}

fn encode_runs(
    cumulative: u64,
    ranges: impl Iterator<Item = AckRange>,
    end: usize,
    out: &mut Vec<u8>,
) {
    let mut cursor = cumulative;
    for range in ranges {
        if out.len() >= end {
            return;
        }
        let (holes, received) = run(cursor, &range);
        vlu::encode(holes, out);
        vlu::encode(received, out);
        cursor = *range.end();
    }
}

/// Bytes of the bit field, or `None` if the numbers lie too far apart to consider it.
fn bitmap_len(cumulative: u64, ranges: impl Iterator<Item = AckRange>) -> Option<usize> {
    let Some(last) = ranges.last() else { return Some(0) };
    let bits = last.end().checked_sub(cumulative.checked_add(1)?)?;
    (bits <= 8 * u64::from(u16::MAX)).then(|| (bits as usize).div_ceil(8))
}

fn encode_bitmap(
    cumulative: u64,
    ranges: impl Iterator<Item = AckRange>,
    len: usize,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.resize(start + len, 0);
    let base = cumulative.saturating_add(2);
    for number in ranges.flatten() {
        let bit = number.saturating_sub(base) as usize;
        if let Some(byte) = out.get_mut(start + bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
}

type Head<'a> = (u64, u64, u64, &'a [u8]);

fn parse_head(input: &[u8]) -> Result<Head<'_>, WireError> {
    let offset = |rest: &[u8]| input.len() - rest.len();
    let (flow, rest) = vlu::parse("ack.flowID", input)?;
    let (blocks, rest) =
        vlu::parse("ack.bufferBlocksAvailable", rest).map_err(|e| e.within(offset(rest)))?;
    let (cumulative, rest) =
        vlu::parse("ack.cumulativeAck", rest).map_err(|e| e.within(offset(rest)))?;
    Ok((flow, blocks, cumulative, rest))
}

const fn head_len(flow: u64, blocks: u64, cumulative: u64) -> usize {
    vlu::encoded_len(flow) + vlu::encoded_len(blocks) + vlu::encoded_len(cumulative)
}

fn encode_head(flow: u64, blocks: u64, cumulative: u64, out: &mut Vec<u8>) {
    vlu::encode(flow, out);
    vlu::encode(blocks, out);
    vlu::encode(cumulative, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Chunk;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn figure_4_of_the_rfc() {
        let ack = BitmapAck::parse(&[0x05, 0x7f, 0x10, 0x79, 0x06]).unwrap();
        assert_eq!((ack.flow, ack.buffer_blocks, ack.cumulative), (5, 127, 16));
        let ranges: Vec<_> = ack.ranges().collect();
        assert_eq!(ranges, [18..=18, 21..=24, 27..=28]);
    }

    #[test]
    fn figures_5_and_6_of_the_rfc() {
        let ack = RangeAck::parse(&[0x05, 0x7f, 0x10, 0, 0, 1, 3]).unwrap();
        assert_eq!(ack.ranges().collect::<Vec<_>>(), [18..=18, 21..=24]);
        let cut = RangeAck::parse(&[0x05, 0x7f, 0x10, 0, 0, 1, 0x83]).unwrap();
        assert_eq!(cut.ranges().collect::<Vec<_>>(), [18..=18]);
    }

    #[test]
    fn hostile_ranges_end_instead_of_overflowing() {
        let mut bytes = vec![5, 0];
        vlu::encode(u64::MAX - 1, &mut bytes);
        bytes.extend_from_slice(&[9, 9]);
        assert_eq!(RangeAck::parse(&bytes).unwrap().ranges().count(), 0);
        bytes.truncate(bytes.len() - 2);
        bytes.push(0xff);
        assert_eq!(BitmapAck::parse(&bytes).unwrap().ranges().count(), 0);
    }

    #[test]
    fn hostile_bits_beyond_the_last_number_are_not_ranges() {
        let ranges = |cumulative, bits| {
            let ack = BitmapAck { flow: 2, buffer_blocks: 1, cumulative, bits };
            ack.ranges().collect::<Vec<_>>()
        };
        let last = u64::MAX;
        assert_eq!(ranges(last - 4, &[0b0001_0101]), [last - 2..=last - 2, last..=last]);
        assert_eq!(ranges(last - 4, &[0x55, 0x55]), [last - 2..=last - 2, last..=last]);
        assert_eq!(ranges(last - 2, &[0b0101]), [last..=last]);
        assert_eq!(ranges(last, &[0b0101]), []);
    }

    #[test]
    fn truncated_to_the_limit() {
        let ranges = (0..100u64).map(|i| 300 * i + 200..=300 * i + 201);
        let mut out = Vec::new();
        assert_eq!(encode_ack(2, 10, 20, ranges.clone(), 40, &mut out), Some(false));
        assert!(out.len() <= 40);
        let Ok(Chunk::RangeAck(ack)) = Chunk::parse(out[0], &out[3..]) else { panic!("{out:?}") };
        assert_eq!(ack.ranges().collect::<Vec<_>>(), ranges.take(11).collect::<Vec<_>>());
        assert_eq!(encode_ack(2, 10, 20, std::iter::empty(), 5, &mut Vec::new()), None);
    }

    fn runs_of(numbers: &BTreeSet<u64>) -> Vec<AckRange> {
        let mut runs: Vec<AckRange> = Vec::new();
        for &n in numbers {
            match runs.last_mut() {
                Some(last) if last.end() + 1 == n => *last = *last.start()..=n,
                _ => runs.push(n..=n),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn both_forms_say_what_was_received(
            cumulative in 0u64..1000,
            numbers in proptest::collection::btree_set(2u64..400, 0..120),
        ) {
            let numbers: BTreeSet<u64> = numbers.into_iter().map(|n| n + cumulative).collect();
            let runs = runs_of(&numbers);
            let mut out = Vec::new();
            let complete = encode_ack(3, 7, cumulative, runs.iter().cloned(), 65_000, &mut out);
            prop_assert_eq!(complete, Some(true));
            prop_assert_eq!(usize::from(u16::from_be_bytes([out[1], out[2]])), out.len() - 3);
            let decoded: Vec<AckRange> = match Chunk::parse(out[0], &out[3..]).unwrap() {
                Chunk::BitmapAck(ack) => ack.ranges().collect(),
                Chunk::RangeAck(ack) => ack.ranges().collect(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(&decoded, &runs);
            let mut out = Vec::new();
            let complete = encode_range_ack(3, 7, cumulative, runs.iter().cloned(), 65_000, &mut out);
            prop_assert_eq!(complete, Some(true));
            let Ok(Chunk::RangeAck(ack)) = Chunk::parse(out[0], &out[3..]) else { panic!() };
            prop_assert_eq!(ack.ranges().collect::<Vec<_>>(), runs);
        }
    }
}
