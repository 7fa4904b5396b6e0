//! Messages of the `GR 1C` flow, which keeps up the relation of two neighbors.

mod hello;
mod report;
mod terse;

pub use hello::{Hello, Proof};
pub use report::{MAX_ADDRESSES, MAX_REPORT, Record, Report};
pub(super) use terse::{ReportRef, ReportWriter};

use crate::crypto::Fingerprint;
use crate::group::feature::split_type;
use crate::group::{GroupId, ReceiveMode};
use crate::wire::WireError;
use bytes::Bytes;

mod kind {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const ACCEPTED: u8 = 0x02;
    pub(super) const REPORT: u8 = 0x0a;
    pub(super) const MEMBER: u8 = 0x0b;
    pub(super) const UNNEEDED: u8 = 0x0c;
    pub(super) const EXACT: u8 = 0x0e;
    pub(super) const NEAREST: u8 = 0x0f;
}

/// A message of the membership flow (`protocol-notes/netgroup-membership.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipMessage {
    /// `01`: first message of the flow, with the proof of membership.
    Hello(Hello),
    /// `02`: the hello is accepted.
    Accepted,
    /// `0A`: members of the group.
    Report(Report),
    /// `0B`: a member. The player ignores it here.
    Member(Fingerprint),
    /// `0C`: the sender does not need this neighbor.
    Unneeded,
    /// `0E`, `0F`: the sender's receive mode.
    Mode(ReceiveMode),
    /// An unknown type, or a known one with an unexpected body. The player ignores it.
    Other(Bytes),
}

impl MembershipMessage {
    /// Parses a message.
    pub fn parse(message: &Bytes) -> Result<Self, WireError> {
        let (kind, body) = split_type("membership.type", message)?;
        let parsed = match (kind, body) {
            (kind::HELLO, _) => Self::Hello(Hello::parse(body).map_err(|e| e.within(1))?),
            (kind::ACCEPTED, []) => Self::Accepted,
            (kind::REPORT, _) => Self::Report(Report::parse(body).map_err(|e| e.within(1))?),
            (kind::UNNEEDED, []) => Self::Unneeded,
            (kind::EXACT, []) => Self::Mode(ReceiveMode::Exact),
            (kind::NEAREST, []) => Self::Mode(ReceiveMode::Nearest),
            (kind::MEMBER, _) => match body.try_into() {
                Ok(fingerprint) => Self::Member(Fingerprint(fingerprint)),
                Err(_) => Self::Other(message.clone()),
            },
            _ => Self::Other(message.clone()),
        };
        Ok(parsed)
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Hello(hello) => {
                out.push(kind::HELLO);
                hello.encode(&mut out);
            }
            Self::Accepted => out.push(kind::ACCEPTED),
            Self::Report(report) => {
                out.reserve_exact(1 + report.encoded_len());
                out.push(kind::REPORT);
                report.encode(&mut out);
            }
            Self::Member(peer) => {
                out.push(kind::MEMBER);
                out.extend_from_slice(&peer.0);
            }
            Self::Unneeded => out.push(kind::UNNEEDED),
            Self::Mode(ReceiveMode::Exact) => out.push(kind::EXACT),
            Self::Mode(ReceiveMode::Nearest) => out.push(kind::NEAREST),
            Self::Other(message) => return message.clone(),
        }
        out.into()
    }

    /// The group for which a hello is, the first message of a membership flow; `None` for any other
    /// message.
    pub fn group_of_hello(message: &Bytes) -> Option<GroupId> {
        match Self::parse(message) {
            Ok(Self::Hello(hello)) => Some(hello.group_id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literal_bytes() {
        let peer = Fingerprint([0x5a; 32]);
        let member = [&[0x0b][..], &[0x5a; 32]].concat();
        for (bytes, message) in [
            (vec![0x02], MembershipMessage::Accepted),
            (vec![0x0c], MembershipMessage::Unneeded),
            (vec![0x0e], MembershipMessage::Mode(ReceiveMode::Exact)),
            (vec![0x0f], MembershipMessage::Mode(ReceiveMode::Nearest)),
            (member, MembershipMessage::Member(peer)),
            (vec![0x03], MembershipMessage::Other(Bytes::from_static(&[0x03]))),
            (vec![0x02, 0x00], MembershipMessage::Other(Bytes::from_static(&[0x02, 0x00]))),
        ] {
            let bytes = Bytes::from(bytes);
            assert_eq!(MembershipMessage::parse(&bytes), Ok(message.clone()));
            assert_eq!(message.to_bytes(), bytes);
            assert_eq!(MembershipMessage::group_of_hello(&bytes), None);
        }
    }

    #[test]
    fn hostile_messages() {
        assert!(MembershipMessage::parse(&Bytes::new()).is_err());
        assert!(MembershipMessage::parse(&Bytes::from_static(&[0x01])).is_err());
        assert!(MembershipMessage::parse(&Bytes::from_static(&[0x0a])).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = MembershipMessage::parse(&bytes.into());
        }
    }
}
