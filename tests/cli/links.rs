//! What a link carries is measured over real sockets, remembered, and there at the beginning of the
//! next run.
//!
//! Transfers within a network of this host say nothing about its links, so the commands run in a
//! network namespace whose loopback interface has public addresses.
#![cfg(target_os = "linux")]

use crate::support::{rtmfp, write_file};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const SIZE: usize = 1_500_000;
const LIMIT: u64 = 250_000;

/// The file is shared at a limit, and fetched twice, with one state.
const SCRIPT: &str = r#"
ip link set lo up && ip addr add 198.18.0.1/24 dev lo && ip addr add 198.18.0.2/24 dev lo || exit 77
mkfifo link
XDG_STATE_HOME=$PWD/sharer "$RTMFP" share film.bin --up-limit 250KB/s --listen 198.18.0.1 >link &
read -r LINK <link
for run in first second; do
    XDG_STATE_HOME=$PWD/fetcher \
        "$RTMFP" fetch "$LINK" --listen 198.18.0.2 -o $run.bin --json >$run.json || exit 1
done
kill -TERM $! && wait $!
"#;

/// What each progress of a run says about the downlink.
fn down_links(directory: &Path, run: &str) -> Vec<Option<u64>> {
    let lines = fs::read_to_string(directory.join(run)).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "progress").map(|e| e["down_link"].as_u64()).collect()
}

#[test]
fn the_next_run_begins_with_the_links_of_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = write_file(&directory.path().join("film.bin"), 47, SIZE);
    let program = rtmfp([""; 0]).get_program().to_owned();
    let mut command = Command::new("unshare");
    command.args(["-Urn", "sh", "-c", SCRIPT]).current_dir(directory.path());
    command.env("RTMFP", program).env_remove("RUST_LOG").env_remove("RTMFPKEYLOGFILE");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped, there is no unshare: {error}"),
    };
    let err = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || err.contains("unshare") {
        return println!("skipped, network namespaces are not allowed here: {err}");
    }
    assert!(output.status.success(), "{err}");
    for copy in ["first.bin", "second.bin"] {
        assert!(fs::read(directory.path().join(copy)).unwrap() == bytes);
    }
    let (first, second) =
        (down_links(directory.path(), "first.json"), down_links(directory.path(), "second.json"));
    assert_eq!(first[0], None, "nothing is known at first");
    let found = first.iter().rev().flatten().next().expect("it is measured");
    assert!((LIMIT / 2..LIMIT * 5 / 4).contains(found), "{found} B/s");
    let begin = second[0].expect("it is remembered");
    assert!(begin >= *found, "{begin} B/s, not {found}");
    let file = fs::read_to_string(directory.path().join("fetcher/rtmfp/links")).unwrap();
    assert!(file.contains(" down ") && !file.contains("198.18"), "{file}");
    let file = fs::read_to_string(directory.path().join("sharer/rtmfp/links")).unwrap();
    assert!(file.contains(" up ") && file.contains(" least "), "{file}");
}
