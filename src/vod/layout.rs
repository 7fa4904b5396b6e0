//! [`Layout`]: the offsets and lengths of the chunks of a file.

use std::ops::RangeInclusive;

use super::chunker::MAX_CHUNK_SIZE;

/// The most chunks a file may have: 2^32 (256 TB in chunks of 64 KB).
pub const MAX_CHUNKS: u64 = 1 << 32;

/// Why a chunk does not fit the file, or the numbers of a file contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// More chunks than [`MAX_CHUNKS`].
    #[error("{0} chunks are more than the 2^32 a file may have")]
    TooManyChunks(u64),
    /// A chunk length of zero or above [`MAX_CHUNK_SIZE`].
    #[error("a chunk length of {0} bytes is outside 1..=16777216")]
    ChunkSize(u64),
    /// The stated file size is not possible with that number and length of chunks.
    #[error("{size} bytes do not divide into {chunks} chunks of {chunk_size} bytes")]
    SizeMismatch {
        /// Stated size of the file in bytes.
        size: u64,
        /// Stated number of chunks.
        chunks: u64,
        /// Stated or learned length of a chunk in bytes.
        chunk_size: u32,
    },
    /// The file has no such chunk.
    #[error("object {index} is not a chunk: the file has the chunks 1 to {chunks}")]
    NoSuchChunk {
        /// The object index.
        index: u64,
        /// Number of chunks of the file.
        chunks: u64,
    },
    /// The chunk has the wrong length.
    #[error("chunk {index} has {actual} bytes where {expected} belong")]
    WrongLength {
        /// The object index.
        index: u64,
        /// Its length in bytes.
        actual: u64,
        /// The expected length: exact, or the maximum for a last chunk of a file of unknown size.
        expected: u64,
    },
}

/// The position of a chunk that [`Layout::admit`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The chunk begins at this byte of the file.
    At(u64),
    /// The offset is unknown: it is the last chunk, and the chunk length has not been learned yet.
    Unknown,
}

/// The geometry of a file in chunks: chunks 1 to N of equal length, only the last may be shorter.
///
/// Flash applications may state only the number of chunks. Then the chunk length is learned from
/// the first chunk that is not the last one, and the file's size from the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    chunks: u64,
    chunk_size: Option<u32>,
    size: Option<u64>,
    stated_chunk_size: bool,
}

impl Layout {
    /// A layout of `chunks` chunks with what else is known; lengths and sizes in bytes.
    pub fn new(
        chunks: u64,
        chunk_size: Option<u32>,
        size: Option<u64>,
    ) -> Result<Self, LayoutError> {
        if chunks > MAX_CHUNKS {
            return Err(LayoutError::TooManyChunks(chunks));
        }
        let stated_chunk_size = chunk_size.is_some();
        let layout = Self { chunks, chunk_size, size, stated_chunk_size };
        match chunk_size {
            Some(length) => layout.check(length)?,
            // For any chunk length: at least no bytes, at most N chunks of the longest length.
            None if size
                .is_some_and(|size| size > chunks.saturating_mul(MAX_CHUNK_SIZE.into())) =>
            {
                layout.check(MAX_CHUNK_SIZE)?;
            }
            None => {}
        }
        Ok(layout)
    }

    /// The layout of a file of `size` bytes cut into chunks of `chunk_size` bytes.
    pub fn of_size(size: u64, chunk_size: u32) -> Result<Self, LayoutError> {
        if chunk_size == 0 {
            return Err(LayoutError::ChunkSize(0));
        }
        Self::new(size.div_ceil(chunk_size.into()), Some(chunk_size), Some(size))
    }

    /// The layout of an empty file.
    pub const fn empty() -> Self {
        Self { chunks: 0, chunk_size: None, size: Some(0), stated_chunk_size: false }
    }

    /// Number of chunks.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Length of every chunk but the last, in bytes, once known.
    pub fn chunk_size(&self) -> Option<u32> {
        self.chunk_size
    }

    /// Size of the file in bytes, once known.
    pub fn size(&self) -> Option<u64> {
        if self.chunks == 0 { Some(0) } else { self.size }
    }

    /// True if the chunk length was learned from a chunk instead of stated.
    pub fn chunk_size_is_learned(&self) -> bool {
        !self.stated_chunk_size && self.chunk_size.is_some()
    }

    /// The object indices of the chunks; empty for an empty file.
    pub fn indices(&self) -> RangeInclusive<u64> {
        1..=self.chunks
    }

    /// True if `index` is a chunk of this file.
    pub fn is_chunk(&self, index: u64) -> bool {
        self.indices().contains(&index)
    }

    /// The offset at which chunk `index` begins, once the chunk length is known.
    pub fn offset(&self, index: u64) -> Option<u64> {
        match index {
            _ if !self.is_chunk(index) => None,
            1 => Some(0),
            _ => u64::from(self.chunk_size?).checked_mul(index - 1),
        }
    }

    /// The length of chunk `index` in bytes, once known.
    pub fn length(&self, index: u64) -> Option<u64> {
        if !self.is_chunk(index) {
            return None;
        }
        if index < self.chunks {
            return self.chunk_size.map(u64::from);
        }
        self.size?.checked_sub(self.offset(index)?)
    }

