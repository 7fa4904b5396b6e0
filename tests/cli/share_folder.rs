//! Several files, folders, playlists and standard input as one share.

use crate::support::{Share, content, fail, rtmfp, succeed, write_file};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// A folder with files that chunks span, one without content, and one that is hidden.
fn album(directory: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let album = directory.join("album");
    fs::create_dir_all(album.join("cd 1")).unwrap();
    fs::write(album.join(".hidden"), "x").unwrap();
    fs::write(album.join("empty"), "").unwrap();
    let files = [("a.mp3", 1, 100_000), ("cd 1/b.mp3", 2, 300_000), ("cd 1/c.mp3", 3, 5)];
    files.map(|(path, seed, len)| (path, write_file(&album.join(path), seed, len))).to_vec()
}

fn assert_album(folder: &Path, files: &[(&str, Vec<u8>)]) {
    for (path, bytes) in files {
        assert!(fs::read(folder.join(path)).unwrap() == *bytes, "{path}");
    }
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
    assert!(!folder.join(".hidden").exists());
}

#[test]
fn a_folder_arrives_as_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    let files = album(directory.path());
    let share = Share::start([directory.path().join("album")]);
    assert!(share.link.contains("/files=4/name=album"), "{}", share.link);
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    let (stdout, stderr) = succeed(rtmfp(["fetch", &share.link]).current_dir(&out));
    assert_eq!(stdout.trim_end(), "./album");
    assert!(stderr.contains("album/ with 4 files"), "{stderr}");
    assert_album(&out.join("album"), &files);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing else is left behind");
    let (_, stderr) = succeed(rtmfp(["fetch", &share.link]).current_dir(&out));
    assert!(stderr.contains("was here already: 0 B fetched now"), "{stderr}");

    // Under another name, and checked.
    let other = directory.path().join("other");
    succeed(rtmfp(["fetch", &share.link, "-o"]).arg(&other));
    assert_album(&other, &files);
    let (stdout, _) = succeed(rtmfp(["fetch", &share.link, "--check", "-o"]).arg(&other));
    assert!(stdout.contains("good, SHA-256"), "{stdout}");
    fs::write(other.join("cd 1/c.mp3"), "!!!!!").unwrap();
    let output = rtmfp(["fetch", &share.link, "--check", "-o"]).arg(&other).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("c.mp3: bytes 0 to 4"), "{stdout}");
}

#[test]
fn an_interrupted_folder_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let files = album(directory.path());
    let share = Share::start([directory.path().join("album")]);
    let out = directory.path().join("out");
    succeed(rtmfp(["fetch", &share.link, "-o"]).arg(&out));
    // As an interrupted fetch leaves it, with half of what there is.
    fs::rename(&out, directory.path().join("out.part")).unwrap();
    fs::remove_file(directory.path().join("out.part/a.mp3")).unwrap();
    fs::write(directory.path().join("out.part.rtmfp"), "").unwrap();
    let (_, stderr) = succeed(rtmfp(["fetch", &share.link, "-o"]).arg(&out));
    assert_album(&out, &files);
    // The chunks that a.mp3 reaches into: the first and the second of seven.
    assert!(stderr.contains("131.1 kB fetched now"), "{stderr}");
}

#[test]
fn several_files_are_not_written_in_order() {
    let directory = tempfile::tempdir().unwrap();
    album(directory.path());
    let share = Share::start([directory.path().join("album")]);
    let error = fail(&mut rtmfp(["fetch", &share.link, "-o", "-"]), 2);
    assert!(error.contains("-o FOLDER/"), "{error}");
    // Also where the link does not say so.
    let silent = share.link.replace("/files=4", "");
    let error = fail(&mut rtmfp(["fetch", &silent, "-o", "-"]), 2);
    assert!(error.contains("-o FOLDER/"), "{error}");
}

