//! Tests of [`PartialFile`] on a real file system.

mod folder;
mod large;

use std::fs;
use std::path::Path;

use super::super::super::chunker::Chunker;
use super::super::super::descriptor::Descriptor;
use super::super::super::hash::{ChunkHashes, Digest256, chunk_hash};
use super::super::super::layout::Layout;
use super::super::*;
use super::*;

const CHUNK: u32 = 1000;

fn content() -> Vec<u8> {
    (0..4500u32).map(|n| (n / 3) as u8).collect()
}

fn chunks(data: &[u8]) -> Vec<Bytes> {
    let mut chunker = Chunker::new(CHUNK);
    let mut chunks = chunker.push(data);
    chunks.extend(chunker.finish());
    chunks.into_iter().map(|(_, data)| data).collect()
}

fn hashed(data: &[u8]) -> Descriptor {
    Descriptor {
        layout: Layout::of_size(data.len() as u64, CHUNK).unwrap(),
        sha256: Some(Digest256::of(data)),
        chunk_hashes: Some(ChunkHashes::from_hashes(chunks(data).iter().map(|c| chunk_hash(c)))),
        ..Descriptor::of_layout(Layout::of_size(0, CHUNK).unwrap())
    }
}

fn bare(chunks: u64) -> Descriptor {
    Descriptor::of_layout(Layout::new(chunks, None, None).unwrap())
}

fn destination(dir: &Path) -> FileDestination {
    FileDestination::new(dir.join("film.mp4"), Digest256::of(b"this download"))
}

fn open(dir: &Path, descriptor: &Descriptor) -> Result<PartialFile, StoreError> {
    PartialFile::open(destination(dir), descriptor, |_| {})
}

fn write(store: &mut PartialFile, data: &[u8], indices: &[u64]) {
    for &index in indices {
        store.write_chunk(index, &chunks(data)[index as usize - 1]).unwrap();
    }
}

fn whole(store: &mut PartialFile) -> Vec<u8> {
    store.layout().indices().flat_map(|i| store.read_chunk(i).unwrap()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn chunks_in_any_order_become_the_file() {
    for descriptor in [hashed(&content()), bare(5)] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path(), &descriptor).unwrap();
        write(&mut store, &content(), &[4, 1, 5, 2]);
        assert_eq!(names(dir.path()), ["film.mp4.part", "film.mp4.part.rtmfp"]);
        assert!(matches!(store.finish(), Err(StoreError::Incomplete { missing: 1 })));
        assert!(matches!(store.read_chunk(3), Err(StoreError::NotHeld { index: 3 })));
        write(&mut store, &content(), &[3]);
        assert_eq!(whole(&mut store), content());
        assert_eq!(store.finish().unwrap(), Finished::at(&dir.path().join("film.mp4")));
        assert_eq!(names(dir.path()), ["film.mp4"]);
        assert_eq!(fs::read(dir.path().join("film.mp4")).unwrap(), content());
        // Served on after that.
        assert_eq!(store.read_chunk(5).unwrap(), content()[4000..]);
        assert!(matches!(store.write_chunk(1, &[0; 1000]), Err(StoreError::ReadOnly)));
        assert!(matches!(store.forget_all(), Err(StoreError::ReadOnly)));
        assert!(store.finish().is_ok());
    }
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &bare(0)).unwrap();
    store.finish().unwrap();
    assert_eq!(fs::read(dir.path().join("film.mp4")).unwrap(), b"");
}

#[test]
fn a_download_is_resumed_with_the_chunks_that_are_still_good() {
    for descriptor in [hashed(&content()), bare(5)] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path(), &descriptor).unwrap();
        write(&mut store, &content(), &[2, 5, 4]);
        drop(store);
        let part = dir.path().join("film.mp4.part");
        let file = fs::OpenOptions::new().write(true).open(&part).unwrap();
        positioned::write_at(&file, b"rot", 1500).unwrap();
        drop(file);
        let mut store = open(dir.path(), &descriptor).unwrap();
        assert_eq!(store.held().ranges().collect::<Vec<_>>(), [4..=5]);
        write(&mut store, &content(), &[1, 2, 3]);
        store.finish().unwrap();
        assert_eq!(fs::read(dir.path().join("film.mp4")).unwrap(), content());
    }
}

#[test]
fn resuming_trusts_the_descriptor_more_than_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &hashed(&content())).unwrap();
    write(&mut store, &content(), &[1, 2]);
    drop(store);
    let mut other = content();
    other[0] ^= 1;
    let store = open(dir.path(), &hashed(&other)).unwrap();
    assert_eq!(store.held().ranges().collect::<Vec<_>>(), [2..=2]);
}

