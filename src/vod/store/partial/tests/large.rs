//! Tests of a [`PartialFile`] whose hashes are in pages.

use std::fs;
use std::path::Path;

use super::super::super::*;
use super::super::*;
use crate::vod::Descriptor;
use crate::vod::hash::Digest256;

const CHUNK: u32 = 8;
const CHUNKS: u64 = 2500;
const PAGES: [u64; 3] = [CHUNKS + 1, CHUNKS + 2, CHUNKS + 3];

fn content() -> Vec<u8> {
    (1..=CHUNKS).flat_map(u64::to_be_bytes).collect()
}

fn share(dir: &Path) -> SourceFile {
    fs::write(dir.join("source"), content()).unwrap();
    SourceFile::scan(&dir.join("source"), CHUNK, |_| {}).unwrap()
}

fn open(dir: &Path, descriptor: &Descriptor) -> Result<PartialFile, StoreError> {
    let destination = FileDestination::new(dir.join("film"), Digest256::of(b"this download"));
    PartialFile::open(destination, descriptor, |_| {})
}

fn copy(source: &mut SourceFile, store: &mut PartialFile, indices: impl IntoIterator<Item = u64>) {
    for index in indices {
        store.write_chunk(index, &source.read_chunk(index).unwrap()).unwrap();
    }
}

fn add_page(source: &mut SourceFile, store: &mut PartialFile, page: u64) -> u64 {
    store.add_page(page, &source.read_chunk(page).unwrap()).unwrap().len()
}

fn known(store: &PartialFile) -> Vec<u64> {
    store.pages().into_iter().map(|(index, _)| index).collect()
}

#[test]
fn pages_that_the_disk_gives_need_not_be_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    let mut store = open(dir.path(), &descriptor).unwrap();
    assert_eq!(add_page(&mut source, &mut store, PAGES[0]), 0);
    copy(&mut source, &mut store, (1..=1024).chain(2000..=2010));
    drop(store);
    let mut store = open(dir.path(), &descriptor).unwrap();
    assert_eq!(store.held().len(), 1035);
    assert_eq!(known(&store), [PAGES[0]]);
    // Chunks of an unknown page are held as well, by the list.
    assert_eq!(store.read_chunk(2005).unwrap(), source.read_chunk(2005).unwrap());
    for page in &PAGES[1..] {
        add_page(&mut source, &mut store, *page);
    }
    copy(&mut source, &mut store, 1..=CHUNKS);
    store.finish().unwrap();
    assert_eq!(fs::read(dir.path().join("film")).unwrap(), content());
    assert!(store.hashes.is_empty(), "every hash is in a page");
    drop(store);
    let again = open(dir.path(), &descriptor).unwrap();
    assert!(again.is_finished());
    assert_eq!(known(&again), PAGES);
}

#[test]
fn chunks_of_a_part_without_a_list_are_found_when_their_page_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    let mut store = open(dir.path(), &descriptor).unwrap();
    copy(&mut source, &mut store, 1..=10);
    drop(store);
    fs::write(dir.path().join("film.part.rtmfp"), "").unwrap();
    let mut store = open(dir.path(), &descriptor).unwrap();
    assert!(store.held().is_empty());
    assert_eq!(add_page(&mut source, &mut store, PAGES[0]), 10);
    assert_eq!(store.held().ranges().collect::<Vec<_>>(), [1..=10]);
}

#[test]
fn a_damaged_copy_lacks_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = share(dir.path());
    let descriptor = source.descriptor();
    let mut bad = content();
    bad[8 * 2100] ^= 1;
    fs::write(dir.path().join("film"), bad).unwrap();
    let mut store = open(dir.path(), &descriptor).unwrap();
    assert_eq!((store.held().len(), known(&store)), (2048, PAGES[..2].to_vec()));
    assert_eq!(add_page(&mut source, &mut store, PAGES[2]), 451);
    assert_eq!(store.held().first_missing_at_or_after(1), Some(2101));
    copy(&mut source, &mut store, [2101]);
    let finished = store.finish().unwrap();
    assert_eq!(finished.kept, Some(dir.path().join("film.damaged")));
    assert_eq!(fs::read(dir.path().join("film")).unwrap(), content());
}

#[test]
fn a_file_of_something_else_stays() {
    let dir = tempfile::tempdir().unwrap();
    let source = share(dir.path());
    fs::write(dir.path().join("film"), vec![9; content().len()]).unwrap();
    let error = open(dir.path(), &source.descriptor()).unwrap_err();
    assert!(matches!(error, StoreError::DestinationExists { .. }), "{error}");
}
