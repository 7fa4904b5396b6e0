//! What a [`Replica`](super::Replica) says: to the group, to the store, to the person.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;

use super::super::descriptor::{Descriptor, DescriptorError};
use super::super::hash::Digest256;
use super::super::layout::LayoutError;
use super::super::store::{ChunkStore, Finished, StoreError};
use crate::amf::Value;

/// The next thing to do. `P` names a peer, `R` a request.
#[derive(Debug)]
pub enum Action<P, R> {
    /// Something for the group.
    Group(GroupAction<P, R>),
    /// Something for the store: [`StoreAction::perform`] it where blocking is allowed and hand the
    /// reply to [`Replica::store_replied`](super::Replica::store_replied).
    Store(StoreAction<R>),
    /// Something to know.
    Notice(Notice<P>),
}

/// A call of the group, by the names of Flash's NetGroup where it has one.
#[derive(Debug, PartialEq)]
pub enum GroupAction<P, R> {
    /// `addHaveObjects`.
    AddHave(RangeInclusive<u64>),
    /// `removeHaveObjects`.
    RemoveHave(RangeInclusive<u64>),
    /// `addWantObjects`.
    AddWant(RangeInclusive<u64>),
    /// `removeWantObjects`.
    RemoveWant(RangeInclusive<u64>),
    /// `writeRequestedObject`.
    WriteRequested {
        /// The request that is answered.
        request: R,
        /// The object.
        object: Value,
    },
    /// `denyRequestedObject`.
    Deny {
        /// The request that is answered.
        request: R,
    },
    /// Have no more to do with this peer: it keeps sending bad objects.
    Distrust(P),
}

/// Work for the store.
#[derive(Debug)]
pub enum StoreAction<R> {
    /// Keep a chunk.
    Write {
        /// The chunk.
        index: u64,
        /// Its content.
        data: Bytes,
    },
    /// Read a chunk to answer a request.
    Read {
        /// The chunk.
        index: u64,
        /// The request.
        request: R,
    },
    /// Read a chunk to verify the whole file.
    Verify {
        /// The chunk.
        index: u64,
    },
    /// Give up all chunks.
    ForgetAll,
    /// The file is complete and verified: give it its name.
    Finish,
}

impl<R> StoreAction<R> {
    /// Does the work. This blocks.
    pub fn perform(self, store: &mut dyn ChunkStore) -> StoreReply<R> {
        match self {
            Self::Write { index, data } => {
                StoreReply::Wrote { index, result: store.write_chunk(index, &data) }
            }
            Self::Read { index, request } => {
                StoreReply::Read { index, request, result: store.read_chunk(index) }
            }
            Self::Verify { index } => StoreReply::Verify { index, result: store.read_chunk(index) },
            Self::ForgetAll => StoreReply::Forgot(store.forget_all()),
            Self::Finish => StoreReply::Finished(store.finish()),
        }
    }
}

/// What became of a [`StoreAction`].
#[derive(Debug)]
pub enum StoreReply<R> {
    /// Of [`StoreAction::Write`].
    Wrote {
        /// The chunk.
        index: u64,
        /// Whether it is kept.
        result: Result<(), StoreError>,
    },
    /// Of [`StoreAction::Read`].
    Read {
        /// The chunk.
        index: u64,
        /// The request to be answered.
        request: R,
        /// The chunk's content.
        result: Result<Bytes, StoreError>,
    },
    /// Of [`StoreAction::Verify`].
    Verify {
        /// The chunk.
        index: u64,
        /// The chunk's content.
        result: Result<Bytes, StoreError>,
    },
    /// Of [`StoreAction::ForgetAll`].
    Forgot(Result<(), StoreError>),
    /// Of [`StoreAction::Finish`].
    Finished(Result<Finished, StoreError>),
}

/// News.
#[derive(Debug)]
pub enum Notice<P> {
    /// The descriptor has come and is what the link promised: open a store for it and tell
    /// [`Replica::store_opened`](super::Replica::store_opened). Numbers and hashes that the link
    /// states have been filled in.
    DescriptorKnown(Arc<Descriptor>),
    /// A chunk is kept and offered to others.
    ChunkStored {
        /// The chunk.
        index: u64,
    },
    /// An object was refused and is wanted again.
    BadObject {
        /// Who sent it.
        from: P,
        /// The object.
        index: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// All chunks are there, but the whole is not the promised file, and there is no telling which
    /// chunk is wrong: everything is fetched anew.
    FileRejected {
        /// SHA-256 of what was fetched.
        actual: Digest256,
    },
    /// The file is complete, verified as far as possible, and has its name.
    Complete {
        /// SHA-256 of the file.
        sha256: Digest256,
        /// Where it is.
        finished: Finished,
    },
    /// It is over.
    Failed(ReplicaError),
}

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

/// Why it is over.
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
        /// What the link or the descriptor says.
        expected: Digest256,
        /// What was fetched.
        actual: Digest256,
    },
    /// A chunk has the listed hash, but not the stated length: a fault of the provider.
    #[error("the descriptor contradicts itself: {0}")]
    Contradiction(LayoutError),
    /// Without hashes and a stated chunk length it cannot be told which chunks are genuine.
    #[error("the members of the group send chunks of different lengths for the same file")]
    DifferingLengths,
}
