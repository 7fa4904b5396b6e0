//! Messages of the `GR 18` flow. Those of the `GR 19` flow are bare values.

use crate::group::PostKey;
use crate::group::feature::split_type;
use crate::wire::WireError;
use bytes::Bytes;

/// The type bytes of the messages.
mod kind {
    pub(super) const ANNOUNCE: u8 = 0x30;
    pub(super) const REQUEST: u8 = 0x3a;
    pub(super) const NEGATIVE: u8 = 0x3e;
}

/// The body of a message that carries keys, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyList(Bytes);

impl KeyList {
    /// Every whole key. Bytes after the last one are ignored, as the player does.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = PostKey> + '_ {
        self.0.as_chunks::<{ PostKey::LEN }>().0.iter().map(|key| PostKey(*key))
    }

    /// The key, if the body is exactly one. The player answers a request with another body
    /// negatively.
    pub fn single(&self) -> Option<PostKey> {
        self.0.as_ref().try_into().ok().map(PostKey)
    }
}

impl FromIterator<PostKey> for KeyList {
    fn from_iter<I: IntoIterator<Item = PostKey>>(keys: I) -> Self {
        Self(keys.into_iter().flat_map(|key| key.0).collect())
    }
}

impl From<PostKey> for KeyList {
    fn from(key: PostKey) -> Self {
        Self(Bytes::copy_from_slice(&key.0))
    }
}

/// A message about keys (`protocol-notes/netgroup-posting.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostingMessage {
    /// `30`: the sender has the values with these keys.
    Announce(KeyList),
    /// `3A`: a request for the value with this key, of which there is one.
    Request(KeyList),
    /// `3E`: the answer to a request for a value that the sender does not have. It repeats the body
    /// of the request.
    Negative(KeyList),
    /// An unknown type. The player ignores it.
    Other(Bytes),
}

impl PostingMessage {
    /// Parses a message. Nothing is copied.
    pub fn parse(message: Bytes) -> Result<Self, WireError> {
        let (kind, body) = split_type("posting.type", &message)?;
        let body = KeyList(message.slice_ref(body));
        Ok(match kind {
            kind::ANNOUNCE => Self::Announce(body),
            kind::REQUEST => Self::Request(body),
            kind::NEGATIVE => Self::Negative(body),
            _ => Self::Other(message),
        })
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Bytes {
        let (kind, KeyList(body)) = match self {
            Self::Announce(body) => (kind::ANNOUNCE, body),
            Self::Request(body) => (kind::REQUEST, body),
            Self::Negative(body) => (kind::NEGATIVE, body),
            Self::Other(message) => return message.clone(),
        };
        let mut out = Vec::with_capacity(1 + body.len());
        out.push(kind);
        out.extend_from_slice(body);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Reason;
    use proptest::prelude::*;

    const KEY: PostKey = PostKey(*b"\x77\xbe\xa4\xd6\xc8\xbd\x33\x66");

    fn check(bytes: &'static [u8], message: PostingMessage) {
        assert_eq!(PostingMessage::parse(bytes.into()), Ok(message.clone()));
        assert_eq!(message.to_bytes(), bytes);
    }

    #[test]
    fn literal_bytes_of_the_player() {
        use PostingMessage as M;
        check(b"\x3a\x77\xbe\xa4\xd6\xc8\xbd\x33\x66", M::Request(KEY.into()));
        check(b"\x3e\x77\xbe\xa4\xd6\xc8\xbd\x33\x66", M::Negative(KEY.into()));
        let other = PostKey(*b"\x06\xdb\x8e\xf0\x07\x7d\x4d\xc4");
        check(
            b"\x30\x77\xbe\xa4\xd6\xc8\xbd\x33\x66\x06\xdb\x8e\xf0\x07\x7d\x4d\xc4",
            M::Announce([KEY, other].into_iter().collect()),
        );
        check(b"\x31\x77", M::Other(Bytes::from_static(b"\x31\x77")));
    }

    #[test]
    fn keys_of_another_length() {
        let list = |bytes: &'static [u8]| KeyList(Bytes::from_static(bytes));
        assert_eq!(list(b"").keys().count(), 0);
        assert_eq!(list(b"\x2a\x85\xaa\x9c\x24").keys().count(), 0);
        let long = list(b"\x77\xbe\xa4\xd6\xc8\xbd\x33\x66\xb4\0\0\0");
        assert_eq!((long.keys().collect::<Vec<_>>(), long.single()), (vec![KEY], None));
        assert_eq!(list(&KEY.0).single(), Some(KEY));
    }

    #[test]
    fn hostile_messages() {
        let empty = PostingMessage::parse(Bytes::new()).unwrap_err();
        assert_eq!(empty.reason, Reason::Truncated);
    }

    proptest! {
        #[test]
        fn whatever_was_read_is_written_again(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
            let message = PostingMessage::parse(bytes.clone().into()).unwrap();
            prop_assert_eq!(message.to_bytes(), bytes);
        }
    }
}
