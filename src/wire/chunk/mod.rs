//! Chunks (RFC 7016 §2.3), one type per chunk, borrowing from the packet.
//!
//! A chunk's `parse` takes its whole payload; `encode` appends the payload without the chunk
//! header, [`Chunk::encode`] with it.

mod ack;
mod data;
mod startup;

pub use ack::{AckRange, BitmapAck, RangeAck, encode_ack, encode_range_ack};
pub use data::{
    FragmentControl, NextUserData, OPTION_METADATA, OPTION_RETURN_ASSOCIATION, UserData,
    UserDataFlags,
};
pub use startup::{
    CookieChange, ForwardedHello, InitiatorHello, InitiatorKeying, PacketFragment, Redirect,
    ResponderHello, ResponderKeying,
};

use super::{Reason, WireError, vlu};

/// Bytes of a chunk before its payload: type and length.
pub const CHUNK_HEADER_LEN: usize = 3;

/// Chunk type codes (RFC 7016 §2.3).
pub mod kind {
    /// Packet Fragment (§2.3.1).
    pub const PACKET_FRAGMENT: u8 = 0x7f;
    /// Initiator Hello (§2.3.2).
    pub const INITIATOR_HELLO: u8 = 0x30;
    /// Forwarded Initiator Hello (§2.3.3).
    pub const FORWARDED_HELLO: u8 = 0x0f;
    /// Responder Hello (§2.3.4).
    pub const RESPONDER_HELLO: u8 = 0x70;
    /// Responder Redirect (§2.3.5).
    pub const REDIRECT: u8 = 0x71;
    /// RHello Cookie Change (§2.3.6).
    pub const COOKIE_CHANGE: u8 = 0x79;
    /// Initiator Initial Keying (§2.3.7).
    pub const INITIATOR_KEYING: u8 = 0x38;
    /// Responder Initial Keying (§2.3.8).
    pub const RESPONDER_KEYING: u8 = 0x78;
    /// Ping (§2.3.9).
    pub const PING: u8 = 0x01;
    /// Ping Reply (§2.3.10).
    pub const PING_REPLY: u8 = 0x41;
    /// User Data (§2.3.11).
    pub const USER_DATA: u8 = 0x10;
    /// Next User Data (§2.3.12).
    pub const NEXT_USER_DATA: u8 = 0x11;
    /// Data Acknowledgement Bitmap (§2.3.13).
    pub const BITMAP_ACK: u8 = 0x50;
    /// Data Acknowledgement Ranges (§2.3.14).
    pub const RANGE_ACK: u8 = 0x51;
    /// Buffer Probe (§2.3.15).
    pub const BUFFER_PROBE: u8 = 0x18;
    /// Flow Exception Report (§2.3.16).
    pub const FLOW_EXCEPTION: u8 = 0x5e;
    /// Session Close Request (§2.3.17).
    pub const CLOSE_REQUEST: u8 = 0x0c;
    /// Session Close Acknowledgement (§2.3.18).
    pub const CLOSE_ACK: u8 = 0x4c;
    /// Ignore, or padding.
    pub const PADDING_00: u8 = 0x00;
    /// Ignore, or padding.
    pub const PADDING_FF: u8 = 0xff;
    /// Congestion Experienced counter, not in RFC 7016; sent by rtmfp-cpp before acknowledgements.
    pub const ECN_REPORT: u8 = 0xec;
}

/// The name of a chunk type as the RFC writes it, for people.
pub const fn name(kind: u8) -> &'static str {
    match kind {
        kind::PACKET_FRAGMENT => "PacketFragment",
        kind::INITIATOR_HELLO => "IHello",
        kind::FORWARDED_HELLO => "FIHello",
        kind::RESPONDER_HELLO => "RHello",
        kind::REDIRECT => "Redirect",
        kind::COOKIE_CHANGE => "CookieChange",
        kind::INITIATOR_KEYING => "IIKeying",
        kind::RESPONDER_KEYING => "RIKeying",
        kind::PING => "Ping",
        kind::PING_REPLY => "PingReply",
        kind::USER_DATA => "UserData",
        kind::NEXT_USER_DATA => "NextUserData",
        kind::BITMAP_ACK => "BitmapAck",
        kind::RANGE_ACK => "RangeAck",
        kind::BUFFER_PROBE => "BufferProbe",
        kind::FLOW_EXCEPTION => "FlowException",
        kind::CLOSE_REQUEST => "Close",
        kind::CLOSE_ACK => "CloseAck",
        kind::PADDING_00 | kind::PADDING_FF => "Padding",
        kind::ECN_REPORT => "EcnReport",
        _ => "Unknown",
    }
}

