//! Certificates (RFC 7425 §4.3).

use super::dh::DhGroup;
use super::{CryptoError, Fingerprint};
use crate::wire::option::{Item, OptionRef, items};
use crate::wire::vlu;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt;

/// The longest certificate that is accepted, in bytes. Static keys in four groups need 1,110.
pub const MAX_CERTIFICATE: usize = 4096;

pub(super) const HOSTNAME: u64 = 0x00;
pub(super) const ACCEPTS_ANCILLARY: u64 = 0x0a;
pub(super) const EXTRA_RANDOMNESS: u64 = 0x0e;
pub(super) const EPHEMERAL_GROUP: u64 = 0x15;
pub(super) const STATIC_KEY: u64 = 0x1d;

/// A parsed certificate with its bytes.
///
/// Two certificates are equal if their bytes are: that is also the condition for a new session to
/// override an old one (§4.3.7). Options after the first marker, and unknown ones, are kept in the
/// bytes and otherwise ignored.
#[derive(Clone)]
pub struct Certificate {
    bytes: Bytes,
    /// Bytes of the canonical section, all of whose options are well-formed.
    canonical_len: usize,
    fingerprint: Fingerprint,
}

impl Certificate {
    /// Reads a certificate, which has no length of its own: it is all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() > MAX_CERTIFICATE {
            return Err(CryptoError::TooLong("certificate"));
        }
        let mut canonical_len = None;
        let mut has_hostname = false;
        let mut items = items(bytes);
        let mut start = 0;
        while let Some(item) = items.next() {
            let end = items.offset();
            match item? {
                Item::Marker => canonical_len = canonical_len.or(Some(start)),
                Item::Option(option) if canonical_len.is_none() => {
                    check_option(option, end)?;
                    if option.kind == HOSTNAME && std::mem::replace(&mut has_hostname, true) {
                        return Err(CryptoError::Duplicate("hostname"));
                    }
                }
                Item::Option(_) => {}
            }
            start = end;
        }
        let canonical_len = canonical_len.unwrap_or(bytes.len());
        let fingerprint = Fingerprint(Sha256::digest(&bytes[..canonical_len]).into());
        Ok(Self { bytes: Bytes::copy_from_slice(bytes), canonical_len, fingerprint })
    }

    /// The values of the options of one kind in the canonical section.
    fn values(&self, kind: u64) -> impl Iterator<Item = &[u8]> + '_ {
        items(&self.bytes[..self.canonical_len]).filter_map(move |item| match item {
            Ok(Item::Option(option)) if option.kind == kind => Some(option.value),
            _ => None,
        })
    }

    /// The numbers of groups and what follows them in the options of one kind.
    fn groups(&self, kind: u64) -> impl Iterator<Item = (u64, &[u8])> + '_ {
        self.values(kind).filter_map(|value| vlu::parse("certificate.group", value).ok())
    }

    /// The bytes as they are on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the canonical section: the peer ID (§4.3.2).
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// True if discriminators with ancillary data (a server's URI) select it (§4.3.3.2).
    pub fn accepts_ancillary(&self) -> bool {
        self.values(ACCEPTS_ANCILLARY).next().is_some()
    }

    /// The hostname option (§4.3.3.1).
    pub fn hostname(&self) -> Option<&[u8]> {
        self.values(HOSTNAME).next()
    }

    /// The groups offered for ephemeral keys, in their order, those that we do not know left out
    /// (§4.3.3.4).
    pub fn ephemeral_groups(&self) -> impl Iterator<Item = DhGroup> + '_ {
        self.groups(EPHEMERAL_GROUP).filter_map(|(id, _)| DhGroup::from_id(id))
    }

    /// The groups of the static keys, in their order, those that we do not know left out
    /// (§4.3.3.5).
    pub fn static_groups(&self) -> impl Iterator<Item = DhGroup> + '_ {
        self.groups(STATIC_KEY).filter_map(|(id, _)| DhGroup::from_id(id))
    }

    /// The static public key in `group`, the first one if there are several. It may have leading
    /// zero bytes and need not be acceptable.
    pub fn static_key(&self, group: DhGroup) -> Option<&[u8]> {
        self.groups(STATIC_KEY).find(|(id, _)| *id == group.id()).map(|(_, key)| key)
    }

    /// Key use of the holder: static keys (`Ok(true)`), ephemeral keys (`Ok(false)`) or
    /// announces both, which the RFC forbids.
    pub(super) fn is_static(&self) -> Result<bool, CryptoError> {
        let has = |kind| self.values(kind).next().is_some();
        match (has(STATIC_KEY), has(EPHEMERAL_GROUP)) {
            (true, true) => Err(CryptoError::ContradictoryCertificate),
            (is_static, _) => Ok(is_static),
        }
    }

    /// True if the holder of this certificate remains the initiator when it and the holder of
    /// `far` open sessions to each other at the same time (glare, §4.3.6).
    pub fn precedes_or_equals(&self, far: &Self) -> bool {
        self.bytes <= far.bytes
    }
}

