//! Where `rtmfp fetch` writes: devices and pipes in order, links followed, and what cannot be
//! written reported before anything is fetched.
#![cfg(unix)]

use crate::support::{Share, fail, rtmfp, succeed, write_file};
use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;

/// A link to a server that does not exist: who connects first and looks at the disk later gets
/// another error.
const NOWHERE: &str = "rtmfp-share://127.0.0.1:9/1/group=G:0102010c050e66696c6d00/name=film.bin";

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_pipe_gets_the_bytes_and_stays_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 21, 1_000_001);
    let share = Share::start([&file]);
    let pipe = directory.path().join("pipe");
    make_pipe(&pipe);
    let copy = directory.path().join("copy");
    let out = fs::File::create(&copy).unwrap();
    let mut reader = Command::new("cat").arg(&pipe).stdout(out).spawn().unwrap();
    succeed(rtmfp(["fetch", &share.link, "--force", "-o"]).arg(&pipe));
    assert!(reader.wait().unwrap().success());
    assert!(fs::read(&copy).unwrap() == bytes);
    succeed(&mut rtmfp(["fetch", &share.link, "--force", "-o", "/dev/null"]));
    assert!(pipe.metadata().unwrap().file_type().is_fifo());
    assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
}

#[test]
fn standard_output_by_any_name_gets_the_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 22, 300_000);
    let share = Share::start([&file]);
    let link = directory.path().join("out");
    symlink("/dev/stdout", &link).unwrap();
    let output = rtmfp(["fetch", &share.link, "-o"]).arg(&link).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == bytes);
    // Redirected to a file it is that file, from where it stands.
    let redirected = directory.path().join("redirected");
    let out = fs::File::create(&redirected).unwrap();
    succeed(rtmfp(["fetch", &share.link, "-o", "/dev/stdout"]).stdout(out));
    assert!(fs::read(&redirected).unwrap() == bytes);
}

#[test]
fn links_are_followed_and_stay() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let bytes = write_file(&at("film.bin"), 23, 100_000);
    let share = Share::start([at("film.bin")]);
    symlink("target", at("link")).unwrap();
    for force in [false, true] {
        let mut fetch = rtmfp(["fetch", &share.link, "-o"]);
        fetch.arg(at("link"));
        if force {
            fs::write(at("target"), "old").unwrap();
            fetch.arg("--force");
        }
        succeed(&mut fetch);
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert!(fs::read(at("target")).unwrap() == bytes);
    }
}

#[test]
fn a_directory_with_a_slash_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 24, 100_000);
    let share = Share::start([&file]);
    let videos = directory.path().join("videos/");
    succeed(rtmfp(["fetch", &share.link, "-o"]).arg(&videos));
    assert!(fs::read(videos.join("film.bin")).unwrap() == bytes);
}

#[test]
fn what_cannot_be_written_is_reported_before_anything_is_fetched() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    fs::create_dir(at("taken")).unwrap();
    fs::create_dir(at("taken/film.bin")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let errors = |path: &str| fail(rtmfp(["fetch", NOWHERE, "-o"]).arg(at(path)), 1);
    assert!(errors("none/film").contains("No such file or directory"));
    assert!(errors("file/film").contains("Not a directory"));
    assert!(errors("file/").contains("Not a directory"));
    assert!(errors(&"x".repeat(256)).contains("File name too long"));
    assert!(errors("taken").contains("is a directory"));
    assert!(errors("socket").contains("is a socket"));
    assert!(fail(rtmfp(["fetch", NOWHERE, "-o", "/proc"]).current_dir("/"), 1).contains("/proc"));
    assert_eq!(fs::read(at("file")).unwrap(), b"precious");
}
