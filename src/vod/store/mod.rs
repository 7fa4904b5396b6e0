//! Stores of chunks: [`ChunkStore`] and its three implementations.
//!
//! * [`SourceFile`]: an existing file that is shared. Read-only; every chunk is compared with the
//!   hash taken when the share began, so that a change of the file is detected and not served.
//! * [`PartialFile`]: a file that is being fetched. It grows as `NAME.part`, can be resumed, and gets
//!   its name when it is complete.
//! * [`MemoryStore`]: chunks in memory, for a pipe or a test.
//!
//! All calls block: an async caller runs them on a thread that may block.

mod check;
mod content;
mod destination;
mod error;
mod memory;
mod partial;
mod positioned;
mod recover;
mod saved_hashes;
mod sidecar;
mod source;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use check::{Verdict, check_file, check_file_by};
pub use destination::{FileDestination, Overwrite, check_destination, check_directory};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use partial::PartialFile;
pub use saved_hashes::{MAX_SAVED, SAVED_FROM};
pub use source::{ScanConfig, SourceFile};

use super::hash::ChunkHash;
use super::layout::Layout;
use crate::range::IndexSet;

/// The result of [`ChunkStore::finish`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// The path of the file, if the store is a file.
    pub path: Option<PathBuf>,
    /// The path to which a damaged copy with the file's name was moved.
    pub kept: Option<PathBuf>,
}

impl Finished {
    fn at(path: &Path) -> Self {
        Self { path: Some(path.to_owned()), kept: None }
    }
}

/// A store for the chunks of one file. Chunks are numbered from 1.
pub trait ChunkStore: Send {
    /// The number of chunks, and what is known of their length and the file's size.
    fn layout(&self) -> &Layout;

    /// The chunks that can be read.
    fn held(&self) -> &IndexSet;

    /// Reads one chunk.
    ///
    /// Errors: [`StoreError::NotHeld`], I/O errors, and, where hashes are known, a chunk that has
    /// changed; such a chunk is no longer held.
    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError>;

    /// Writes a chunk. A chunk that is already held is not written again.
    ///
    /// The last chunk of a file whose chunk length is unknown has no known offset yet
    /// ([`StoreError::UnknownOffset`]): offer it again after another one.
    fn write_chunk(&mut self, index: u64, data: &[u8]) -> Result<(), StoreError>;

    /// The pages of the file's [`HashTree`](super::tree::HashTree) that the store knows from an earlier
    /// run.
    fn pages(&self) -> Vec<(u64, Bytes)> {
        Vec::new()
    }

    /// A page of hashes has been verified. Returns the chunks that the store has already, as it turns
    /// out now.
    fn add_page(&mut self, _index: u64, _page: &Bytes) -> Result<IndexSet, StoreError> {
        Ok(IndexSet::new())
    }

    /// Writes a chunk that cannot be verified yet. It is held when [`add_page`](Self::add_page) brings its
    /// hash.
    ///
    /// Errors: as [`write_chunk`](Self::write_chunk); a store for which no pages are made is read-only.
    fn write_draft(&mut self, _: u64, _: &[u8], _: ChunkHash) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    /// The page of hashes that follows from what was written, if all chunks of it are there.
    fn make_page(&self, _index: u64) -> Option<Bytes> {
        None
    }

    /// Drops these chunks, which turned out to be wrong.
    fn forget(&mut self, chunks: RangeInclusive<u64>) -> Result<(), StoreError>;

    /// Drops all chunks, because the whole file turned out to be wrong.
    fn forget_all(&mut self) -> Result<(), StoreError>;

    /// Finishes the store when all chunks are held. A [`PartialFile`] gives the file its name.
    /// Chunks can still be read afterwards.
    fn finish(&mut self) -> Result<Finished, StoreError>;

    /// Returns [`StoreError::Incomplete`] unless every chunk is held.
    fn check_complete(&self) -> Result<(), StoreError> {
        match self.layout().chunks().saturating_sub(self.held().len()) {
            0 => Ok(()),
            missing => Err(StoreError::Incomplete { missing }),
        }
    }
}
