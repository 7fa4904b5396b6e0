//! The layers of a frame, and a cursor over its headers.

use super::unread::Unread;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// The most headers from the first to UDP.
const MAX_LAYERS: usize = 32;

/// The next header in a frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layer {
    /// The link layer with this number.
    Link(u32),
    Ethernet,
    /// The protocol of this EtherType.
    EtherType(u16),
    /// IEEE 802.2 LLC, perhaps with SNAP.
    Llc,
    Wireless {
        /// The header is filled up to a multiple of four bytes.
        is_padded: bool,
    },
    Pppoe,
    Ppp,
    Mpls,
    Gre,
    Ip,
    Transport(Transport),
}

/// The protocol after an IP header, or after an extension of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transport {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
}

/// The place of a piece in its packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    pub(super) id: u32,
    /// Bytes of the packet before the piece.
    pub(super) offset: usize,
    /// More pieces follow.
    pub(super) more: bool,
}

/// The result of reading a header.
#[derive(Debug)]
pub(super) enum Outcome {
    Next(Layer),
    /// A UDP datagram: the rest.
    Datagram {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// The rest is a piece of this.
    Piece(Transport, Fragment),
}

/// The rest of a frame.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    range: Range<usize>,
    /// Bytes that belong behind the range and were not captured.
    missing: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    /// All of `bytes`, behind which `missing` were not captured, and before which `depth` headers
    /// were read.
    pub(super) fn new(bytes: &'a [u8], missing: usize, depth: usize) -> Self {
        Self { bytes, range: 0..bytes.len(), missing, depth }
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.range.clone()]
    }

    /// The bytes at the front, which stay there.
    pub(super) fn head<const N: usize>(&self, protocol: &'static str) -> Result<[u8; N], Unread> {
        self.rest().first_chunk().copied().ok_or(self.short(protocol))
    }

    /// One byte further on.
    pub(super) fn peek(&self, at: usize, protocol: &'static str) -> Result<u8, Unread> {
        self.rest().get(at).copied().ok_or(self.short(protocol))
    }

    /// A number in network order at this place.
    pub(super) fn word(&self, at: usize, protocol: &'static str) -> Result<u16, Unread> {
        let bytes = self.rest().get(at..at + 2).and_then(|bytes| bytes.first_chunk().copied());
        bytes.map(u16::from_be_bytes).ok_or(self.short(protocol))
    }

    /// Skips `len` bytes.
    pub(super) fn skip(&mut self, len: usize, protocol: &'static str) -> Result<(), Unread> {
        if len > self.range.len() {
            return Err(self.short(protocol));
        }
        self.range.start += len;
        Ok(())
    }

    /// Cuts the rest to `len` bytes: padding of short frames and checksums follow. If there are fewer,
    /// some are missing.
    pub(super) fn limit(&mut self, len: usize) {
        let there = len.min(self.range.len());
        self.range.end = self.range.start + there;
        self.missing = len - there;
    }

    fn short(&self, protocol: &'static str) -> Unread {
        if self.missing > 0 { Unread::Cut } else { Unread::Malformed(protocol) }
    }

    /// Counts a header that is to be read.
    pub(super) fn enter(&mut self) -> Result<(), Unread> {
        if self.depth == MAX_LAYERS {
            return Err(Unread::TooDeep);
        }
        self.depth += 1;
        Ok(())
    }
}
