//! `rtmfp share` and `rtmfp fetch` as processes of their own.

use crate::support::{Killed, Running, Share, fail, own_port, rtmfp, succeed, write_file};
use rtmfp::vod::{
    CHUNK_SIZE, ChunkStore, Chunker, Digest256, FileDestination, PartialFile, ShareLink, SourceFile,
};
use std::fs;
use std::io::{Seek, Write};
use std::process::Stdio;

#[test]
fn a_file_is_fetched_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 1, 1_000_000);
    let share = Share::start([&file]);

    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    let (stdout, stderr) = succeed(rtmfp(["fetch", &share.link]).current_dir(&out));
    assert_eq!(stdout.trim_end(), "./film.bin");
    assert!(stderr.contains(&Digest256::of(&bytes).to_string()), "{stderr}");
    assert!(fs::read(out.join("film.bin")).unwrap() == bytes);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing else is left behind");

    // The same again finds the complete file.
    let (_, stderr) = succeed(rtmfp(["fetch", &share.link]).current_dir(&out));
    assert!(stderr.contains("was here already: 0 B fetched now"), "{stderr}");
}

/// The first server is not there; the second is tried when the first has not answered for 20 s.
#[test]
fn several_servers_are_tried_in_turn_and_are_all_in_the_link() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 1, 100_000);
    let (server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let (dead, alive) =
        (format!("rtmfp://127.0.0.1:{}/films", own_port()), format!("rtmfp://{address}/films"));
    let local = ["--listen", "127.0.0.1:0"];
    let share = Share::start(
        [file.to_str().unwrap(), "--via", &dead, "--via", &alive].into_iter().chain(local),
    );
    let link: ShareLink = share.link.parse().unwrap();
    let servers: Vec<_> = link.servers.iter().map(|it| format!("rtmfp://{it}/films")).collect();
    assert_eq!((servers, link.app.as_str()), (vec![dead.clone(), alive.clone()], "films"));
    let mut fetch = rtmfp(["fetch", &share.link, "--via", &alive, "--via", &dead, "-o"]);
    succeed(fetch.arg(directory.path().join("copy")).args(local));
    assert!(fs::read(directory.path().join("copy")).unwrap() == bytes);
    let err = fail(
        &mut rtmfp(["fetch", &share.link, "--via", &alive, "--via", "rtmfp://h.example/other"]),
        2,
    );
    assert!(err.contains("one application"), "{err}");
    drop(server);
}

#[test]
fn the_number_form_and_a_named_group_by_way_of_another_server() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("1.bin"), directory.path().join("2.bin"));
    write_file(&first, 1, 1);
    let bytes = write_file(&second, 2, 300_000);
    let host = Share::start([&first]);
    let link: ShareLink = host.link.parse().unwrap();
    let via = format!("rtmfp://{}/films", link.servers[0]);
    let second_arg = second.to_str().unwrap();
    let share =
        Share::start([second_arg, "--via", &via, "--group", "cinema", "--descriptor", "number"]);
    let link: ShareLink = share.link.parse().unwrap();
    assert_eq!(link.app, "films");
    assert!(share.link.contains("/sha256=") && share.link.contains("/size=300000"));
    let copy = directory.path().join("copy");
    succeed(rtmfp(["fetch", &share.link, "-o"]).arg(&copy));
    assert!(fs::read(&copy).unwrap() == bytes);
}

#[test]
fn a_pipe_gets_the_bytes_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 3, 2_000_001);
    let share = Share::start([&file]);
    let output = rtmfp(["fetch", &share.link, "-o", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == bytes);
}

#[test]
fn a_partial_file_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 4, 1_000_000);
    let share = Share::start([&file]);
    let link: ShareLink = share.link.parse().unwrap();
    let copy = directory.path().join("copy.bin");

    // What an interrupted fetch leaves: eight chunks of sixteen.
    let descriptor = SourceFile::scan(&file, CHUNK_SIZE, |_| {}).unwrap().descriptor();
    let target = FileDestination::new(&copy, link.identity());
    let part = target.part_path();
    let mut partial = PartialFile::open(target, &descriptor, |_| {}).unwrap();
    for (index, data) in Chunker::new(CHUNK_SIZE).push(&bytes) {
        if index % 2 == 0 {
            partial.write_chunk(index, &data).unwrap();
        }
    }
    let held = partial.held().len() * u64::from(CHUNK_SIZE);
    drop(partial);
    assert!(part.exists() && held > 400_000);

    let (_, stderr) = succeed(rtmfp(["fetch", &share.link, "-o"]).arg(&copy));
    assert!(fs::read(&copy).unwrap() == bytes);
    assert!(!part.exists());
    let fetched = format!("{:.1} kB fetched now", (1_000_000 - held) as f64 / 1000.0);
    assert!(stderr.contains(&fetched), "{fetched:?} is not in\n{stderr}");
}

