//! The near end's certificate with the private keys behind it (RFC 7425 §4.3).

use super::certificate::{
    ACCEPTS_ANCILLARY, EPHEMERAL_GROUP, EXTRA_RANDOMNESS, HOSTNAME, STATIC_KEY,
};
use super::dh::{DhGroup, PrivateKey};
use super::{Certificate, CryptoError, Fingerprint, KeyingRandom};
use crate::wire::option::{encode_option, encode_vlu_option};
use crate::wire::vlu;
use rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

/// The first bytes of a saved identity: a name and a version.
const SAVED_MAGIC: &[u8] = b"RTMFP-ID\x01";

/// Source of an endpoint's Diffie-Hellman keys in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyStyle {
    /// A new key for each session: forward secrecy, a small certificate, but a peer ID that others
    /// can claim. RFC 7425 §7 recommends it for servers.
    #[default]
    Ephemeral,
    /// Keys in the certificate: nobody else can claim the peer ID. Flash Player does this and RFC
    /// 7425 §7 recommends it for clients.
    Static,
}

/// Parameters of a new identity.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IdentityConfig {
    /// Static or ephemeral keys.
    pub keys: KeyStyle,
    /// The groups, most compatible first. Flash Player needs group 2 among them.
    pub groups: Vec<DhGroup>,
    /// A URI selects the endpoint. A server needs it: Flash Player ignores servers without.
    pub accepts_ancillary: bool,
    /// The hostname option.
    pub hostname: Option<String>,
    /// Random bytes that make an ephemeral certificate unique, 16 to 64; other values are moved to
    /// the nearer bound. Static certificates are unique by their keys and have none.
    pub randomness_len: usize,
}

impl Default for IdentityConfig {
    /// Ephemeral keys in groups 2 and 14, selected by any URI, 32 random bytes: a certificate of
    /// 42 bytes.
    fn default() -> Self {
        Self {
            keys: KeyStyle::Ephemeral,
            groups: vec![DhGroup::Modp2, DhGroup::Modp14],
            accepts_ancillary: true,
            hostname: None,
            randomness_len: 32,
        }
    }
}

impl IdentityConfig {
    /// The certificate of a Flash Player: a static key in group 2 and nothing else, 132 bytes. No
    /// program is known that does not take it, and some take no other (librtmfp, MonaServer 1.x).
    pub fn like_a_player() -> Self {
        Self {
            keys: KeyStyle::Static,
            groups: vec![DhGroup::Modp2],
            accepts_ancillary: false,
            ..Self::default()
        }
    }
}

/// A certificate of the near end with its private keys.
pub struct Identity {
    certificate: Certificate,
    groups: Vec<DhGroup>,
    static_keys: Vec<PrivateKey>,
}

impl Identity {
    /// A new identity. With static keys this costs a power of the generator per group.
    ///
    /// # Panics
    ///
    /// If the configuration makes a certificate beyond the limits of [`Certificate::parse`], which
    /// takes a hostname of thousands of bytes or a group list with repetitions, or if `rng` is
    /// broken.
    pub fn generate(config: &IdentityConfig, rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = Vec::new();
        let mut static_keys = Vec::new();
        if config.accepts_ancillary {
            encode_option(ACCEPTS_ANCILLARY, &[], &mut bytes);
        }
        if let Some(hostname) = &config.hostname {
            encode_option(HOSTNAME, hostname.as_bytes(), &mut bytes);
        }
        match config.keys {
            KeyStyle::Ephemeral => {
                for group in &config.groups {
                    encode_vlu_option(EPHEMERAL_GROUP, group.id(), &mut bytes);
                }
                let mut randomness = vec![0; config.randomness_len.clamp(16, 64)];
                rng.fill_bytes(&mut randomness);
                encode_option(EXTRA_RANDOMNESS, &randomness, &mut bytes);
            }
            KeyStyle::Static => {
                for group in &config.groups {
                    let key = PrivateKey::generate(*group, &KeyingRandom::from_rng(rng))
                        .expect("2^x of a random x is acceptable");
                    let mut value = Vec::new();
                    vlu::encode(group.id(), &mut value);
                    value.extend_from_slice(key.public());
                    encode_option(STATIC_KEY, &value, &mut bytes);
                    static_keys.push(key);
                }
            }
        }
        let certificate = Certificate::parse(&bytes).expect("within the limits of a certificate");
        Self { certificate, groups: config.groups.clone(), static_keys }
    }

    /// The certificate that goes out.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The peer ID of this identity.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    /// True if the keys are in the certificate.
    pub fn key_style(&self) -> KeyStyle {
        if self.static_keys.is_empty() { KeyStyle::Ephemeral } else { KeyStyle::Static }
    }

    /// The groups in which this identity can key, in the order of the certificate.
    pub fn groups(&self) -> &[DhGroup] {
        &self.groups
    }

    pub(super) fn static_key(&self, group: DhGroup) -> Option<&PrivateKey> {
        self.static_keys.iter().find(|key| key.group() == group)
    }

