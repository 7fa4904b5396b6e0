//! [`Fault`] and [`ReplicaError`]: the errors of an object and of a file.

use super::super::descriptor::DescriptorError;
use super::super::hash::Digest256;
use super::super::layout::LayoutError;
use super::super::origin::OriginError;
use super::super::store::StoreError;
use super::super::tree::PageError;
use std::sync::Arc;

/// Why an object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Object 0 is not a descriptor.
    #[error(transparent)]
    NotADescriptor(#[from] DescriptorError),
    /// Object 0 is not the descriptor of the link.
    #[error("the descriptor does not match the link")]
    ForgedDescriptor,
    /// A chunk that is not a ByteArray.
    #[error("the chunk is not a byte array")]
    NotBytes,
    /// A chunk whose hash differs from that in the descriptor.
    #[error("the chunk has the wrong hash")]
    WrongHash,
    /// A page of hashes that is not the one of its index.
    #[error(transparent)]
    WrongPage(#[from] PageError),
    /// A chunk of the wrong length.
    #[error(transparent)]
    WrongLength(#[from] LayoutError),
    /// A chunk that is not what the file's origin has there.
    #[error("the chunk is not what the web server has there")]
    DiffersFromOrigin,
    /// A chunk that cannot be verified, from a peer that has sent bad ones.
    #[error("the sender is no longer trusted")]
    DistrustedSender,
}

/// Why a file cannot be fetched, or can no longer be shared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every chunk matches its hash, but together they are not the file of the descriptor: a fault
    /// of the provider. Or there are no chunk hashes, and several attempts ended with a wrong file.
    #[error(
        "the fetched file is not the one that was shared (SHA-256 {actual} instead of {expected})"
    )]
    WrongFile {
        /// SHA-256 according to the link or the descriptor.
        expected: Digest256,
        /// SHA-256 of the fetched file.
        actual: Digest256,
    },
    /// The origin of a shared file has another file now, or cannot be used.
    #[error(transparent)]
    Origin(Arc<OriginError>),
    /// A chunk has the listed hash, but not the stated length: a fault of the provider.
    #[error("the descriptor contradicts itself: {0}")]
    Contradiction(LayoutError),
    /// Without hashes and a stated chunk length, nothing distinguishes the right chunks.
    #[error("the members of the group send chunks of different lengths for the same file")]
    DifferingLengths,
}
