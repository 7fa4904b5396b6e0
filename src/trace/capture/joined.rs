//! Datagrams that the capturing computer has joined.
//!
//! With segmentation offload (GSO, GRO) many datagrams of one length pass the place where captures
//! are taken as one, up to 64 KiB long: on loopback always, on a network card in the direction
//! that it splits or joins itself. The length of each is recorded nowhere. It shows in the
//! scrambled session IDs (RFC 7016 §2.2.2): only at multiples of it are they all the same. So only
//! datagrams of one session can be separated; this crate's own programs join no others.
//!
//! Datagrams of other protocols may look the same, those full of zeros for example. So what belongs to
//! no session that is known is taken apart only if it is longer than the link carries.

use crate::wire::multiplex::{SESSION_ID_LEN, session_id};
use std::net::IpAddr;

/// A session ID and one cipher block.
const SHORTEST: usize = SESSION_ID_LEN + 16;
/// The longest IP packet on a link, in bytes.
const LINK: usize = 1500;
/// Datagrams are an even number of bytes long, unless their HMACs are not, which is unheard of.
const STEP: usize = 2;

/// The length of each of the datagrams joined in `payload`, of which the last may be shorter; that
/// of the whole if it is a single one.
pub(super) fn segment(payload: &[u8]) -> usize {
    let Some(id) = session_id(payload) else { return payload.len() };
    let fits = |segment: usize| {
        let mut rest = payload.chunks(segment).skip(1);
        rest.all(|datagram| datagram.len() >= SHORTEST && session_id(datagram) == Some(id))
    };
    // The first place where another may begin decides, almost always: it is found quickly.
    let last = payload.len().saturating_sub(SHORTEST);
    let places = (SHORTEST..=last).step_by(STEP);
    let begins = |at: &usize| {
        payload[*at..].first_chunk::<12>().is_some_and(|head| {
            let word =
                |i: usize| u32::from_be_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
            word(0) ^ word(4) ^ word(8) == id
        })
    };
    places.filter(begins).find(|&at| fits(at)).unwrap_or(payload.len())
}

/// True if a payload of `len` bytes is longer than a link carries in one packet: Ethernet, as far as
/// the frame shows. Between the addresses of one host there is no such bound.
pub(super) fn is_longer_than_link(source: IpAddr, destination: IpAddr, len: usize) -> bool {
    let is_loopback = source == destination || (source.is_loopback() && destination.is_loopback());
    let overhead = if source.is_ipv6() { 48 } else { 28 };
    !is_loopback && len + overhead > LINK
}

/// True if the datagrams, each `segment` bytes long, can be packets of a session: it has an ID, and
/// what is encrypted does not repeat.
pub(super) fn are_packets(payload: &[u8], segment: usize) -> bool {
    let mut datagrams = payload.chunks(segment).map(|datagram| &datagram[..SHORTEST]);
    let first = datagrams.next();
    session_id(payload).is_some_and(|id| id != 0) && datagrams.all(|other| Some(other) != first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::multiplex::scramble;

    /// A datagram with contents that repeat nowhere.
    fn datagram(id: u32, len: usize, salt: u32) -> Vec<u8> {
        let word = |i: u32| (i ^ salt.rotate_left(16)).wrapping_mul(0x9e37_79b9).to_be_bytes();
        let mut datagram: Vec<u8> = (0..len as u32).flat_map(word).take(len).collect();
        scramble(id, &mut datagram);
        datagram
    }

    #[test]
    fn equal_lengths_with_a_shorter_last() {
        for (len, last) in [(1188, 1188), (1188, 36), (52, 36), (1444, 1428), (30, 30)] {
            let mut joined: Vec<u8> = (0..31).flat_map(|n| datagram(0x0200_0000, len, n)).collect();
            joined.extend(datagram(0x0200_0000, last, 99));
            assert_eq!(segment(&joined), len);
        }
    }

    #[test]
    fn a_long_datagram_is_one() {
        assert_eq!(segment(&datagram(7, 4996, 1)), 4996);
        assert_eq!(segment(&datagram(7, 1472, 1)), 1472);
        assert_eq!(segment(&datagram(7, 20, 1)), 20);
        assert_eq!(segment(&[]), 0);
    }
}
