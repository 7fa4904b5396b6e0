//! Opening a [`PartialFile`]: existing chunks are found and kept.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::super::super::descriptor::Descriptor;
use super::super::super::hash::{ChunkHash, chunk_hash, hash_chunks};
use super::super::super::layout::{Layout, Placement};
use super::super::super::tree::KnownHashes;
use super::super::content::Content;
use super::super::destination::{Damaged, Overwrite, check_space, make_part, open_part};
use super::super::recover::{Findings, examine};
use super::super::sidecar::{Entry, Resumed, Sidecar};
use super::super::{ChunkStore, FileDestination, StoreError};
use super::{PartialFile, Undecided};
use crate::range::IndexSet;

/// Bytes of recorded chunks that are hashed together.
const READ_AT_ONCE: u64 = 1 << 20;

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
    undecided: BTreeMap<u64, ChunkHash>,
    /// What the chunks have given of the pages of hashes.
    known: KnownHashes,
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
        store.known = match &donor {
            Some(donor) => donor.known.clone(),
            None => descriptor.known_hashes(),
        };
        match resumed {
            Resumed::List(sidecar, entries) => {
                store.sidecar = Some(sidecar);
                store.take_over(entries, checked)?;
                store.find_unlisted(checked)?;
            }
            _ if found == 0 => store.begin_list()?,
            lost => {
                let (was_here, has_hashes) = (matches!(lost, Resumed::Lost), store.known.is_some());
                let error = match was_here && !has_hashes {
                    true => StoreError::ListLost { path: part },
                    false => StoreError::ForeignPart { path: part },
                };
                store.recover(descriptor, was_here, error, checked)?;
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
        checked: &mut Checked<'_>,
    ) -> Result<(), StoreError> {
        let (mut bytes, mut group) = (0, Vec::new());
        // The last entry of a chunk counts, and the disk is read in order.
        let entries: BTreeMap<u64, Entry> =
            entries.into_iter().map(|entry| (entry.index, entry)).collect();
        for &Entry { index, length, hash } in entries.values() {
            if self.known.hash(index).is_some_and(|known| known != hash)
                || !matches!(self.layout.admit(index, length), Ok(Placement::At(_)))
            {
                continue;
            }
            bytes += length;
            if let Some(data) = self.read_raw(index)? {
                group.push((index, hash, data));
            }
            if group.len() as u64 * length >= READ_AT_ONCE {
                self.hold_good(&mut group);
                checked.report(bytes);
            }
        }
        self.hold_good(&mut group);
        checked.report(bytes);
        if let KnownHashes::Tree(tree) = &mut self.known {
            tree.fill(&self.hashes);
            self.hashes.retain(|&index, _| tree.hash(index).is_none());
        }
        if self.held.is_empty() {
            // The chunk length was learned from chunks that are gone.
            self.layout = self.stated;
        }
        Ok(())
    }

    /// Keeps those chunks that have the hash they ought to have.
    fn hold_good(&mut self, group: &mut Vec<(u64, ChunkHash, Vec<u8>)>) {
        let data: Vec<&[u8]> = group.iter().map(|(_, _, data)| &data[..]).collect();
        let found = hash_chunks(&data, None);
        for ((index, hash, _), found) in std::mem::take(group).into_iter().zip(found) {
            if hash == found {
                self.hold(index, hash);
            }
        }
    }

    /// Recovers chunks that are on the disk but missing in a list that has lost its end.
    fn find_unlisted(&mut self, checked: &mut Checked<'_>) -> Result<(), StoreError> {
        let Some(chunk_size) = self.layout.chunk_size().map(u64::from) else { return Ok(()) };
        let noted = self.held.len().saturating_mul(chunk_size);
        if !self.known.is_some() || self.content.allocated() < noted.saturating_add(chunk_size) {
            return Ok(());
        }
        let findings = self.examine(checked)?;
        self.keep(findings)
    }

    /// Notes what was found on the disk.
    fn keep(&mut self, findings: Findings) -> Result<(), StoreError> {
        if !findings.undecided.is_empty() {
            let hashes = findings.undecided;
            self.undecided.push(Undecided { content: None, hashes });
        }
        findings.good.into_iter().try_for_each(|(index, hash)| self.note(index, hash))
    }

    /// Searches an unfinished file without a list for chunks; fails with `error` if none belong to
    /// this download. If what is left of a list `was_here`, large files are not known by it yet.
    fn recover(
        &mut self,
        descriptor: &Descriptor,
        was_here: bool,
        error: StoreError,
        checked: &mut Checked<'_>,
    ) -> Result<(), StoreError> {
        let findings = self.examine(checked)?;
        let is_ours = findings.is_the_file(descriptor)
            || (self.known.is_some() && (findings.has_content || findings.is_blank))
            || (self.known.tree().is_some() && was_here);
        if !is_ours {
            return Err(error);
        }
        self.begin_list()?;
        self.keep(findings)
    }

    fn examine(&mut self, checked: &mut Checked<'_>) -> Result<Findings, StoreError> {
        checked.next_pass();
        let (hashes, known) = (&mut self.known, &self.held);
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
        if !donor.undecided.is_empty() {
            let (content, hashes) = (Some(donor.content), donor.undecided);
            self.undecided.push(Undecided { content, hashes });
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
    let mut hashes = descriptor.known_hashes();
    let mut content = match &descriptor.files {
        None => Content::of_file(path, File::open(path).map_err(StoreError::io("open", path))?),
        Some(files) => Content::of_folder(path, files, false),
    };
    let known = IndexSet::new();
    let mut findings =
        examine(&mut content, &layout, &mut hashes, &known, &mut |bytes| checked.report(bytes))?;
    if findings.is_the_file(descriptor) {
        let mut store = PartialFile::new(destination.clone(), content, None, layout);
        store.known = hashes;
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
    if !hashes.is_some() {
        // There are no hashes to tell which chunks are right.
        findings.good.clear();
    }
    let Findings { good, undecided, .. } = findings;
    Ok(Existing::Donor(Box::new(Donor { content, good, undecided, known: hashes, damaged })))
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
