//! Signatures of links: [`LinkKey`] signs, [`LinkSignature`] is what a link carries.
//!
//! A link vouches for its file, and whoever hands it on for the link. With a signature a receiver knows
//! whose file it is, wherever the link comes from: it is by Ed25519 (RFC 8032) over what verifies the
//! content, and its name. Servers and group are not covered, so that a link can be led to another server.
//!
//! The signed bytes are the ASCII text `rtmfp-share signature 1`, a zero byte, and for each value that
//! the link has, in this order: tag (1 byte), length (8 bytes, big endian), value.
//!
//! | tag | value |
//! | --- | --- |
//! | 1 | `descriptor`, 32 bytes |
//! | 2 | `sha256`, 32 bytes |
//! | 3 | `size`, 8 bytes, big endian |
//! | 4 | `chunk`, 8 bytes, big endian, also if it is not written |
//! | 5 | `name`, UTF-8 |

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::super::hash::{Digest256, NotADigest};
use super::{Integrity, ShareLink};

const CONTEXT: &[u8] = b"rtmfp-share signature 1\0";

/// A secret key that signs links.
#[derive(Clone)]
pub struct LinkKey(SigningKey);

impl LinkKey {
    /// The key of these 32 secret bytes, which must be as hard to guess as a key.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&secret))
    }

    /// The public key, by which others know whose links these are.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a link. `None` if it has nothing that verifies the content.
    pub fn sign(&self, link: &ShareLink) -> Option<LinkSignature> {
        let signature = self.sign_bytes(&signed_bytes(link)?);
        Some(LinkSignature { key: self.public(), signature })
    }

    /// Signs bytes, which begin with what they are for.
    pub(in crate::vod) fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({})", self.public())
    }
}

/// The public key of whoever signs; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// True if this is the key's signature of these bytes.
    pub(in crate::vod) fn has_signed(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest256(self.0).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        text.parse().map(|Digest256(bytes)| Self(bytes))
    }
}

/// A signature with the key that made it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkSignature {
    /// The key.
    pub key: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
}

impl LinkSignature {
    /// True if it is the signature of this link.
    pub fn is_of(&self, link: &ShareLink) -> bool {
        signed_bytes(link).is_some_and(|bytes| self.key.has_signed(&bytes, &self.signature))
    }
}

impl fmt::Debug for LinkSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkSignature by {}", self.key)
    }
}

/// What is signed; `None` if nothing verifies the content.
fn signed_bytes(link: &ShareLink) -> Option<Vec<u8>> {
    let mut bytes = CONTEXT.to_vec();
    let mut value = |tag: u8, value: &[u8]| {
        bytes.push(tag);
        bytes.extend((value.len() as u64).to_be_bytes());
        bytes.extend(value);
    };
    match &link.integrity {
        Integrity::Descriptor(digest) => value(1, &digest.0),
        Integrity::File { sha256, size, chunk_size } => {
            value(2, &sha256.0);
            value(3, &size.to_be_bytes());
            value(4, &u64::from(*chunk_size).to_be_bytes());
        }
        Integrity::None => return None,
    }
    link.name.iter().for_each(|name| value(5, name.as_bytes()));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(integrity: &str) -> ShareLink {
        let link = "rtmfp-share://192.0.2.7/1/group=G:0102010c050e66696c6d00";
        format!("{link}{integrity}/name=film.mp4").parse().unwrap()
    }

    fn by_descriptor() -> ShareLink {
        link(&format!("/descriptor={}", Digest256::of(b"it")))
    }

    fn key(byte: u8) -> LinkKey {
        LinkKey::new([byte; 32])
    }

    #[test]
    fn the_signed_bytes_are_those_of_the_table() {
        let mut expected = b"rtmfp-share signature 1\0".to_vec();
        expected.extend(b"\x01\0\0\0\0\0\0\0\x20");
        expected.extend(Digest256::of(b"it").0);
        expected.extend(b"\x05\0\0\0\0\0\0\0\x08film.mp4");
        assert_eq!(signed_bytes(&by_descriptor()), Some(expected));
    }

    #[test]
    fn a_signature_is_of_its_content_and_name_alone() {
        let mut signed = by_descriptor();
        signed.signature = key(1).sign(&signed);
        let again: ShareLink = signed.to_string().parse().unwrap();
        assert_eq!(again, signed);
        assert_eq!(again.signature.unwrap().key, key(1).public());
        // Another server does not matter.
        signed.servers.clear();
        assert!(signed.to_string().parse::<ShareLink>().is_ok());
        let changes: [fn(&mut ShareLink); 4] = [
            |link| link.name = Some("film.mp5".into()),
            |link| link.name = None,
            |link| link.integrity = Integrity::Descriptor(Digest256::of(b"other")),
            |link| link.signature.as_mut().unwrap().key = key(2).public(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = signed.clone();
            change(&mut changed);
            let error = changed.to_string().parse::<ShareLink>().unwrap_err().to_string();
            assert!(error.contains("signature"), "change {number}: {error}");
        }
        signed.signature.as_mut().unwrap().signature[5] ^= 1;
        assert!(signed.to_string().parse::<ShareLink>().is_err());
    }

    #[test]
    fn the_number_form_is_signed_too_and_what_is_not_verified_is_not() {
        let mut number = link(&format!("/sha256={}/size=5", Digest256::of(b"it")));
        number.signature = key(1).sign(&number);
        assert!(number.to_string().parse::<ShareLink>().is_ok());
        assert!(key(1).sign(&link("")).is_none());
        let mut nothing = link("");
        nothing.signature = number.signature;
        assert!(nothing.to_string().parse::<ShareLink>().is_err());
        let half = number.to_string().replace("/signature=", "/other=");
        assert!(half.parse::<ShareLink>().is_err(), "a key without a signature");
    }

    #[test]
    fn keys_that_anything_verifies_with_are_refused() {
        // The neutral element of the curve.
        let mut weak = [0; 32];
        weak[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let forged = LinkSignature { key: PublicKey(weak), signature };
        assert!(!forged.is_of(&by_descriptor()));
    }
}
