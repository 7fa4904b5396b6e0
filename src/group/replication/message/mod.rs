//! Messages of the `GR 15` flow: announcements, requests and objects.

mod range_list;

pub use range_list::{MAX_LIST_RANGES, RangeList};

use crate::group::feature::split_type;
use crate::transport::QueueOrder;
use crate::wire::{Reason, WireError, vlu};
use bytes::Bytes;

mod kind {
    pub(super) const HAVE: u8 = 0x10;
    pub(super) const UNHAVE: u8 = 0x11;
    pub(super) const INTERESTED: u8 = 0x14;
    pub(super) const NOT_INTERESTED: u8 = 0x15;
    pub(super) const CHOKE: u8 = 0x16;
    pub(super) const UNCHOKE: u8 = 0x17;
    pub(super) const OBJECT: u8 = 0x18;
    pub(super) const DENY: u8 = 0x19;
    pub(super) const REQUEST: u8 = 0x1a;
}

/// A message of object replication (`protocol-notes/object-replication.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplicationMessage {
    /// `10`: the sender has these. The first message on the flow lists all that it has.
    Have(RangeList),
    /// `11`: the sender no longer has these, or wants them.
    Unhave(RangeList),
    /// `14`: the receiver has something that the sender wants.
    Interested,
    /// `15`: the receiver no longer has anything that the sender wants.
    NotInterested,
    /// `16`: the sender will not answer requests.
    Choke,
    /// `17`: the sender answers requests.
    Unchoke,
    /// `18`: an object, the answer to a request.
    Object {
        /// The index.
        index: u64,
        /// Its AMF value, encoded.
        value: Bytes,
    },
    /// `19`: the request for this object is refused.
    Deny(u64),
    /// `1A`: a request for this object.
    Request(u64),
    /// An unknown type. The player ignores it.
    Other(Bytes),
}

impl ReplicationMessage {
    /// Parses a message. The value of an object is not copied.
    pub fn parse(message: Bytes) -> Result<Self, WireError> {
        let (kind, body) = split_type("replication.type", &message)?;
        let parsed = match kind {
            kind::HAVE => Self::Have(RangeList::parse(body).map_err(|e| e.within(1))?),
            kind::UNHAVE => Self::Unhave(RangeList::parse(body).map_err(|e| e.within(1))?),
            kind::INTERESTED if body.is_empty() => Self::Interested,
            kind::NOT_INTERESTED if body.is_empty() => Self::NotInterested,
            kind::CHOKE if body.is_empty() => Self::Choke,
            kind::UNCHOKE if body.is_empty() => Self::Unchoke,
            kind::OBJECT => {
                let (index, value) = index(body)?;
                Self::Object { index, value: message.slice_ref(value) }
            }
            kind::DENY => Self::Deny(last_index(body)?),
            kind::REQUEST => Self::Request(last_index(body)?),
            _ => Self::Other(message),
        };
        Ok(parsed)
    }

    /// Objects let short messages pass: what is requested late arrives late. A choke stays behind
    /// the answers that were due, and what is lost behind what was announced.
    pub(crate) const fn order(&self) -> QueueOrder {
        match self {
            Self::Object { .. } => QueueOrder::Yields,
            Self::Have(_) | Self::Interested | Self::NotInterested => QueueOrder::Overtakes,
            Self::Unchoke | Self::Deny(_) | Self::Request(_) => QueueOrder::Overtakes,
            Self::Unhave(_) | Self::Choke | Self::Other(_) => QueueOrder::Queued,
        }
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(16);
        match self {
            Self::Have(list) => encode_list(kind::HAVE, list, &mut out),
            Self::Unhave(list) => encode_list(kind::UNHAVE, list, &mut out),
            Self::Interested => out.push(kind::INTERESTED),
            Self::NotInterested => out.push(kind::NOT_INTERESTED),
            Self::Choke => out.push(kind::CHOKE),
            Self::Unchoke => out.push(kind::UNCHOKE),
            Self::Object { index, value } => {
                out.reserve_exact(1 + vlu::MAX_LEN + value.len());
                encode_index(kind::OBJECT, *index, &mut out);
                out.extend_from_slice(value);
            }
            Self::Deny(index) => encode_index(kind::DENY, *index, &mut out),
            Self::Request(index) => encode_index(kind::REQUEST, *index, &mut out),
            Self::Other(message) => return message.clone(),
        }
        out.into()
    }
}

fn index(body: &[u8]) -> Result<(u64, &[u8]), WireError> {
    vlu::parse("replication.index", body).map_err(|e| e.within(1))
}

fn last_index(body: &[u8]) -> Result<u64, WireError> {
    match index(body)? {
        (index, []) => Ok(index),
        (_, rest) => {
            let offset = 1 + body.len() - rest.len();
            Err(WireError::new("replication.index", offset, Reason::Trailing))
        }
    }
}

fn encode_list(kind: u8, list: &RangeList, out: &mut Vec<u8>) {
    out.push(kind);
    list.encode(out);
}

fn encode_index(kind: u8, index: u64, out: &mut Vec<u8>) {
    out.push(kind);
    vlu::encode(index, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &'static [u8], message: ReplicationMessage) {
        assert_eq!(ReplicationMessage::parse(bytes.into()), Ok(message.clone()));
        assert_eq!(message.to_bytes(), bytes);
    }

    #[test]
    fn literal_bytes_of_the_player() {
        use ReplicationMessage as M;
        check(&[0x10], M::Have(RangeList::default()));
        check(&[0x11, 0x07], M::Unhave(RangeList::change(7..=7)));
        check(&[0x11, 0x32, 0x02], M::Unhave(RangeList::change(50..=52)));
        check(&[0x14], M::Interested);
        check(&[0x15], M::NotInterested);
        check(&[0x16], M::Choke);
        check(&[0x17], M::Unchoke);
        check(&[0x1a, 0x81, 0x16], M::Request(150));
        check(&[0x19, 0x0f], M::Deny(15));
        let value = Bytes::from_static(b"\x02\x00\x01v");
        check(b"\x18\x03\x02\x00\x01v", M::Object { index: 3, value });
        check(&[0x1b, 0x00], M::Other(Bytes::from_static(&[0x1b, 0x00])));
    }

    #[test]
    fn hostile_messages() {
        let reason =
            |bytes: &'static [u8]| ReplicationMessage::parse(bytes.into()).unwrap_err().reason;
        assert_eq!(reason(&[]), Reason::Truncated);
        assert_eq!(reason(&[0x10, 0x80]), Reason::Truncated);
        assert_eq!(reason(&[0x18]), Reason::Truncated);
        assert_eq!(reason(&[0x18, 0xff]), Reason::Truncated);
        assert_eq!(reason(&[0x1a]), Reason::Truncated);
        assert_eq!(reason(&[0x1a, 0x01, 0x02]), Reason::Trailing);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = ReplicationMessage::parse(bytes.into());
        }
    }
}
