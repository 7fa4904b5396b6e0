//! RTMP messages as a flow carries them (RFC 7425 §5.1.2): type, timestamp, payload.

use std::ops::Deref;

use bytes::Bytes;

use super::{FlashError, UserControl, amf0};
use crate::amf::{AmfError, Encoding, Value, Writer};

/// Bytes before the payload: type and timestamp. No message is shorter.
pub const HEADER_LEN: usize = 5;

/// Message types.
mod kind {
    pub(super) const USER_CONTROL: u8 = 0x04;
    pub(super) const AUDIO: u8 = 0x08;
    pub(super) const VIDEO: u8 = 0x09;
    pub(super) const DATA_EXTENDED: u8 = 0x0f;
    pub(super) const COMMAND_EXTENDED: u8 = 0x11;
    pub(super) const DATA: u8 = 0x12;
    pub(super) const COMMAND: u8 = 0x14;
}

/// The format selector of extended messages; only this one is defined (RFC 7425 §5.3.3).
const SELECTOR: u8 = 0;

/// An RTMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds of the stream or connection, modulo 2³². Flash puts arbitrary values on
    /// commands and User Control messages.
    pub timestamp: u32,
    /// The type with its payload.
    pub body: Body,
}

/// The framing of a message with AMF values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Types 0x14 and 0x12: the values follow.
    Plain,
    /// Types 0x11 and 0x0F: a format selector of 0, then the values. Flash Player drops a data
    /// message of this type without the selector.
    Extended,
}

/// The payload of an RTMP message by its type. Payloads are slices of the message received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A command; [`Command`](super::Command) reads the values.
    Command(Format, Bytes),
    /// A data message: a handler name and values in AMF.
    Data(Format, Bytes),
    /// A User Control event.
    UserControl(UserControl),
    /// Audio data with its codec header.
    Audio(Bytes),
    /// Video data with its codec header.
    Video(Bytes),
    /// Any other type, as it is. Types 1, 2, 3, 5 and 6 have no meaning on RTMFP (RFC 7425 §5.1).
    Other {
        /// The message type.
        kind: u8,
        /// The bytes after the timestamp.
        payload: Bytes,
    },
}

/// A whole encoded message for a `TC` flow.
///
/// Only [`Message::encode`] makes one, so that it always has a type and a timestamp: Flash Player
/// dies of a message of less than [`HEADER_LEN`] bytes (`protocol-notes/flash-profile.md`, subject
/// "what kills it").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBytes(Bytes);

impl Message {
    /// A message.
    pub const fn new(timestamp: u32, body: Body) -> Self {
        Self { timestamp, body }
    }

    /// A data message that calls `handler` with these values: what Flash's `NetStream.send` sends.
    ///
    /// # Errors
    ///
    /// [`AmfError`] if a value cannot be encoded.
    pub fn data(timestamp: u32, handler: &str, values: &[Value]) -> Result<Self, AmfError> {
        let mut writer = Writer::new(Encoding::Amf0);
        writer.write(&Value::from(handler))?;
        for value in values {
            writer.write(value)?;
        }
        Ok(Self::new(timestamp, Body::Data(Format::Extended, writer.into_bytes())))
    }

    /// A data message with values in AMF0 alone, as the clients with object encoding 0 read it:
    /// undefined in place of what AMF0 lacks. `None` if it is no data message, or malformed, or would
    /// be more than 1 MiB beyond 16 times as long, or than 1.5 MiB.
    pub fn in_amf0(&self) -> Option<Self> {
        let Body::Data(_, values) = &self.body else { return None };
        let body = Body::Data(Format::Plain, amf0::in_amf0(values, &mut amf0::Room::default())?);
        Some(Self::new(self.timestamp, body))
    }

    /// Parses the message that a flow delivered.
    ///
    /// # Errors
    ///
    /// [`FlashError::ShortMessage`], [`FlashError::MissingSelector`], [`FlashError::UnknownFormat`]
    /// or [`FlashError::ShortUserControl`]: such a message is to be ignored.
    pub fn parse(message: &Bytes) -> Result<Self, FlashError> {
        let Some(&[kind, t0, t1, t2, t3]) = message.first_chunk() else {
            return Err(FlashError::ShortMessage(message.len()));
        };
        let payload = message.slice(HEADER_LEN..);
        let body = match kind {
            kind::COMMAND => Body::Command(Format::Plain, payload),
            kind::COMMAND_EXTENDED => Body::Command(Format::Extended, selected(kind, &payload)?),
            kind::DATA => Body::Data(Format::Plain, payload),
            kind::DATA_EXTENDED => Body::Data(Format::Extended, selected(kind, &payload)?),
            kind::USER_CONTROL => Body::UserControl(UserControl::parse(&payload)?),
            kind::AUDIO => Body::Audio(payload),
            kind::VIDEO => Body::Video(payload),
            kind => Body::Other { kind, payload },
        };
        Ok(Self { timestamp: u32::from_be_bytes([t0, t1, t2, t3]), body })
    }