#[test]
fn several_arguments_are_one_share() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (one, two) = (write_file(&at("1.mp4"), 1, 70_000), write_file(&at("2.mp4"), 2, 70_000));
    let share = Share::start([
        at("1.mp4").as_os_str(),
        at("2.mp4").as_os_str(),
        "--name".as_ref(),
        "both".as_ref(),
    ]);
    succeed(rtmfp(["fetch", &share.link, "-o"]).arg(at("out/")));
    assert!(fs::read(at("out/both/1.mp4")).unwrap() == one);
    assert!(fs::read(at("out/both/2.mp4")).unwrap() == two);
    let error =
        fail(rtmfp(["share", "--descriptor", "number"]).args([at("1.mp4"), at("2.mp4")]), 1);
    assert!(error.contains("several files need the object form"), "{error}");
}

#[test]
fn standard_input_is_shared_from_a_copy() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = content(7, 200_000);
    let input = directory.path().join("input");
    fs::write(&input, &bytes).unwrap();
    let mut command = rtmfp(["share", "-", "--name", "film.mp4"]);
    command.env("TMPDIR", directory.path());
    command.stdin(Stdio::from(fs::File::open(&input).unwrap()));
    let share = Share::spawn(command);
    let (stdout, _) = succeed(rtmfp(["fetch", &share.link]).current_dir(directory.path()));
    assert_eq!(stdout.trim_end(), "./film.mp4");
    assert!(fs::read(directory.path().join("film.mp4")).unwrap() == bytes);
}

#[test]
fn only_the_files_that_are_named_are_fetched() {
    let directory = tempfile::tempdir().unwrap();
    let album = directory.path().join("album");
    fs::create_dir_all(album.join("cd 1")).unwrap();
    fs::write(album.join("empty"), "").unwrap();
    let files =
        [("a.mp3", 11, 1_000_000), ("cd 1/b.mp3", 12, 300_000), ("cd 1/c.mp3", 13, 700_000)];
    let files = files.map(|(path, seed, len)| (path, write_file(&album.join(path), seed, len)));
    let share = Share::start([&album]);
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    let fetch = |paths: &[&str]| {
        let mut fetch = rtmfp(["fetch", &share.link]);
        for path in paths {
            fetch.args(["--file", path]);
        }
        fetch.current_dir(&out);
        fetch
    };
    let (stdout, stderr) = succeed(&mut fetch(&["cd 1/b.mp3", "empty"]));
    assert_eq!(stdout, "./album/cd 1/b.mp3\n./album/empty\n");
    assert!(fs::read(out.join("album/cd 1/b.mp3")).unwrap() == files[1].1);
    assert_eq!(fs::read(out.join("album/empty")).unwrap(), b"");
    assert!(!out.join("album/a.mp3").exists() && !out.join("album/cd 1/c.mp3").exists());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing else is left behind");
    // The parts of 64 KB that it lies in, and no more.
    assert!(stderr.contains("2 files: 300.0 kB, 327.7 kB fetched now"), "{stderr}");

    // The others join it; what is there stays.
    let (stdout, _) = succeed(&mut fetch(&["a.mp3", "cd 1/c.mp3", "cd 1/b.mp3"]));
    assert_eq!(stdout.lines().count(), 3);
    for (path, bytes) in &files {
        assert!(fs::read(out.join("album").join(path)).unwrap() == *bytes, "{path}");
    }
    fs::write(out.join("album/a.mp3"), "mine").unwrap();
    assert!(fail(&mut fetch(&["a.mp3"]), 1).contains("--force"));
    assert_eq!(fs::read(out.join("album/a.mp3")).unwrap(), b"mine");
    succeed(fetch(&["a.mp3"]).arg("--force"));
    assert!(fs::read(out.join("album/a.mp3")).unwrap() == files[0].1);

    let error = fail(&mut fetch(&["b.mp3"]), 2);
    assert!(error.contains("no file b.mp3") && error.contains("\n  cd 1/b.mp3"), "{error}");
    assert!(!fail(fetch(&["a.mp3"]).arg("--check"), 2).is_empty());
}
