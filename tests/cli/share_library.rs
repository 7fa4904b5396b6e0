//! A directory whose entries are shared as they come and go.

use crate::support::{Running, fail, rtmfp, succeed, write_file};
use std::fs;

#[test]
fn entries_are_shared_as_they_come_and_have_the_same_links_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("films/album")).unwrap();
    let film = write_file(&at("films/film.mp4"), 1, 100_000);
    write_file(&at("films/.hidden"), 2, 10);
    write_file(&at("films/other.mp4.part"), 3, 10);
    let start = || {
        let mut command = rtmfp(["share", "--lan", "--library"]);
        command.arg(at("films")).env("XDG_STATE_HOME", at("state"));
        Running::start(&mut command)
    };
    let library = start();
    let first = library.line();
    assert!(first.ends_with("/name=film.mp4"), "{first}");
    let song = write_file(&at("films/album/song.mp3"), 4, 70_000);
    let second = library.line();
    assert!(second.ends_with("/files=1/name=album"), "{second}");
    succeed(rtmfp(["fetch", &first, "-o"]).arg(at("copy")));
    assert!(fs::read(at("copy")).unwrap() == film);
    succeed(rtmfp(["fetch", &second, "-o"]).arg(at("out/")));
    assert!(fs::read(at("out/album/song.mp3")).unwrap() == song);
    // A change is another share.
    write_file(&at("films/film.mp4"), 5, 50_000);
    let third = library.line();
    assert!(third.ends_with("/name=film.mp4") && third != first, "{third}");
    fs::remove_file(at("films/film.mp4")).unwrap();
    library.interrupt();
    let (status, _, stderr) = library.wait();
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.contains("no longer shared as it was: film.mp4"), "{stderr}");

    let again = start();
    assert_eq!(again.line(), second);
}

#[test]
fn a_library_is_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.mp4");
    write_file(&file, 1, 10);
    let error = fail(rtmfp(["share", "--lan", "--library"]).arg(&file), 1);
    assert!(error.contains("is not a directory"), "{error}");
    let error = fail(rtmfp(["share", "--library"]).arg(&file).arg("film.mp4"), 2);
    assert!(error.contains("cannot be used with"), "{error}");
}
