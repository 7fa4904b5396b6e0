//! Randomness of a keying.

use rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes for a secret exponent in any group.
const EXPONENT_LEN: usize = 64;
/// Bytes of Extra Randomness beside a static key: the most that is useful (§4.5.2.2).
const SALT_LEN: usize = 64;

/// All the randomness that one keying needs. Wiped when dropped.
#[derive(Clone)]
pub struct KeyingRandom(Zeroizing<[u8; 2 * EXPONENT_LEN + SALT_LEN]>);

impl KeyingRandom {
    /// Draws it. Use it for one keying only.
    pub fn from_rng(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = Zeroizing::new([0; 2 * EXPONENT_LEN + SALT_LEN]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    pub(super) fn exponent(&self) -> &[u8] {
        &self.0[..EXPONENT_LEN]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.0[EXPONENT_LEN..EXPONENT_LEN + SALT_LEN]
    }

    pub(super) fn additional_exponent(&self) -> &[u8] {
        &self.0[EXPONENT_LEN + SALT_LEN..]
    }
}

impl fmt::Debug for KeyingRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyingRandom { .. }")
    }
}
