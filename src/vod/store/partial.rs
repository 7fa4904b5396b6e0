//! [`PartialFile`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::super::descriptor::Descriptor;
use super::super::hash::{ChunkHash, ChunkHashes, Digest256, chunk_hash};
use super::super::layout::{Layout, Placement};
use super::sidecar::{Entry, Sidecar};
use super::{ChunkStore, StoreError, positioned};
use crate::range::IndexSet;

/// What to do when a different file has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Leave it and report [`StoreError::TargetExists`].
    #[default]
    Never,
    /// Replace it once the new file is complete.
    Replace,
}

/// Where a file is fetched to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Path and name of the complete file. A name from the network must have gone through
    /// [`safe_file_name`](super::super::file_name::safe_file_name).
    pub path: PathBuf,
    /// What to do when a file of this name exists.
    pub overwrite: Overwrite,
    /// What tells this download from any other, see
    /// [`ShareLink::identity`](super::super::link::ShareLink::identity).
    pub identity: Digest256,
}

impl Target {
    /// A target that overwrites nothing.
    pub fn new(path: impl Into<PathBuf>, identity: Digest256) -> Self {
        Self { path: path.into(), overwrite: Overwrite::Never, identity }
    }

    /// The unfinished file: `NAME.part`.
    pub fn part_path(&self) -> PathBuf {
        self.with_suffix(".part")
    }

    /// The list beside it: `NAME.part.rtmfp`.
    pub fn sidecar_path(&self) -> PathBuf {
        self.with_suffix(".part.rtmfp")
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or(OsStr::new("download")).to_owned();
        name.push(suffix);
        self.path.with_file_name(name)
    }
}

/// A file on its way in.
///
/// Chunks are written to their places in the sparse file `NAME.part`; a list beside it notes which
/// ones with their hashes. Opening the same target again resumes: every noted chunk is read and kept
/// if it still has its hash, by the descriptor's list if there is one. [`finish`](ChunkStore::finish)
/// gives the file its name in one step and deletes the list. Nothing that belongs to anybody else is
/// overwritten, unless the target says so.
#[derive(Debug)]
pub struct PartialFile {
    target: Target,
    file: File,
    /// `None` when the file is complete and has its name.
    sidecar: Option<Sidecar>,
    stated: Layout,
    layout: Layout,
    /// The hashes that the descriptor lists.
    listed: Option<ChunkHashes>,
    /// Those of the chunks held.
    hashes: BTreeMap<u64, ChunkHash>,
    held: IndexSet,
}

