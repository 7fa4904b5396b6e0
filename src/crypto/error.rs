//! Errors of certificates and keyings.

use crate::wire::WireError;
use thiserror::Error;

/// A certificate, discriminator or keying that is refused.
///
/// Except for [`PrivateKey`](Self::PrivateKey) and [`NoCommonGroup`](Self::NoCommonGroup) the far
/// end is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// An option cannot be parsed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The structure is longer than this implementation accepts.
    #[error("{0} too long")]
    TooLong(&'static str),
    /// An option that may stand only once stands twice.
    #[error("{0} given twice")]
    Duplicate(&'static str),
    /// An option has a value of the wrong length or outside its range.
    #[error("{0} has an invalid value")]
    InvalidOption(&'static str),
    /// A certificate announces both static and ephemeral keys (RFC 7425 §4.3.3.4, §4.3.3.5).
    #[error("certificate with both static and ephemeral keys")]
    ContradictoryCertificate,
    /// The far end's public key is missing from its certificate and its keying component, or
    /// stands in the one where the other is called for (§4.6.1).
    #[error("public key missing or in the wrong place")]
    MissingPublicKey,
    /// The initiator with a static key did not select a group (§4.5.2.3), or one with an ephemeral
    /// key did.
    #[error("group selection missing or out of place")]
    GroupSelection,
    /// The far end chose a group that the near end does not have.
    #[error("unsupported Diffie-Hellman group {0}")]
    UnsupportedGroup(u64),
    /// The two certificates have no group in common.
    #[error("no Diffie-Hellman group in common")]
    NoCommonGroup,
    /// The responder answered in another group than the initiator chose.
    #[error("answer in another Diffie-Hellman group")]
    GroupMismatch,
    /// A public key lacks the properties of RFC 7425 §4.6.2.
    #[error("unacceptable public key")]
    UnacceptablePublicKey,
    /// An HMAC is required and the far end will not send one.
    #[error("the far end will not send the required HMAC")]
    HmacRequired,
    /// Session sequence numbers are required and the far end will not send them.
    #[error("the far end will not send the required session sequence numbers")]
    SequenceNumbersRequired,
    /// A private key of the near end does not fit its group, or its randomness is broken.
    #[error("unusable private key")]
    PrivateKey,
    /// Saved identity bytes are not ours or damaged.
    #[error("damaged saved identity")]
    SavedIdentity,
}