    /// The message as a flow carries it.
    pub fn encode(&self) -> MessageBytes {
        let mut out = Vec::with_capacity(HEADER_LEN + 1 + self.body.payload().len());
        out.push(self.body.kind());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        match &self.body {
            Body::UserControl(event) => event.encode(&mut out),
            Body::Command(Format::Extended, values) | Body::Data(Format::Extended, values) => {
                out.push(SELECTOR);
                out.extend_from_slice(values);
            }
            other => out.extend_from_slice(other.payload()),
        }
        MessageBytes(out.into())
    }
}

/// The bytes after the format selector of an extended message.
fn selected(kind: u8, payload: &Bytes) -> Result<Bytes, FlashError> {
    match payload.first() {
        Some(&SELECTOR) => Ok(payload.slice(1..)),
        Some(&other) => Err(FlashError::UnknownFormat(other)),
        None => Err(FlashError::MissingSelector(kind)),
    }
}

impl Body {
    /// The message type on the wire.
    pub const fn kind(&self) -> u8 {
        match *self {
            Self::Command(Format::Plain, _) => kind::COMMAND,
            Self::Command(Format::Extended, _) => kind::COMMAND_EXTENDED,
            Self::Data(Format::Plain, _) => kind::DATA,
            Self::Data(Format::Extended, _) => kind::DATA_EXTENDED,
            Self::UserControl(_) => kind::USER_CONTROL,
            Self::Audio(_) => kind::AUDIO,
            Self::Video(_) => kind::VIDEO,
            Self::Other { kind, .. } => kind,
        }
    }

    /// The payload without a selector; empty for User Control events, which are decoded.
    fn payload(&self) -> &[u8] {
        match self {
            Self::Command(_, bytes)
            | Self::Data(_, bytes)
            | Self::Audio(bytes)
            | Self::Video(bytes)
            | Self::Other { payload: bytes, .. } => bytes,
            Self::UserControl(_) => &[],
        }
    }
}

impl MessageBytes {
    /// The bytes, at least [`HEADER_LEN`] of them.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for MessageBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<MessageBytes> for Bytes {
    fn from(message: MessageBytes) -> Self {
        message.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body() -> impl Strategy<Value = Body> {
        let payload = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        (0..9, any::<u8>(), payload).prop_map(|(choice, kind, payload)| match choice {
            0 => Body::Command(Format::Plain, payload),
            1 => Body::Command(Format::Extended, payload),
            2 => Body::Data(Format::Plain, payload),
            3 => Body::Data(Format::Extended, payload),
            4 => Body::UserControl(UserControl::StreamBegin(kind.into())),
            5 => Body::UserControl(UserControl::Other { event: 0x1000, data: payload }),
            6 => Body::Audio(payload),
            7 => Body::Video(payload),
            _ => Body::Other { kind: kind | 0x40, payload },
        })
    }

    #[test]
    fn literal_bytes() {
        let bytes = |b: &'static [u8]| Bytes::from_static(b);
        let cases: [(&'static [u8], Message); 6] = [
            (b"\x14\0\0\0\x01ab", Message::new(1, Body::Command(Format::Plain, bytes(b"ab")))),
            (
                b"\x11\x01\x02\x03\x04\0ab",
                Message::new(0x0102_0304, Body::Command(Format::Extended, bytes(b"ab"))),
            ),
            (b"\x12\0\0\0\0x", Message::new(0, Body::Data(Format::Plain, bytes(b"x")))),
            (b"\x0f\0\0\0\0\0x", Message::new(0, Body::Data(Format::Extended, bytes(b"x")))),
            (b"\x08\0\0\0\0", Message::new(0, Body::Audio(Bytes::new()))),
            (
                b"\x05\0\0\0\0\0\x26\x25\xa0",
                Message::new(0, Body::Other { kind: 5, payload: bytes(b"\0\x26\x25\xa0") }),
            ),
        ];
        for (wire, message) in cases {
            assert_eq!(Message::parse(&bytes(wire)), Ok(message.clone()));
            assert_eq!(&*message.encode(), wire);
        }
    }

    #[test]
    fn hostile_short_messages() {
        for len in 0..5 {
            let message = Bytes::copy_from_slice(&[0x14, 0, 0, 0, 0][..len]);
            assert_eq!(Message::parse(&message), Err(FlashError::ShortMessage(len)));
        }
    }

    #[test]
    fn hostile_data_without_selector() {
        let parse = |bytes| Message::parse(&Bytes::from_static(bytes));
        assert_eq!(parse(b"\x0f\0\0\0\0"), Err(FlashError::MissingSelector(0x0f)));
        assert_eq!(parse(b"\x11\0\0\0\0"), Err(FlashError::MissingSelector(0x11)));
        assert_eq!(parse(b"\x0f\0\0\0\0\x02\0\x01x"), Err(FlashError::UnknownFormat(2)));
    }

    proptest! {
        #[test]
        fn no_message_is_shorter_than_its_header(body in body(), timestamp: u32) {
            let message = Message { timestamp, body };
            let wire = message.encode();
            prop_assert!(wire.len() >= HEADER_LEN);
            prop_assert_eq!(Message::parse(&wire.into_bytes()), Ok(message));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            if let Ok(message) = Message::parse(&bytes) {
                prop_assert!(bytes.starts_with(&message.encode()));
            }
        }
    }
}
