//! Datagrams: what arrived, and what an endpoint wants sent.

use std::net::SocketAddr;
use std::ops::Range;

/// Datagrams that one [`TransmitBuf`] takes at most.
pub const MAX_BATCH: usize = 32;

/// A local socket of the endpoint, numbered by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface(pub u16);

impl Interface {
    /// Any socket that can reach the remote address.
    pub const ANY: Self = Self(u16::MAX);
}

/// Source or destination of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The local socket.
    pub interface: Interface,
    /// The far address.
    pub remote: SocketAddr,
}

impl Path {
    /// A path to `remote` through whichever socket reaches it.
    pub const fn to(remote: SocketAddr) -> Self {
        Self { interface: Interface::ANY, remote }
    }
}

/// The two bits for congestion marks in the IP header (RFC 3168).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ecn {
    /// The packet must not be marked.
    #[default]
    NotCapable,
    /// The packet may be marked; ECT(0) is sent, ECT(1) counts the same.
    Capable,
    /// The packet was marked: congestion was experienced.
    Congested,
}

/// Datagrams that arrived together, back to back.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// All of them.
    pub bytes: &'a mut [u8],
    /// The length of each but the last, which may be shorter; not 0.
    pub segment: usize,
    /// The congestion mark in their IP headers.
    pub ecn: Ecn,
}

impl<'a> Arrived<'a> {
    /// A single datagram without a mark.
    pub fn one(datagram: &'a mut [u8]) -> Self {
        Self { segment: datagram.len().max(1), bytes: datagram, ecn: Ecn::NotCapable }
    }

    /// Number of datagrams.
    pub fn len(&self) -> usize {
        self.bytes.len().div_ceil(self.segment.max(1))
    }

    /// True if there is nothing but perhaps an empty datagram.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Each datagram.
    pub fn each(self) -> impl Iterator<Item = &'a mut [u8]> {
        self.bytes.chunks_mut(self.segment.max(1))
    }
}

/// One batch that [`poll_transmit`](super::Machine::poll_transmit) has put into the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Destination of every datagram of the batch.
    pub path: Path,
    /// True if routers may mark it instead of dropping it.
    pub ecn: Ecn,
    /// Differentiated services code point, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// The batch is one datagram that may be too long for the path or even for the local network:
    /// it must not be joined with others.
    pub alone: bool,
    /// The session ID that is scrambled into every datagram of the batch (RFC 7016 §2.2.2).
    /// Datagrams that are joined with others of the same one can be distinguished in a capture.
    pub session: u32,
}

impl Transmit {
    /// A batch of startup packets to `path` without anything special.
    pub const fn to(path: Path) -> Self {
        Self { path, ecn: Ecn::NotCapable, dscp: 0, alone: false, session: 0 }
    }
}

/// Datagrams to one path, back to back.
///
/// Packets of one session are encrypted side by side, and runs of equal length can be handed to
/// the operating system in one call; therefore the unit is a batch and not a datagram.
#[derive(Debug, Default)]
pub struct TransmitBuf {
    pub(crate) bytes: Vec<u8>,
    pub(crate) datagrams: Vec<Range<usize>>,
}

impl TransmitBuf {
    /// An empty buffer. Keep it and use it again: it keeps its memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }

    /// The datagrams in order.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.datagrams.iter().map(|range| &self.bytes[range.clone()])
    }

    /// Runs of datagrams that lie back to back and have equal length, except that the last of a
    /// run may be shorter: each run as its bytes and the length of one segment.
    pub fn runs(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.datagrams.get(at)?.clone();
            let (segment, mut end) = (first.len(), first.end);
            at += 1;
            while let Some(next) = self.datagrams.get(at) {
                if next.start != end || next.len() > segment {
                    break;
                }
                end = next.end;
                at += 1;
                if next.len() < segment {
                    break;
                }
            }
            Some((&self.bytes[first.start..end], segment))
        })
    }

    /// Adds a finished datagram; for machines of one's own. At most [`MAX_BATCH`] of them, all to
    /// one path, belong in one batch.
    pub fn push(&mut self, datagram: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.datagrams.push(start..self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_length_with_a_shorter_tail() {
        let mut buf = TransmitBuf::new();
        for len in [4, 4, 2, 4, 5, 5] {
            buf.push(&vec![len as u8; len]);
        }
        let runs: Vec<_> = buf.runs().map(|(bytes, segment)| (bytes.len(), segment)).collect();
        assert_eq!(runs, [(10, 4), (4, 4), (10, 5)]);
        assert_eq!(buf.datagrams().len(), 6);
    }
}