    /// The identity as bytes for [`restore`](Self::restore): the certificate and, in the clear,
    /// the static private keys.
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let secret_len: usize = self.static_keys.iter().map(|k| k.exponent().len() + 4).sum();
        let len = SAVED_MAGIC.len() + self.certificate.as_bytes().len() + 4 + secret_len;
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(SAVED_MAGIC);
        vlu::encode_prefixed(self.certificate.as_bytes(), &mut bytes);
        for key in &self.static_keys {
            vlu::encode(key.group().id(), &mut bytes);
            vlu::encode_prefixed(key.exponent(), &mut bytes);
        }
        bytes
    }

    /// An identity from the bytes that [`save`](Self::save) made.
    ///
    /// # Errors
    ///
    /// [`CryptoError::SavedIdentity`] or a more specific error if the bytes are anything else, or
    /// if the private keys do not belong to the certificate.
    pub fn restore(bytes: &[u8]) -> Result<Self, CryptoError> {
        let rest = bytes.strip_prefix(SAVED_MAGIC).ok_or(CryptoError::SavedIdentity)?;
        let (certificate, mut rest) = vlu::parse_prefixed("identity.certificate", rest)?;
        let certificate = Certificate::parse(certificate)?;
        let mut static_keys = Vec::new();
        while !rest.is_empty() {
            let (group, after) = vlu::parse("identity.group", rest)?;
            let (exponent, after) = vlu::parse_prefixed("identity.exponent", after)?;
            rest = after;
            let group = DhGroup::from_id(group).ok_or(CryptoError::UnsupportedGroup(group))?;
            let key = PrivateKey::from_exponent(group, Zeroizing::new(exponent.to_vec()))?;
            if certificate.static_key(group) != Some(key.public()) {
                return Err(CryptoError::SavedIdentity);
            }
            static_keys.push(key);
        }
        let groups: Vec<_> =
            certificate.static_groups().chain(certificate.ephemeral_groups()).collect();
        if certificate.static_groups().count() != static_keys.len() {
            return Err(CryptoError::SavedIdentity);
        }
        Ok(Self { certificate, groups, static_keys })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests_rng;

    fn generate(keys: KeyStyle, groups: &[DhGroup]) -> Identity {
        let config = IdentityConfig { keys, groups: groups.to_vec(), ..Default::default() };
        Identity::generate(&config, &mut tests_rng(1))
    }

    #[test]
    fn the_default_certificate_suits_a_flash_player() {
        let identity = Identity::generate(&IdentityConfig::default(), &mut tests_rng(1));
        let bytes = identity.certificate().as_bytes();
        let head = [0x01, 0x0a, 0x02, 0x15, 0x02, 0x02, 0x15, 0x0e, 0x21, 0x0e];
        assert_eq!(bytes[..head.len()], head);
        assert_eq!(bytes.len(), head.len() + 32);
        let other = Identity::generate(&IdentityConfig::default(), &mut tests_rng(2));
        assert_ne!(identity.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_static_certificate_looks_like_a_players() {
        let identity = Identity::generate(&IdentityConfig::like_a_player(), &mut tests_rng(1));
        let bytes = identity.certificate().as_bytes();
        assert_eq!(bytes.len(), 132);
        assert_eq!(bytes[..4], [0x81, 0x02, 0x1d, 0x02]);
        assert_eq!(identity.key_style(), KeyStyle::Static);
    }

    #[test]
    fn saved_and_restored() {
        let all = [DhGroup::Modp2, DhGroup::Modp14];
        for keys in [KeyStyle::Ephemeral, KeyStyle::Static] {
            let identity = generate(keys, &all);
            let restored = Identity::restore(&identity.save()).unwrap();
            assert_eq!(restored.certificate(), identity.certificate());
            assert_eq!(restored.groups(), all);
            assert_eq!(restored.key_style(), keys);
            for group in all {
                assert_eq!(
                    restored.static_key(group).map(PrivateKey::exponent),
                    identity.static_key(group).map(PrivateKey::exponent)
                );
            }
        }
    }

    #[test]
    fn damaged_saved_bytes_are_refused() {
        let saved = generate(KeyStyle::Static, &[DhGroup::Modp2]).save();
        for i in 0..saved.len() {
            let mut damaged = saved.to_vec();
            damaged[i] ^= 1;
            // A bit of the hash-free option 0A is the only one that leaves a consistent whole.
            let in_ancillary_option = i == SAVED_MAGIC.len() + 3;
            assert_eq!(Identity::restore(&damaged).is_ok(), in_ancillary_option, "byte {i}");
            assert!(Identity::restore(&saved[..i]).is_err());
        }
    }

    #[test]
    fn debug_shows_no_secrets() {
        let text = format!("{:?}", generate(KeyStyle::Static, &[DhGroup::Modp2]));
        assert!(text.ends_with("static_groups: [2] }, .. }"), "{text}");
    }
}
