//! User Control messages (RTMP type 4; RFC 7425 §5.2 and §5.3.4).

use std::time::Duration;

use bytes::Bytes;

use super::FlashError;

const STREAM_BEGIN: u16 = 0;
const SET_BUFFER_LENGTH: u16 = 3;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;
const FLOW_SYNC: u16 = 0x22;
const SET_KEEPALIVE: u16 = 0x29;

/// A User Control event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserControl {
    /// A stream begins (0): its ID.
    StreamBegin(u32),
    /// The buffer length of a player (3).
    SetBufferLength {
        /// The stream ID.
        stream: u32,
        /// Milliseconds.
        millis: u32,
    },
    /// A request for a [`PingResponse`](Self::PingResponse) of the same value (6).
    PingRequest(u32),
    /// The value of the request (7).
    PingResponse(u32),
    /// A barrier across flows (0x22, RFC 7425 §5.2).
    FlowSync {
        /// ID of the barrier.
        id: u32,
        /// Number of flows that carry it.
        count: u32,
    },
    /// The server's advice for keepalive periods (0x29, RFC 7425 §5.3.4).
    SetKeepalive(Keepalive),
    /// Anything else, as it is.
    Other {
        /// The event type.
        event: u16,
        /// The bytes after it.
        data: Bytes,
    },
}

/// Silence of a session before a client sends a keepalive (RFC 7425 §5.3.4).
///
/// Whole milliseconds up to `u32::MAX` are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// On the session with the server.
    pub server: Duration,
    /// On sessions with peers.
    pub peer: Duration,
}

impl Keepalive {
    /// The shortest period that a client sets whatever the server announces: 5 s.
    pub const MIN: Duration = Duration::from_secs(5);

    /// Both periods raised to [`MIN`](Self::MIN).
    #[must_use]
    pub fn at_least_min(self) -> Self {
        Self { server: self.server.max(Self::MIN), peer: self.peer.max(Self::MIN) }
    }
}

impl UserControl {
    /// Parses the payload of a User Control message. Bytes after a known event's fields are ignored.
    ///
    /// # Errors
    ///
    /// [`FlashError::ShortUserControl`].
    pub fn parse(payload: &Bytes) -> Result<Self, FlashError> {
        let short = |event| FlashError::ShortUserControl { event, len: payload.len().max(2) - 2 };
        let event = payload.first_chunk().map(|e| u16::from_be_bytes(*e)).ok_or(short(0))?;
        let field = |index: usize| {
            let at = 2 + 4 * index;
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(short(event))
        };
        let period = |index| field(index).map(|millis| Duration::from_millis(millis.into()));
        Ok(match event {
            STREAM_BEGIN => Self::StreamBegin(field(0)?),
            SET_BUFFER_LENGTH => Self::SetBufferLength { stream: field(0)?, millis: field(1)? },
            PING_REQUEST => Self::PingRequest(field(0)?),
            PING_RESPONSE => Self::PingResponse(field(0)?),
            FLOW_SYNC => Self::FlowSync { id: field(0)?, count: field(1)? },
            SET_KEEPALIVE => Self::SetKeepalive(Keepalive { server: period(0)?, peer: period(1)? }),
            event => Self::Other { event, data: payload.slice(2..) },
        })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |event: u16, fields: &[u32]| {
            out.extend_from_slice(&event.to_be_bytes());
            fields.iter().for_each(|field| out.extend_from_slice(&field.to_be_bytes()));
        };
        match *self {
            Self::StreamBegin(stream) => put(STREAM_BEGIN, &[stream]),
            Self::SetBufferLength { stream, millis } => put(SET_BUFFER_LENGTH, &[stream, millis]),
            Self::PingRequest(value) => put(PING_REQUEST, &[value]),
            Self::PingResponse(value) => put(PING_RESPONSE, &[value]),
            Self::FlowSync { id, count } => put(FLOW_SYNC, &[id, count]),
            Self::SetKeepalive(Keepalive { server, peer }) => {
                put(SET_KEEPALIVE, &[millis(server), millis(peer)]);
            }
            Self::Other { event, ref data } => {
                put(event, &[]);
                out.extend_from_slice(data);
            }
        }
    }
}

fn millis(period: Duration) -> u32 {
    u32::try_from(period.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keepalive(server: u64, peer: u64) -> Keepalive {
        Keepalive { server: Duration::from_millis(server), peer: Duration::from_millis(peer) }
    }

    #[test]
    fn literal_bytes() {
        let cases: [(&[u8], UserControl); 7] = [
            (b"\0\0\0\0\0\x02", UserControl::StreamBegin(2)),
            (
                b"\0\x03\0\0\0\x01\0\0\x07\xd0",
                UserControl::SetBufferLength { stream: 1, millis: 2000 },
            ),
            (b"\0\x06\x01\x02\x03\x04", UserControl::PingRequest(0x0102_0304)),
            (b"\0\x07\x01\x02\x03\x04", UserControl::PingResponse(0x0102_0304)),
            (b"\0\x22\0\0\0\x08\0\0\0\x02", UserControl::FlowSync { id: 8, count: 2 }),
            (
                b"\0\x29\0\0\x4e\x20\0\0\x27\x10",
                UserControl::SetKeepalive(keepalive(20_000, 10_000)),
            ),
            (b"\0\x63abc", UserControl::Other { event: 99, data: Bytes::from_static(b"abc") }),
        ];
        for (bytes, event) in cases {
            assert_eq!(UserControl::parse(&Bytes::from_static(bytes)), Ok(event.clone()));
            let mut out = Vec::new();
            event.encode(&mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn hostile_every_truncation() {
        let whole = Bytes::from_static(b"\0\x29\0\0\x4e\x20\0\0\x27\x10");
        for cut in 0..whole.len() {
            let error = UserControl::parse(&whole.slice(..cut)).unwrap_err();
            let event = if cut < 2 { 0 } else { 0x29 };
            assert_eq!(error, FlashError::ShortUserControl { event, len: cut.max(2) - 2 });
        }
    }

    #[test]
    fn periods_beyond_the_field_saturate() {
        let mut out = Vec::new();
        UserControl::SetKeepalive(keepalive(u64::MAX, 1)).encode(&mut out);
        assert_eq!(out, b"\0\x29\xff\xff\xff\xff\0\0\0\x01");
        assert_eq!(keepalive(250_000, 0).at_least_min(), keepalive(250_000, 5_000));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = UserControl::parse(&bytes.into());
        }
    }
}
