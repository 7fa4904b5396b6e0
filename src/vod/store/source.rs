//! [`SourceFile`].

use std::fs::{File, Metadata};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::super::chunker::{CHUNK_SIZE, MAX_CHUNK_SIZE};
use super::super::descriptor::Descriptor;
use super::super::files::{FileList, SharedFile};
use super::super::hash::{ChunkHashes, Digest256, hash_chunks};
use super::super::layout::Layout;
use super::super::tree::HashTree;
use super::content::Content;
use super::saved_hashes::{Hashed, SAVE_EVERY, SavedHashes};
use super::{ChunkStore, Finished, StoreError};
use crate::range::IndexSet;

/// Settings of a pass over what is to be shared.
#[derive(Debug, Clone)]
pub struct ScanConfig {
    /// Length of a chunk in bytes.
    pub chunk_size: u32,
    /// The directory in which the hashes of large files are saved, so that a pass that was interrupted is
    /// continued and one that was finished is not repeated, as long as path, size, time of change and
    /// inode of the files are the same. `None` reads everything. At most [`MAX_SAVED`](super::MAX_SAVED)
    /// files are kept there.
    pub saved_in: Option<PathBuf>,
}

impl Default for ScanConfig {
    fn default() -> Self {
        Self { chunk_size: CHUNK_SIZE, saved_in: None }
    }
}

/// Bytes that the first pass over a file reads at a time, or one chunk.
const READ_AT_ONCE: usize = 1 << 20;

/// A file that is being shared, or several. It must not change meanwhile.
///
/// [`scan`](Self::scan) reads it once and hashes every chunk. Afterwards each chunk that is read is
/// compared with its hash; the first mismatch ends the share with [`StoreError::FileChanged`].
/// Replacing a single file (writing a new one and renaming it) has no effect: the file that is open is
/// served. Several files are opened as they are needed.
#[derive(Debug)]
pub struct SourceFile {
    content: Content,
    layout: Layout,
    name: Option<String>,
    files: Option<FileList>,
    hashes: ChunkHashes,
    /// The pages over the hashes, of a large file.
    tree: Option<HashTree>,
    sha256: Digest256,
    /// Where the hashes are saved.
    saved: Option<SavedHashes>,
    held: IndexSet,
}

impl SourceFile {
    /// Opens a file and hashes it; `progress` is called with the number of bytes read so far.
    ///
    /// Errors: not a regular file, unreadable, changed while it was read, or too many chunks.
    pub fn scan(
        path: &Path,
        chunk_size: u32,
        progress: impl FnMut(u64),
    ) -> Result<Self, StoreError> {
        Self::scan_file(path, &ScanConfig { chunk_size, saved_in: None }, progress)
    }

    /// As [`scan`](Self::scan), perhaps with hashes of an earlier pass.
    ///
    /// # Errors
    ///
    /// As for [`scan`](Self::scan).
    pub fn scan_file(
        path: &Path,
        config: &ScanConfig,
        progress: impl FnMut(u64),
    ) -> Result<Self, StoreError> {
        let found = regular(path)?;
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let layout = Layout::of_size(found.len(), config.chunk_size)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut source = Self::new(Content::of_file(path, file), layout, name, None);
        source.hash(&[(path, found)], config, progress)?;
        Ok(source)
    }

    /// Hashes several files, to be shared under a common name: each has a path in the share, its parts
    /// separated by `/`, and a path on this host. `progress` is called with the number of bytes read so
    /// far.
    ///
    /// Errors: as for a single file, or the files are too many.
    pub fn scan_files(
        name: &str,
        files: Vec<(String, PathBuf)>,
        config: &ScanConfig,
        progress: impl FnMut(u64),
    ) -> Result<Self, StoreError> {
        let found = files.iter().map(|(_, path)| Ok((path.as_path(), regular(path)?)));
        let found = found.collect::<Result<Vec<(&Path, Metadata)>, StoreError>>()?;
        let sizes = files.iter().zip(&found);
        let shared = sizes
            .map(|((path, _), (_, found))| SharedFile { path: path.clone(), size: found.len() });
        let list = FileList::new(shared.collect())?;
        let layout = Layout::of_size(list.size(), config.chunk_size)?;
        let paths = files.iter().map(|(_, path)| path.clone()).collect();
        let content = Content::of_files(Path::new(name), &list, paths);
        let mut source = Self::new(content, layout, Some(name.to_owned()), Some(list));
        source.hash(&found, config, progress)?;
        Ok(source)
    }

