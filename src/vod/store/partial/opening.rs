//! Opening a [`PartialFile`]: existing chunks are found and kept.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::super::super::descriptor::Descriptor;
use super::super::super::hash::{ChunkHash, chunk_hash};
use super::super::super::layout::{Layout, Placement};
use super::super::content::Content;
use super::super::destination::{Damaged, Overwrite, check_space, make_part, open_part};
use super::super::recover::examine;
use super::super::sidecar::{Entry, Resumed, Sidecar};
use super::super::{ChunkStore, FileDestination, StoreError};
use super::PartialFile;
use crate::range::IndexSet;

/// A file that already has the name.
enum Existing {
    /// It is the shared file.
    Complete(Box<PartialFile>),
    /// It has some of the right chunks.
    Donor(Box<Donor>),
}

/// Chunks to be copied from another file.
struct Donor {
    content: Content,
    good: BTreeMap<u64, ChunkHash>,
    /// The file, if it is to be moved away at the end and kept.
    damaged: Option<Damaged>,
}

/// Counts the bytes read, over several passes.
struct Checked<'a> {
    before: u64,
    now: u64,
    report: &'a mut dyn FnMut(u64),
}

impl Checked<'_> {
    /// Reports the bytes read in this pass.
    fn report(&mut self, bytes: u64) {
        self.now = bytes;
        (self.report)(self.before + bytes);
    }

    /// Begins the next pass.
    fn next_pass(&mut self) {
        self.before += std::mem::take(&mut self.now);
    }
}

impl PartialFile {
    /// Opens the destination for the file that `descriptor` describes: a new file, a file to be
    /// resumed, or the complete file if it exists. `progress` is called with the number of bytes
    /// checked so far.
    ///
    /// Errors: see [`StoreError`]; on error the content of no file has changed.
    pub fn open(
        mut destination: FileDestination,
        descriptor: &Descriptor,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, StoreError> {
        let mut checked = Checked { before: 0, now: 0, report: &mut progress };
        let donor = match destination.follow_links(descriptor.files.is_some())? {
            Some(found) => match open_existing(&destination, found, descriptor, &mut checked)? {
                Existing::Complete(store) => return Ok(*store),
                Existing::Donor(donor) => Some(*donor),
            },
            None => None,
        };
        let part = destination.part_path();
        let is_new = fs::symlink_metadata(&part).is_err();
        let (content, folder) = match &descriptor.files {
            None => {
                let file = open_part(&part)?;
                lock(&file, &part)?;
                (Content::of_file(&part, file), None)
            }
            Some(files) => {
                make_part(&part)?;
                // Not everywhere can a folder be opened and locked.
                let folder = File::open(&part).ok();
                folder.iter().try_for_each(|folder| lock(folder, &part))?;
                (Content::of_folder(&part, files, true), folder)
            }
        };
        let opened = Self::open_unfinished(destination, content, descriptor, donor, &mut checked);
        if opened.is_err() && is_new {
            // Still empty; if it cannot be deleted, something empty remains.
            let _ = match &descriptor.files {
                None => fs::remove_file(&part),
                Some(_) => fs::remove_dir(&part),
            };
        }
        opened.map(|store| Self { lock: folder, ..store })
    }

    fn open_unfinished(
        destination: FileDestination,
        content: Content,
        descriptor: &Descriptor,
        donor: Option<Donor>,
        checked: &mut Checked<'_>,
    ) -> Result<Self, StoreError> {
        let (part, list) = (destination.part_path(), destination.sidecar_path());
        if let Some(size) = descriptor.layout.size() {
            check_space(content.allocated(), &part, size)?;
        }
        let found = content.length()?;
        let resumed = match found {
            0 => Resumed::Missing,
            _ => Sidecar::resume(&list, &destination.identity, descriptor.chunks())
                .map_err(StoreError::io("read", &list))?,
        };
        let mut store = Self::new(destination, content, None, descriptor.layout);
        store.listed = descriptor.chunk_hashes.clone();
        match resumed {
            Resumed::List(sidecar, entries) => {
                store.sidecar = Some(sidecar);
                store.take_over(entries, descriptor, checked)?;
                store.find_unlisted(checked)?;
            }
            _ if found == 0 => store.begin_list()?,
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

    /// Keeps the recorded chunks that still match their hashes.
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
            // The chunk length was learned from chunks that are gone.
            self.layout = self.stated;
        }
        Ok(())
    }

    /// Recovers chunks that are on the disk but missing in a list that has lost its end.
    fn find_unlisted(&mut self, checked: &mut Checked<'_>) -> Result<(), StoreError> {
        let Some(chunk_size) = self.layout.chunk_size().map(u64::from) else { return Ok(()) };
        let noted = self.held.len().saturating_mul(chunk_size);
        if self.listed.is_none() || self.content.allocated() < noted.saturating_add(chunk_size) {
            return Ok(());
        }
        let good = self.examine(checked)?.good;
        good.into_iter().try_for_each(|(index, hash)| self.note(index, hash))
    }

    /// Searches an unfinished file without a list for chunks; fails with `error` if none belong to
    /// this download.
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
        &mut self,
        checked: &mut Checked<'_>,
    ) -> Result<super::super::recover::Findings, StoreError> {
        checked.next_pass();
        let (hashes, known) = (self.listed.as_ref(), &self.held);
        let content = &mut self.content;
        examine(content, &self.layout, hashes, known, &mut |bytes| checked.report(bytes))
    }

