//! [`PartialFile`].

mod opening;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;

use super::super::hash::{ChunkHash, chunk_hash};
use super::super::layout::{Layout, Placement};
use super::super::tree::{HashTree, KnownHashes};
use super::content::Content;
use super::destination::{Damaged, publish, publish_folder};
use super::sidecar::{Entry, Sidecar};
use super::{ChunkStore, FileDestination, Finished, StoreError};
use crate::range::IndexSet;

/// A file that is being fetched.
///
/// Chunks are written at their offsets in the sparse file `NAME.part`; a list beside it records
/// each with its hash. Opening the same destination again resumes: every recorded chunk is read and
/// kept if its hash still matches, that of the descriptor if there is one. If the list is lost, or
/// a damaged copy of the file has its name, the descriptor's hashes find the chunks to keep.
/// [`finish`](ChunkStore::finish) gives the file its name in one step and deletes the list. A
/// damaged copy is kept as `NAME.damaged`. No other file is overwritten, unless the destination
/// allows it, and anything but a regular file is never replaced.
///
/// Several files are written to a folder `NAME.part` in the same way, which gets its name when all of
/// them are complete.
#[derive(Debug)]
pub struct PartialFile {
    destination: FileDestination,
    content: Content,
    /// Of several files: locks out a second process.
    lock: Option<File>,
    /// `None` once the file is complete and has its name.
    sidecar: Option<Sidecar>,
    stated: Layout,
    layout: Layout,
    /// The hashes in the descriptor, and in the pages of it that are known.
    known: KnownHashes,
    /// The hashes of the chunks held, where they are not known otherwise.
    hashes: BTreeMap<u64, ChunkHash>,
    /// Chunks on the disk whose page of hashes is not known yet.
    undecided: Vec<Undecided>,
    held: IndexSet,
    /// A damaged copy that has the file's name.
    damaged: Option<Damaged>,
}

/// Chunks that may turn out to be right.
#[derive(Debug)]
struct Undecided {
    /// The file or folder that they are in; `None` for the one that is being fetched.
    content: Option<Content>,
    hashes: BTreeMap<u64, ChunkHash>,
}

impl PartialFile {
    /// True if the file is complete and has its name.
    pub fn is_finished(&self) -> bool {
        self.sidecar.is_none()
    }

    /// Path and name of the complete file.
    pub fn path(&self) -> &Path {
        &self.destination.path
    }

    fn new(
        destination: FileDestination,
        content: Content,
        sidecar: Option<Sidecar>,
        layout: Layout,
    ) -> Self {
        Self {
            destination,
            content,
            lock: None,
            sidecar,
            stated: layout,
            layout,
            known: KnownHashes::None,
            hashes: BTreeMap::new(),
            undecided: Vec::new(),
            held: IndexSet::unbounded(),
            damaged: None,
        }
    }

    fn hold(&mut self, index: u64, hash: ChunkHash) {
        // The set is unbounded and the index belongs to the file, so this cannot fail.
        let _ = self.held.insert(index);
        if self.known.hash(index).is_none() {
            self.hashes.insert(index, hash);
        }
    }

    /// The hash that a chunk must have.
    fn hash_of(&self, index: u64) -> Option<ChunkHash> {
        self.known.hash(index).or_else(|| self.hashes.get(&index).copied())
    }

    /// Takes over the undecided chunks of a page whose hashes are known now.
    fn decide(&mut self, chunks: RangeInclusive<u64>) -> Result<IndexSet, StoreError> {
        let mut adopted = IndexSet::unbounded();
        for at in 0..self.undecided.len() {
            for index in chunks.clone() {
                let Some(hash) = self.undecided[at].hashes.remove(&index) else { continue };
                if self.held.contains(index) || self.known.hash(index) != Some(hash) {
                    continue;
                }
                let place = self.layout.offset(index).zip(self.layout.length(index));
                let (offset, length) = place.ok_or(StoreError::NotHeld { index })?;
                let data = match &mut self.undecided[at].content {
                    Some(content) => content.read(offset, length)?,
                    None => self.content.read(offset, length)?,
                };
                // It may have changed since it was examined.
                let Some(data) = data.filter(|data| chunk_hash(data) == hash) else { continue };
                self.write_chunk(index, &data)?;
                // The set is unbounded.
                let _ = adopted.insert(index);
            }
        }
        self.undecided.retain(|undecided| !undecided.hashes.is_empty());
        Ok(adopted)
    }

    fn read_raw(&mut self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let place = self.layout.offset(index).zip(self.layout.length(index));
        let (offset, length) = place.ok_or(StoreError::NotHeld { index })?;
        self.content.read(offset, length)
    }

    /// Handles a chunk on disk that has changed since it was written.
    fn damaged(&mut self, index: u64) -> StoreError {
        if self.is_finished() {
            self.held.clear();
            return StoreError::FileChanged { path: self.destination.path.clone() };
        }
        // The set is unbounded.
        let _ = self.held.remove(index);
        self.hashes.remove(&index);
        StoreError::Damaged { path: self.destination.part_path(), index }
    }
}

impl ChunkStore for PartialFile {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn held(&self) -> &IndexSet {
        &self.held
    }

    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError> {
        if !self.held.contains(index) {
            return Err(StoreError::NotHeld { index });
        }
        match self.read_raw(index)? {
            Some(data) if self.hash_of(index) == Some(chunk_hash(&data)) => Ok(data.into()),
            _ => Err(self.damaged(index)),
        }
    }

