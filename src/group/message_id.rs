//! [`MessageId`] and [`PostKey`]: the identity of a posted value.

use super::groupspec::encode_hex;
use crate::text::hex_bytes;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The identity of a posted value: SHA-256 of its encoded form. Flash's `messageID` is its text, 64
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub [u8; 32]);

impl MessageId {
    /// The identity of an encoded value.
    pub fn of(value: &[u8]) -> Self {
        Self(Sha256::digest(value).into())
    }

    /// The key by which members announce and request the value.
    pub fn key(&self) -> PostKey {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        PostKey([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A text that is not the ID of a posted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message ID has 64 hexadecimal digits")]
pub struct ParseMessageIdError;

impl FromStr for MessageId {
    type Err = ParseMessageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex_bytes(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseMessageIdError)
    }
}

/// The first 8 bytes of a [`MessageId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostKey(pub [u8; PostKey::LEN]);

impl PostKey {
    /// Bytes of a key.
    pub const LEN: usize = 8;
}

impl fmt::Display for PostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for PostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The player posted "a1".
    #[test]
    fn the_key_is_the_beginning_of_the_id() {
        let id = MessageId::of(b"\x02\x00\x02a1");
        let text = "77bea4d6c8bd33667fc5ff2ea66b89c1f0410d88d4c39e9079c55766531b9f01";
        assert_eq!((id.to_string().as_str(), text.parse()), (text, Ok(id)));
        assert_eq!(id.key().to_string(), "77bea4d6c8bd3366");
        for wrong in ["", "77", &text[1..], &text.replace('7', "g"), &format!("{text}00")] {
            assert_eq!(wrong.parse::<MessageId>(), Err(ParseMessageIdError));
        }
    }
}
