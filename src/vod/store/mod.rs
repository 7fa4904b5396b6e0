//! Where chunks live: [`ChunkStore`] and its three kinds.
//!
//! * [`SourceFile`]: an existing file that is shared. Read only; every chunk is checked against the
//!   hash that was taken when the share began, so that a file which is changed meanwhile is
//!   noticed instead of passed on.
//! * [`PartialFile`]: a file on its way in. It grows as `NAME.part`, can be resumed and gets its name
//!   when it is complete.
//! * [`MemoryStore`]: chunks in memory, for a pipe or a test.
//!
//! All calls block: an async caller runs them on a thread where that is allowed.

mod check;
mod error;
mod memory;
mod partial;
mod place;
mod positioned;
mod recover;
mod sidecar;
mod source;

use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use check::{Verdict, check_file};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use partial::PartialFile;
pub use place::{Overwrite, Target, check_directory, check_place};
pub use source::SourceFile;

use super::layout::Layout;
use crate::range::IndexSet;

/// What [`ChunkStore::finish`] has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// Where the file is, if it is a file.
    pub path: Option<PathBuf>,
    /// Where a damaged copy is that had the file's name.
    pub kept: Option<PathBuf>,
}

impl Finished {
    fn at(path: &Path) -> Self {
        Self { path: Some(path.to_owned()), kept: None }
    }
}

/// A place for the chunks of one file. Chunks are numbered from 1.
pub trait ChunkStore: Send {
    /// Number of chunks, and what is known of their length and the file's size.
    fn layout(&self) -> &Layout;

    /// The chunks that can be read.
    fn held(&self) -> &IndexSet;

    /// One chunk.
    ///
    /// Errors: [`StoreError::NotHeld`], I/O errors, and, where hashes are known, the chunk no longer
    /// being what it was. Then it is no longer held.
    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError>;

    /// Keeps a chunk; one that is held already is left as it is.
    ///
    /// The last chunk of a file whose chunk length is unknown has no place yet
    /// ([`StoreError::NoPlaceYet`]): offer it again after another one.
    fn write_chunk(&mut self, index: u64, data: &[u8]) -> Result<(), StoreError>;

    /// Gives up all chunks, because as a whole they turned out to be wrong.
    fn forget_all(&mut self) -> Result<(), StoreError>;

    /// Ends the work when all chunks are held. For a [`PartialFile`] this gives the file its name.
    /// Chunks can still be read afterwards.
    fn finish(&mut self) -> Result<Finished, StoreError>;

    /// [`StoreError::Incomplete`] unless every chunk is held.
    fn check_complete(&self) -> Result<(), StoreError> {
        match self.layout().chunks().saturating_sub(self.held().len()) {
            0 => Ok(()),
            missing => Err(StoreError::Incomplete { missing }),
        }
    }
}
