//! The plain packet (RFC 7016 §2.2.4): a header of flags and timestamps, chunks, padding.

use super::chunk::{CHUNK_HEADER_LEN, Chunk};
use super::{Reason, WireError};

const TIME_CRITICAL: u8 = 0x80;
const TIME_CRITICAL_REVERSE: u8 = 0x40;
const RESERVED: u8 = 0x30;
const TIMESTAMP: u8 = 0x08;
const TIMESTAMP_ECHO: u8 = 0x04;
const MODE: u8 = 0x03;

/// Bytes of the longest header: flags, timestamp, timestamp echo.
pub const MAX_HEADER_LEN: usize = 5;

/// Milliseconds of one tick of the timestamp clock (250 Hz).
pub const TICK_MILLIS: u64 = 4;

/// Mode of a packet: the sender's role in the session. Mode 0 is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Sent by the session's initiator (1).
    Initiator,
    /// Sent by the session's responder (2).
    Responder,
    /// A packet of session startup (3).
    Startup,
}

impl Mode {
    /// The two bits on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Initiator => 1,
            Self::Responder => 2,
            Self::Startup => 3,
        }
    }
}

/// The header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketHeader {
    /// This packet contains real-time user data (TC).
    pub time_critical: bool,
    /// The sender is receiving real-time data on other sessions (TCR).
    pub time_critical_reverse: bool,
    /// The two reserved bits as received; send zero.
    pub reserved: u8,
    /// Low 16 bits of the sender's 250 Hz clock.
    pub timestamp: Option<u16>,
    /// The receiver's clock as the sender estimates it, in the same ticks.
    pub timestamp_echo: Option<u16>,
    /// Role of the sender.
    pub mode: Mode,
}

impl PacketHeader {
    /// A header with nothing but the mode.
    pub const fn new(mode: Mode) -> Self {
        Self {
            time_critical: false,
            time_critical_reverse: false,
            reserved: 0,
            timestamp: None,
            timestamp_echo: None,
            mode,
        }
    }

    /// Reads the header and returns it with the rest of the packet. Mode 0 is refused.
    pub fn parse(input: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let truncated = |offset| WireError::new("packet.header", offset, Reason::Truncated);
        let (&flags, mut rest) = input.split_first().ok_or(truncated(0))?;
        let mode = match flags & MODE {
            1 => Mode::Initiator,
            2 => Mode::Responder,
            3 => Mode::Startup,
            _ => return Err(WireError::new("packet.mode", 0, Reason::Invalid)),
        };
        let mut tick = |present: bool| {
            if !present {
                return Ok(None);
            }
            let (value, after) = rest.split_first_chunk::<2>().ok_or(truncated(1))?;
            rest = after;
            Ok(Some(u16::from_be_bytes(*value)))
        };
        let timestamp = tick(flags & TIMESTAMP != 0)?;
        let timestamp_echo = tick(flags & TIMESTAMP_ECHO != 0)?;
        let header = Self {
            time_critical: flags & TIME_CRITICAL != 0,
            time_critical_reverse: flags & TIME_CRITICAL_REVERSE != 0,
            reserved: (flags & RESERVED) >> 4,
            timestamp,
            timestamp_echo,
            mode,
        };
        Ok((header, rest))
    }

    /// Number of bytes that [`encode`](Self::encode) appends: 1, 3 or 5.
    pub const fn encoded_len(&self) -> usize {
        1 + 2 * self.timestamp.is_some() as usize + 2 * self.timestamp_echo.is_some() as usize
    }

    /// The flags byte.
    pub const fn flags(&self) -> u8 {
        let mut flags = self.mode.bits() | (self.reserved << 4) & RESERVED;
        if self.time_critical {
            flags |= TIME_CRITICAL;
        }
        if self.time_critical_reverse {
            flags |= TIME_CRITICAL_REVERSE;
        }
        if self.timestamp.is_some() {
            flags |= TIMESTAMP;
        }
        if self.timestamp_echo.is_some() {
            flags |= TIMESTAMP_ECHO;
        }
        flags
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.flags());
        for ticks in [self.timestamp, self.timestamp_echo].into_iter().flatten() {
            out.extend_from_slice(&ticks.to_be_bytes());
        }
    }
}