#[test]
fn a_part_cut_short_loses_only_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &bare(5)).unwrap();
    write(&mut store, &content(), &[1, 2, 3, 4, 5]);
    drop(store);
    let part = dir.path().join("film.mp4.part");
    fs::OpenOptions::new().write(true).open(part).unwrap().set_len(2500).unwrap();
    let store = open(dir.path(), &bare(5)).unwrap();
    assert_eq!(store.held().ranges().collect::<Vec<_>>(), [1..=2]);
}

#[test]
fn a_part_of_somebody_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("film.mp4.part");
    fs::write(&part, b"a browser's").unwrap();
    let error = open(dir.path(), &bare(5)).unwrap_err();
    assert!(matches!(error, StoreError::ForeignPart { .. }));
    assert_eq!(fs::read(&part).unwrap(), b"a browser's");

    fs::remove_file(&part).unwrap();
    let mut store = open(dir.path(), &bare(5)).unwrap();
    write(&mut store, &content(), &[1]);
    drop(store);
    let mut other = destination(dir.path());
    other.identity = Digest256::of(b"another download");
    let error = PartialFile::open(other, &bare(5), |_| {}).unwrap_err();
    assert!(matches!(error, StoreError::ForeignPart { .. }));
    assert_eq!(open(dir.path(), &bare(5)).unwrap().held().len(), 1);
}

#[test]
fn two_downloads_to_one_name_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path(), &bare(5)).unwrap();
    assert!(matches!(open(dir.path(), &bare(5)), Err(StoreError::InUse { .. })));
}

#[test]
fn an_existing_file_is_never_replaced_silently() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    fs::write(&path, b"mine").unwrap();
    for descriptor in [hashed(&content()), bare(5), hashed(b"nice"), bare(0)] {
        let error = open(dir.path(), &descriptor).unwrap_err();
        assert!(matches!(error, StoreError::DestinationExists { .. }), "{error}");
    }
    assert_eq!(names(dir.path()), ["film.mp4"]);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &hashed(&content())).unwrap();
    write(&mut store, &content(), &[1, 2, 3, 4, 5]);
    fs::write(dir.path().join("film.mp4"), b"mine").unwrap();
    assert!(matches!(store.finish(), Err(StoreError::DestinationExists { .. })));
    assert_eq!(fs::read(dir.path().join("film.mp4")).unwrap(), b"mine");
    fs::remove_file(dir.path().join("film.mp4")).unwrap();
    store.finish().unwrap();
    assert_eq!(fs::read(dir.path().join("film.mp4")).unwrap(), content());
}

#[test]
fn replacing_on_demand_happens_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    fs::write(&path, b"old").unwrap();
    let destination = FileDestination { overwrite: Overwrite::Replace, ..destination(dir.path()) };
    let mut store = PartialFile::open(destination, &hashed(&content()), |_| {}).unwrap();
    write(&mut store, &content(), &[1, 2, 3, 4, 5]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    store.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), content());
    assert_eq!(names(dir.path()), ["film.mp4"]);
}

#[test]
fn the_same_file_is_found_complete() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("film.mp4"), content()).unwrap();
    let mut seen = 0;
    let mut store =
        PartialFile::open(destination(dir.path()), &hashed(&content()), |bytes| seen = bytes)
            .unwrap();
    assert_eq!(seen, 4500);
    assert!(store.is_finished());
    assert_eq!(store.held().len(), 5);
    assert_eq!(store.read_chunk(2).unwrap(), content()[1000..2000]);
    // ... and a change of it is noticed when it is served.
    fs::write(store.path(), vec![0; 4500]).unwrap();
    assert!(matches!(store.read_chunk(2), Err(StoreError::FileChanged { .. })));
    assert!(store.held().is_empty());
}

#[test]
fn a_chunk_that_rots_on_disk_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &bare(5)).unwrap();
    write(&mut store, &content(), &[1, 2, 3, 4, 5]);
    let part = dir.path().join("film.mp4.part");
    let file = fs::OpenOptions::new().write(true).open(part).unwrap();
    positioned::write_at(&file, b"rot", 1500).unwrap();
    assert!(matches!(store.read_chunk(2), Err(StoreError::Damaged { index: 2, .. })));
    assert!(matches!(store.finish(), Err(StoreError::Incomplete { missing: 1 })));
    write(&mut store, &content(), &[2]);
    assert_eq!(whole(&mut store), content());
}

#[test]
fn forgetting_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &bare(2)).unwrap();
    store.write_chunk(1, b"wrong length").unwrap();
    store.write_chunk(2, b"x").unwrap();
    store.forget_all().unwrap();
    assert!(store.held().is_empty());
    store.write_chunk(1, b"right").unwrap();
    drop(store);
    let mut store = open(dir.path(), &bare(2)).unwrap();
    assert_eq!(store.read_chunk(1).unwrap(), "right");
    store.write_chunk(2, b"!").unwrap();
    store.finish().unwrap();
    assert_eq!(fs::read(dir.path().join("film.mp4")).unwrap(), b"right!");
}

