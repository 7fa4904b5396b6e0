//! [`Seed`]: a secret from which a peer ID and other secrets are derived.

use rand_core::{Infallible, TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A secret from which an identity is derived, so that every connection opened with the same seed
/// has the same peer ID. A share also derives its group from it, and so keeps its link. Whoever
/// knows the seed can claim the peer ID.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A seed of these bytes, which must be as hard to guess as a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// 32 bytes derived for a purpose.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(b"rtmfp-share seed 1\0");
        hasher.update(*self.0);
        hasher.update(purpose.as_bytes());
        hasher.finalize().into()
    }

    /// A source of random numbers for a purpose, always with the same numbers.
    pub(super) fn random(&self, purpose: &str) -> DerivedRandom {
        DerivedRandom { key: Zeroizing::new(self.derive(purpose)), count: 0 }
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

/// SHA-256 of a key and a counter.
pub(super) struct DerivedRandom {
    key: Zeroizing<[u8; 32]>,
    count: u64,
}

impl DerivedRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(32) {
            let mut hasher = Sha256::new_with_prefix(*self.key);
            hasher.update(self.count.to_be_bytes());
            self.count += 1;
            part.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
        }
    }
}

impl TryRng for DerivedRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for DerivedRandom {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Identity, IdentityConfig, KeyStyle};

    #[test]
    fn the_same_seed_gives_the_same_identity_and_another_seed_another() {
        for keys in [KeyStyle::Ephemeral, KeyStyle::Static] {
            let config = IdentityConfig { keys, ..IdentityConfig::default() };
            let peer_id = |byte| {
                let mut random = Seed::new([byte; 32]).random("identity");
                Identity::generate(&config, &mut random).fingerprint()
            };
            assert_eq!(peer_id(1), peer_id(1));
            assert_ne!(peer_id(1), peer_id(2));
        }
    }

    #[test]
    fn purposes_have_nothing_in_common() {
        let seed = Seed::new([7; 32]);
        assert_ne!(seed.derive("group"), seed.derive("identity"));
        assert_eq!(format!("{seed:?}"), "Seed");
    }
}