/// Checks an option of the canonical section that ends at `end`.
fn check_option(option: OptionRef<'_>, end: usize) -> Result<(), CryptoError> {
    if let EPHEMERAL_GROUP | STATIC_KEY = option.kind {
        vlu::parse("certificate.group", option.value)
            .map_err(|e| e.within(end - option.value.len()))?;
    }
    Ok(())
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |kind| self.groups(kind).map(|(id, _)| id).collect::<Vec<_>>();
        f.debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint)
            .field("len", &self.bytes.len())
            .field("accepts_ancillary", &self.accepts_ancillary())
            .field("hostname", &self.hostname().map(String::from_utf8_lossy))
            .field("ephemeral_groups", &ids(EPHEMERAL_GROUP))
            .field("static_groups", &ids(STATIC_KEY))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::option::encode_option;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Certificate {
        Certificate::parse(bytes).unwrap()
    }

    #[test]
    fn a_server_certificate() {
        let bytes =
            [0x01, 0x0a, 0x02, 0x15, 0x02, 0x02, 0x15, 0x0e, 0x02, 0x15, 0x63, 0x03, 0x0e, 7, 8];
        let certificate = parse(&bytes);
        assert!(certificate.accepts_ancillary());
        let groups: Vec<_> = certificate.ephemeral_groups().collect();
        assert_eq!(groups, [DhGroup::Modp2, DhGroup::Modp14]);
        assert_eq!(certificate.static_groups().count(), 0);
        assert_eq!(certificate.is_static(), Ok(false));
        assert_eq!(certificate.hostname(), None);
        assert_eq!(certificate.as_bytes(), bytes);
        assert_eq!(certificate.fingerprint().0[..], Sha256::digest(bytes)[..]);
    }

    #[test]
    fn a_player_certificate() {
        let mut bytes = vec![0x81, 0x02, 0x1d, 0x02];
        bytes.extend_from_slice(&[0x5a; 128]);
        let certificate = parse(&bytes);
        assert!(!certificate.accepts_ancillary());
        assert_eq!(certificate.static_key(DhGroup::Modp2), Some(&[0x5a; 128][..]));
        assert_eq!(certificate.static_key(DhGroup::Modp14), None);
        assert_eq!(certificate.is_static(), Ok(true));
        assert_eq!(certificate.fingerprint().0[..], Sha256::digest(&bytes)[..]);
    }

    #[test]
    fn the_canonical_section_ends_at_the_first_marker() {
        let canonical = [0x02, 0x15, 0x02, 0x02, 0x00, b'h'];
        let mut bytes = canonical.to_vec();
        bytes.extend_from_slice(&[0x00, 0x01, 0x0a, 0x02, 0x15, 0x0e, 0x00, 0x02, 0x00, b'x']);
        let certificate = parse(&bytes);
        assert_eq!(certificate.fingerprint(), parse(&canonical).fingerprint());
        assert_ne!(certificate, parse(&canonical));
        assert!(!certificate.accepts_ancillary());
        assert_eq!(certificate.ephemeral_groups().count(), 1);
        assert_eq!(certificate.hostname(), Some(&b"h"[..]));
        assert_eq!(parse(&[0]).fingerprint(), parse(&[]).fingerprint());
    }

    #[test]
    fn the_first_key_of_a_group_counts() {
        let certificate = parse(&[0x03, 0x1d, 0x02, 7, 0x03, 0x1d, 0x02, 8]);
        assert_eq!(certificate.static_key(DhGroup::Modp2), Some(&[7][..]));
    }

    #[test]
    fn glare_order() {
        let before = |a: &[u8], b: &[u8]| parse(a).precedes_or_equals(&parse(b));
        assert!(before(&[1, 0x0a], &[1, 0x0b]));
        assert!(!before(&[1, 0x0b], &[1, 0x0a]));
        assert!(before(&[1, 0x0a], &[1, 0x0a]), "identical: the near end prevails");
        assert!(before(&[1, 0x0a], &[1, 0x0a, 1, 0x0a]), "the shorter comes first");
        assert!(!before(&[1, 0x0a, 1, 0x0a], &[1, 0x0a]));
    }

    #[test]
    fn hostile_certificates() {
        let long = vec![0; MAX_CERTIFICATE + 1];
        assert_eq!(Certificate::parse(&long).unwrap_err(), CryptoError::TooLong("certificate"));
        let twice = [1, 0x00, 1, 0x00];
        assert_eq!(Certificate::parse(&twice).unwrap_err(), CryptoError::Duplicate("hostname"));
        for bad in [&[5u8, 0x0a][..], &[0x80], &[1, 0x15], &[1, 0x1d], &[2, 0x15, 0x80]] {
            assert!(matches!(Certificate::parse(bad), Err(CryptoError::Wire(_))), "{bad:x?}");
        }
        assert!(Certificate::parse(&[1u8, 0x0a].repeat(65)).is_err(), "too many options");
        let both = parse(&[0x02, 0x15, 0x02, 0x03, 0x1d, 0x02, 7]);
        assert_eq!(both.is_static(), Err(CryptoError::ContradictoryCertificate));
        assert_eq!(parse(&[]).is_static(), Ok(false));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(certificate) = Certificate::parse(&bytes) {
                prop_assert_eq!(certificate.as_bytes(), &bytes[..]);
                let _ = format!("{certificate:?}");
            }
        }

        #[test]
        fn arbitrary_options_never_panic(options: Vec<(u8, Vec<u8>)>) {
            let mut bytes = Vec::new();
            for (kind, value) in &options {
                encode_option(u64::from(kind & 0x1f), value, &mut bytes);
            }
            let _ = Certificate::parse(&bytes);
        }
    }
}
