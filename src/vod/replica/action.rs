//! Actions of a [`Replica`](super::Replica): calls of the group, commands for the store, events.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::super::hash::ChunkHash;
use super::super::store::{ChunkStore, Finished, StoreError};
use super::event::FileEvent;
use crate::amf::Value;
use crate::range::IndexSet;

/// An action of a replica. `P` names a peer, `R` a request.
#[derive(Debug)]
pub enum Action<P, R> {
    /// A call of the group.
    Group(GroupCall<P, R>),
    /// A command for the store: [`perform`](StoreAction::perform) it on a thread that may block,
    /// and pass the reply to [`Replica::store_replied`](super::Replica::store_replied).
    Store(StoreAction<R>),
    /// An event for the application.
    Event(FileEvent<P>),
}

/// A call of the group, named after Flash's NetGroup where possible.
#[derive(Debug, PartialEq)]
pub enum GroupCall<P, R> {
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
    /// Drop this peer, which keeps sending bad objects.
    Distrust(P),
}

/// A command for the store.
#[derive(Debug)]
pub enum StoreAction<R> {
    /// Write a chunk.
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
    /// A page of hashes was verified: find out which chunks of it the store has already.
    Page {
        /// The page.
        index: u64,
        /// Its content.
        page: Bytes,
    },
    /// Write a chunk that cannot be verified yet: it is not held until its page is known.
    Draft {
        /// The chunk.
        index: u64,
        /// Its hash.
        hash: ChunkHash,
        /// Its content.
        data: Bytes,
    },
    /// Make a page of hashes of what was written.
    MakePage {
        /// The page.
        index: u64,
    },
    /// Drop these chunks, which turned out to be wrong.
    Forget(RangeInclusive<u64>),
    /// Drop all chunks.
    ForgetAll,
    /// The file is complete and verified: give it its name.
    Finish,
}

impl<R> StoreAction<R> {
    /// Carries out the command. This blocks.
    pub fn perform(self, store: &mut dyn ChunkStore) -> StoreReply<R> {
        match self {
            Self::Write { index, data } => {
                StoreReply::Wrote { index, result: store.write_chunk(index, &data) }
            }
            Self::Read { index, request } => {
                StoreReply::Read { index, request, result: store.read_chunk(index) }
            }
            Self::Verify { index } => StoreReply::Verify { index, result: store.read_chunk(index) },
            Self::Page { index, page } => {
                StoreReply::Paged { index, result: store.add_page(index, &page) }
            }
            Self::Draft { index, hash, data } => {
                StoreReply::Drafted { index, result: store.write_draft(index, &data, hash) }
            }
            Self::MakePage { index } => {
                StoreReply::PageMade { index, page: store.make_page(index) }
            }
            Self::Forget(range) => StoreReply::Forgot(store.forget(range)),
            Self::ForgetAll => StoreReply::Forgot(store.forget_all()),
            Self::Finish => StoreReply::Finished(store.finish()),
        }
    }
}

/// The result of a [`StoreAction`].
#[derive(Debug)]
pub enum StoreReply<R> {
    /// Of [`StoreAction::Write`].
    Wrote {
        /// The chunk.
        index: u64,
        /// An error if the chunk was not written.
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
    /// Of [`StoreAction::Page`].
    Paged {
        /// The page.
        index: u64,
        /// The chunks that the store has already.
        result: Result<IndexSet, StoreError>,
    },
    /// Of [`StoreAction::Draft`].
    Drafted {
        /// The chunk.
        index: u64,
        /// An error if the chunk was not written.
        result: Result<(), StoreError>,
    },
    /// Of [`StoreAction::MakePage`].
    PageMade {
        /// The page.
        index: u64,
        /// Its content, unless a chunk of it is missing.
        page: Option<Bytes>,
    },
    /// Of [`StoreAction::Forget`] and [`StoreAction::ForgetAll`].
    Forgot(Result<(), StoreError>),
    /// Of [`StoreAction::Finish`].
    Finished(Result<Finished, StoreError>),
}
