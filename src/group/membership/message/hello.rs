//! The hello: the first message on each side's `GR 1C` flow, with the proof of membership.

use crate::crypto::Fingerprint;
use crate::group::address::EPD_PREFIX;
use crate::group::groupspec::encode_hex;
use crate::group::{GroupId, GroupSpec};
use crate::wire::option::{self, Item, encode_option};
use crate::wire::{RawOption, Reason, WireError};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const GROUP_ID: u64 = 0x00;
const PROOF: u64 = 0x01;
const RECEIVER: u64 = 0x03;

/// Proof that the sender of a hello knows the canonical text:
/// `HMAC-SHA256(canonical text, nonce)`, where the nonce is the sender's far nonce and the receiver's
/// near nonce (RFC 7425 §4.6.5). Bound to the session and to the direction.
#[derive(Clone, Copy, Debug)]
pub struct Proof(pub [u8; 32]);

impl Proof {
    /// The proof for `nonce`, the far nonce of the sender.
    pub fn new(spec: &GroupSpec, nonce: &[u8; 32]) -> Self {
        // HMAC takes a key of any length, so this cannot fail.
        let mac = Hmac::<Sha256>::new_from_slice(spec.canonical_text().as_bytes());
        Self(mac.map_or([0; 32], |mac| mac.chain_update(nonce).finalize().into_bytes().into()))
    }
}

/// Compared in constant time.
impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Proof {}

/// The first message of a membership flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The group; written as 64 lower-case hexadecimal digits, read in either case.
    pub group_id: GroupId,
    /// The sender's proof.
    pub proof: Proof,
    /// The receiver's fingerprint.
    pub receiver: Fingerprint,
    /// Unknown options, in order.
    pub unknown: Vec<RawOption>,
}

impl Hello {
    /// A hello for `receiver`; `far_nonce` is the session's nonce of that direction.
    pub fn new(spec: &GroupSpec, far_nonce: &[u8; 32], receiver: Fingerprint) -> Self {
        let proof = Proof::new(spec, far_nonce);
        Self { group_id: spec.group_id(), proof, receiver, unknown: Vec::new() }
    }

    /// Reads the body, after the type byte.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let (mut group_id, mut proof, mut receiver) = (None, None, None);
        let mut unknown = Vec::new();
        for item in option::items(body) {
            let Item::Option(o) = item? else { break };
            match o.kind {
                GROUP_ID => group_id = Some(parse_group_id(o.value)?),
                PROOF => proof = o.value.try_into().ok().map(Proof),
                RECEIVER => {
                    let fingerprint = o.value.strip_prefix(&EPD_PREFIX);
                    receiver = fingerprint.and_then(|f| f.try_into().ok()).map(Fingerprint);
                }
                kind => {
                    unknown.push(RawOption { kind, value: Bytes::copy_from_slice(o.value) });
                }
            }
        }
        let missing = |field| WireError::new(field, 0, Reason::Invalid);
        Ok(Self {
            group_id: group_id.ok_or(missing("hello.group_id"))?,
            proof: proof.ok_or(missing("hello.proof"))?,
            receiver: receiver.ok_or(missing("hello.receiver"))?,
            unknown,
        })
    }

    /// Appends the body, without the type byte.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_option(GROUP_ID, encode_hex(&self.group_id.0).as_bytes(), out);
        encode_option(PROOF, &self.proof.0, out);
        let epd = [&EPD_PREFIX[..], &self.receiver.0].concat();
        encode_option(RECEIVER, &epd, out);
        for option in &self.unknown {
            encode_option(option.kind, &option.value, out);
        }
    }
}

/// 64 hexadecimal digits, parsed like a fingerprint.
fn parse_group_id(text: &[u8]) -> Result<GroupId, WireError> {
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse::<Fingerprint>().ok());
    let id = parsed.ok_or(WireError::new("hello.group_id", 0, Reason::Invalid))?;
    Ok(GroupId(id.0))
}

#[cfg(test)]
mod tests {
    use super::super::MembershipMessage;
    use super::*;

    fn nonce(key: &[u8], data: &[u8]) -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(data)
            .finalize()
            .into_bytes()
            .into()
    }

    #[test]
    fn proof_vector() {
        let spec = GroupSpec::parse("G:027f0201010103010c050e74657374011b00").unwrap();
        let secret = [0x11; 128];
        let by_initiator = Proof::new(&spec, &nonce(&secret, &[0x33; 73]));
        let by_responder = Proof::new(&spec, &nonce(&secret, &[0x22; 76]));
        assert_eq!(
            encode_hex(&by_initiator.0),
            "9d3f944affd06693e39958759dc17e258fc8778ddc6232f33922dd90a6234449"
        );
        assert_eq!(
            encode_hex(&by_responder.0),
            "f49ce6c5014462b5822d156b3da732d5ae6684a93503e1be2f66ff231806770a"
        );
        assert_ne!(by_initiator, by_responder);
    }

    #[test]
    fn a_hello_has_137_bytes() {
        let spec = GroupSpec::parse("G:0102010c020e7400").unwrap();
        let hello = Hello::new(&spec, &[5; 32], Fingerprint([6; 32]));
        let bytes = MembershipMessage::Hello(hello.clone()).to_bytes();
        assert_eq!(bytes.len(), 137);
        assert_eq!(bytes[..3], [0x01, 0x41, 0x00]);
        assert_eq!(bytes[67..69], [0x21, 0x01]);
        assert_eq!(bytes[101..105], [0x23, 0x03, 0x21, 0x0f]);
        assert_eq!(Hello::parse(&bytes[1..]), Ok(hello.clone()));

        let mut upper = bytes[1..].to_vec();
        upper[2..66].make_ascii_uppercase();
        assert_eq!(Hello::parse(&upper), Ok(hello));
    }

    #[test]
    fn hostile_hellos() {
        let spec = GroupSpec::parse("G:0102010c020e7400").unwrap();
        let mut body = Vec::new();
        Hello::new(&spec, &[5; 32], Fingerprint([6; 32])).encode(&mut body);
        for cut in 0..body.len() {
            assert!(Hello::parse(&body[..cut]).is_err(), "{cut}");
        }
        let mut wrong = body.clone();
        wrong[10] = b'g';
        assert!(Hello::parse(&wrong).is_err());
        let mut not_a_peer = body.clone();
        not_a_peer[103] = 0x0d;
        assert!(Hello::parse(&not_a_peer).is_err());
        body.extend_from_slice(&[0x02, 0x42, 0x17]);
        let with_more = Hello::parse(&body).unwrap();
        assert_eq!(with_more.unknown[0].kind, 0x42);
        let mut again = Vec::new();
        with_more.encode(&mut again);
        assert_eq!(again, body);
    }
}
