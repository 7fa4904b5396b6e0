//! A directory whose entries are shared as they come and go.
#![expect(clippy::disallowed_methods, reason = "a list has a deadline for what it has")]

use crate::support::{PATIENCE, Running, fail, rtmfp, succeed, write_file};
use std::fs;
use std::time::Instant;

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
    let catalogue = library.line();
    assert!(catalogue.starts_with("rtmfp-share:///1/catalogue="), "{catalogue}");
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
    assert_eq!(again.line(), catalogue);
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

/// What `fetch` lists of a catalogue: names and links by name.
fn listed(catalogue: &str, wanted: usize) -> Vec<(String, String)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (list, _) = succeed(&mut rtmfp(["fetch", catalogue, "--listen", "127.0.0.1"]));
        let entries = list.lines().map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [name, size, link] = columns[..] else { panic!("{line:?} has not three columns") };
            assert!(size.ends_with("kB"), "{line:?}");
            (name.to_owned(), link.to_owned())
        });
        let entries: Vec<_> = entries.collect();
        if entries.len() == wanted {
            return entries;
        }
        assert!(Instant::now() < deadline, "{wanted} entries are expected:\n{list}");
    }
}

#[test]
fn the_catalogue_lists_what_is_shared() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("films")).unwrap();
    write_file(&at("films/b film.mp4"), 1, 100_000);
    let song = write_file(&at("films/a.mp3"), 2, 70_000);
    let mut command = rtmfp(["share", "--listen", "127.0.0.1:0", "--library"]);
    command.arg(at("films")).env("XDG_STATE_HOME", at("state"));
    let library = Running::start(&mut command);
    let catalogue = library.line();
    assert!(
        catalogue.contains("/1/catalogue=") && catalogue.ends_with("/name=films"),
        "{catalogue}"
    );
    let mut links = [library.line(), library.line()];
    links.sort_by_key(|link| link.contains("name=b"));
    let [a, b] = links;
    let both = listed(&catalogue, 2);
    assert_eq!(both, [("a.mp3".to_owned(), a.clone()), ("b film.mp4".to_owned(), b)]);
    succeed(rtmfp(["fetch", &both[0].1, "-o"]).arg(at("copy")));
    assert!(fs::read(at("copy")).unwrap() == song);

    fs::remove_file(at("films/b film.mp4")).unwrap();
    assert_eq!(listed(&catalogue, 1), [("a.mp3".to_owned(), a)]);
    // Another key has signed nothing of it.
    let key = catalogue.split("catalogue=").nth(1).unwrap().split('/').next().unwrap();
    let other = catalogue.replace(key, &"3b".repeat(32));
    let error = fail(&mut rtmfp(["fetch", &other, "--listen", "127.0.0.1", "--timeout", "2s"]), 3);
    assert!(error.contains("has listed nothing"), "{error}");
    let error = fail(&mut rtmfp(["fetch", &catalogue, "-o", "x"]), 2);
    assert!(error.contains("the link of a catalogue"), "{error}");
    library.interrupt();
}
