//! Packets in pieces (RFC 7016 §3.4), for packets that are unavoidably larger than a datagram may
//! be, such as a startup packet with a large certificate.

use super::Time;
use crate::wire::chunk::CHUNK_HEADER_LEN;
use crate::wire::chunk::PacketFragment;
use crate::wire::{Mode, PacketHeader, vlu};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// A packet that has not grown for this long is dropped.
const STALLED: Duration = Duration::from_secs(1);
/// A packet that is not complete after this time is dropped.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Pieces of one packet; one with more is not taken.
const MAX_PIECES: u64 = 128;
/// Memory that a piece costs beside its data: its place in a map, and an allocation.
const PIECE_OVERHEAD: usize = 112;

/// Bounds of a [`Reassembly`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Packets at a time; a further one takes the place of the one that has waited longest.
    pub(crate) packets: usize,
    /// Bytes of all of them together; a piece beyond is dropped.
    pub(crate) bytes: usize,
}

/// A packet of which pieces are missing.
#[derive(Debug)]
struct Partial {
    mode: Mode,
    pieces: BTreeMap<u64, Vec<u8>>,
    last: Option<u64>,
    bytes: usize,
    /// Bytes of the datagrams that brought the pieces.
    received: usize,
    started: Time,
    progress: Time,
}

/// A packet that has become whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) plain: Vec<u8>,
    /// Bytes of the datagrams that brought it.
    pub(crate) received: usize,
}

/// Packets in reassembly, by a key that identifies each.
#[derive(Debug)]
pub(crate) struct Reassembly<K> {
    limits: Limits,
    waiting: HashMap<K, Partial>,
    bytes: usize,
}

impl<K: Eq + Hash + Copy> Reassembly<K> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, waiting: HashMap::new(), bytes: 0 }
    }

    /// Takes a piece that arrived in a packet of `mode`, in a datagram of `received` bytes.
    pub(crate) fn take(
        &mut self,
        now: Time,
        key: K,
        mode: Mode,
        piece: &PacketFragment<'_>,
        received: usize,
    ) -> Option<Whole> {
        self.expire(now);
        let cost = piece.data.len() + PIECE_OVERHEAD;
        if piece.number >= MAX_PIECES || self.bytes + cost > self.limits.bytes {
            return None;
        }
        if !self.waiting.contains_key(&key) {
            self.make_space();
        }
        let partial = self.waiting.entry(key).or_insert_with(|| Partial::new(now, mode));
        if !partial.add(now, mode, piece, received) {
            return None;
        }
        partial.bytes += cost;
        self.bytes += cost;
        if !partial.is_whole() {
            return None;
        }
        let partial = self.remove(key)?;
        let plain: Vec<u8> = partial.pieces.into_values().flatten().collect();
        let whole = Whole { plain, received: partial.received };
        // A packet of another mode than its pieces must be discarded.
        PacketHeader::parse(&whole.plain).ok().filter(|(header, _)| header.mode == mode)?;
        Some(whole)
    }

    /// Bytes of memory of all pieces.
    pub(crate) const fn memory(&self) -> usize {
        self.bytes
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        (self.waiting, self.bytes) = (HashMap::new(), 0);
    }

    /// Number of packets whose key satisfies `wanted`.
    pub(crate) fn count(&self, wanted: impl Fn(&K) -> bool) -> usize {
        self.waiting.keys().filter(|key| wanted(key)).count()
    }

    /// Drops packets that no longer grow.
    pub(crate) fn expire(&mut self, now: Time) {
        if self.waiting.is_empty() {
            return;
        }
        let over = |p: &Partial| now.since(p.progress) > STALLED || now.since(p.started) > MAX_AGE;
        let bytes = &mut self.bytes;
        self.waiting.retain(|_, partial| {
            let keep = !over(partial);
            *bytes -= if keep { 0 } else { partial.bytes };
            keep
        });
    }

    fn make_space(&mut self) {
        while self.waiting.len() >= self.limits.packets.max(1) {
            let oldest = self.waiting.iter().min_by_key(|(_, partial)| partial.progress);
            let Some(key) = oldest.map(|(key, _)| *key) else { return };
            self.remove(key);
        }
    }

    fn remove(&mut self, key: K) -> Option<Partial> {
        let partial = self.waiting.remove(&key)?;
        self.bytes -= partial.bytes;
        Some(partial)
    }
}

impl Partial {
    const fn new(now: Time, mode: Mode) -> Self {
        Self {
            mode,
            pieces: BTreeMap::new(),
            last: None,
            bytes: 0,
            received: 0,
            started: now,
            progress: now,
        }
    }

    /// False if the piece is of no use.
    fn add(&mut self, now: Time, mode: Mode, piece: &PacketFragment<'_>, received: usize) -> bool {
        let beyond = self.last.is_some_and(|last| piece.number > last || !piece.more);
        let highest = self.pieces.last_key_value().map(|(&number, _)| number);
        let contradicts = !piece.more && highest.is_some_and(|highest| highest > piece.number);
        if mode != self.mode || self.pieces.contains_key(&piece.number) || beyond || contradicts {
            return false;
        }
        if !piece.more {
            self.last = Some(piece.number);
        }
        self.pieces.insert(piece.number, piece.data.to_vec());
        self.received += received;
        self.progress = now;
        true
    }

    fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| self.pieces.len() as u64 == last + 1)
    }
}