#[test]
fn a_different_file_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 5, 100_000);
    let share = Share::start([&file]);
    let copy = directory.path().join("copy");
    fs::write(&copy, "precious").unwrap();
    let err = fail(rtmfp(["fetch", &share.link, "-o"]).arg(&copy), 1);
    assert!(err.contains("exists already and is a different file"), "{err}");
    assert_eq!(fs::read(&copy).unwrap(), b"precious");
    succeed(rtmfp(["fetch", &share.link, "--force", "-o"]).arg(&copy));
    assert!(fs::read(&copy).unwrap() == bytes);
}

#[test]
fn a_file_that_is_changed_ends_its_share() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    write_file(&file, 6, 200_000);
    let mut share = Share::start([&file]);
    let mut changed = fs::OpenOptions::new().write(true).open(&file).unwrap();
    changed.seek(std::io::SeekFrom::Start(100)).unwrap();
    changed.write_all(b"something else").unwrap();
    drop(changed);
    let copy = directory.path().join("copy");
    let mut fetch = rtmfp(["fetch", &share.link, "-o"]);
    let fetch = fetch.arg(&copy).stdout(Stdio::null()).stderr(Stdio::null());
    let _fetch = Killed(fetch.spawn().unwrap());
    let (status, err) = share.wait();
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("was changed while it was shared"), "{err}");
    assert!(!copy.exists());
}

#[cfg(unix)]
#[test]
fn interrupting_a_share_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    write_file(&file, 7, 1000);
    let mut share = Share::start([&file]);
    share.interrupt();
    let (status, err) = share.wait();
    assert_eq!(status, Some(0), "{err}");
    assert!(err.contains("stopped, "), "{err}");
}

#[test]
fn what_cannot_be_shared_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, "").unwrap();
    let share = |path: &std::path::Path| fail(rtmfp(["share"]).arg(path), 1);
    assert!(share(&directory.path().join("none")).contains("none"));
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    assert!(share(&folder).contains("there is no file in"));
    #[cfg(unix)]
    assert!(share(std::path::Path::new("/dev/null")).contains("neither a file nor a folder"));
    fs::write(&empty, "full").unwrap();
    for via in ["http://example.org/", "rtmfp:"] {
        let mut command = rtmfp(["share", "--via", via]);
        assert!(fail(command.arg(&empty), 2).contains("rtmfp://"), "{via}");
    }
}

#[test]
fn malformed_links_are_reported() {
    let errors = |link: &str| fail(&mut rtmfp(["fetch", link]), 2);
    let good = "rtmfp-share://192.0.2.7:1935/1/group=G:0102010c050e66696c6d00";
    assert!(errors("film.mp4").contains("not a share link"));
    assert!(errors("rtmfp://192.0.2.7/films").contains("which file is meant"));
    assert!(errors(&good.replace("/1/", "/2/")).contains("of version 2"));
    assert!(errors(&good.replace("group=G:", "group=")).contains("begins with G:"));
    assert!(errors(&good.replace("66696c6d00", "66696c6d0")).contains("cut off"));
    assert!(errors(&format!("{good}/descriptor=12ab")).contains("64 hexadecimal digits"));
    assert!(errors("rtmfp-share://192.0.2.7:99999/1/group=G:00").contains("not a server address"));
}

#[test]
fn a_port_that_is_taken_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    write_file(&file, 8, 1000);
    let share = Share::start([file.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let link: ShareLink = share.link.parse().unwrap();
    // The address of the first share's rendezvous server, on all interfaces.
    let taken = format!("0.0.0.0:{}", link.servers[0].port());
    let err = fail(rtmfp(["share", "--listen", &taken]).arg(&file), 1);
    assert!(err.contains("is taken"), "{err}");
}
