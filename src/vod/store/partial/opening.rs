//! Opening a [`PartialFile`]: what is there already is found and kept.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::super::super::descriptor::Descriptor;
use super::super::super::hash::{ChunkHash, chunk_hash};
use super::super::super::layout::{Layout, Placement};
use super::super::place::{Damaged, Overwrite, allocated, check_room, open_part};
use super::super::recover::examine;
use super::super::sidecar::{Entry, Resumed, Sidecar};
use super::super::{ChunkStore, StoreError, Target, positioned};
use super::PartialFile;
use crate::range::IndexSet;

/// A file that has the name already.
enum Existing {
    /// It is the promised one.
    Complete(Box<PartialFile>),
    /// Some of its chunks are right.
    Donor(Donor),
}

/// Chunks to be taken from another file.
struct Donor {
    file: File,
    good: BTreeMap<u64, ChunkHash>,
    /// The file makes way at the end and is kept.
    damaged: Option<Damaged>,
}

/// Bytes looked at, in several passes.
struct Checked<'a> {
    before: u64,
    now: u64,
    report: &'a mut dyn FnMut(u64),
}

impl Checked<'_> {
    /// So many bytes of this pass.
    fn report(&mut self, bytes: u64) {
        self.now = bytes;
        (self.report)(self.before + bytes);
    }

    /// The next pass begins.
    fn next_pass(&mut self) {
        self.before += std::mem::take(&mut self.now);
    }
}

impl PartialFile {
    /// Opens the target for the file that `descriptor` describes: a new file, one to be resumed, or
    /// the complete file if it is there already. `progress` is called with the number of bytes
    /// checked so far.
    ///
    /// Errors: see [`StoreError`]; no file's content has been changed then.
    pub fn open(
        mut target: Target,
        descriptor: &Descriptor,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, StoreError> {
        let mut checked = Checked { before: 0, now: 0, report: &mut progress };
        let donor = match target.follow_links()? {
            Some(found) => match open_existing(&target, found, descriptor, &mut checked)? {
                Existing::Complete(store) => return Ok(*store),
                Existing::Donor(donor) => Some(donor),
            },
            None => None,
        };
        let part = target.part_path();
        let is_new = fs::symlink_metadata(&part).is_err();
        let file = open_part(&part)?;
        lock(&file, &part)?;
        let opened = Self::open_unfinished(target, file, descriptor, donor, &mut checked);
        if opened.is_err() && is_new {
            // Nothing is in it yet. If it cannot be deleted, it is an empty file too many.
            let _ = fs::remove_file(&part);
        }
        opened
    }

    fn open_unfinished(
        target: Target,
        file: File,
        descriptor: &Descriptor,
        donor: Option<Donor>,
        checked: &mut Checked<'_>,
    ) -> Result<Self, StoreError> {
        let (part, list) = (target.part_path(), target.sidecar_path());
        if let Some(size) = descriptor.layout.size() {
            check_room(&file, &part, size)?;
        }
        let found = file.metadata().map_err(StoreError::io("open", &part))?;
        let resumed = match found.len() {
            0 => Resumed::Missing,
            _ => Sidecar::resume(&list, &target.identity, descriptor.chunks())
                .map_err(StoreError::io("read", &list))?,
        };
        let mut store = Self::new(target, file, None, descriptor.layout);
        store.listed = descriptor.chunk_hashes.clone();
        match resumed {
            Resumed::List(sidecar, entries) => {
                store.sidecar = Some(sidecar);
                store.take_over(entries, descriptor, checked)?;
                store.find_unlisted(&found, checked)?;
            }
            _ if found.len() == 0 => store.begin_list()?,
            lost => {
                let error = match lost {
                    Resumed::Lost if store.listed.is_none() => StoreError::ListLost { path: part },
                    _ => StoreError::ForeignPart { path: part },
                };
                store.recover(descriptor, error, checked)?;
            }
        }
        if let Some(donor) = donor {
            store.take_from(donor, checked)?;
        }
        Ok(store)
    }

    /// Keeps of the noted chunks those that are still what they were.
    fn take_over(
        &mut self,
        entries: Vec<Entry>,
        descriptor: &Descriptor,
        checked: &mut Checked<'_>,
    ) -> Result<(), StoreError> {
        let mut bytes = 0;
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
            bytes += length;
            checked.report(bytes);
        }
        if self.held.is_empty() {
            // What no chunk vouches for has taught nothing.
            self.layout = self.stated;
        }
        Ok(())
    }

    /// The list may have lost its end: more is on the disk than it notes.
    fn find_unlisted(
        &mut self,
        part: &Metadata,
        checked: &mut Checked<'_>,
    ) -> Result<(), StoreError> {
        let Some(chunk_size) = self.layout.chunk_size().map(u64::from) else { return Ok(()) };
        let noted = self.held.len().saturating_mul(chunk_size);
        if self.listed.is_none() || allocated(part) < noted.saturating_add(chunk_size) {
            return Ok(());
        }
        let good = self.examine(checked)?.good;
        good.into_iter().try_for_each(|(index, hash)| self.note(index, hash))
    }

