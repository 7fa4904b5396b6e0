//! Tests of a [`PartialFile`] of several files.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::super::*;
use super::super::*;
use crate::vod::files::{FileList, SharedFile};
use crate::vod::hash::Digest256;
use crate::vod::{Descriptor, Layout};

const CHUNK: u32 = 1000;

/// Paths and sizes: files that end within a chunk, at its end, without content, and one over several.
const FILES: [(&str, usize); 6] =
    [("b.mp4", 2500), ("empty", 0), ("s/a", 500), ("s/t/c", 1), ("s/t/d", 4000), ("z", 0)];

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 3 + seed * 7) as u8).collect()
}

/// The provider's files in a folder.
fn share(dir: &Path) -> SourceFile {
    let mut files = Vec::new();
    for (seed, (path, length)) in FILES.iter().enumerate() {
        let local = dir.join("source").join(path);
        fs::create_dir_all(local.parent().unwrap()).unwrap();
        fs::write(&local, bytes(*length, seed)).unwrap();
        files.push(((*path).to_owned(), local));
    }
    let config = ScanConfig { chunk_size: CHUNK, saved_in: None };
    SourceFile::scan_files("album", files, &config, |_| {}).unwrap()
}

fn destination(dir: &Path) -> FileDestination {
    FileDestination::new(dir.join("album"), Digest256::of(b"this download"))
}

fn open(dir: &Path, descriptor: &Descriptor) -> Result<PartialFile, StoreError> {
    PartialFile::open(destination(dir), descriptor, |_| {})
}

fn copy(source: &mut SourceFile, store: &mut PartialFile, indices: impl IntoIterator<Item = u64>) {
    for index in indices {
        store.write_chunk(index, &source.read_chunk(index).unwrap()).unwrap();
    }
}

fn assert_complete(folder: &Path) {
    for (seed, (path, length)) in FILES.iter().enumerate() {
        assert_eq!(fs::read(folder.join(path)).unwrap(), bytes(*length, seed), "{path}");
    }
}

fn held(store: &PartialFile) -> Vec<std::ops::RangeInclusive<u64>> {
    store.held().ranges().collect()
}

#[test]
fn chunks_in_any_order_become_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    assert_eq!((descriptor.chunks(), descriptor.layout.size()), (8, Some(7001)));
    let mut store = open(dir.path(), &descriptor).unwrap();
    copy(&mut source, &mut store, [8, 3, 1, 4, 6, 7, 5]);
    assert!(matches!(store.finish(), Err(StoreError::Incomplete { missing: 1 })));
    copy(&mut source, &mut store, [2]);
    assert!(!dir.path().join("album").exists());
    for index in 1..=8 {
        assert_eq!(store.read_chunk(index).unwrap(), source.read_chunk(index).unwrap());
    }
    assert_eq!(store.finish().unwrap(), Finished::at(&dir.path().join("album")));
    assert_complete(&dir.path().join("album"));
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["album", "source"]);
    // Served on after that, and found complete by the next one.
    assert_eq!(store.read_chunk(3).unwrap(), source.read_chunk(3).unwrap());
    let again = open(dir.path(), &descriptor).unwrap();
    assert!(again.is_finished() && again.held().len() == 8);
    let verdict = check_file(&dir.path().join("album"), &descriptor, |_| {}).unwrap();
    assert!(matches!(verdict, Verdict::Good { .. }), "{verdict:?}");
}

#[test]
fn a_folder_is_resumed_and_what_has_rotted_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    let mut store = open(dir.path(), &descriptor).unwrap();
    copy(&mut source, &mut store, [1, 2, 3, 5]);
    assert!(matches!(open(dir.path(), &descriptor), Err(StoreError::InUse { .. })));
    drop(store);
    fs::write(dir.path().join("album.part/s/a"), bytes(400, 9)).unwrap();
    let mut store = open(dir.path(), &descriptor).unwrap();
    assert_eq!(held(&store), [1..=2, 5..=5], "chunk 3 lies in the file that was changed");
    copy(&mut source, &mut store, [3, 4, 6, 7, 8]);
    store.finish().unwrap();
    assert_complete(&dir.path().join("album"));
}

#[test]
fn a_list_that_is_lost_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    let mut store = open(dir.path(), &descriptor).unwrap();
    copy(&mut source, &mut store, [1, 8]);
    drop(store);
    fs::write(dir.path().join("album.part.rtmfp"), "").unwrap();
    assert_eq!(held(&open(dir.path(), &descriptor).unwrap()), [1..=1, 8..=8]);
}

