//! Recognition of RTMFP by content, on any port.

use crate::wire::packet::{Mode, chunks};
use crate::wire::{PacketHeader, chunk};
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;

/// Pairs of addresses that are remembered; beyond this, the oldest is dropped.
const MAX_PAIRS: usize = 65_536;

/// A chunk's header is longer than this; what is left may be anything.
const MAX_REMAINDER: usize = 2;

/// Pairs of addresses between which RTMFP was seen.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    known: HashSet<(SocketAddr, SocketAddr)>,
    order: VecDeque<(SocketAddr, SocketAddr)>,
}

impl Pairs {
    pub(super) fn insert(&mut self, a: SocketAddr, b: SocketAddr) {
        let pair = ordered(a, b);
        if !self.known.insert(pair) {
            return;
        }
        self.order.push_back(pair);
        if self.order.len() > MAX_PAIRS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, a: SocketAddr, b: SocketAddr) -> bool {
        self.known.contains(&ordered(a, b))
    }
}

fn ordered(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    if a <= b { (a, b) } else { (b, a) }
}

/// How well decrypted bytes fit the form of a packet. A checksum of 16 bits is right by chance once in
/// 65,536 times; a [`sound`](Self::is_sound) packet behind it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    /// There is a header with the mode that is expected and without reserved bits.
    has_mode: bool,
    /// Chunks and padding fill the packet.
    is_filled: bool,
    /// All chunks are of known types, and there is one.
    is_known: bool,
}

impl Content {
    /// Examines the decrypted bytes of a sender with this mode.
    pub(super) fn of(plain: &[u8], mode: Mode) -> Self {
        let Ok((header, body)) = PacketHeader::parse(plain) else {
            return Self { has_mode: false, is_filled: false, is_known: false };
        };
        let mut walk = chunks(body);
        let (mut count, mut unknown) = (0, 0);
        while let Some((code, _)) = walk.raw() {
            count += 1;
            unknown += usize::from(!is_known(code));
        }
        Self {
            has_mode: header.mode == mode && header.reserved == 0,
            is_filled: is_padding(walk.rest()),
            is_known: count > 0 && unknown == 0,
        }
    }

    /// True if this looks like a packet in every respect. One of several million random packets
    /// does.
    pub(super) fn is_sound(self) -> bool {
        self.has_mode && self.is_filled && self.is_known
    }
}

fn is_known(code: u8) -> bool {
    chunk::name(code) != "Unknown"
}

/// True if decrypted bytes look like a packet of session startup. The checksum, which was right,
/// is right by chance once in 65,536 times.
pub(super) fn is_startup(plain: &[u8]) -> bool {
    let Ok((_, body)) = PacketHeader::parse(plain) else { return false };
    chunks(body).raw().is_some_and(|(code, _)| is_known(code))
}

/// Bytes behind the last chunk of a packet that are no padding as programs make it: up to two bytes
/// of any value, or bytes of 0xff. By RFC 7016 §2.2.4 any chunk that does not fit is padding, so a
/// receiver does not notice, but something is wrong with the sender, or with the key.
pub(super) fn trailing(plain: &[u8]) -> usize {
    let Ok((_, body)) = PacketHeader::parse(plain) else { return plain.len() };
    let mut walk = chunks(body);
    while walk.raw().is_some() {}
    if is_padding(walk.rest()) { 0 } else { walk.rest().len() }
}

fn is_padding(rest: &[u8]) -> bool {
    rest.len() <= MAX_REMAINDER || rest.iter().all(|byte| *byte == 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: u32) -> (SocketAddr, SocketAddr) {
        let ip = std::net::Ipv4Addr::from(n);
        ((ip, 1).into(), ([192, 0, 2, 1], 2).into())
    }

    #[test]
    fn pairs_are_bounded_and_have_no_direction() {
        let mut pairs = Pairs::default();
        for n in 0..=MAX_PAIRS as u32 {
            let (a, b) = pair(n);
            pairs.insert(a, b);
            pairs.insert(b, a);
        }
        assert_eq!((pairs.known.len(), pairs.order.len()), (MAX_PAIRS, MAX_PAIRS));
        let (a, b) = pair(MAX_PAIRS as u32);
        assert!(pairs.contains(a, b) && pairs.contains(b, a));
        assert!(!pairs.contains(pair(0).0, pair(0).1));
    }

    #[test]
    fn packets_and_noise() {
        let is_packet = |plain: &[u8], mode| Content::of(plain, mode).is_sound();
        let ping = [0x01, 0x01, 0, 1, 7, 0xff, 0xff, 0xff, 0xff];
        assert!(is_packet(&ping, Mode::Initiator));
        assert!(!is_packet(&ping, Mode::Responder));
        assert!(!is_packet(&[0x31, 0x01, 0, 0], Mode::Initiator), "reserved bits");
        assert!(!is_packet(&[0x01, 0x02, 0, 0], Mode::Initiator), "no such chunk");
        assert!(!is_packet(&[0x01, 0x10, 0x40, 0, 0, 0], Mode::Initiator), "leaves the packet");
        assert!(!is_packet(&[0x01], Mode::Initiator), "no chunk");
        assert!(!is_packet(&[], Mode::Initiator));
        assert!(!is_startup(&[0x03, 0x99, 0, 0]));
        assert!(is_startup(&[0x03, 0x30, 0, 0]));
    }

    #[test]
    fn padding_and_what_is_none() {
        assert_eq!(trailing(&[0x01, 0x01, 0, 0, 0xff, 0xff, 0xff, 0xff]), 0);
        assert_eq!(trailing(&[0x01, 0x01, 0, 0, 0, 0, 0, 0, 0]), 0, "empty chunks of type 0");
        assert_eq!(trailing(&[0x01, 0x01, 0, 0, 7, 8]), 0, "no space for a chunk");
        assert_eq!(trailing(&[0x01, 0x01, 0, 0, 0x10, 0xff, 0xff]), 3);
        assert_eq!(trailing(&[0x01, 0x01, 0, 0, 0xff, 0xff, 0xff, 0]), 4);
        assert_eq!(trailing(&[0x04, 0x01, 0, 0, 0]), 5, "no header");
    }
}