#[test]
fn a_missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(&dir.path().join("none"), &bare(1)).unwrap_err();
    assert!(error.to_string().contains("film.mp4.part"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_as_such() {
    // The device that is always full.
    let file = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let path = Path::new("film.mp4.part");
    let error = positioned::write_at(&file, b"data", 0).map_err(StoreError::io("write", path));
    let error = error.unwrap_err();
    assert!(matches!(&error, StoreError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("free some space"));
}

/// What a power cut leaves: the data, and of the list nothing, zeros or an old beginning.
#[test]
fn what_no_list_notes_is_found_by_its_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("film.mp4.part.rtmfp");
    let leave = |lose: &dyn Fn(&Path)| {
        let mut store = open(dir.path(), &hashed(&content())).unwrap();
        store.forget_all().unwrap();
        write(&mut store, &content(), &[1, 2, 5]);
        drop(store);
        lose(&list);
        let mut seen = 0;
        let destination = destination(dir.path());
        let store =
            PartialFile::open(destination, &hashed(&content()), |bytes| seen = bytes).unwrap();
        assert_eq!(store.held().ranges().collect::<Vec<_>>(), [1..=2, 5..=5]);
        assert!(seen >= 2500, "{seen}");
        // It is noted again.
        drop(store);
        assert_eq!(open(dir.path(), &hashed(&content())).unwrap().held().len(), 3);
    };
    leave(&|list| fs::write(list, "").unwrap());
    leave(&|list| fs::write(list, [0; 300]).unwrap());
    leave(&|list| fs::remove_file(list).unwrap());
}

#[cfg(unix)]
#[test]
fn a_list_that_has_lost_its_end_is_completed() {
    let big: Vec<u8> = (0..400_000u32).map(|n| (n / 3) as u8).collect();
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &hashed(&big)).unwrap();
    write(&mut store, &big, &(1..=400).collect::<Vec<_>>());
    drop(store);
    let list = dir.path().join("film.mp4.part.rtmfp");
    let text = fs::read_to_string(&list).unwrap();
    let start: String = text.lines().take(50).map(|line| format!("{line}\n")).collect();
    fs::write(&list, start).unwrap();
    assert_eq!(open(dir.path(), &hashed(&big)).unwrap().held().len(), 400);
}

#[test]
fn the_same_content_under_another_link_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &hashed(&content())).unwrap();
    write(&mut store, &content(), &[1, 2, 3]);
    drop(store);
    let mut other = destination(dir.path());
    other.identity = Digest256::of(b"another link");
    let store = PartialFile::open(other, &hashed(&content()), |_| {}).unwrap();
    assert_eq!(store.held().len(), 3);
}

#[test]
fn without_hashes_a_lost_list_is_reported_and_nothing_is_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &bare(5)).unwrap();
    write(&mut store, &content(), &[1, 2]);
    drop(store);
    fs::write(dir.path().join("film.mp4.part.rtmfp"), "").unwrap();
    let error = open(dir.path(), &bare(5)).unwrap_err();
    assert!(matches!(error, StoreError::ListLost { .. }), "{error}");
    assert_eq!(fs::read(dir.path().join("film.mp4.part")).unwrap(), content()[..2000]);

    // If all of it is there, the hash of the whole is enough.
    fs::write(dir.path().join("film.mp4.part"), content()).unwrap();
    let whole = Descriptor { chunk_hashes: None, ..hashed(&content()) };
    let mut store = open(dir.path(), &whole).unwrap();
    assert_eq!(store.held().len(), 5);
    store.finish().unwrap();
}

#[test]
fn a_foreign_part_of_zeros_or_of_other_content_is_recognized() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("film.mp4.part");
    fs::write(&part, [7; 4500]).unwrap();
    let error = open(dir.path(), &hashed(&content())).unwrap_err();
    assert!(matches!(error, StoreError::ForeignPart { .. }), "{error}");
    assert_eq!(fs::read(&part).unwrap(), [7; 4500]);
    // Where there is nothing, nothing can be lost.
    fs::write(&part, [0; 4500]).unwrap();
    assert!(open(dir.path(), &hashed(&content())).unwrap().held().is_empty());
    // More zeros than the file has bytes are something else.
    fs::remove_file(dir.path().join("film.mp4.part.rtmfp")).unwrap();
    fs::write(&part, [0; 4501]).unwrap();
    assert!(open(dir.path(), &hashed(&content())).is_err());
}