    /// Finds out what is in an unfinished file without a list; `error` if it is nothing of this
    /// download.
    fn recover(
        &mut self,
        descriptor: &Descriptor,
        error: StoreError,
        checked: &mut Checked<'_>,
    ) -> Result<(), StoreError> {
        let findings = self.examine(checked)?;
        let is_ours = findings.is_the_file(descriptor)
            || (self.listed.is_some() && (findings.has_content || findings.is_blank));
        if !is_ours {
            return Err(error);
        }
        self.begin_list()?;
        findings.good.into_iter().try_for_each(|(index, hash)| self.note(index, hash))
    }

    fn examine(
        &self,
        checked: &mut Checked<'_>,
    ) -> Result<super::super::recover::Findings, StoreError> {
        checked.next_pass();
        let (hashes, known) = (self.listed.as_ref(), &self.held);
        examine(&self.file, &self.layout, hashes, known, &mut |bytes| checked.report(bytes))
            .map_err(StoreError::io("read", &self.target.part_path()))
    }

    /// Copies chunks from another file; what has changed there meanwhile is left out.
    fn take_from(&mut self, donor: Donor, checked: &mut Checked<'_>) -> Result<(), StoreError> {
        self.damaged = donor.damaged;
        checked.next_pass();
        let mut bytes = 0;
        for (index, hash) in donor.good {
            let place = self.layout.offset(index).zip(self.layout.length(index));
            let Some((offset, length)) = place.filter(|_| !self.held.contains(index)) else {
                continue;
            };
            let data = positioned::read_chunk(&donor.file, offset, length)
                .map_err(StoreError::io("read", &self.target.path))?;
            if let Some(data) = data.filter(|data| chunk_hash(data) == hash) {
                self.write_chunk(index, &data)?;
            }
            bytes += length;
            checked.report(bytes);
        }
        Ok(())
    }

    /// Begins a new list of what is held.
    fn begin_list(&mut self) -> Result<(), StoreError> {
        let path = self.target.sidecar_path();
        let list = Sidecar::create(&path, &self.target.identity, self.stated.chunks());
        self.sidecar = Some(list.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => StoreError::ForeignPart { path },
            _ => StoreError::io("create", &path)(error),
        })?);
        Ok(())
    }

    /// Holds a chunk that is in its place, and puts it on the list.
    fn note(&mut self, index: u64, hash: ChunkHash) -> Result<(), StoreError> {
        let length = self.layout.length(index).unwrap_or_default();
        if let Some(sidecar) = &mut self.sidecar {
            sidecar
                .append(&Entry { index, length, hash })
                .map_err(StoreError::io("write", &self.target.sidecar_path()))?;
        }
        self.hold(index, hash);
        Ok(())
    }
}

/// The target exists: is it the very file, or a damaged copy?
fn open_existing(
    target: &Target,
    found: Metadata,
    descriptor: &Descriptor,
    checked: &mut Checked<'_>,
) -> Result<Existing, StoreError> {
    let io = |action| StoreError::io(action, &target.path);
    let layout = layout_of_existing(&found, descriptor);
    let hashes = descriptor.chunk_hashes.as_ref();
    let file = File::open(&target.path).map_err(io("open"))?;
    let known = IndexSet::new();
    let mut findings = examine(&file, &layout, hashes, &known, &mut |bytes| checked.report(bytes))
        .map_err(io("read"))?;
    if findings.is_the_file(descriptor) {
        let mut store = PartialFile::new(target.clone(), file, None, layout);
        findings.good.into_iter().for_each(|(index, hash)| store.hold(index, hash));
        return Ok(Existing::Complete(Box::new(store)));
    }
    let damaged = match target.overwrite {
        Overwrite::Replace => None,
        Overwrite::Never if findings.is_a_damaged_copy() => Some(Damaged::new(found)),
        Overwrite::Never => return Err(StoreError::TargetExists { path: target.path.clone() }),
    };
    if hashes.is_none() {
        // Nothing says which chunks are right.
        findings.good.clear();
    }
    Ok(Existing::Donor(Donor { file, good: findings.good, damaged }))
}

/// The layout of the promised file; where its size is not stated, that of the file that is there.
fn layout_of_existing(found: &Metadata, descriptor: &Descriptor) -> Layout {
    let stated = descriptor.layout;
    let chunk_size = stated.chunk_size().filter(|_| stated.size().is_none());
    chunk_size
        .and_then(|chunk_size| Layout::of_size(found.len(), chunk_size).ok())
        .filter(|layout| layout.chunks() == stated.chunks())
        .unwrap_or(stated)
}

/// Keeps a second process out, where the file system can.
fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}