/// Cuts a plain packet into chunks that fit into plain packets of `capacity` bytes whose header is
/// the mode alone.
pub(crate) fn cut(
    plain: &[u8],
    packet_id: u64,
    capacity: usize,
) -> impl Iterator<Item = PacketFragment<'_>> {
    let overhead = 1 + CHUNK_HEADER_LEN + 1 + vlu::encoded_len(packet_id) + 2;
    let size = capacity.saturating_sub(overhead).max(64);
    let count = plain.len().div_ceil(size);
    plain.chunks(size).enumerate().map(move |(number, data)| PacketFragment {
        more: number + 1 < count,
        reserved: 0,
        packet_id,
        number: number as u64,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { packets: 3, bytes: 10_000 };

    fn piece(number: u64, more: bool, data: &[u8]) -> PacketFragment<'_> {
        PacketFragment { more, reserved: 0, packet_id: 7, number, data }
    }

    fn plain(len: usize) -> Vec<u8> {
        // Flags of a startup packet, then anything.
        std::iter::once(3).chain((1..len).map(|i| i as u8)).collect()
    }

    fn take(
        reassembly: &mut Reassembly<u64>,
        now: Time,
        piece: &PacketFragment<'_>,
    ) -> Option<Whole> {
        reassembly.take(now, piece.packet_id, Mode::Startup, piece, 100)
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_make_the_packet(
            len in 2usize..4000,
            order: u64,
            capacity in 100usize..1200,
        ) {
            let plain = plain(len);
            let mut pieces: Vec<_> = cut(&plain, 7, capacity).collect();
            pieces.sort_by_key(|p| (p.number + 1).wrapping_mul(order | 1).rotate_left(31));
            let mut reassembly = Reassembly::new(LIMITS);
            for piece in &pieces[1..] {
                prop_assert!(take(&mut reassembly, Time::ZERO, piece).is_none());
                prop_assert!(take(&mut reassembly, Time::ZERO, piece).is_none(), "twice");
            }
            let whole = take(&mut reassembly, Time::ZERO, &pieces[0]).expect("the last one");
            prop_assert_eq!(&whole.plain, &plain);
            prop_assert_eq!(whole.received, 100 * pieces.len());
            prop_assert_eq!((reassembly.waiting.len(), reassembly.bytes), (0, 0));
        }
    }

    #[test]
    fn every_piece_fits() {
        let plain = plain(5000);
        for piece in cut(&plain, 300, 500) {
            assert!(1 + CHUNK_HEADER_LEN + piece.encoded_len() <= 500);
        }
    }

    #[test]
    fn a_packet_of_another_mode_than_its_pieces_is_discarded() {
        let mut reassembly = Reassembly::new(LIMITS);
        let wrong = piece(0, false, &[1, 2, 3]);
        assert!(take(&mut reassembly, Time::ZERO, &wrong).is_none());
        assert!(take(&mut reassembly, Time::ZERO, &piece(0, true, &[3])).is_none());
        let other = piece(1, false, &[9]);
        assert!(reassembly.take(Time::ZERO, 7, Mode::Initiator, &other, 1).is_none());
        assert_eq!(take(&mut reassembly, Time::ZERO, &other).unwrap().plain, [3, 9]);
    }

    #[test]
    fn what_does_not_grow_for_a_second_or_is_not_whole_after_a_minute_is_given_up() {
        let mut reassembly = Reassembly::new(LIMITS);
        take(&mut reassembly, Time::ZERO, &piece(0, true, &[3]));
        assert!(take(&mut reassembly, Time::from_millis(1001), &piece(1, false, &[4])).is_none());
        reassembly.expire(Time::from_millis(3000));
        assert_eq!((reassembly.waiting.len(), reassembly.bytes), (0, 0));
        for i in 0..=60 {
            take(&mut reassembly, Time::from_millis(10_000 + 1000 * i), &piece(i, true, &[3]));
        }
        assert_eq!(reassembly.waiting.len(), 1);
        assert!(
            take(&mut reassembly, Time::from_millis(70_500), &piece(61, false, &[3])).is_none()
        );
    }

    #[test]
    fn hostile_pieces_are_bounded() {
        let mut reassembly = Reassembly::new(LIMITS);
        for id in 0..100 {
            let piece = PacketFragment { packet_id: id, ..piece(0, true, &[3; 100]) };
            take(&mut reassembly, Time::from_millis(id), &piece);
        }
        assert_eq!(reassembly.waiting.len(), LIMITS.packets);
        for number in 0..1000 {
            take(&mut reassembly, Time::from_millis(100), &piece(number, true, &[3; 500]));
        }
        assert!(reassembly.bytes <= LIMITS.bytes);
        assert!(
            take(&mut reassembly, Time::from_millis(100), &piece(u64::MAX, false, &[3])).is_none()
        );
        // Two ends, and a piece behind the end.
        let mut reassembly = Reassembly::new(LIMITS);
        take(&mut reassembly, Time::ZERO, &piece(2, true, &[3]));
        assert!(take(&mut reassembly, Time::ZERO, &piece(1, false, &[3])).is_none());
        take(&mut reassembly, Time::ZERO, &piece(3, false, &[3]));
        assert!(take(&mut reassembly, Time::ZERO, &piece(4, true, &[3])).is_none());
        assert!(take(&mut reassembly, Time::ZERO, &piece(0, false, &[3])).is_none());
    }
}