/// One chunk of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunk<'a> {
    /// A piece of a plain packet that was too large for the path.
    PacketFragment(PacketFragment<'a>),
    /// Asks for a session.
    InitiatorHello(InitiatorHello<'a>),
    /// An Initiator Hello passed on by a forwarder.
    ForwardedHello(ForwardedHello<'a>),
    /// The responder's certificate and cookie.
    ResponderHello(ResponderHello<'a>),
    /// Other addresses to try.
    Redirect(Redirect<'a>),
    /// A new cookie for another source address.
    CookieChange(CookieChange<'a>),
    /// The initiator's half of the keying.
    InitiatorKeying(InitiatorKeying<'a>),
    /// The responder's half of the keying.
    ResponderKeying(ResponderKeying<'a>),
    /// Please answer with the same bytes.
    Ping(&'a [u8]),
    /// The bytes of a Ping.
    PingReply(&'a [u8]),
    /// A fragment of a flow's message.
    UserData(UserData<'a>),
    /// The next fragment of the same flow in the same packet.
    NextUserData(NextUserData<'a>),
    /// Acknowledgement as bits.
    BitmapAck(BitmapAck<'a>),
    /// Acknowledgement as run lengths.
    RangeAck(RangeAck<'a>),
    /// Please acknowledge this flow at once; the value is the flow ID.
    BufferProbe(u64),
    /// The receiver rejects a flow.
    FlowException {
        /// The sender's flow ID.
        flow: u64,
        /// Application-defined; 0 when the stack itself rejected the flow.
        exception: u64,
    },
    /// Please close the session.
    CloseRequest,
    /// The session is closed.
    CloseAck,
    /// Low 8 bits of the count of packets received with Congestion Experienced.
    EcnReport(u8),
    /// To be ignored; type 0x00 or 0xff.
    Padding {
        /// Type code, 0x00 or 0xff.
        kind: u8,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A type this codec does not know; to be ignored.
    Unknown {
        /// Type code.
        kind: u8,
        /// Its payload.
        payload: &'a [u8],
    },
}

impl<'a> Chunk<'a> {
    /// Reads the payload of a chunk of type `kind`. An unknown type is not an error.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, WireError> {
        Ok(match kind {
            kind::PACKET_FRAGMENT => Self::PacketFragment(PacketFragment::parse(payload)?),
            kind::INITIATOR_HELLO => Self::InitiatorHello(InitiatorHello::parse(payload)?),
            kind::FORWARDED_HELLO => Self::ForwardedHello(ForwardedHello::parse(payload)?),
            kind::RESPONDER_HELLO => Self::ResponderHello(ResponderHello::parse(payload)?),
            kind::REDIRECT => Self::Redirect(Redirect::parse(payload)?),
            kind::COOKIE_CHANGE => Self::CookieChange(CookieChange::parse(payload)?),
            kind::INITIATOR_KEYING => Self::InitiatorKeying(InitiatorKeying::parse(payload)?),
            kind::RESPONDER_KEYING => Self::ResponderKeying(ResponderKeying::parse(payload)?),
            kind::PING => Self::Ping(payload),
            kind::PING_REPLY => Self::PingReply(payload),
            kind::USER_DATA => Self::UserData(UserData::parse(payload)?),
            kind::NEXT_USER_DATA => Self::NextUserData(NextUserData::parse(payload)?),
            kind::BITMAP_ACK => Self::BitmapAck(BitmapAck::parse(payload)?),
            kind::RANGE_ACK => Self::RangeAck(RangeAck::parse(payload)?),
            kind::BUFFER_PROBE => Self::BufferProbe(vlu::parse("bufferProbe.flowID", payload)?.0),
            kind::FLOW_EXCEPTION => {
                let (flow, rest) = vlu::parse("exception.flowID", payload)?;
                let base = payload.len() - rest.len();
                let (exception, _) =
                    vlu::parse("exception.exception", rest).map_err(|e| e.within(base))?;
                Self::FlowException { flow, exception }
            }
            kind::CLOSE_REQUEST => Self::CloseRequest,
            kind::CLOSE_ACK => Self::CloseAck,
            kind::ECN_REPORT => match payload {
                [count, ..] => Self::EcnReport(*count),
                [] => return Err(WireError::new("ecnReport.count", 0, Reason::Truncated)),
            },
            kind::PADDING_00 | kind::PADDING_FF => Self::Padding { kind, payload },
            _ => Self::Unknown { kind, payload },
        })
    }

    /// The type code.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::PacketFragment(_) => kind::PACKET_FRAGMENT,
            Self::InitiatorHello(_) => kind::INITIATOR_HELLO,
            Self::ForwardedHello(_) => kind::FORWARDED_HELLO,
            Self::ResponderHello(_) => kind::RESPONDER_HELLO,
            Self::Redirect(_) => kind::REDIRECT,
            Self::CookieChange(_) => kind::COOKIE_CHANGE,
            Self::InitiatorKeying(_) => kind::INITIATOR_KEYING,
            Self::ResponderKeying(_) => kind::RESPONDER_KEYING,
            Self::Ping(_) => kind::PING,
            Self::PingReply(_) => kind::PING_REPLY,
            Self::UserData(_) => kind::USER_DATA,
            Self::NextUserData(_) => kind::NEXT_USER_DATA,
            Self::BitmapAck(_) => kind::BITMAP_ACK,
            Self::RangeAck(_) => kind::RANGE_ACK,
            Self::BufferProbe(_) => kind::BUFFER_PROBE,
            Self::FlowException { .. } => kind::FLOW_EXCEPTION,
            Self::CloseRequest => kind::CLOSE_REQUEST,
            Self::CloseAck => kind::CLOSE_ACK,
            Self::EcnReport(_) => kind::ECN_REPORT,
            Self::Padding { kind, .. } | Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Number of bytes that [`encode`](Self::encode) appends, header included.
    pub fn encoded_len(&self) -> usize {
        CHUNK_HEADER_LEN + self.payload_len()
    }

    fn payload_len(&self) -> usize {
        match self {
            Self::PacketFragment(c) => c.encoded_len(),
            Self::InitiatorHello(c) => c.encoded_len(),
            Self::ForwardedHello(c) => c.encoded_len(),
            Self::ResponderHello(c) => c.encoded_len(),
            Self::Redirect(c) => c.encoded_len(),
            Self::CookieChange(c) => c.encoded_len(),
            Self::InitiatorKeying(c) => c.encoded_len(),
            Self::ResponderKeying(c) => c.encoded_len(),
            Self::Ping(bytes) | Self::PingReply(bytes) => bytes.len(),
            Self::UserData(c) => c.encoded_len(),
            Self::NextUserData(c) => c.encoded_len(),
            Self::BitmapAck(c) => c.encoded_len(),
            Self::RangeAck(c) => c.encoded_len(),
            Self::BufferProbe(flow) => vlu::encoded_len(*flow),
            Self::FlowException { flow, exception } => {
                vlu::encoded_len(*flow) + vlu::encoded_len(*exception)
            }
            Self::CloseRequest | Self::CloseAck => 0,
            Self::EcnReport(_) => 1,
            Self::Padding { payload, .. } | Self::Unknown { payload, .. } => payload.len(),
        }
    }

    /// Appends the chunk with its header.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] if the payload exceeds 65,535 bytes; nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let len = u16::try_from(self.payload_len())
            .map_err(|_| WireError::new("chunkLength", 1, Reason::TooLarge))?;
        out.push(self.kind());
        out.extend_from_slice(&len.to_be_bytes());
        match self {
            Self::PacketFragment(c) => c.encode(out),
            Self::InitiatorHello(c) => c.encode(out),
            Self::ForwardedHello(c) => c.encode(out),
            Self::ResponderHello(c) => c.encode(out),
            Self::Redirect(c) => c.encode(out),
            Self::CookieChange(c) => c.encode(out),
            Self::InitiatorKeying(c) => c.encode(out),
            Self::ResponderKeying(c) => c.encode(out),
            Self::Ping(bytes) | Self::PingReply(bytes) => out.extend_from_slice(bytes),
            Self::UserData(c) => c.encode(out),
            Self::NextUserData(c) => c.encode(out),
            Self::BitmapAck(c) => c.encode(out),
            Self::RangeAck(c) => c.encode(out),
            Self::BufferProbe(flow) => vlu::encode(*flow, out),
            Self::FlowException { flow, exception } => {
                vlu::encode(*flow, out);
                vlu::encode(*exception, out);
            }
            Self::CloseRequest | Self::CloseAck => {}
            Self::EcnReport(count) => out.push(*count),
            Self::Padding { payload, .. } | Self::Unknown { payload, .. } => {
                out.extend_from_slice(payload);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parses `bytes` as one chunk, and checks that it encodes to the same bytes.
    fn same(bytes: &[u8]) -> Chunk<'_> {
        let payload = &bytes[CHUNK_HEADER_LEN..];
        let chunk = Chunk::parse(bytes[0], payload).unwrap();
        let mut out = Vec::new();
        chunk.encode(&mut out).unwrap();
        assert_eq!(out, bytes);
        assert_eq!(out.len(), chunk.encoded_len());
        chunk
    }

    #[test]
    fn small_chunks_by_their_bytes() {
        assert_eq!(same(&[0x01, 0, 0]), Chunk::Ping(&[]));
        assert_eq!(same(&[0x41, 0, 2, 1, 2]), Chunk::PingReply(&[1, 2]));
        assert_eq!(same(&[0x18, 0, 2, 0x81, 0]), Chunk::BufferProbe(128));
        assert_eq!(same(&[0x5e, 0, 2, 4, 9]), Chunk::FlowException { flow: 4, exception: 9 });
        assert_eq!(same(&[0x0c, 0, 0]), Chunk::CloseRequest);
        assert_eq!(same(&[0x4c, 0, 0]), Chunk::CloseAck);
        assert_eq!(same(&[0xec, 0, 1, 3]), Chunk::EcnReport(3));
        assert_eq!(same(&[0xff, 0, 1, 0]), Chunk::Padding { kind: 0xff, payload: &[0] });
        assert_eq!(same(&[0x99, 0, 1, 5]), Chunk::Unknown { kind: 0x99, payload: &[5] });
    }

    #[test]
    fn every_type_has_a_name() {
        for kind in 0..=u8::MAX {
            let known = !matches!(Chunk::parse(kind, &[]), Ok(Chunk::Unknown { .. }));
            assert_eq!(known, name(kind) != "Unknown", "{kind:02x}");
        }
    }

    #[test]
    fn a_payload_over_64_kib_is_refused() {
        let big = vec![0; 65_536];
        let mut out = Vec::new();
        assert!(Chunk::Ping(&big).encode(&mut out).is_err());
        assert!(out.is_empty());
    }

    proptest! {
        /// Whatever parses encodes to something that parses to the same chunk.
        #[test]
        fn what_parses_survives_a_round_trip(kind: u8, payload: Vec<u8>) {
            if let Ok(chunk) = Chunk::parse(kind, &payload) {
                let mut out = Vec::new();
                chunk.encode(&mut out).unwrap();
                prop_assert_eq!(out.len(), chunk.encoded_len());
                let again = Chunk::parse(kind, &out[CHUNK_HEADER_LEN..]).unwrap();
                prop_assert_eq!(again, chunk);
            }
        }
    }
}
