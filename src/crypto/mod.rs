//! The Flash cryptography profile (RFC 7425 §4).

mod fingerprint;

pub use fingerprint::{Fingerprint, ParseFingerprintError};
