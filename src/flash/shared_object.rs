//! Remote shared objects: RTMP message types 16 and 19.
//!
//! A message has the object's name, its version, eight bytes of flags, and events, each with a type,
//! a length and data (`protocol-notes/flash-profile.md`, subject "shared objects"). Values stay in
//! the AMF in which they came.

use bytes::{Buf, Bytes};
use std::sync::Arc;

use super::amf0::{Room, in_amf0};
use super::{Body, Format, Message, ObjectEncoding};

/// Events in AMF3, behind a format selector, and in AMF0.
const EXTENDED: u8 = 0x10;
const PLAIN: u8 = 0x13;

/// The longest name of an object or a slot, in bytes; messages with a longer one are not read.
pub const MAX_NAME: usize = 256;
/// The most events of one message that are read.
pub const MAX_EVENTS: usize = 1024;

/// Undefined, in AMF0.
pub(crate) const UNDEFINED: Bytes = Bytes::from_static(&[6]);

/// The flag of an object that outlives those who use it.
const PERSISTENT: u32 = 2;

/// A message about one shared object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedObjectMessage {
    /// The object.
    pub name: Arc<str>,
    /// The version that the sender knows.
    pub version: u32,
    /// It outlives those who use it.
    pub persistent: bool,
    /// What happened or is asked for.
    pub events: Vec<SharedObjectEvent>,
}

/// An event of a shared object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedObjectEvent {
    /// A client wants to use the object.
    Use,
    /// A client uses it no longer.
    Release,
    /// A client sets a slot.
    RequestChange {
        /// The name of the slot.
        slot: Arc<str>,
        /// The value in AMF.
        value: Bytes,
    },
    /// A slot has another value.
    Change {
        /// The name of the slot.
        slot: Arc<str>,
        /// The value in AMF.
        value: Bytes,
    },
    /// What the client asked for is done.
    Success {
        /// The name of the slot.
        slot: Arc<str>,
    },
    /// A call for everybody who uses the object: `SharedObject.send`.
    Send(Bytes),
    /// The use of the object ends with an error.
    Status {
        /// Such as `SharedObject.ObjectCreationFailed`.
        code: Arc<str>,
        /// `error`.
        level: Arc<str>,
    },
    /// All slots are gone.
    Clear,
    /// A slot is gone.
    Remove {
        /// The name of the slot.
        slot: Arc<str>,
    },
    /// A client deletes a slot.
    RequestRemove {
        /// The name of the slot.
        slot: Arc<str>,
    },
    /// The client uses the object from now on.
    UseSuccess,
    /// Something else.
    Other {
        /// Its type.
        kind: u8,
        /// Its data.
        data: Bytes,
    },
}

mod kind {
    pub(super) const USE: u8 = 1;
    pub(super) const RELEASE: u8 = 2;
    pub(super) const REQUEST_CHANGE: u8 = 3;
    pub(super) const CHANGE: u8 = 4;
    pub(super) const SUCCESS: u8 = 5;
    pub(super) const SEND: u8 = 6;
    pub(super) const STATUS: u8 = 7;
    pub(super) const CLEAR: u8 = 8;
    pub(super) const REMOVE: u8 = 9;
    pub(super) const REQUEST_REMOVE: u8 = 10;
    pub(super) const USE_SUCCESS: u8 = 11;
}

impl SharedObjectMessage {
    /// A message of these events.
    pub fn new(
        name: Arc<str>,
        persistent: bool,
        version: u32,
        events: Vec<SharedObjectEvent>,
    ) -> Self {
        Self { name, version, persistent, events }
    }

    /// Parses the body of a message. `None` if it is not about a shared object, or malformed.
    pub fn parse(body: &Body) -> Option<Self> {
        let Body::Other { kind, payload } = body else { return None };
        let mut rest = payload.clone();
        match *kind {
            PLAIN => {}
            EXTENDED if rest.try_get_u8().ok()? == 0 => {}
            _ => return None,
        }
        let name = text(&mut rest)?;
        let version = rest.try_get_u32().ok()?;
        let persistent = rest.try_get_u32().ok()? & PERSISTENT != 0;
        let _ = rest.try_get_u32().ok()?;
        let mut events = Vec::new();
        while !rest.is_empty() && events.len() < MAX_EVENTS {
            let kind = rest.try_get_u8().ok()?;
            let len = rest.try_get_u32().ok()? as usize;
            if len > rest.len() {
                return None;
            }
            events.push(SharedObjectEvent::parse(kind, rest.split_to(len))?);
        }
        Some(Self { name, version, persistent, events })
    }

    /// The body of the message, for clients with this format.
    pub fn encode(&self, format: Format) -> Body {
        let mut out = Vec::new();
        let kind = match format {
            Format::Plain => PLAIN,
            Format::Extended => {
                out.push(0);
                EXTENDED
            }
        };
        push_text(&mut out, &self.name);
        out.extend(self.version.to_be_bytes());
        out.extend((if self.persistent { PERSISTENT } else { 0 }).to_be_bytes());
        out.extend([0; 4]);
        for event in &self.events {
            event.encode(&mut out);
        }
        Body::Other { kind, payload: out.into() }
    }

