//! The Flash cryptography profile (RFC 7425 §4).
//!
//! | file | RFC 7425 |
//! | --- | --- |
//! | `modp`, `dh` | §4.2, §4.6.2 Diffie-Hellman groups and secrets |
//! | `certificate`, `fingerprint`, `identity` | §4.3 certificates; ours with its keys |
//! | `signature` | §4.3.5 signature field |
//! | `epd` | §4.4 endpoint discriminators |
//! | `component`, `negotiation` | §4.5 keying components, what is agreed in them |
//! | `keying`, `random`, `schedule` | §4.6 the two ends of a keying, key derivation |
//! | `cbc`, `packet`, `replay` | §4.7 packet encryption and verification |
//! | `overheard` | a recorded session, read with its secret |
//! | `sha256` | hashes and HMACs of several messages side by side |
//! | `announcement` | announcements on the local network, which no RFC describes |
//! | `cookie` | RFC 7016 §3.5.1.2 cookies without state |
//!
//! A keying is a job: [`Initiate`], [`Initiated`] and [`Respond`] own all they need, take the
//! randomness that was drawn for them and compute. They may run on any thread.

mod announcement;
mod cbc;
mod certificate;
mod component;
mod cookie;
mod dh;
mod epd;
mod error;
mod fingerprint;
mod identity;
mod keying;
mod mac;
mod modp;
mod negotiation;
mod overheard;
mod packet;
mod random;
mod replay;
mod schedule;
// The driver measures, and files have several chunks to hash.
#[cfg_attr(not(feature = "vod"), allow(dead_code, unused_imports))]
mod sha256;
mod signature;

pub(crate) use announcement::AnnouncementKey;
pub use certificate::{Certificate, MAX_CERTIFICATE};
pub use cookie::{COOKIE_LEN, COOKIE_LIFETIME_MS, CookieCheck, CookieSecret};
pub use dh::DhGroup;
pub use epd::{Epd, MAX_EPD};
pub use error::CryptoError;
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use identity::{Identity, IdentityConfig, KeyStyle};
pub use keying::{Initiate, Initiated, Respond, SessionKeys};
pub(crate) use mac::mac16;
pub use negotiation::{
    Direction, HmacPolicy, Negotiated, Negotiation, SendPolicy, SseqPolicy, Verification,
};
pub use overheard::Overheard;
pub use packet::{Opened, Opener, PacketError, PacketStart, Sealer};
pub use random::KeyingRandom;
pub use replay::REPLAY_WINDOW;
pub use schedule::{KeyLogEntry, keying_digest};
#[cfg(feature = "vod")]
pub(crate) use sha256::digests;
#[cfg(feature = "tokio")]
pub(crate) use sha256::measure as measure_hashing;
pub use signature::{NO_SIGNATURE, Password, SignatureCheck, sign, verify};

/// A seeded generator for the tests of this module.
#[cfg(test)]
fn tests_rng(seed: u8) -> impl rand_core::CryptoRng {
    use rand_core::SeedableRng;
    rand_chacha::ChaCha20Rng::from_seed([seed; 32])
}
