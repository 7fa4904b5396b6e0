//! [`SavedHashes`]: the hashes of a large file on the disk, so that it is read once and not for every share.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

use super::super::hash::{CHUNK_HASH_LEN, ChunkHash, Digest256};
use crate::driver::{Access, write_whole};

/// The size from which on hashes are saved, in bytes. What is smaller is hashed in a moment.
pub const SAVED_FROM: u64 = 64 << 20;

/// Files of hashes that are kept; of more, those that were written first are deleted. A file has 1/4096 of
/// the size of what was shared.
pub const MAX_SAVED: usize = 256;

/// Bytes after which an unfinished pass is saved.
pub(super) const SAVE_EVERY: u64 = 1 << 30;

const MAGIC: &[u8; 16] = b"rtmfp-hashes 1\n\0";

/// What a pass over the content has found so far.
#[derive(Debug, Clone)]
pub(super) struct Hashed {
    pub(super) whole: Sha256,
    pub(super) chunks: Vec<ChunkHash>,
    pub(super) bytes: u64,
}

/// The file with the hashes of some content, which is identified by paths, sizes, times of change and
/// inodes.
#[derive(Debug)]
pub(super) struct SavedHashes {
    path: PathBuf,
    key: Digest256,
    chunk_size: u64,
    size: u64,
}

impl SavedHashes {
    /// The file for this content in `directory`. None if the content is small, or its identity unknown.
    pub(super) fn of(
        directory: &Path,
        files: &[(&Path, Metadata)],
        chunk_size: u64,
    ) -> Option<Self> {
        let size = files.iter().map(|(_, found)| found.len()).sum();
        if size < SAVED_FROM {
            return None;
        }
        let mut hasher = Sha256::new_with_prefix(MAGIC);
        hasher.update(chunk_size.to_be_bytes());
        for (path, found) in files {
            let path = path.canonicalize().ok()?;
            hasher.update((path.as_os_str().len() as u64).to_be_bytes());
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(found.len().to_be_bytes());
            let changed = found.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            hasher.update(changed.as_nanos().to_be_bytes());
            hasher.update(inode(found).to_be_bytes());
        }
        let key = Digest256::from_hasher(hasher);
        Some(Self { path: directory.join(key.to_string()), key, chunk_size, size })
    }

    /// What was saved, if it is whole.
    pub(super) fn load(&self) -> Option<Hashed> {
        let most = self.size.div_ceil(self.chunk_size) * CHUNK_HASH_LEN as u64 + 1024;
        let mut bytes = Vec::new();
        File::open(&self.path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
        let (content, check) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Digest256::of(content).0 != check {
            return None;
        }
        let rest = content.strip_prefix(MAGIC)?.strip_prefix(&self.key.0)?;
        let (done, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (state, chunks) = rest.split_at_checked(usize::from(*length))?;
        let state = SerializedState::<Sha256>::try_from(state).ok()?;
        let (chunks, tail) = chunks.as_chunks::<CHUNK_HASH_LEN>();
        let bytes = u64::from_be_bytes(*done);
        let fits = tail.is_empty()
            && bytes <= self.size
            && bytes.div_ceil(self.chunk_size) == chunks.len() as u64
            && (bytes == self.size || bytes.is_multiple_of(self.chunk_size));
        let whole = Sha256::deserialize(&state).ok()?;
        fits.then(|| Hashed { whole, chunks: chunks.to_vec(), bytes })
    }

    /// Deletes what was saved.
    pub(super) fn forget(&self) {
        // It may never have been saved.
        let _ = fs::remove_file(&self.path);
    }

    /// Saves a state.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to.
    pub(super) fn save(&self, hashed: &Hashed) -> io::Result<()> {
        let state = hashed.whole.serialize();
        let mut bytes = [&MAGIC[..], &self.key.0, &hashed.bytes.to_be_bytes()].concat();
        bytes.push(u8::try_from(state.len()).map_err(io::Error::other)?);
        bytes.extend_from_slice(&state);
        bytes.extend(hashed.chunks.iter().flatten());
        let check = Digest256::of(&bytes);
        bytes.extend(check.0);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        write_whole(&self.path, &bytes, Access::Private, true)?;
        tidy(directory);
        Ok(())
    }
}

/// Deletes the oldest files beyond [`MAX_SAVED`].
fn tidy(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let written =
        |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    let mut files: Vec<(SystemTime, PathBuf)> = entries.flatten().filter_map(written).collect();
    files.sort();
    let more = files.len().saturating_sub(MAX_SAVED);
    for (_, path) in files.into_iter().take(more) {
        // One that stays is a file too many.
        let _ = fs::remove_file(path);
    }
}

#[cfg(unix)]
fn inode(found: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(path: &Path) -> Metadata {
        File::create(path).unwrap().set_len(SAVED_FROM).unwrap();
        path.metadata().unwrap()
    }

    fn hashed(bytes: u64) -> Hashed {
        let chunks = vec![[7; CHUNK_HASH_LEN]; bytes.div_ceil(1 << 20) as usize];
        Hashed { whole: Sha256::new_with_prefix(b"so far"), chunks, bytes }
    }

    #[test]
    fn a_state_is_read_back_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film");
        let files = [(path.as_path(), large(&path))];
        let saved = SavedHashes::of(&dir.path().join("hashes"), &files, 1 << 20).unwrap();
        assert!(saved.load().is_none());
        for bytes in [1 << 20, SAVED_FROM] {
            saved.save(&hashed(bytes)).unwrap();
            let mut loaded = saved.load().unwrap();
            assert_eq!((loaded.bytes, loaded.chunks), (bytes, hashed(bytes).chunks));
            loaded.whole.update(b" and on");
            assert_eq!(Digest256::from_hasher(loaded.whole), Digest256::of(b"so far and on"));
        }
    }

    #[test]
    fn what_is_damaged_or_does_not_fit_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film");
        let files = [(path.as_path(), large(&path))];
        let saved = SavedHashes::of(dir.path(), &files, 1 << 20).unwrap();
        saved.save(&hashed(1 << 20)).unwrap();
        let good = fs::read(&saved.path).unwrap();
        for at in (0..good.len()).step_by(11) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&saved.path, bad).unwrap();
            assert!(saved.load().is_none(), "{at}");
            fs::write(&saved.path, &good[..at]).unwrap();
            assert!(saved.load().is_none(), "{at}");
        }
        for wrong in [(1 << 20) + 1, SAVED_FROM + 1] {
            saved.save(&hashed(wrong)).unwrap();
            assert!(saved.load().is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_changed_file_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film");
        let key = |found: Metadata, chunk| {
            SavedHashes::of(dir.path(), &[(path.as_path(), found)], chunk).unwrap().key
        };
        let before = key(large(&path), 1 << 16);
        assert_eq!(key(path.metadata().unwrap(), 1 << 16), before);
        assert_ne!(key(path.metadata().unwrap(), 1 << 17), before);
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_ne!(key(path.metadata().unwrap(), 1 << 16), before);
        File::create(&path).unwrap();
        assert!(
            SavedHashes::of(dir.path(), &[(&path, path.metadata().unwrap())], 1 << 16).is_none()
        );
    }
}
