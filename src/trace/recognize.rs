//! What is RTMFP and what is not: by content, on any port.

use crate::wire::chunk;
use crate::wire::packet::{Mode, chunks};
use crate::wire::{PacketHeader, chunk::kind};
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;

/// Pairs of addresses that are remembered; of more the oldest are forgotten.
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

/// Whether decrypted bytes look like a packet of a session: the role of the sender, chunks that are
/// known one behind the other, and nothing but padding after them. One of several million random
/// packets does.
pub(super) fn is_packet(plain: &[u8], mode: Mode) -> bool {
    let Ok((header, body)) = PacketHeader::parse(plain) else { return false };
    header.mode == mode && header.reserved == 0 && is_chunks(body)
}

/// Whether decrypted bytes look like a packet of session startup. The checksum, which was right,
/// is right by chance once in 65,536 times.
pub(super) fn is_startup(plain: &[u8]) -> bool {
    let Ok((_, body)) = PacketHeader::parse(plain) else { return false };
    chunks(body).raw().is_some_and(|(code, _)| chunk::name(code) != "Unknown")
}

fn is_chunks(body: &[u8]) -> bool {
    let mut walk = chunks(body);
    while let Some((code, _)) = walk.raw() {
        if chunk::name(code) == "Unknown" {
            return false;
        }
        if matches!(code, kind::PADDING_00 | kind::PADDING_FF) {
            return true;
        }
    }
    walk.rest().len() <= MAX_REMAINDER || walk.rest().iter().all(|byte| *byte == 0xff)
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
        let ping = [0x01, 0x01, 0, 1, 7, 0xff, 0xff, 0xff, 0xff];
        assert!(is_packet(&ping, Mode::Initiator));
        assert!(!is_packet(&ping, Mode::Responder));
        assert!(!is_packet(&[0x31, 0x01, 0, 0], Mode::Initiator), "reserved bits");
        assert!(!is_packet(&[0x01, 0x02, 0, 0], Mode::Initiator), "no such chunk");
        assert!(!is_packet(&[0x01, 0x10, 0x40, 0, 0, 0], Mode::Initiator), "leaves the packet");
        assert!(!is_startup(&[0x03, 0x99, 0, 0]));
        assert!(is_startup(&[0x03, 0x30, 0, 0]));
    }
}