    /// Copies chunks from another file; those that have changed meanwhile are skipped.
    fn take_from(&mut self, mut donor: Donor, checked: &mut Checked<'_>) -> Result<(), StoreError> {
        self.damaged = donor.damaged;
        checked.next_pass();
        let mut bytes = 0;
        for (index, hash) in donor.good {
            let place = self.layout.offset(index).zip(self.layout.length(index));
            let Some((offset, length)) = place.filter(|_| !self.held.contains(index)) else {
                continue;
            };
            let data = donor.content.read(offset, length)?;
            if let Some(data) = data.filter(|data| chunk_hash(data) == hash) {
                self.write_chunk(index, &data)?;
            }
            bytes += length;
            checked.report(bytes);
        }
        Ok(())
    }

    /// Begins a new list with the chunks held.
    fn begin_list(&mut self) -> Result<(), StoreError> {
        let path = self.destination.sidecar_path();
        let list = Sidecar::create(&path, &self.destination.identity, self.stated.chunks());
        self.sidecar = Some(list.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => StoreError::ForeignPart { path },
            _ => StoreError::io("create", &path)(error),
        })?);
        Ok(())
    }

    /// Marks a chunk as held that is at its offset, and adds it to the list.
    fn note(&mut self, index: u64, hash: ChunkHash) -> Result<(), StoreError> {
        let length = self.layout.length(index).unwrap_or_default();
        if let Some(sidecar) = &mut self.sidecar {
            sidecar
                .append(&Entry { index, length, hash })
                .map_err(StoreError::io("write", &self.destination.sidecar_path()))?;
        }
        self.hold(index, hash);
        Ok(())
    }
}

/// Examines an existing file at the destination: the shared file, or a damaged copy.
fn open_existing(
    destination: &FileDestination,
    found: Metadata,
    descriptor: &Descriptor,
    checked: &mut Checked<'_>,
) -> Result<Existing, StoreError> {
    let path = &destination.path;
    let layout = layout_of_existing(&found, descriptor);
    let hashes = descriptor.chunk_hashes.as_ref();
    let mut content = match &descriptor.files {
        None => Content::of_file(path, File::open(path).map_err(StoreError::io("open", path))?),
        Some(files) => Content::of_folder(path, files, false),
    };
    let known = IndexSet::new();
    let mut findings =
        examine(&mut content, &layout, hashes, &known, &mut |bytes| checked.report(bytes))?;
    if findings.is_the_file(descriptor) {
        let mut store = PartialFile::new(destination.clone(), content, None, layout);
        findings.good.into_iter().for_each(|(index, hash)| store.hold(index, hash));
        return Ok(Existing::Complete(Box::new(store)));
    }
    let damaged = match destination.overwrite {
        Overwrite::Replace => None,
        Overwrite::Never if findings.is_a_damaged_copy() => Some(Damaged::new(found)),
        Overwrite::Never if is_empty_folder(path) => None,
        Overwrite::Never => {
            return Err(StoreError::DestinationExists { path: destination.path.clone() });
        }
    };
    if hashes.is_none() {
        // There are no hashes to tell which chunks are right.
        findings.good.clear();
    }
    Ok(Existing::Donor(Box::new(Donor { content, good: findings.good, damaged })))
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// The layout of the shared file; if its size is not stated, that of the existing file.
fn layout_of_existing(found: &Metadata, descriptor: &Descriptor) -> Layout {
    let stated = descriptor.layout;
    let chunk_size = stated.chunk_size().filter(|_| stated.size().is_none());
    chunk_size
        .and_then(|chunk_size| Layout::of_size(found.len(), chunk_size).ok())
        .filter(|layout| layout.chunks() == stated.chunks())
        .unwrap_or(stated)
}

/// Locks out a second process, where the file system supports it.
fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}