    fn write_chunk(&mut self, index: u64, data: &[u8]) -> Result<(), StoreError> {
        let Some(sidecar) = &mut self.sidecar else { return Err(StoreError::ReadOnly) };
        let length = data.len() as u64;
        let Placement::At(offset) = self.layout.admit(index, length)? else {
            return Err(StoreError::UnknownOffset { index });
        };
        if self.held.contains(index) {
            return Ok(());
        }
        // The replica offers only chunks that match the listed hash, and a wrong one would be
        // detected when it is read: there is no need to hash it again.
        let hash = self.known.hash(index).unwrap_or_else(|| chunk_hash(data));
        self.content.write(data, offset)?;
        sidecar
            .append(&Entry { index, length, hash })
            .map_err(StoreError::io("write", &self.destination.sidecar_path()))?;
        self.hold(index, hash);
        Ok(())
    }

    fn pages(&self) -> Vec<(u64, Bytes)> {
        let pages = self.known.tree().into_iter().flat_map(HashTree::pages);
        pages.map(|(index, page)| (index, page.clone())).collect()
    }

    fn add_page(&mut self, index: u64, page: &Bytes) -> Result<IndexSet, StoreError> {
        let Some(tree) = self.known.tree_mut() else { return Ok(IndexSet::new()) };
        // The replica has verified it against the same descriptor.
        let (added, chunks) = (tree.add(index, page.clone()), tree.shape().chunks_of(index));
        let Some(chunks) = chunks.filter(|_| added.is_ok()) else { return Ok(IndexSet::new()) };
        // What was noted in the list was verified then; from now on the page has the hashes.
        for index in chunks.clone() {
            self.hashes.remove(&index);
        }
        self.decide(chunks)
    }

    fn write_draft(&mut self, index: u64, data: &[u8], hash: ChunkHash) -> Result<(), StoreError> {
        if self.is_finished() {
            return Err(StoreError::ReadOnly);
        }
        let Placement::At(offset) = self.layout.admit(index, data.len() as u64)? else {
            return Err(StoreError::UnknownOffset { index });
        };
        if self.held.contains(index) {
            return Ok(());
        }
        // Not in the list: after a restart, it is as if it had not been written.
        self.content.write(data, offset)?;
        if !self.undecided.iter().any(|it| it.content.is_none()) {
            self.undecided.push(Undecided { content: None, hashes: BTreeMap::new() });
        }
        if let Some(here) = self.undecided.iter_mut().find(|it| it.content.is_none()) {
            here.hashes.insert(index, hash);
        }
        Ok(())
    }

    fn make_page(&self, index: u64) -> Option<Bytes> {
        let here = self.undecided.iter().find(|it| it.content.is_none());
        let drafted = |chunk: &u64| here?.hashes.get(chunk).copied();
        let chunks = self.known.tree()?.shape().chunks_of(index)?;
        let hashes = chunks.map(|chunk| self.hash_of(chunk).or_else(|| drafted(&chunk)));
        Some(hashes.collect::<Option<Vec<_>>>()?.concat().into())
    }

    /// The list is written anew: what lies on the disk would else be found to be as it was accepted.
    fn forget(&mut self, chunks: RangeInclusive<u64>) -> Result<(), StoreError> {
        if self.is_finished() {
            return Err(StoreError::ReadOnly);
        }
        // The set is unbounded: this cannot fail.
        let _ = self.held.remove_range(chunks.clone());
        self.hashes.retain(|index, _| !chunks.contains(index));
        let path = self.destination.sidecar_path();
        let io = || StoreError::io("write", &path);
        let identity = &self.destination.identity;
        let mut list = Sidecar::create(&path, identity, self.stated.chunks()).map_err(io())?;
        for (&index, &hash) in &self.hashes {
            let length = self.layout.length(index).unwrap_or_default();
            list.append(&Entry { index, length, hash }).map_err(io())?;
        }
        self.sidecar = Some(list);
        Ok(())
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        if self.is_finished() {
            return Err(StoreError::ReadOnly);
        }
        self.held.clear();
        self.hashes.clear();
        self.layout = self.stated;
        let path = self.destination.sidecar_path();
        let list = Sidecar::create(&path, &self.destination.identity, self.stated.chunks());
        self.sidecar = Some(list.map_err(StoreError::io("write", &path))?);
        self.content.clear()
    }

    fn finish(&mut self) -> Result<Finished, StoreError> {
        if self.is_finished() {
            return Ok(Finished::at(&self.destination.path));
        }
        self.check_complete()?;
        let part = self.destination.part_path();
        self.content.complete(self.layout.size().unwrap_or_default())?;
        let kept = match &self.content {
            Content::File { .. } => publish(&part, &self.destination, self.damaged.as_ref())?,
            Content::Files(_) => {
                self.content.close();
                self.lock = None;
                publish_folder(&part, &self.destination, self.damaged.as_ref())?
            }
        };
        self.content.moved(&self.destination.path);
        self.sidecar = None;
        // The file is complete; a list that cannot be deleted does no harm.
        let _ = fs::remove_file(self.destination.sidecar_path());
        Ok(Finished { kept, ..Finished::at(&self.destination.path) })
    }
}

#[cfg(test)]
mod tests;