/// The chunks behind a header, up to the padding.
///
/// A chunk with a payload that can't be parsed is skipped as if it were not there (§2.3); use
/// [`Chunks::raw`] to see it.
pub fn chunks(after_header: &[u8]) -> Chunks<'_> {
    Chunks { rest: after_header }
}

/// Iterator of [`chunks`].
#[derive(Debug, Clone)]
pub struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// The next chunk as type code and payload, or `None` at the padding.
    pub fn raw(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[kind, high, low], behind) = self.rest.split_first_chunk::<CHUNK_HEADER_LEN>()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (payload, rest) = behind.split_at_checked(len)?;
        self.rest = rest;
        Some((kind, payload))
    }

    /// Bytes after the last chunk that was returned: padding at the end of the iteration.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (kind, payload) = self.raw()?;
            if let Ok(chunk) = Chunk::parse(kind, payload) {
                return Some(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_of_the_player() {
        // Flags 8d: TC, TS, TSE, initiator; taken from a session of Flash Player 10.3.
        let bytes = [0x8d, 0xe7, 0xd5, 0x36, 0x07, 0x51, 0, 0];
        let (header, rest) = PacketHeader::parse(&bytes).unwrap();
        assert!(header.time_critical && !header.time_critical_reverse);
        assert_eq!((header.timestamp, header.timestamp_echo), (Some(59349), Some(13831)));
        assert_eq!(header.mode, Mode::Initiator);
        assert_eq!(rest, &bytes[5..]);
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, bytes[..5]);
        assert_eq!(out.len(), header.encoded_len());
    }

    #[test]
    fn mode_zero_is_refused() {
        assert_eq!(PacketHeader::parse(&[0x08, 0, 0]).unwrap_err().reason, Reason::Invalid);
        assert_eq!(PacketHeader::parse(&[]).unwrap_err().reason, Reason::Truncated);
        assert_eq!(PacketHeader::parse(&[0x0d, 1, 2, 3]).unwrap_err().reason, Reason::Truncated);
    }

    #[test]
    fn padding_ends_the_chunks() {
        // A ping, then bytes that would be a chunk longer than the packet, then short padding.
        let mut ping = chunks(&[0x01, 0, 1, 7, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(ping.next(), Some(Chunk::Ping(&[7])));
        assert_eq!(ping.next(), None);
        assert_eq!(ping.rest(), [0xff; 4]);
        assert_eq!(chunks(&[0xff, 0xff]).next(), None);
    }

    #[test]
    fn a_broken_chunk_is_skipped() {
        let bytes = [0x18, 0, 0, 0x0c, 0, 0];
        assert_eq!(chunks(&bytes).next(), Some(Chunk::CloseRequest));
    }

    proptest! {
        #[test]
        fn header_round_trip(flags: u8, ts: u16, echo: u16) {
            let mut bytes = vec![flags];
            if flags & TIMESTAMP != 0 { bytes.extend(ts.to_be_bytes()); }
            if flags & TIMESTAMP_ECHO != 0 { bytes.extend(echo.to_be_bytes()); }
            match PacketHeader::parse(&bytes) {
                Ok((header, rest)) => {
                    prop_assert!(rest.is_empty());
                    let mut out = Vec::new();
                    header.encode(&mut out);
                    prop_assert_eq!(out, bytes);
                }
                Err(error) => prop_assert_eq!((error.field, flags & MODE), ("packet.mode", 0)),
            }
        }

        #[test]
        fn arbitrary_packets_never_panic(bytes: Vec<u8>) {
            if let Ok((_, rest)) = PacketHeader::parse(&bytes) {
                prop_assert!(chunks(rest).count() <= bytes.len() / CHUNK_HEADER_LEN);
            }
        }
    }
}