impl PartialFile {
    /// Opens the target for the file that `descriptor` describes: a new file, one to be resumed, or
    /// the complete file if it is there already. `progress` is called with the number of bytes
    /// checked so far.
    ///
    /// Errors: see [`StoreError`]; no file's content has been changed then.
    pub fn open(
        target: Target,
        descriptor: &Descriptor,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, StoreError> {
        if target.overwrite == Overwrite::Never && fs::symlink_metadata(&target.path).is_ok() {
            return Self::open_complete(target, descriptor, &mut progress);
        }
        let (part, sidecar) = (target.part_path(), target.sidecar_path());
        let chunks = descriptor.chunks();
        let file = open_part(&part)?;
        lock(&file, &part)?;
        let is_new = file.metadata().map_err(StoreError::io("open", &part))?.len() == 0;
        let (sidecar, entries) = if is_new {
            let list = Sidecar::create(&sidecar, &target.identity, chunks)
                .map_err(StoreError::io("create", &sidecar))?;
            (list, Vec::new())
        } else {
            match Sidecar::resume(&sidecar, &target.identity, chunks) {
                Ok(Some(resumed)) => resumed,
                Ok(None) => return Err(StoreError::ForeignPart { path: part }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(StoreError::ForeignPart { path: part });
                }
                Err(error) => return Err(StoreError::io("read", &sidecar)(error)),
            }
        };
        let mut store = Self::new(target, file, Some(sidecar), descriptor.layout);
        store.listed = descriptor.chunk_hashes.clone();
        store.take_over(entries, descriptor, &mut progress)?;
        Ok(store)
    }

    /// Whether the file is complete and has its name.
    pub fn is_finished(&self) -> bool {
        self.sidecar.is_none()
    }

    /// Path and name of the complete file.
    pub fn path(&self) -> &Path {
        &self.target.path
    }

    fn new(target: Target, file: File, sidecar: Option<Sidecar>, layout: Layout) -> Self {
        let (hashes, held) = (BTreeMap::new(), IndexSet::unbounded());
        Self { target, file, sidecar, stated: layout, layout, listed: None, hashes, held }
    }

    /// The target exists: fine if it is the very file.
    fn open_complete(
        target: Target,
        descriptor: &Descriptor,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, StoreError> {
        let exists = || StoreError::TargetExists { path: target.path.clone() };
        let io = |action| StoreError::io(action, &target.path);
        let expected = descriptor.sha256.ok_or_else(exists)?;
        if !target.path.metadata().map_err(io("open"))?.is_file() {
            return Err(exists());
        }
        let file = File::open(&target.path).map_err(io("open"))?;
        let size = file.metadata().map_err(io("open"))?.len();
        let chunk_size = descriptor.layout.chunk_size().ok_or_else(exists)?;
        let layout = Layout::of_size(size, chunk_size)
            .ok()
            .filter(|layout| layout.chunks() == descriptor.chunks())
            .filter(|layout| descriptor.layout.size().is_none_or(|it| Some(it) == layout.size()))
            .ok_or_else(exists)?;
        let mut store = Self::new(target.clone(), file, None, layout);
        let mut whole = Sha256::new();
        for index in layout.indices() {
            let data = store.read_raw(index)?.ok_or_else(exists)?;
            whole.update(&data);
            store.hold(index, chunk_hash(&data));
            progress(layout.offset(index).unwrap_or_default() + data.len() as u64);
        }
        if Digest256::from_hasher(whole) != expected {
            return Err(exists());
        }
        Ok(store)
    }

    /// Keeps of the noted chunks those that are still what they were.
    fn take_over(
        &mut self,
        entries: Vec<Entry>,
        descriptor: &Descriptor,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        let mut checked = 0;
        for Entry { index, length, hash } in entries {
            let listed = descriptor.chunk_hashes.as_ref();
            if self.held.contains(index)
                || listed.is_some_and(|list| list.hash(index) != Some(&hash))
                || !matches!(self.layout.admit(index, length), Ok(Placement::At(_)))
            {
                continue;
            }
            if self.read_raw(index)?.is_some_and(|data| chunk_hash(&data) == hash) {
                self.hold(index, hash);
            }
            checked += length;
            progress(checked);
        }
        if self.held.is_empty() {
            // What no chunk vouches for has taught nothing.
            self.layout = self.stated;
        }
        Ok(())
    }

    fn hold(&mut self, index: u64, hash: ChunkHash) {
        // The set has no bound and the index is one of the file's: this cannot be refused.
        let _ = self.held.insert(index);
        self.hashes.insert(index, hash);
    }

    fn read_raw(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let place = self.layout.offset(index).zip(self.layout.length(index));
        let (offset, length) = place.ok_or(StoreError::NotHeld { index })?;
        let path = self.current_path();
        positioned::read_chunk(&self.file, offset, length).map_err(StoreError::io("read", &path))
    }

    fn current_path(&self) -> PathBuf {
        if self.is_finished() { self.target.path.clone() } else { self.target.part_path() }
    }

    /// A chunk on disk is not what was written.
    fn damaged(&mut self, index: u64) -> StoreError {
        if self.is_finished() {
            self.held.clear();
            return StoreError::FileChanged { path: self.target.path.clone() };
        }
        // The set has no bound.
        let _ = self.held.remove(index);
        self.hashes.remove(&index);
        StoreError::Damaged { path: self.target.part_path(), index }
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
            Some(data) if self.hashes.get(&index) == Some(&chunk_hash(&data)) => Ok(data.into()),
            _ => Err(self.damaged(index)),
        }
    }

    fn write_chunk(&mut self, index: u64, data: &[u8]) -> Result<(), StoreError> {
        let Some(sidecar) = &mut self.sidecar else { return Err(StoreError::ReadOnly) };
        let length = data.len() as u64;
        let Placement::At(offset) = self.layout.admit(index, length)? else {
            return Err(StoreError::NoPlaceYet { index });
        };
        if self.held.contains(index) {
            return Ok(());
        }
        // A chunk that is not what is listed is none that the replica offers, and would be noticed
        // when it is read: no need to take the hash once more.
        let listed = self.listed.as_ref().and_then(|list| list.hash(index)?.try_into().ok());
        let hash = listed.unwrap_or_else(|| chunk_hash(data));
        positioned::write_at(&self.file, data, offset)
            .map_err(StoreError::io("write", &self.target.part_path()))?;
        sidecar
            .append(&Entry { index, length, hash })
            .map_err(StoreError::io("write", &self.target.sidecar_path()))?;
        self.hold(index, hash);
        Ok(())
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        if self.is_finished() {
            return Err(StoreError::ReadOnly);
        }
        self.held.clear();
        self.hashes.clear();
        self.layout = self.stated;
        let (path, part) = (self.target.sidecar_path(), self.target.part_path());
        let list = Sidecar::create(&path, &self.target.identity, self.stated.chunks());
        self.sidecar = Some(list.map_err(StoreError::io("write", &path))?);
        self.file.set_len(0).map_err(StoreError::io("write", &part))
    }

    fn finish(&mut self) -> Result<Option<PathBuf>, StoreError> {
        if self.is_finished() {
            return Ok(Some(self.target.path.clone()));
        }
        self.check_complete()?;
        let part = self.target.part_path();
        let io = |action| StoreError::io(action, &part);
        self.file.set_len(self.layout.size().unwrap_or_default()).map_err(io("write"))?;
        self.file.sync_all().map_err(io("write"))?;
        publish(&part, &self.target)?;
        self.sidecar = None;
        // The file is complete; a list that cannot be deleted is a trifle.
        let _ = fs::remove_file(self.target.sidecar_path());
        Ok(Some(self.target.path.clone()))
    }
}

fn open_part(path: &Path) -> Result<File, StoreError> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::ForeignPart { path: path.to_owned() });
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(StoreError::io("create", path))
}

/// Keeps a second process out, where the file system can.
fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Gives the file its name in one step.
fn publish(part: &Path, target: &Target) -> Result<(), StoreError> {
    let path = &target.path;
    let rename = || fs::rename(part, path).map_err(StoreError::io("create", path));
    let exists = || StoreError::TargetExists { path: path.clone() };
    if target.overwrite == Overwrite::Replace {
        return rename();
    }
    // A rename would silently replace a file that appeared meanwhile; a link does not.
    match fs::hard_link(part, path) {
        Ok(()) => {
            // Two names for one file are a trifle as well.
            let _ = fs::remove_file(part);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        // No hard links on this file system.
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(exists()),
        Err(_) => rename(),
    }
}

#[cfg(test)]
mod tests;
