//! [`Fault`] and [`ReplicaError`]: what can be wrong with an object and with a file.

use super::super::descriptor::DescriptorError;
use super::super::hash::Digest256;
use super::super::layout::LayoutError;
use super::super::store::StoreError;

/// Why an object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Object 0 is no descriptor.
    #[error(transparent)]
    NotADescriptor(#[from] DescriptorError),
    /// Object 0 is not the descriptor that the link stands for.
    #[error("the descriptor is not the one that the link stands for")]
    ForgedDescriptor,
    /// A chunk that is not a ByteArray.
    #[error("the chunk is not a byte array")]
    NotBytes,
    /// A chunk with another hash than the descriptor lists.
    #[error("the chunk has the wrong hash")]
    WrongHash,
    /// A chunk of the wrong length.
    #[error(transparent)]
    WrongLength(#[from] LayoutError),
    /// A chunk that cannot be verified, from a peer that has sent bad ones.
    #[error("the sender is no longer trusted")]
    DistrustedSender,
}

/// Why a file cannot be fetched, or not be shared any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every chunk has its hash, but they do not make up the file of the descriptor: a fault of the
    /// provider. Or there are no chunk hashes, and several attempts ended with a wrong file.
    #[error("the fetched file is not the promised one (SHA-256 {actual} instead of {expected})")]
    WrongFile {
        /// SHA-256 by the link or the descriptor.
        expected: Digest256,
        /// What was fetched.
        actual: Digest256,
    },
    /// A chunk has the listed hash, but not the stated length: a fault of the provider.
    #[error("the descriptor contradicts itself: {0}")]
    Contradiction(LayoutError),
    /// Without hashes and a stated chunk length nothing shows which chunks are genuine.
    #[error("the members of the group send chunks of different lengths for the same file")]
    DifferingLengths,
}
