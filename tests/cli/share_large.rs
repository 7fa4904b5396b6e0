//! Files of more than 1,024 chunks, whose hashes are in pages, and whose hashes are saved.

use crate::support::{Share, rtmfp, succeed, write_file};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

const SIZE: u64 = 150 << 20;

/// Three pages of hashes; most of it is a hole, but no two pages are alike.
fn write_large(path: &Path) {
    write_file(path, 1, 200_000);
    let mut file = File::options().write(true).open(path).unwrap();
    file.set_len(SIZE).unwrap();
    for place in [70 << 20, 149 << 20] {
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(&place.to_be_bytes()).unwrap();
    }
}

fn assert_same(one: &Path, other: &Path) {
    assert!(fs::read(one).unwrap() == fs::read(other).unwrap());
}

#[test]
fn a_large_file_is_fetched_read_in_order_resumed_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write_large(&at("film"));
    let share = Share::start([at("film")]);
    succeed(rtmfp(["fetch", &share.link, "-o"]).arg(at("copy")));
    assert_same(&at("film"), &at("copy"));
    let output = rtmfp(["fetch", &share.link, "-o", "-"]).output().unwrap();
    assert!(output.stdout == fs::read(at("film")).unwrap());

    // The list of an interrupted fetch is lost, and a part is missing.
    fs::rename(at("copy"), at("copy.part")).unwrap();
    fs::write(at("copy.part.rtmfp"), "").unwrap();
    let mut part = File::options().write(true).open(at("copy.part")).unwrap();
    part.seek(SeekFrom::Start(149 << 20)).unwrap();
    part.write_all(&[0; 8]).unwrap();
    let (_, stderr) = succeed(rtmfp(["fetch", &share.link, "-o"]).arg(at("copy")));
    assert!(stderr.contains(" 65.5 kB fetched now"), "{stderr}");
    assert_same(&at("film"), &at("copy"));
    let (stdout, _) = succeed(rtmfp(["fetch", &share.link, "--check", "-o"]).arg(at("copy")));
    assert!(stdout.contains("good, SHA-256"), "{stdout}");
}

#[test]
fn the_hashes_of_a_large_file_are_taken_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write_large(&at("film"));
    let share = || {
        let mut command = rtmfp(["share"]);
        command.arg(at("film")).env("XDG_STATE_HOME", at("state"));
        Share::spawn(command)
    };
    let first = share().link.clone();
    let saved: Vec<_> = fs::read_dir(at("state/rtmfp/hashes")).unwrap().collect();
    let saved = saved.into_iter().next().unwrap().unwrap().path();
    let written = saved.metadata().unwrap().modified().unwrap();
    let descriptor = |link: &str| link.split("/descriptor=").nth(1).unwrap()[..64].to_owned();
    assert_eq!(descriptor(&share().link), descriptor(&first));
    assert_eq!(saved.metadata().unwrap().modified().unwrap(), written, "not written again");
    let mut file = File::options().write(true).open(at("film")).unwrap();
    file.write_all(b"changed").unwrap();
    assert_ne!(descriptor(&share().link), descriptor(&first));
}
