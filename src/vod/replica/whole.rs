//! [`WholeHash`]: the hash of the whole file.

use crate::range::IndexSet;
use crate::vod::hash::{ChunkHash, Digest256, chunk_hash};
use sha2::{Digest, Sha256};

/// The hash of the whole file, and where it comes from.
#[derive(Debug)]
pub(super) enum WholeHash {
    /// The descriptor's, which the link vouches for, as it does for the hash of every chunk.
    Stated(Digest256),
    /// It is made from the file's beginning while chunks arrive.
    Running(Running),
}

/// The running hash over the beginning of a file.
#[derive(Debug)]
pub(super) struct Running {
    hasher: Sha256,
    /// The hashes of these chunks, if they are needed.
    chunks: Option<Vec<ChunkHash>>,
    /// The next chunk to hash.
    next: u64,
    /// True while the store is reading it.
    is_requested: bool,
}

/// What is to be done for the hash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read this chunk.
    Read(u64),
    /// Wait for the chunk that is being read.
    Wait,
    /// Nothing, until more chunks are held.
    Nothing,
}

impl WholeHash {
    pub(super) fn running() -> Self {
        Self::Running(Running { hasher: Sha256::new(), chunks: None, next: 1, is_requested: false })
    }

    /// The same, and the hash of each chunk is kept.
    pub(super) fn with_chunks() -> Self {
        let mut hash = Self::running();
        if let Self::Running(running) = &mut hash {
            running.chunks = Some(Vec::new());
        }
        hash
    }

    /// The hashes of the chunks so far, if they are kept.
    pub(super) fn take_chunks(&mut self) -> Option<Vec<ChunkHash>> {
        match self {
            Self::Running(running) => running.chunks.take(),
            Self::Stated(_) => None,
        }
    }

    /// The hash; of the chunks so far, if it is being made.
    pub(super) fn value(&self) -> Digest256 {
        match self {
            Self::Stated(stated) => *stated,
            Self::Running(running) => Digest256::from_hasher(running.hasher.clone()),
        }
    }

    /// The next step, with these chunks held. A chunk that is named counts as requested.
    pub(super) fn step(&mut self, held: &IndexSet) -> Step {
        match self {
            Self::Running(running) if running.is_requested => Step::Wait,
            Self::Running(running) if held.contains(running.next) => {
                running.is_requested = true;
                Step::Read(running.next)
            }
            Self::Running(_) | Self::Stated(_) => Step::Nothing,
        }
    }

    /// A chunk is in memory: hashes it, if it is its turn.
    pub(super) fn offer(&mut self, index: u64, data: &[u8]) {
        if let Self::Running(running) = self
            && running.next == index
            && !running.is_requested
        {
            running.hasher.update(data);
            running.chunks.iter_mut().for_each(|chunks| chunks.push(chunk_hash(data)));
            running.next += 1;
        }
    }

    /// The reading of a chunk has ended. True if it was asked for.
    pub(super) fn was_read(&mut self, index: u64) -> bool {
        match self {
            Self::Running(running) if running.next == index => {
                std::mem::take(&mut running.is_requested)
            }
            Self::Running(_) | Self::Stated(_) => false,
        }
    }

    /// A chunk is lost. The one that replaces it has not been hashed.
    pub(super) fn lost(&mut self, index: u64) {
        if let Self::Running(running) = self
            && index < running.next
        {
            *self = match running.chunks {
                Some(_) => Self::with_chunks(),
                None => Self::running(),
            };
        }
    }
}
