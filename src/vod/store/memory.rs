//! [`MemoryStore`].

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::super::hash::{CHUNK_HASH_LEN, ChunkHash, chunk_hash};
use super::super::layout::{Layout, Placement};
use super::super::tree::TreeShape;
use super::{ChunkStore, Finished, StoreError};
use crate::range::IndexSet;

/// A store that keeps all chunks in memory.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    stated: Layout,
    layout: Layout,
    chunks: BTreeMap<u64, Bytes>,
    held: IndexSet,
    /// Chunks that cannot be verified yet.
    drafts: BTreeMap<u64, (ChunkHash, Bytes)>,
}

impl MemoryStore {
    /// An empty store for a file of this layout.
    pub fn new(layout: Layout) -> Self {
        let (chunks, drafts) = (BTreeMap::new(), BTreeMap::new());
        Self { stated: layout, layout, chunks, held: IndexSet::unbounded(), drafts }
    }
}

impl ChunkStore for MemoryStore {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn held(&self) -> &IndexSet {
        &self.held
    }

    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError> {
        self.chunks.get(&index).cloned().ok_or(StoreError::NotHeld { index })
    }

    fn write_chunk(&mut self, index: u64, data: &[u8]) -> Result<(), StoreError> {
        if self.layout.admit(index, data.len() as u64)? == Placement::Unknown {
            return Err(StoreError::UnknownOffset { index });
        }
        if self.held.insert(index).unwrap_or(false) {
            self.chunks.insert(index, Bytes::copy_from_slice(data));
        }
        Ok(())
    }

    fn write_draft(&mut self, index: u64, data: &[u8], hash: ChunkHash) -> Result<(), StoreError> {
        self.layout.admit(index, data.len() as u64)?;
        self.drafts.insert(index, (hash, Bytes::copy_from_slice(data)));
        Ok(())
    }

    fn make_page(&self, index: u64) -> Option<Bytes> {
        let hash = |chunk| match self.chunks.get(&chunk) {
            Some(held) => Some(chunk_hash(held)),
            None => self.drafts.get(&chunk).map(|(hash, _)| *hash),
        };
        let chunks = TreeShape::of(self.layout.chunks())?.chunks_of(index)?;
        Some(chunks.map(hash).collect::<Option<Vec<_>>>()?.concat().into())
    }

    fn add_page(&mut self, index: u64, page: &Bytes) -> Result<IndexSet, StoreError> {
        let mut adopted = IndexSet::unbounded();
        let shape = TreeShape::of(self.layout.chunks());
        let chunks = shape.and_then(|shape| shape.chunks_of(index)).into_iter().flatten();
        for (chunk, expected) in chunks.zip(page.as_chunks::<CHUNK_HASH_LEN>().0) {
            if let Some((hash, data)) = self.drafts.remove(&chunk)
                && hash == *expected
                && !self.held.contains(chunk)
            {
                self.write_chunk(chunk, &data)?;
                // The set is unbounded.
                let _ = adopted.insert(chunk);
            }
        }
        Ok(adopted)
    }

    fn forget(&mut self, chunks: RangeInclusive<u64>) -> Result<(), StoreError> {
        chunks.clone().for_each(|index| drop(self.chunks.remove(&index)));
        // The set is unbounded: this cannot fail.
        let _ = self.held.remove_range(chunks);
        Ok(())
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        *self = Self::new(self.stated);
        Ok(())
    }

    fn finish(&mut self) -> Result<Finished, StoreError> {
        self.check_complete().map(|()| Finished::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_chunks_of_an_unknown_length() {
        let mut store = MemoryStore::new(Layout::new(3, None, None).unwrap());
        assert!(matches!(store.write_chunk(3, b"e"), Err(StoreError::UnknownOffset { index: 3 })));
        store.write_chunk(2, b"cd").unwrap();
        store.write_chunk(3, b"e").unwrap();
        assert!(matches!(store.finish(), Err(StoreError::Incomplete { missing: 1 })));
        assert!(matches!(store.write_chunk(1, b"abc"), Err(StoreError::Layout(_))));
        assert!(matches!(store.write_chunk(0, b"ab"), Err(StoreError::Layout(_))));
        assert!(matches!(store.read_chunk(1), Err(StoreError::NotHeld { index: 1 })));
        store.write_chunk(1, b"ab").unwrap();
        let whole: Vec<u8> = (1..=3).flat_map(|i| store.read_chunk(i).unwrap()).collect();
        assert_eq!(whole, b"abcde");
        assert_eq!(store.finish().unwrap(), Finished::default());
        store.forget(2..=3).unwrap();
        assert!(store.read_chunk(1).is_ok() && store.read_chunk(2).is_err());
        store.forget_all().unwrap();
        assert!(store.held().is_empty());
        store.write_chunk(1, b"xyz").unwrap();
        assert_eq!(store.read_chunk(1).unwrap(), "xyz");
    }
}