#[test]
fn a_complete_file_with_a_bad_byte_lacks_one_chunk_and_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    let mut bad = content();
    bad[1500] ^= 1;
    for (bad, missing) in [(bad.clone(), [2..=2]), (content()[..3999].to_vec(), [4..=5])] {
        fs::write(&path, &bad).unwrap();
        let mut store = open(dir.path(), &hashed(&content())).unwrap();
        let lacks: Vec<u64> = (1..=5).filter(|&index| !store.held().contains(index)).collect();
        assert_eq!(lacks, missing[0].clone().collect::<Vec<_>>());
        assert_eq!(fs::read(&path).unwrap(), bad, "until the end it stays");
        write(&mut store, &content(), &lacks);
        store.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), content());
        assert_eq!(names(dir.path()), ["film.mp4", "film.mp4.damaged"]);
        assert_eq!(fs::read(dir.path().join("film.mp4.damaged")).unwrap(), bad);
        fs::remove_file(dir.path().join("film.mp4.damaged")).unwrap();
    }
}

#[test]
fn replacing_takes_what_is_right_from_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    let mut old = vec![9; 4500];
    old[1000..2000].copy_from_slice(&content()[1000..2000]);
    fs::write(&path, &old).unwrap();
    let destination = FileDestination { overwrite: Overwrite::Replace, ..destination(dir.path()) };
    let mut store = PartialFile::open(destination, &hashed(&content()), |_| {}).unwrap();
    assert_eq!(store.held().ranges().collect::<Vec<_>>(), [2..=2]);
    write(&mut store, &content(), &[1, 3, 4, 5]);
    store.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), content());
    assert_eq!(names(dir.path()), ["film.mp4"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_is_not_replaced_not_even_on_demand() {
    use std::os::unix::fs::FileTypeExt;
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("film.mp4");
    crate::driver::output::make_pipe(&pipe);
    for overwrite in [Overwrite::Never, Overwrite::Replace] {
        let destination = FileDestination { overwrite, ..destination(dir.path()) };
        let error = PartialFile::open(destination, &hashed(&content()), |_| {}).unwrap_err();
        assert!(matches!(error, StoreError::NotReplaceable { .. }), "{error}");
    }
    fs::remove_file(&pipe).unwrap();
    // A pipe that appears meanwhile stays as well.
    let destination = FileDestination { overwrite: Overwrite::Replace, ..destination(dir.path()) };
    let mut store = PartialFile::open(destination, &hashed(&content()), |_| {}).unwrap();
    write(&mut store, &content(), &[1, 2, 3, 4, 5]);
    crate::driver::output::make_pipe(&pipe);
    assert!(matches!(store.finish(), Err(StoreError::DestinationExists { .. })));
    assert!(pipe.metadata().unwrap().file_type().is_fifo());
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_its_target_gets_the_content() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    std::os::unix::fs::symlink("disk/film", dir.path().join("film.mp4")).unwrap();
    for overwrite in [Overwrite::Never, Overwrite::Replace] {
        let destination = FileDestination { overwrite, ..destination(dir.path()) };
        let mut store = PartialFile::open(destination, &hashed(&content()), |_| {}).unwrap();
        if !store.is_finished() {
            write(&mut store, &content(), &[1, 2, 3, 4, 5]);
            assert_eq!(names(&dir.path().join("disk")), ["film.part", "film.part.rtmfp"]);
        }
        store.finish().unwrap();
        assert!(fs::symlink_metadata(dir.path().join("film.mp4")).unwrap().is_symlink());
        assert_eq!(fs::read(dir.path().join("disk/film")).unwrap(), content());
    }
}

#[test]
fn a_file_without_space_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // 4 PB.
    let layout = Layout::of_size(1 << 52, 1 << 24).unwrap();
    let error = open(dir.path(), &Descriptor::of_layout(layout)).unwrap_err();
    if cfg!(unix) {
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn what_was_forgotten_is_not_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let unlisted = Descriptor { chunk_hashes: None, sha256: None, ..hashed(&content()) };
    let mut store = open(dir.path(), &unlisted).unwrap();
    write(&mut store, &content(), &[1]);
    let wrong = vec![9; 4500];
    write(&mut store, &wrong, &[2, 3]);
    store.forget(2..=3).unwrap();
    assert!(matches!(store.read_chunk(2), Err(StoreError::NotHeld { index: 2 })));
    write(&mut store, &content(), &[3]);
    drop(store);
    let mut store = open(dir.path(), &unlisted).unwrap();
    assert_eq!(store.held().ranges().collect::<Vec<_>>(), [1..=1, 3..=3]);
    write(&mut store, &content(), &[2, 4, 5]);
    store.finish().unwrap();
    assert!(whole(&mut store) == content());
    assert!(store.forget(1..=1).is_err());
}
