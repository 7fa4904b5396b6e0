//! The `GC` flows, on which a client joins groups at its server: messages and the group's identity
//! (`protocol-notes/netgroup-membership.md`).
//!
//! No RTMP header and no timestamp: a type byte, then the body.

use crate::crypto::Fingerprint;
use crate::wire::option::{self, Item};
use crate::wire::{Reason, WireError};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt;

/// User metadata of the flows between a member and the server.
pub const SERVER_METADATA: [u8; 2] = *b"GC";

const JOIN: u8 = 0x01;
const CONNECT: u8 = 0x0b;
const HINT: u8 = 0x1b;

const CANONICAL_TEXT: u64 = 0x10;
const GROUP_ID: u64 = 0x15;

/// The longest canonical text that is accepted in a join message, in bytes.
pub const MAX_CANONICAL_TEXT: usize = 16 * 1024;

/// The identity of a group: the hash of its canonical text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub [u8; 32]);

impl GroupId {
    /// The identity of a version 1 group, the only one a server can compute from the text form of
    /// the join message: SHA-256 of the canonical text.
    pub fn of_canonical_text(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of the group in a join message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinKey {
    /// Option 0x10: the canonical text (Flash Player 10.3 and older, version 1 groups).
    CanonicalText(Bytes),
    /// Option 0x15: the group ID (later players).
    GroupId(GroupId),
}

impl JoinKey {
    /// The group's identity. The server hashes the text form.
    pub fn group_id(&self) -> GroupId {
        match self {
            Self::CanonicalText(text) => GroupId::of_canonical_text(text),
            Self::GroupId(id) => *id,
        }
    }
}

/// A message between a member and the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerMessage {
    /// `01`, member to server: join.
    Join(JoinKey),
    /// `0B`, server to member: connect to this member now.
    Connect(Fingerprint),
    /// `1B`, server to member: this is a member; connect if it is needed.
    Hint(Fingerprint),
    /// Any other type. The player ignores it.
    Other(Bytes),
}

impl ServerMessage {
    /// Parses a message. Unknown options of a join are ignored.
    pub fn parse(message: &Bytes) -> Result<Self, WireError> {
        let (&kind, body) =
            message.split_first().ok_or(WireError::new("server.type", 0, Reason::Truncated))?;
        Ok(match kind {
            JOIN => Self::Join(parse_key(message, body).map_err(|e| e.within(1))?),
            CONNECT => Self::Connect(fingerprint(body)?),
            HINT => Self::Hint(fingerprint(body)?),
            _ => Self::Other(message.clone()),
        })
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Join(key) => {
                out.push(JOIN);
                match key {
                    JoinKey::CanonicalText(text) => {
                        option::encode_option(CANONICAL_TEXT, text, &mut out);
                    }
                    JoinKey::GroupId(id) => option::encode_option(GROUP_ID, &id.0, &mut out),
                }
            }
            Self::Connect(peer) => out.extend([CONNECT].iter().chain(&peer.0)),
            Self::Hint(peer) => out.extend([HINT].iter().chain(&peer.0)),
            Self::Other(message) => return message.clone(),
        }
        out.into()
    }
}

fn parse_key(message: &Bytes, body: &[u8]) -> Result<JoinKey, WireError> {
    let invalid = |reason| WireError::new("join.group", 0, reason);
    for item in option::items(body) {
        let Item::Option(o) = item? else { break };
        match o.kind {
            CANONICAL_TEXT if o.value.len() > MAX_CANONICAL_TEXT => {
                return Err(invalid(Reason::TooLarge));
            }
            CANONICAL_TEXT => return Ok(JoinKey::CanonicalText(message.slice_ref(o.value))),
            GROUP_ID => {
                let id = o.value.try_into().map_err(|_| invalid(Reason::Invalid))?;
                return Ok(JoinKey::GroupId(GroupId(id)));
            }
            _ => {}
        }
    }
    Err(invalid(Reason::Invalid))
}

fn fingerprint(body: &[u8]) -> Result<Fingerprint, WireError> {
    let error = WireError::new("server.fingerprint", 1, Reason::Invalid);
    body.try_into().map(Fingerprint).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_join_forms_name_the_same_group() {
        // What Flash Player 10.3 sends for a version 1 group.
        let bytes = Bytes::from_static(b"\x01\x11\x10G:0102010c020e74");
        let text = ServerMessage::parse(&bytes).unwrap();
        assert_eq!(text.to_bytes(), bytes);
        let ServerMessage::Join(key) = text else { panic!() };
        let hashed = ServerMessage::Join(JoinKey::GroupId(key.group_id()));
        assert_eq!(hashed.to_bytes()[..3], [0x01, 0x21, 0x15]);
        let ServerMessage::Join(again) = ServerMessage::parse(&hashed.to_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!(again.group_id(), key.group_id());
    }

    #[test]
    fn introductions() {
        let peer = Fingerprint([9; 32]);
        for (message, kind) in
            [(ServerMessage::Connect(peer), 0x0b), (ServerMessage::Hint(peer), 0x1b)]
        {
            let bytes = message.to_bytes();
            assert_eq!((bytes[0], bytes.len()), (kind, 33));
            assert_eq!(ServerMessage::parse(&bytes), Ok(message));
        }
        let other = Bytes::from_static(&[0x0d, 1, 2]);
        assert_eq!(ServerMessage::parse(&other), Ok(ServerMessage::Other(other.clone())));
    }

    #[test]
    fn hostile_messages() {
        for bytes in [&[][..], &[0x01], &[0x01, 0x02, 0x15, 0x00], &[0x0b, 1], &[0x01, 0x05, 0x10]]
        {
            assert!(ServerMessage::parse(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = ServerMessage::parse(&bytes.into());
        }
    }
}
