//! Diffie-Hellman: groups, private keys, shared secrets (RFC 7425 §4.2, §4.6.2).

use super::modp::{self, Modp};
use super::{CryptoError, KeyingRandom};
use std::fmt;
use zeroize::Zeroizing;

/// A Diffie-Hellman group, by its number in the IKE registry.
///
/// Flash Player 10.3 supports group 2 only. Secret exponents have 256 bits in groups 2, 5 and 14
/// and 384 bits in group 16, which is at least twice the strength of the group (RFC 7919
/// appendix A asks for 225 bits at 2048 and 325 bits at 4096; RFC 3526 §8 estimates the others).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DhGroup {
    /// 1024 bits (RFC 7296 appendix B.2). Every implementation has it.
    Modp2 = 2,
    /// 1536 bits (RFC 3526 §2).
    Modp5 = 5,
    /// 2048 bits (RFC 3526 §3).
    Modp14 = 14,
    /// 4096 bits (RFC 3526 §5).
    Modp16 = 16,
}

impl DhGroup {
    /// All groups, weakest first.
    pub const ALL: [Self; 4] = [Self::Modp2, Self::Modp5, Self::Modp14, Self::Modp16];

    /// The group with this number, if it is one of ours.
    pub fn from_id(id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }

    /// The number on the wire.
    pub const fn id(self) -> u64 {
        self as u64
    }

    /// Bytes of the prime, and so of our public keys.
    pub fn prime_len(self) -> usize {
        self.modp().prime_len()
    }

    fn modp(self) -> &'static dyn Modp {
        match self {
            Self::Modp2 => modp::group_2(),
            Self::Modp5 => modp::group_5(),
            Self::Modp14 => modp::group_14(),
            Self::Modp16 => modp::group_16(),
        }
    }
}

impl fmt::Display for DhGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MODP group {}", self.id())
    }
}

/// `DH_SECRET` of RFC 7425 §4.6.2: the shared secret without leading zero bytes.
pub(crate) type DhSecret = Zeroizing<Vec<u8>>;

/// A secret exponent with its public key.
#[derive(Clone)]
pub(super) struct PrivateKey {
    group: DhGroup,
    exponent: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
}

impl PrivateKey {
    /// The key that `random` determines. Costs one power of the generator.
    pub(super) fn generate(group: DhGroup, random: &KeyingRandom) -> Result<Self, CryptoError> {
        Self::from_random(group, random.exponent())
    }

    /// The same for random bytes that suffice for every group.
    pub(super) fn from_random(group: DhGroup, random: &[u8]) -> Result<Self, CryptoError> {
        let len = group.modp().exponent_len();
        Self::from_exponent(group, Zeroizing::new(random[..len].to_vec()))
    }

    /// The key with this exponent, which must be as long as the group wants it.
    pub(super) fn from_exponent(
        group: DhGroup,
        exponent: Zeroizing<Vec<u8>>,
    ) -> Result<Self, CryptoError> {
        let modp = group.modp();
        if exponent.len() != modp.exponent_len() {
            return Err(CryptoError::PrivateKey);
        }
        let public = modp.generator_power(&exponent);
        if !modp.is_acceptable(&public) {
            return Err(CryptoError::PrivateKey);
        }
        Ok(Self { group, exponent, public })
    }

    pub(super) fn group(&self) -> DhGroup {
        self.group
    }

    /// The public key, as long as the prime.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    pub(super) fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// The secret shared with the holder of `far_public`. Costs one power.
    pub(super) fn agree(&self, far_public: &[u8]) -> Result<DhSecret, CryptoError> {
        let modp = self.group.modp();
        if !modp.is_acceptable(far_public) {
            return Err(CryptoError::UnacceptablePublicKey);
        }
        let secret = modp.power(far_public, &self.exponent);
        Ok(Zeroizing::new(modp::strip_leading_zeros(&secret).to_vec()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("group", &self.group).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u8) -> KeyingRandom {
        KeyingRandom::from_rng(&mut crate::crypto::tests_rng(seed))
    }

    #[test]
    fn both_ends_agree_in_every_group() {
        for group in DhGroup::ALL {
            let a = PrivateKey::generate(group, &random(1)).unwrap();
            let b = PrivateKey::generate(group, &random(2)).unwrap();
            let secret = a.agree(b.public()).unwrap();
            assert_eq!(secret, b.agree(a.public()).unwrap());
            assert_ne!(secret.first(), Some(&0));
            let mut padded = vec![0; 3];
            padded.extend_from_slice(a.public());
            assert_eq!(secret, b.agree(&padded).unwrap(), "leading zeros do not change the value");
        }
    }

    #[test]
    fn hostile_public_keys() {
        let key = PrivateKey::generate(DhGroup::Modp2, &random(3)).unwrap();
        for bad in [&[][..], &[1], &[0; 128], &[0xff; 128], &[0x5a; 4000]] {
            assert_eq!(key.agree(bad).unwrap_err(), CryptoError::UnacceptablePublicKey);
        }
    }

    #[test]
    fn broken_randomness_is_noticed() {
        let zero = Zeroizing::new(vec![0; 32]);
        assert!(PrivateKey::from_exponent(DhGroup::Modp2, zero).is_err());
        assert!(PrivateKey::from_exponent(DhGroup::Modp2, Zeroizing::new(vec![7; 31])).is_err());
    }

    #[test]
    fn debug_shows_no_exponent() {
        let key = PrivateKey::generate(DhGroup::Modp2, &random(4)).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey { group: Modp2, .. }");
    }
}
