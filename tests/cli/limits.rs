//! `--up-limit`, `--down-limit`, `--max-neighbours` and `--metered`, over real sockets: a limit makes
//! it take its time, and everything arrives.
#![expect(clippy::disallowed_methods, reason = "limits are about time")]

use crate::support::{Running, Share, fail, rtmfp, succeed, write_file};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SIZE: usize = 1_200_000;
/// What a limit of 400 KB/s makes of that, less what may be ahead of it at either end: the last
/// request, of a chunk, and what was saved up.
const SHORTEST: Duration = Duration::from_millis(2700);

/// Fetches the file with these options. Returns how long it took and what standard error has.
fn fetch(link: &str, directory: &Path, bytes: &[u8], options: &[&str]) -> (Duration, String) {
    let copy = directory.join("copy.bin");
    let begin = Instant::now();
    let (_, stderr) = succeed(rtmfp(["fetch", link, "-o"]).arg(&copy).args(options));
    let took = begin.elapsed();
    assert!(fs::read(&copy).unwrap() == bytes);
    fs::remove_file(copy).unwrap();
    (took, stderr)
}

#[test]
fn limits_take_their_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 41, SIZE);
    let share = Share::start([&file]);
    let (took, stderr) = fetch(&share.link, directory.path(), &bytes, &["--down-limit", "400KB/s"]);
    assert!(took >= SHORTEST, "{took:?}");
    assert!(stderr.contains("(limit 400.0 kB/s)"), "{stderr}");

    let file = file.to_str().unwrap();
    let share = Share::start([file, "--new", "--up-limit", "3.2Mbit/s"]);
    let (took, _) = fetch(&share.link, directory.path(), &bytes, &[]);
    assert!(took >= SHORTEST, "{took:?}");
}

#[test]
fn wrong_limits_are_explained() {
    let link = "rtmfp-share://192.0.2.7:1935/1/group=G:0102010c050e66696c6d00";
    for (option, wrong, explanation) in [
        ("--up-limit", "fast", "500KB/s"),
        ("--up-limit", "0", "the smallest limit is 1KB/s"),
        ("--down-limit", "4mb", "`b` may mean bits or bytes"),
        ("--max-neighbours", "3", "from 6 to 1000"),
        ("--max-neighbors", "3", "from 6 to 1000"),
    ] {
        let err = fail(&mut rtmfp(["fetch", link, option, wrong]), 2);
        assert!(err.contains(explanation), "{option} {wrong}: {err}");
    }
    let err = fail(&mut rtmfp(["fetch", link, "--metered", "--seed-for", "1h"]), 2);
    assert!(err.contains("--seed-for"), "{err}");
    let err = fail(&mut rtmfp(["share", "film.bin", "--metered"]), 2);
    assert!(err.contains("to share a file is to upload it"), "{err}");
    let err = fail(&mut rtmfp(["share", "film.bin", "--down-limit", "1M"]), 2);
    assert!(err.contains("--up-limit"), "{err}");
}

#[test]
fn a_metered_fetch_sends_nothing_of_the_file_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 42, 300_000);
    let share = Share::start([&file]);
    let (_, stderr) = fetch(&share.link, directory.path(), &bytes, &["--metered"]);
    assert!(!stderr.contains("sharing on") && !stderr.contains("uploaded"), "{stderr}");
}

#[test]
fn a_metered_member_fetches_and_offers_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let objects = directory.path().join("objects");
    fs::create_dir(&objects).unwrap();
    fs::write(objects.join("1.bin"), b"one").unwrap();
    let offer = objects.to_str().unwrap();
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/app");
    let new = ["groupspec", "new", "metered", "--replication", "--server-channel"];
    let (spec, _) = succeed(&mut rtmfp(new));
    let join = |options: &[&str]| {
        let mut command = rtmfp(["join", spec.trim(), "--via", &via, "--listen", "127.0.0.1:0"]);
        command.args(options);
        command
    };
    let provider = Running::start(&mut join(&["--have", offer, "--up-limit", "1M"]));
    provider.line();
    let wanted = ["--want", "1", "--exit-when-done", "--metered", "--max-neighbors", "6"];
    let (stdout, _) = succeed(&mut join(&wanted));
    assert!(stdout.contains("NetGroup.Replication.Fetch.Result"), "{stdout}");
    let err = fail(&mut join(&["--have", offer, "--metered"]), 2);
    assert!(err.contains("--have"), "{err}");
}

#[test]
fn limits_are_changed_by_objects_on_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 44, 600_000);
    let share = Share::start([&file]);
    let copy = directory.path().join("copy.bin");
    let mut command = rtmfp(["fetch", &share.link, "--json", "--down-limit", "2KB/s", "-o"]);
    let mut fetch = Running::start(command.arg(&copy).stdin(Stdio::piped()));
    let is = |event: &str| {
        let event = format!(r#""event":"{event}""#);
        move |line: &str| line.contains(&event)
    };
    let last = |lines: Vec<String>| lines.last().unwrap().clone();
    let progress = last(fetch.until(|line| is("progress")(line) && line.contains("chunks")));
    assert!(progress.contains(r#""down_limit":2000"#), "{progress}");
    fetch.type_line("faster");
    let reason = last(fetch.until(is("bad_input")));
    assert!(reason.contains("no JSON"), "{reason}");
    fetch.type_line("{}");
    let limits = last(fetch.until(is("limits")));
    let same = r#""up_limit":null,"down_limit":2000,"max_neighbours":64,"metered":false"#;
    assert!(limits.contains(same), "{limits}");
    // Otherwise it would take five minutes.
    let change = r#"{"up_limit":"1M","down_limit":"off","max_neighbours":8,"metered":true}"#;
    fetch.type_line(change);
    let limits = last(fetch.until(is("limits")));
    let others = r#""up_limit":1000000,"down_limit":null,"max_neighbours":8,"metered":true"#;
    assert!(limits.contains(others), "{limits}");
    fetch.until(is("complete"));
    let (status, _, err) = fetch.wait();
    assert_eq!(status, Some(0), "{err}");
    assert!(fs::read(copy).unwrap() == bytes);
}

#[test]
fn a_pipe_is_not_read_without_json() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    write_file(&file, 45, 1000);
    let share = Share::start([&file]);
    let mut command = rtmfp(["fetch", &share.link, "--seed-for", "1s", "-o"]);
    let copy = directory.path().join("copy.bin");
    let mut fetch = Running::start(command.arg(&copy).stdin(Stdio::piped()));
    fetch.type_line("down fast");
    let (status, _, err) = fetch.wait();
    assert_eq!(status, Some(0), "{err}");
    assert!(!err.contains("down:"), "{err}");
}