    /// The message for clients with this object encoding, with its type and a timestamp of 0: undefined in
    /// place of values that the encoding lacks, or that would make it more than 1 MiB beyond 16 times as long,
    /// or longer than 1.5 MiB; calls that would are left out.
    pub fn encode_for(&self, encoding: ObjectEncoding) -> Bytes {
        let body = match encoding {
            ObjectEncoding::Amf3 => self.encode(Format::Extended),
            ObjectEncoding::Amf0 => {
                let mut room = Room::default();
                let events = self.events.iter().filter_map(|it| it.within(&mut room)).collect();
                Self { events, ..self.clone() }.encode(Format::Plain)
            }
        };
        Message::new(0, body).encode().into_bytes()
    }

    /// True if a client asks to use the object.
    pub fn asks_for_use(&self) -> bool {
        self.events.contains(&SharedObjectEvent::Use)
    }

    /// The answer to one who wants to use an object that it does not get.
    pub fn refusal(&self) -> Self {
        let status = SharedObjectEvent::Status {
            code: "SharedObject.ObjectCreationFailed".into(),
            level: "error".into(),
        };
        Self::new(self.name.clone(), self.persistent, 0, vec![status])
    }
}

impl SharedObjectEvent {
    /// Bytes of its name and value.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::RequestChange { slot, value } | Self::Change { slot, value } => {
                slot.len() + value.len()
            }
            Self::Send(data) | Self::Other { data, .. } => data.len(),
            Self::Success { slot } | Self::Remove { slot } | Self::RequestRemove { slot } => {
                slot.len()
            }
            _ => 0,
        }
    }

    fn parse(kind: u8, mut data: Bytes) -> Option<Self> {
        Some(match kind {
            kind::USE => Self::Use,
            kind::RELEASE => Self::Release,
            kind::REQUEST_CHANGE => Self::RequestChange { slot: text(&mut data)?, value: data },
            kind::CHANGE => Self::Change { slot: text(&mut data)?, value: data },
            kind::SUCCESS => Self::Success { slot: text(&mut data)? },
            kind::SEND => Self::Send(data),
            kind::STATUS => Self::Status { code: text(&mut data)?, level: text(&mut data)? },
            kind::CLEAR => Self::Clear,
            kind::REMOVE => Self::Remove { slot: text(&mut data)? },
            kind::REQUEST_REMOVE => Self::RequestRemove { slot: text(&mut data)? },
            kind::USE_SUCCESS => Self::UseSuccess,
            kind => Self::Other { kind, data },
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, texts, data): (u8, [Option<&str>; 2], &[u8]) = match self {
            Self::Use => (kind::USE, [None; 2], &[]),
            Self::Release => (kind::RELEASE, [None; 2], &[]),
            Self::RequestChange { slot, value } => {
                (kind::REQUEST_CHANGE, [Some(slot), None], value)
            }
            Self::Change { slot, value } => (kind::CHANGE, [Some(slot), None], value),
            Self::Success { slot } => (kind::SUCCESS, [Some(slot), None], &[]),
            Self::Send(data) => (kind::SEND, [None; 2], data),
            Self::Status { code, level } => (kind::STATUS, [Some(code), Some(level)], &[]),
            Self::Clear => (kind::CLEAR, [None; 2], &[]),
            Self::Remove { slot } => (kind::REMOVE, [Some(slot), None], &[]),
            Self::RequestRemove { slot } => (kind::REQUEST_REMOVE, [Some(slot), None], &[]),
            Self::UseSuccess => (kind::USE_SUCCESS, [None; 2], &[]),
            Self::Other { kind, data } => (*kind, [None; 2], data),
        };
        let texts = texts.into_iter().flatten();
        let len = texts.clone().map(|text| 2 + text.len()).sum::<usize>() + data.len();
        out.push(kind);
        out.extend((len as u32).to_be_bytes());
        texts.for_each(|text| push_text(out, text));
        out.extend(data);
    }

    /// The event for a client with object encoding 0. A value that is malformed or too long is undefined: who
    /// waits for the slot gets an answer. `None` for such a call.
    pub fn in_amf0(&self) -> Option<Self> {
        self.within(&mut Room::default())
    }

    /// The same for one of several, which share what they may grow by.
    fn within(&self, room: &mut Room) -> Option<Self> {
        Some(match self {
            Self::Change { slot, value } => {
                let value = in_amf0(value, room).unwrap_or(UNDEFINED);
                Self::Change { slot: slot.clone(), value }
            }
            Self::Send(data) => Self::Send(in_amf0(data, room)?),
            other => other.clone(),
        })
    }
}

/// The next text, no longer than [`MAX_NAME`].
fn text(rest: &mut Bytes) -> Option<Arc<str>> {
    let len = usize::from(rest.try_get_u16().ok()?);
    if len > rest.len() || len > MAX_NAME {
        return None;
    }
    let bytes = rest.split_to(len);
    Some(std::str::from_utf8(&bytes).ok()?.into())
}

