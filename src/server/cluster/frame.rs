//! What servers send each other, as bytes: a version, the sender's number, a kind and what belongs to
//! it. What a server does not know it ignores, so that those of two versions work side by side.

use crate::transport::MAX_WORKERS;
use crate::wire::{Address, Origin, vlu};
use std::net::SocketAddr;

const VERSION: u8 = 1;
const BEAT: u8 = 1;
const LEAVING: u8 = 2;
const COMMAND: u8 = 3;
/// Addresses of a server; further ones are left out.
pub(super) const MAX_ADDRESSES: usize = 8;

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    /// Its workers.
    pub(super) workers: u16,
    /// Clients now.
    pub(super) clients: u32,
    /// Sessions that it may have.
    pub(super) limit: u32,
    /// Where clients may be sent.
    pub(super) addresses: Vec<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Beat(Beat),
    /// The server stops.
    Leaving,
    /// What one of its workers asks.
    Command {
        worker: u16,
        /// The receiver's worker, or all of them.
        to: Option<u16>,
        /// The encoded command.
        command: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// A frame of this server.
    pub(super) fn encode(&self, server: u32) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&server.to_be_bytes());
        match self {
            Self::Beat(beat) => {
                out.push(BEAT);
                let numbers = [u32::from(beat.workers), beat.clients, beat.limit];
                numbers.into_iter().for_each(|number| vlu::encode(number.into(), &mut out));
                for &address in beat.addresses.iter().take(MAX_ADDRESSES) {
                    Address::new(address, Origin::Unknown).encode(&mut out);
                }
            }
            Self::Leaving => out.push(LEAVING),
            Self::Command { worker, to, command } => {
                out.push(COMMAND);
                vlu::encode(u64::from(*worker), &mut out);
                vlu::encode(to.map_or(0, |to| u64::from(to) + 1), &mut out);
                out.extend_from_slice(command);
            }
        }
        out
    }

    /// The sender and the frame. `None` for what is no frame, or one of another version.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(u32, Self)> {
        let (&[version, a, b, c, d, kind], rest) = bytes.split_first_chunk::<6>()?;
        let server = u32::from_be_bytes([a, b, c, d]);
        if version != VERSION {
            return None;
        }
        let frame = match kind {
            BEAT => Self::Beat(Beat::parse(rest)?),
            LEAVING => Self::Leaving,
            COMMAND => {
                let (worker, rest) = number(rest)?;
                let (to, command) = vlu::parse("receiver", rest).ok()?;
                let to = to.checked_sub(1).map(u16::try_from).transpose().ok()?;
                Self::Command { worker: u16::try_from(worker).ok()?, to, command }
            }
            _ => return None,
        };
        Some((server, frame))
    }
}

impl Beat {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (workers, rest) = number(bytes)?;
        let (clients, rest) = number(rest)?;
        let (limit, mut rest) = number(rest)?;
        let workers = u16::try_from(workers).ok()?;
        if !(1..=MAX_WORKERS).contains(&usize::from(workers)) {
            return None;
        }
        let mut addresses = Vec::new();
        while addresses.len() < MAX_ADDRESSES && !rest.is_empty() {
            let (address, after) = Address::parse(rest).ok()?;
            addresses.push(address.socket);
            rest = after;
        }
        Some(Self { workers, clients, limit, addresses })
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = vlu::parse("number", bytes).ok()?;
    Some((u32::try_from(number).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn beat(addresses: usize) -> Beat {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let addresses = (0..addresses as u16).map(address).collect();
        Beat { workers: 4, clients: 300, limit: 1 << 20, addresses }
    }

    #[test]
    fn literal_bytes() {
        let command = Frame::Command { worker: 2, to: Some(0), command: b"xyz" };
        let bytes = [1, 0xde, 0xad, 0xbe, 0xef, 3, 2, 1, b'x', b'y', b'z'];
        assert_eq!(command.encode(0xdead_beef), bytes);
        assert_eq!(Frame::parse(&bytes), Some((0xdead_beef, command)));
    }

    #[test]
    fn every_frame_comes_back() {
        let to_all = Frame::Command { worker: 255, to: None, command: &[] };
        for frame in [Frame::Beat(beat(0)), Frame::Beat(beat(8)), Frame::Leaving, to_all] {
            assert_eq!(Frame::parse(&frame.encode(7)), Some((7, frame)));
        }
        let nine = Frame::Beat(beat(9)).encode(7);
        assert_eq!(Frame::parse(&nine), Some((7, Frame::Beat(beat(8)))));
    }

    #[test]
    fn hostile_frames_are_refused() {
        let mut bytes = Frame::Beat(beat(1)).encode(7);
        bytes[0] = 2;
        assert_eq!(Frame::parse(&bytes), None, "another version");
        for workers in [0, 257] {
            let beat = Beat { workers, ..beat(0) };
            assert_eq!(Frame::parse(&Frame::Beat(beat).encode(7)), None, "{workers}");
        }
        assert_eq!(Frame::parse(&[1, 0, 0, 0, 7, 9]), None, "another kind");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(kind in 0u8..5, rest: Vec<u8>) {
            let _ = Frame::parse(&rest);
            let _ = Frame::parse(&[&[VERSION, 0, 0, 0, 1, kind], &rest[..]].concat());
        }
    }
}
