//! [`Chunker`]: cuts a byte stream into chunks.

use std::mem;

use bytes::{Bytes, BytesMut};

/// The chunk length with which files are shared, in bytes: 64 KB.
pub const CHUNK_SIZE: u32 = 65_536;

/// The longest chunk that is accepted, in bytes.
///
/// Flash applications choose their own chunk length (64 000 and 65 536 are common, objects of 300
/// kB have been observed); a descriptor with a longer one is refused.
pub const MAX_CHUNK_SIZE: u32 = 16 * 1024 * 1024;

/// Cuts a stream of bytes into chunks of equal length as the bytes arrive.
///
/// Chunks are numbered from 1, because object 0 is the descriptor. With the usual [`CHUNK_SIZE`],
/// 100 KB of input give one chunk and leave 36 KB in the buffer; 200 KB give three and leave 8 KB.
/// At most one chunk less a byte is buffered.
#[derive(Debug)]
pub struct Chunker {
    chunk_size: usize,
    buffer: BytesMut,
    next_index: u64,
}

impl Default for Chunker {
    fn default() -> Self {
        Self::new(CHUNK_SIZE)
    }
}

impl Chunker {
    /// A chunker with chunks of `chunk_size` bytes, clamped to `1..=`[`MAX_CHUNK_SIZE`].
    pub fn new(chunk_size: u32) -> Self {
        let chunk_size = chunk_size.clamp(1, MAX_CHUNK_SIZE) as usize;
        Self { chunk_size, buffer: BytesMut::new(), next_index: 1 }
    }

    /// Takes the next bytes and returns the chunks they complete, each with its object index.
    pub fn push(&mut self, mut input: &[u8]) -> Vec<(u64, Bytes)> {
        let mut complete = Vec::new();
        while !input.is_empty() {
            let missing = self.chunk_size - self.buffer.len();
            let (now, later) = input.split_at(missing.min(input.len()));
            self.buffer.extend_from_slice(now);
            input = later;
            if self.buffer.len() == self.chunk_size {
                complete.push(self.cut());
            }
        }
        complete
    }

    /// Ends the stream. Returns the last, shorter chunk, unless the length of the input was a
    /// multiple of the chunk length, zero included.
    pub fn finish(mut self) -> Option<(u64, Bytes)> {
        (!self.buffer.is_empty()).then(|| self.cut())
    }

    /// The number of bytes that wait for the rest of their chunk.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The number of chunks returned so far.
    pub fn chunks(&self) -> u64 {
        self.next_index - 1
    }

    fn cut(&mut self) -> (u64, Bytes) {
        let index = self.next_index;
        self.next_index += 1;
        (index, mem::take(&mut self.buffer).freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KB: usize = 1024;

    fn indices(chunks: &[(u64, Bytes)]) -> Vec<u64> {
        chunks.iter().map(|(index, _)| *index).collect()
    }

    #[test]
    fn a_hundred_kb_are_one_chunk_and_36_kb_kept() {
        let mut chunker = Chunker::default();
        let chunks = chunker.push(&vec![7; 100 * KB]);
        assert_eq!(indices(&chunks), [1]);
        assert_eq!(chunks[0].1.len(), 65_536);
        assert_eq!(chunker.buffered(), 36 * KB);
        assert_eq!(chunker.finish().unwrap().1.len(), 36 * KB);
    }

    #[test]
    fn two_hundred_kb_are_three_chunks_and_8_kb_kept() {
        let mut chunker = Chunker::default();
        let mut chunks = chunker.push(&vec![1; 100 * KB]);
        chunks.extend(chunker.push(&vec![2; 100 * KB]));
        assert_eq!(indices(&chunks), [1, 2, 3]);
        assert!(chunks.iter().all(|(_, data)| data.len() == 64 * KB));
        assert_eq!(chunker.buffered(), 8 * KB);
        assert_eq!(chunker.chunks(), 3);
        let (index, data) = chunker.finish().unwrap();
        assert_eq!((index, data.len()), (4, 8 * KB));
    }

    #[test]
    fn an_exact_multiple_leaves_no_empty_chunk() {
        let mut chunker = Chunker::default();
        assert_eq!(chunker.push(&vec![0; 128 * KB]).len(), 2);
        assert_eq!(chunker.buffered(), 0);
        assert_eq!(chunker.finish(), None);
        assert_eq!(Chunker::default().finish(), None);
    }

    #[test]
    fn an_absurd_chunk_size_is_brought_into_range() {
        assert_eq!(Chunker::new(0).push(b"ab").len(), 2);
        assert!(Chunker::new(u32::MAX).push(b"ab").is_empty());
    }

    proptest! {
        #[test]
        fn chunks_joined_are_the_input(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
            size in 1..40u32,
        ) {
            let mut chunker = Chunker::new(size);
            let mut chunks = Vec::new();
            for piece in &pieces {
                chunks.extend(chunker.push(piece));
                prop_assert!(chunker.buffered() < size as usize);
            }
            prop_assert!(chunks.iter().all(|(_, data)| data.len() == size as usize));
            chunks.extend(chunker.finish());
            prop_assert_eq!(indices(&chunks), (1..=chunks.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(
                chunks.iter().flat_map(|(_, data)| data.to_vec()).collect::<Vec<_>>(),
                pieces.concat()
            );
        }
    }
}