    fn new(
        content: Content,
        layout: Layout,
        name: Option<String>,
        files: Option<FileList>,
    ) -> Self {
        let (sha256, hashes) = Hashed::new().finish();
        let mut held = IndexSet::new();
        // A single range always fits.
        let _ = held.insert_range(layout.indices());
        Self { content, layout, name, files, hashes, tree: None, sha256, saved: None, held }
    }

    /// Reads everything once, or what no earlier pass has read. `found` is what the files were when they
    /// were opened.
    fn hash(
        &mut self,
        found: &[(&Path, Metadata)],
        config: &ScanConfig,
        mut progress: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let changed = |path: &Path| StoreError::FileChanged { path: path.to_owned() };
        let size = self.layout.size().unwrap_or_default();
        let chunk_size = self.layout.chunk_size().unwrap_or(MAX_CHUNK_SIZE) as usize;
        let step = ((READ_AT_ONCE / chunk_size.max(1)).max(1) * chunk_size) as u64;
        let saved = config.saved_in.as_ref();
        let saved = saved.and_then(|it| SavedHashes::of(it, found, chunk_size as u64));
        let mut hashes = saved.as_ref().and_then(SavedHashes::load).unwrap_or_else(Hashed::new);
        let mut saved_bytes = hashes.bytes;
        progress(hashes.bytes);
        while hashes.bytes < size {
            let length = step.min(size - hashes.bytes);
            match self.content.read(hashes.bytes, length)? {
                Some(data) => hashes.update(&data, chunk_size),
                None => return Err(changed(self.content.path())),
            }
            progress(hashes.bytes);
            if hashes.bytes - saved_bytes >= SAVE_EVERY {
                save(saved.as_ref(), &hashes);
                saved_bytes = hashes.bytes;
            }
        }
        for (path, before) in found {
            let after = path.metadata().map_err(StoreError::io("read", path))?;
            if stamp(before) != stamp(&after) {
                return Err(changed(path));
            }
        }
        if saved_bytes < size {
            save(saved.as_ref(), &hashes);
        }
        self.saved = saved;
        (self.sha256, self.hashes) = hashes.finish();
        self.tree = HashTree::over(&self.hashes);
        Ok(())
    }

    /// The descriptor of the file: name, size, chunks and hashes.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            layout: self.layout,
            files: self.files.clone(),
            name: self.name.clone(),
            mime: None,
            sha256: Some(self.sha256),
            chunk_hashes: self.tree.is_none().then(|| self.hashes.clone()),
            page_hashes: self.tree.as_ref().map(|tree| tree.root().clone()),
            validators: None,
        }
    }

    /// The path by which it was opened, or the name of several files.
    pub fn path(&self) -> &Path {
        self.content.path()
    }
}

impl ChunkStore for SourceFile {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn held(&self) -> &IndexSet {
        &self.held
    }

    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError> {
        if let Some(page) = self.tree.as_ref().and_then(|tree| tree.page(index)) {
            return Ok(page.clone());
        }
        let place = self.layout.offset(index).zip(self.layout.length(index));
        let (offset, length) =
            place.filter(|_| self.held.contains(index)).ok_or(StoreError::NotHeld { index })?;
        let data = self.content.read(offset, length)?;
        let data = data.filter(|data| self.hashes.matches(index, data));
        match data {
            Some(data) => Ok(data.into()),
            None => {
                self.held.clear();
                // It has changed in a way that its metadata does not show: the next pass is to read it.
                self.saved.iter().for_each(SavedHashes::forget);
                Err(StoreError::FileChanged { path: self.path().to_owned() })
            }
        }
    }