/// A text of less than 64 KiB.
fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `SharedObject.getRemote("chat", uri).connect(nc)`: version 0, not persistent, one USE event.
    const CONNECT: &[u8] = b"\0\x04chat\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0";
    const ANSWER: &[u8] = b"\0\x04chat\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x2a\
        \0\x21SharedObject.ObjectCreationFailed\0\x05error";

    fn parse(kind: u8, payload: &[u8]) -> Option<SharedObjectMessage> {
        let payload = Bytes::copy_from_slice(payload);
        SharedObjectMessage::parse(&Body::Other { kind, payload })
    }

    fn encoded(message: &SharedObjectMessage, format: Format) -> (u8, Bytes) {
        match message.encode(format) {
            Body::Other { kind, payload } => (kind, payload),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_wants_to_use_an_object_and_may_not_gets_a_status() {
        let message = parse(PLAIN, CONNECT).unwrap();
        assert_eq!(message.events, [SharedObjectEvent::Use]);
        assert_eq!(encoded(&message.refusal(), Format::Plain), (PLAIN, ANSWER.into()));
        let selected = |bytes: &[u8]| [&[0], bytes].concat();
        assert_eq!(parse(EXTENDED, &selected(CONNECT)), Some(message.clone()));
        let (kind, payload) = encoded(&message.refusal(), Format::Extended);
        assert_eq!((kind, payload.to_vec()), (EXTENDED, selected(ANSWER)));
        let mut persistent = CONNECT.to_vec();
        persistent[13] = 2;
        assert!(parse(PLAIN, &persistent).unwrap().refusal().persistent);
    }

    #[test]
    fn every_event_there_and_back() {
        let slot: Arc<str> = "score".into();
        let value = Bytes::from_static(b"\0\x40\x45\0\0\0\0\0\0");
        let events = vec![
            SharedObjectEvent::UseSuccess,
            SharedObjectEvent::Clear,
            SharedObjectEvent::Release,
            SharedObjectEvent::RequestChange { slot: slot.clone(), value: value.clone() },
            SharedObjectEvent::Change { slot: slot.clone(), value },
            SharedObjectEvent::Success { slot: slot.clone() },
            SharedObjectEvent::Send(Bytes::from_static(b"\x02\0\x02hi\x05")),
            SharedObjectEvent::Status { code: "code".into(), level: "error".into() },
            SharedObjectEvent::Remove { slot: slot.clone() },
            SharedObjectEvent::RequestRemove { slot },
            SharedObjectEvent::Other { kind: 99, data: Bytes::from_static(b"?") },
        ];
        let message = SharedObjectMessage::new("chat".into(), true, 7, events);
        for format in [Format::Plain, Format::Extended] {
            assert_eq!(SharedObjectMessage::parse(&message.encode(format)), Some(message.clone()));
        }
    }

    #[test]
    fn values_for_clients_with_amf0() {
        let event = |value: &'static [u8]| SharedObjectEvent::Change {
            slot: "a".into(),
            value: Bytes::from_static(value),
        };
        // An AMF3 integer, and a ByteArray, which AMF0 lacks.
        assert_eq!(event(b"\x11\x04\x07").in_amf0(), Some(event(b"\0\x40\x1c\0\0\0\0\0\0")));
        assert_eq!(event(b"\x11\x0c\x03x").in_amf0(), Some(event(b"\x06")));
        assert_eq!(event(b"\x02\0\x09").in_amf0(), Some(event(b"\x06")));
        assert_eq!(SharedObjectEvent::Send(Bytes::from_static(b"\x02\0\x09")).in_amf0(), None);
        assert_eq!(SharedObjectEvent::Clear.in_amf0(), Some(SharedObjectEvent::Clear));
    }

    #[test]
    fn hostile_messages_are_not_read() {
        for len in 0..CONNECT.len() - 5 {
            assert_eq!(parse(PLAIN, &CONNECT[..len]), None, "{len}");
        }
        assert_eq!(parse(EXTENDED, CONNECT), None, "without a format selector");
        assert_eq!(parse(0x12, CONNECT), None);
        let long = [&[0x40, 0][..], &[b'a'; 0x4000], &CONNECT[6..]].concat();
        assert_eq!(parse(PLAIN, &long), None);
        let mut beyond = CONNECT.to_vec();
        beyond[19] = 0xff;
        assert_eq!(parse(PLAIN, &beyond), None);
        let many = [&CONNECT[..18], &b"\x01\0\0\0\0".repeat(5000)].concat();
        assert_eq!(parse(PLAIN, &many).unwrap().events.len(), MAX_EVENTS);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(kind in 0x0fu8..0x15, bytes: Vec<u8>) {
            if let Some(message) = parse(kind, &bytes) {
                let _ = message.encode(Format::Plain);
            }
        }
    }
}
