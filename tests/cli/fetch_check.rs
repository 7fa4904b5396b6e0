//! `rtmfp fetch --check`, and the repair that it advises.

use crate::support::{Share, fail, rtmfp, succeed, write_file};
use std::fs;
use std::process::Output;

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_bad_byte_is_found_and_only_its_part_is_fetched() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("out")).unwrap();
    let bytes = write_file(&at("film.bin"), 31, 1_000_000);
    let share = Share::start([at("film.bin")]);
    let check = || rtmfp(["fetch", &share.link, "--check", "-o", "film.bin"]);
    assert!(fail(check().current_dir(at("out")), 1).contains("film.bin"), "nothing is there");

    let mut bad = bytes.clone();
    bad[200_000] ^= 1;
    fs::write(at("out/film.bin"), &bad).unwrap();
    let output = check().current_dir(at("out")).output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(out.contains("1 part of 16 bad") && out.contains("bytes 196608 to 262143"), "{out}");
    assert!(err.contains("without --check"), "{err}");
    assert!(fs::read(at("out/film.bin")).unwrap() == bad, "nothing was changed");

    let (_, err) = succeed(rtmfp(["fetch", &share.link]).current_dir(at("out")));
    assert!(err.contains("65.5 kB fetched now"), "{err}");
    assert!(err.contains("kept as ./film.bin.damaged"), "{err}");
    assert!(fs::read(at("out/film.bin")).unwrap() == bytes);
    assert!(fs::read(at("out/film.bin.damaged")).unwrap() == bad);

    // A good file is known by the link alone.
    let link = share.link.clone();
    drop(share);
    let (out, _) = succeed(rtmfp(["fetch", &link, "--check"]).current_dir(at("out")));
    assert!(out.contains("film.bin: good, SHA-256 "), "{out}");
}

#[test]
fn without_hashes_of_parts_the_whole_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let mut bytes = write_file(&file, 32, 200_000);
    let share = Share::start([file.to_str().unwrap(), "--descriptor", "number"]);
    let check = || rtmfp(["fetch", &share.link, "--check", "-o", file.to_str().unwrap()]);
    succeed(&mut check());
    bytes[0] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(fail(&mut check(), 1).contains("with --force instead of --check"));
}

#[test]
fn a_bad_byte_of_a_large_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("out")).unwrap();
    // Two pages of hashes.
    let bytes = write_file(&at("film.bin"), 33, 70_000_000);
    let share = Share::start([at("film.bin")]);
    let check = || {
        let mut check = rtmfp(["fetch", &share.link, "--check", "-o", "film.bin"]);
        check.current_dir(at("out"));
        check
    };
    let mut bad = bytes.clone();
    bad[200_000] ^= 1;
    fs::write(at("out/film.bin"), &bad).unwrap();
    let output = check().output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(out.contains("1 part of 1069 bad") && out.contains("bytes 196608 to 262143"), "{out}");
    assert!(err.contains("without --check"), "{err}");

    // A part of the other page, and the end is missing: no page is right as a whole.
    bad[69_000_000] ^= 1;
    fs::write(at("out/film.bin"), &bad[..69_500_000]).unwrap();
    let output = check().output().unwrap();
    let (out, err) = texts(&output);
    assert!(out.contains("bytes 196608 to 262143"), "{out}");
    assert!(out.contains("bytes 68943872 to 69009407"), "{out}");
    assert!(out.contains("bytes 69468160 to 69999999"), "{out}");
    assert!(err.contains("with --force instead of --check"), "{err}");
    succeed(rtmfp(["fetch", &share.link, "--force"]).current_dir(at("out")));
    assert!(fs::read(at("out/film.bin")).unwrap() == bytes);
}