    fn write_chunk(&mut self, _index: u64, _data: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn forget(&mut self, _chunks: RangeInclusive<u64>) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn finish(&mut self) -> Result<Finished, StoreError> {
        Ok(Finished::at(self.path()))
    }
}

/// Saves the state of a pass. Where that fails, the next share reads everything again.
fn save(saved: Option<&SavedHashes>, hashed: &Hashed) {
    if let Some(Err(error)) = saved.map(|saved| saved.save(hashed)) {
        tracing::debug!(%error, "the hashes cannot be saved");
    }
}

/// The metadata of a file that can be shared. Nothing is opened: opening a pipe would wait for its
/// writer.
fn regular(path: &Path) -> Result<Metadata, StoreError> {
    let found = path.metadata().map_err(StoreError::io("open", path))?;
    match found.is_file() {
        true => Ok(found),
        false => Err(StoreError::NotAFile { path: path.to_owned() }),
    }
}

fn stamp(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

impl Hashed {
    fn new() -> Self {
        Self { whole: Sha256::new(), chunks: Vec::new(), bytes: 0 }
    }

    /// Continues with chunks of this length; only the last one of all may be shorter.
    fn update(&mut self, data: &[u8], chunk_size: usize) {
        self.bytes += data.len() as u64;
        let chunks: Vec<&[u8]> = data.chunks(chunk_size).collect();
        self.chunks.extend(hash_chunks(&chunks, Some(&mut self.whole)));
    }

    fn finish(self) -> (Digest256, ChunkHashes) {
        (Digest256::from_hasher(self.whole), ChunkHashes::from_hashes(self.chunks))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::super::super::descriptor::DescriptorForm;
    use super::super::positioned;
    use super::super::saved_hashes::SAVED_FROM;
    use super::*;

    const CHUNK: u32 = 1000;

    fn shared(content: &[u8]) -> (tempfile::TempDir, PathBuf, SourceFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film.mp4");
        fs::write(&path, content).unwrap();
        let source = SourceFile::scan(&path, CHUNK, |_| {}).unwrap();
        (dir, path, source)
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7) as u8).collect()
    }

    #[test]
    fn a_scan_finds_size_chunks_and_hashes() {
        let data = content(3500);
        let (_dir, _, mut source) = shared(&data);
        let descriptor = source.descriptor();
        assert_eq!(descriptor.name.as_deref(), Some("film.mp4"));
        assert_eq!(descriptor.layout.size(), Some(3500));
        assert_eq!(descriptor.chunks(), 4);
        assert_eq!(descriptor.sha256, Some(Digest256::of(&data)));
        assert_eq!(descriptor.chunk_hashes.as_ref().unwrap().len(), 4);
        assert_eq!(source.held().len(), 4);
        let read: Vec<u8> = (1..=4).flat_map(|i| source.read_chunk(i).unwrap()).collect();
        assert_eq!(read, data);
        for beyond in [0, 5, u64::MAX] {
            assert!(matches!(source.read_chunk(beyond), Err(StoreError::NotHeld { .. })));
        }
        assert!(matches!(source.write_chunk(1, b""), Err(StoreError::ReadOnly)));
        let value = descriptor.to_value(DescriptorForm::Object);
        assert_eq!(Descriptor::from_value(&value).unwrap().0, descriptor);
    }

    #[test]
    fn progress_ends_at_the_size() {
        let (_dir, path, _) = shared(&content(600_000));
        let mut seen = Vec::new();
        SourceFile::scan(&path, CHUNK, |bytes| seen.push(bytes)).unwrap();
        assert!(seen.is_sorted() && seen.last() == Some(&600_000));
    }

    #[test]
    fn an_empty_file_has_no_chunks() {
        let (_dir, _, source) = shared(b"");
        assert_eq!(source.descriptor().chunks(), 0);
        assert!(source.held().is_empty());
        assert_eq!(source.descriptor().sha256, Some(Digest256::of(b"")));
    }

    /// A file that is large enough for its hashes to be saved, most of it a hole.
    fn large(dir: &Path) -> PathBuf {
        let path = dir.join("large");
        fs::write(&path, content(100_000)).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(SAVED_FROM + 5).unwrap();
        path
    }

    #[test]
    fn a_second_pass_reads_nothing_unless_the_file_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = large(dir.path());
        let saved_in = Some(dir.path().join("hashes"));
        let config = ScanConfig { chunk_size: 1 << 16, saved_in };
        let scan = || {
            let mut steps = Vec::new();
            let source = SourceFile::scan_file(&path, &config, |bytes| steps.push(bytes)).unwrap();
            (source, steps)
        };
        let (first, steps) = scan();
        assert!(steps.len() > 10 && steps.last() == Some(&(SAVED_FROM + 5)));
        let (mut second, steps) = scan();
        assert_eq!(steps, [SAVED_FROM + 5]);
        assert_eq!(second.descriptor(), first.descriptor());
        assert_eq!(
            first.descriptor(),
            SourceFile::scan(&path, 1 << 16, |_| {}).unwrap().descriptor()
        );
        // A change that keeps size and time is found when it is served, and not again after that.
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        positioned::write_at(&file, b"!", 7).unwrap();
        file.set_modified(time).unwrap();
        assert!(matches!(second.read_chunk(1), Err(StoreError::FileChanged { .. })));
        assert!(scan().1.len() > 10);
    }