    /// Checks the length of a chunk that arrived, and learns unknown lengths from it.
    pub fn admit(&mut self, index: u64, length: u64) -> Result<Placement, LayoutError> {
        let chunks = self.chunks;
        if !self.is_chunk(index) {
            return Err(LayoutError::NoSuchChunk { index, chunks });
        }
        let expected = self.length(index);
        if let Some(expected) = expected.filter(|&expected| expected != length) {
            return Err(LayoutError::WrongLength { index, actual: length, expected });
        }
        let most = self.chunk_size.unwrap_or(MAX_CHUNK_SIZE);
        if length > u64::from(most) {
            return Err(LayoutError::WrongLength { index, actual: length, expected: most.into() });
        }
        if index < chunks && self.chunk_size.is_none() {
            let learned = most.min(u32::try_from(length).unwrap_or(most));
            self.check(learned)?;
            self.chunk_size = Some(learned);
        }
        let Some(offset) = self.offset(index) else { return Ok(Placement::Unknown) };
        if index == chunks {
            self.size = offset.checked_add(length);
        }
        Ok(Placement::At(offset))
    }

    /// True if the file can consist of chunks of this length.
    fn check(&self, chunk_size: u32) -> Result<(), LayoutError> {
        if !(1..=MAX_CHUNK_SIZE).contains(&chunk_size) {
            return Err(LayoutError::ChunkSize(chunk_size.into()));
        }
        let Some(size) = self.size else { return Ok(()) };
        // An empty last chunk is allowed: some Flash applications cut `size / length + 1` chunks.
        let most = self.chunks.saturating_mul(chunk_size.into());
        let least = self.chunks.saturating_sub(1).saturating_mul(chunk_size.into());
        if (least..=most).contains(&size) {
            return Ok(());
        }
        Err(LayoutError::SizeMismatch { size, chunks: self.chunks, chunk_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_description_places_every_chunk() {
        let mut layout = Layout::of_size(200 * 1024, 65_536).unwrap();
        assert_eq!(layout.chunks(), 4);
        assert_eq!(layout.indices(), 1..=4);
        assert_eq!(layout.length(3), Some(65_536));
        assert_eq!(layout.length(4), Some(8 * 1024));
        assert_eq!(layout.length(0), None);
        assert_eq!(layout.admit(4, 8 * 1024), Ok(Placement::At(196_608)));
        assert_eq!(
            layout.admit(4, 9),
            Err(LayoutError::WrongLength { index: 4, actual: 9, expected: 8192 })
        );
        assert_eq!(layout.admit(0, 9), Err(LayoutError::NoSuchChunk { index: 0, chunks: 4 }));
        assert_eq!(layout.admit(5, 9), Err(LayoutError::NoSuchChunk { index: 5, chunks: 4 }));
    }

    #[test]
    fn the_first_full_chunk_teaches_the_length_and_the_last_the_size() {
        let mut layout = Layout::new(3, None, None).unwrap();
        assert_eq!(layout.admit(3, 10), Ok(Placement::Unknown));
        assert_eq!(layout.size(), None);
        assert_eq!(layout.admit(2, 64_000), Ok(Placement::At(64_000)));
        assert!(layout.chunk_size_is_learned());
        assert_eq!(layout.admit(3, 10), Ok(Placement::At(128_000)));
        assert_eq!(layout.size(), Some(128_010));
        assert!(matches!(layout.admit(1, 64_001), Err(LayoutError::WrongLength { .. })));
        assert!(matches!(layout.admit(3, 11), Err(LayoutError::WrongLength { .. })));
    }

    #[test]
    fn a_single_chunk_teaches_the_size() {
        let mut layout = Layout::new(1, None, None).unwrap();
        assert_eq!(layout.admit(1, 77), Ok(Placement::At(0)));
        assert_eq!(layout.size(), Some(77));
        assert_eq!(Layout::new(0, None, None).unwrap().size(), Some(0));
    }

    #[test]
    fn a_chunk_length_that_contradicts_the_size_is_not_learned() {
        let mut layout = Layout::new(3, None, Some(150_000)).unwrap();
        assert!(matches!(layout.admit(1, 80_000), Err(LayoutError::SizeMismatch { .. })));
        assert!(matches!(layout.admit(1, 0), Err(LayoutError::ChunkSize(0))));
        assert!(matches!(layout.admit(1, 1 << 40), Err(LayoutError::WrongLength { .. })));
        assert_eq!(layout.chunk_size(), None);
        assert_eq!(layout.admit(1, 64_000), Ok(Placement::At(0)));
        assert_eq!(layout.length(3), Some(22_000));
    }

    #[test]
    fn hostile_numbers_are_refused() {
        assert_eq!(
            Layout::new(MAX_CHUNKS + 1, None, None),
            Err(LayoutError::TooManyChunks(MAX_CHUNKS + 1))
        );
        assert_eq!(Layout::new(1, Some(0), None), Err(LayoutError::ChunkSize(0)));
        assert!(Layout::new(1, Some(u32::MAX), None).is_err());
        assert!(Layout::new(2, Some(10), Some(21)).is_err());
        assert!(Layout::new(2, Some(10), Some(9)).is_err());
        assert!(Layout::new(0, None, Some(1)).is_err());
        assert!(Layout::new(1, None, Some(u64::MAX)).is_err());
        assert!(Layout::new(2, Some(10), Some(10)).is_ok(), "an empty last chunk is harmless");
        assert!(
            Layout::new(MAX_CHUNKS, Some(MAX_CHUNK_SIZE), None)
                .unwrap()
                .offset(MAX_CHUNKS)
                .is_some()
        );
    }
}