#[test]
fn a_damaged_folder_gives_its_good_chunks_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    let mut store = open(dir.path(), &descriptor).unwrap();
    copy(&mut source, &mut store, 1..=8);
    store.finish().unwrap();
    drop(store);
    let folder = dir.path().join("album");
    fs::write(folder.join("s/t/c"), "!").unwrap();
    fs::remove_file(folder.join("empty")).unwrap();
    fs::write(folder.join("mine"), "a note of mine").unwrap();
    let verdict = check_file(&folder, &descriptor, |_| {}).unwrap();
    let Verdict::Bad { parts, bad_chunks: 1, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(parts, [3000..=3999]);
    let mut store = open(dir.path(), &descriptor).unwrap();
    assert_eq!(held(&store), [1..=3, 5..=8]);
    copy(&mut source, &mut store, [4]);
    let finished = store.finish().unwrap();
    assert_eq!(finished.kept, Some(dir.path().join("album.damaged")));
    assert_complete(&folder);
    let note = fs::read_to_string(dir.path().join("album.damaged/mine")).unwrap();
    assert_eq!(note, "a note of mine");
}

#[test]
fn a_folder_of_something_else_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    let folder = dir.path().join("album");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("photo"), "mine").unwrap();
    let error = open(dir.path(), &descriptor).unwrap_err();
    assert!(matches!(error, StoreError::DestinationExists { .. }), "{error}");
    // On demand it makes room, but is not deleted.
    let replacing = FileDestination { overwrite: Overwrite::Replace, ..destination(dir.path()) };
    let mut store = PartialFile::open(replacing, &descriptor, |_| {}).unwrap();
    copy(&mut source, &mut store, 1..=8);
    let kept = store.finish().unwrap().kept.unwrap();
    assert_eq!(fs::read_to_string(kept.join("photo")).unwrap(), "mine");
    assert_complete(&folder);
    // A file that has the name is not replaced at all.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "a file").unwrap();
    assert!(matches!(open(dir.path(), &descriptor), Err(StoreError::NotReplaceable { .. })));
}

#[test]
fn an_empty_folder_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    fs::create_dir(dir.path().join("album")).unwrap();
    let mut store = open(dir.path(), &source.descriptor()).unwrap();
    copy(&mut source, &mut store, 1..=8);
    store.finish().unwrap();
    assert_complete(&dir.path().join("album"));
}

#[cfg(unix)]
#[test]
fn no_link_in_the_folder_is_followed() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "precious").unwrap();
    for (link, target) in [("s", outside.clone()), ("b.mp4", outside.join("victim"))] {
        let mut source = share(dir.path());
        let part = dir.path().join("album.part");
        fs::create_dir_all(&part).unwrap();
        symlink(target, part.join(link)).unwrap();
        let mut store = open(dir.path(), &source.descriptor()).unwrap();
        let results: Vec<_> = (1..=8)
            .map(|index| store.write_chunk(index, &source.read_chunk(index).unwrap()))
            .collect();
        assert!(results.iter().any(Result::is_err), "{results:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "precious");
        drop(store);
        fs::remove_dir_all(&part).unwrap();
        fs::remove_file(dir.path().join("album.part.rtmfp")).unwrap();
    }
}

#[test]
fn a_hostile_list_writes_nothing_outside_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let absolute = dir.path().join("escaped").to_str().unwrap().to_owned();
    let paths =
        ["../escaped", "..", &absolute, "a", "a/b", "A", "x/../../../escaped", "\\..\\escaped"];
    let files = paths.iter().map(|path| SharedFile { path: (*path).to_owned(), size: 100 });
    let files = FileList::new(files.collect()).unwrap();
    let layout = Layout::of_size(files.size(), CHUNK).unwrap();
    let descriptor = Descriptor { files: Some(files), ..Descriptor::of_layout(layout) };
    let mut store = open(&inner, &descriptor).unwrap();
    store.write_chunk(1, &bytes(800, 1)).unwrap();
    store.finish().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only `inner`");
    fn count(folder: PathBuf) -> usize {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(path) } else { 1 }).sum()
    }
    assert_eq!(count(inner.join("album")), paths.len(), "each file has a place of its own");
}

#[test]
fn a_change_of_one_of_the_files_ends_the_share() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    fs::write(dir.path().join("source/s/t/d"), "changed").unwrap();
    assert!(source.read_chunk(1).is_ok());
    assert!(matches!(source.read_chunk(8), Err(StoreError::FileChanged { .. })));
}