    #[test]
    fn an_interrupted_pass_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = large(dir.path());
        let found = path.metadata().unwrap();
        let saved = SavedHashes::of(dir.path(), &[(&path, found)], 1 << 16).unwrap();
        let mut state = Hashed::new();
        state.update(&fs::read(&path).unwrap()[..1 << 20], 1 << 16);
        saved.save(&state).unwrap();
        let config = ScanConfig { chunk_size: 1 << 16, saved_in: Some(dir.path().into()) };
        let mut steps = Vec::new();
        let source = SourceFile::scan_file(&path, &config, |bytes| steps.push(bytes)).unwrap();
        assert_eq!(steps[0], 1 << 20);
        let anew = SourceFile::scan(&path, 1 << 16, |_| {}).unwrap();
        assert_eq!(source.descriptor(), anew.descriptor());
    }

    #[test]
    fn a_change_of_content_is_noticed() {
        let (_dir, path, mut source) = shared(&content(3500));
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        positioned::write_at(&file, b"!", 1500).unwrap();
        assert!(source.read_chunk(1).is_ok());
        let error = source.read_chunk(2).unwrap_err();
        assert!(matches!(error, StoreError::FileChanged { .. }));
        assert!(error.to_string().contains("film.mp4"));
        assert!(source.held().is_empty());
    }

    #[test]
    fn a_file_cut_short_is_noticed() {
        let (_dir, path, mut source) = shared(&content(3500));
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(2200).unwrap();
        assert!(matches!(source.read_chunk(4), Err(StoreError::FileChanged { .. })));
    }

    #[test]
    fn a_file_that_grows_while_it_is_scanned_is_noticed() {
        let (_dir, path, _) = shared(&content(600_000));
        let grow = |_| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(b"more").unwrap();
        };
        let result = SourceFile::scan(&path, CHUNK, grow);
        assert!(matches!(result, Err(StoreError::FileChanged { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_is_served_on() {
        let (dir, path, mut source) = shared(&content(3500));
        fs::write(dir.path().join("new"), b"other").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(source.read_chunk(4).is_ok());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let scan = |path: &Path| SourceFile::scan(path, CHUNK, |_| {});
        assert!(matches!(scan(dir.path()), Err(StoreError::NotAFile { .. })));
        let missing = scan(&dir.path().join("none")).unwrap_err();
        assert!(matches!(&missing, StoreError::Io { action: "open", .. }), "{missing}");
        #[cfg(unix)]
        assert!(matches!(scan(Path::new("/dev/null")), Err(StoreError::NotAFile { .. })));
    }
}
