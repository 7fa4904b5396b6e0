//! Messages of the `GR 11` and `GR 12` flows: descriptions, maps, requests, fragments.

mod description;
mod fragment;
mod map;

pub use description::{Description, MAX_DESCRIPTION, StreamKey, StreamSettings};
pub use fragment::{FRAGMENT_SIZE, Fragment, cut};
pub use map::{MAX_MAP, Map};

use crate::group::feature::split_type;
use crate::wire::{Reason, WireError, vlu};
use bytes::Bytes;

mod kind {
    pub(super) const STREAM: u8 = 0x21;
    pub(super) const MAP: u8 = 0x22;
    pub(super) const PUSH: u8 = 0x23;
    pub(super) const PULL: u8 = 0x2b;
}

/// The longest end of a stream, in bytes with the type: whatever is longer is a description, which
/// cannot be shorter than its key.
pub const MAX_END: usize = 36;

/// A message of a `GR 11` flow (`protocol-notes/netgroup-multicast.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MulticastControl {
    /// `21`: this flow is about this stream. The first message.
    Description(Description),
    /// `21`, short: the number after the last fragment. Flash sends it on the data flow.
    End(u64),
    /// `22`: the fragments that the sender has.
    Map(Map),
    /// `23`: push every fragment whose number modulo 8 is the place of a set bit.
    Push(u8),
    /// `2B`: send this fragment.
    Pull(u64),
    /// An unknown type.
    Other(Bytes),
}

/// A message of a `GR 12` flow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MulticastData {
    /// `20`, `30`, `10`, `00`: a fragment.
    Fragment(Fragment),
    /// `21`: the stream ends before this number. It is fetched and relayed like a fragment.
    End(u64),
    /// An unknown type.
    Other(Bytes),
}

impl MulticastControl {
    /// Parses a message. What may be long is not copied.
    ///
    /// # Errors
    ///
    /// A truncated message, or a description without a key or above [`MAX_DESCRIPTION`].
    pub fn parse(message: &Bytes) -> Result<Self, WireError> {
        let (kind, body) = split_type("multicast.type", message)?;
        let parsed = match kind {
            kind::STREAM if message.len() <= MAX_END => Self::End(number(body)?),
            kind::STREAM => Self::Description(Description::parse(message.slice(1..))?),
            kind::MAP => Self::Map(Map::parse(&message.slice(1..))?),
            kind::PUSH => match *body {
                [mask] => Self::Push(mask),
                [] => return Err(WireError::new("multicast.push", 1, Reason::Truncated)),
                _ => return Err(WireError::new("multicast.push", 2, Reason::Trailing)),
            },
            kind::PULL => Self::Pull(number(body)?),
            _ => Self::Other(message.clone()),
        };
        Ok(parsed)
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(16);
        match self {
            Self::Description(description) => {
                out.push(kind::STREAM);
                out.extend_from_slice(description.as_bytes());
            }
            Self::End(number) => encode_number(kind::STREAM, *number, &mut out),
            Self::Map(map) => {
                out.push(kind::MAP);
                map.encode(&mut out);
            }
            Self::Push(mask) => out.extend_from_slice(&[kind::PUSH, *mask]),
            Self::Pull(number) => encode_number(kind::PULL, *number, &mut out),
            Self::Other(message) => return message.clone(),
        }
        out.into()
    }
}

impl MulticastData {
    /// Parses a message. The payload of a fragment is not copied.
    ///
    /// # Errors
    ///
    /// A truncated message.
    pub fn parse(message: &Bytes) -> Result<Self, WireError> {
        let (kind, body) = split_type("multicast.type", message)?;
        match kind {
            kind::STREAM => Ok(Self::End(number(body)?)),
            _ if Fragment::is_kind(kind) => Ok(Self::Fragment(Fragment::parse(message)?)),
            _ => Ok(Self::Other(message.clone())),
        }
    }

    /// The message as bytes; that of a parsed fragment is the same again.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Fragment(fragment) => fragment.as_bytes().clone(),
            Self::End(number) => {
                let mut out = Vec::with_capacity(4);
                encode_number(kind::STREAM, *number, &mut out);
                out.into()
            }
            Self::Other(message) => message.clone(),
        }
    }

    /// The number of the fragment, or of the end.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Fragment(fragment) => Some(fragment.number()),
            Self::End(number) => Some(*number),
            Self::Other(_) => None,
        }
    }
}

/// A number up to the end of the message.
fn number(body: &[u8]) -> Result<u64, WireError> {
    match vlu::parse("multicast.fragment", body).map_err(|e| e.within(1))? {
        (number, []) => Ok(number),
        (_, rest) => {
            let offset = 1 + body.len() - rest.len();
            Err(WireError::new("multicast.fragment", offset, Reason::Trailing))
        }
    }
}

fn encode_number(kind: u8, number: u64, out: &mut Vec<u8>) {
    out.push(kind);
    vlu::encode(number, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn control(bytes: &'static [u8], message: MulticastControl) {
        assert_eq!(MulticastControl::parse(&bytes.into()), Ok(message.clone()));
        assert_eq!(message.to_bytes(), bytes);
    }

    #[test]
    fn literal_bytes_of_the_player() {
        use MulticastControl as M;
        control(&[0x23, 0x08], M::Push(0x08));
        control(&[0x2b, 0x81, 0x16], M::Pull(150));
        control(&[0x22, 0x01], M::Map(Map::new(1, vec![])));
        control(&[0x22, 0x14, 0x85, 0x01], M::Map(Map::new(20, vec![0x85, 0x01])));
        control(&[0x21, 0x2b], M::End(0x2b));
        control(&[0x2c, 0x00], M::Other(Bytes::from_static(&[0x2c, 0x00])));
        let end = MulticastData::parse(&Bytes::from_static(&[0x21, 0x2b])).unwrap();
        assert_eq!((end.number(), &end.to_bytes()[..]), (Some(0x2b), &[0x21, 0x2b][..]));
    }

    #[test]
    fn hostile_messages() {
        let reason = |bytes: &'static [u8]| {
            MulticastControl::parse(&Bytes::from_static(bytes)).unwrap_err().reason
        };
        assert_eq!(reason(&[]), Reason::Truncated);
        assert_eq!(reason(&[0x21]), Reason::Truncated);
        assert_eq!(reason(&[0x21, 0x01, 0x02]), Reason::Trailing);
        assert_eq!(reason(&[0x22]), Reason::Truncated);
        assert_eq!(reason(&[0x23]), Reason::Truncated);
        assert_eq!(reason(&[0x23, 1, 2]), Reason::Trailing);
        assert_eq!(reason(&[0x2b, 0xff]), Reason::Truncated);
        assert_eq!(reason(&[0x21; 40]), Reason::Truncated, "a description without end");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            if let Ok(message) = MulticastData::parse(&bytes)
                && let MulticastData::Fragment(_) = message
            {
                prop_assert_eq!(message.to_bytes(), bytes.clone());
            }
            let _ = MulticastControl::parse(&bytes);
        }
    }
}
