//! `rtmfp share --lan` and `rtmfp fetch --lan`, among processes of one host.

use crate::support::{Running, Share, fail, rtmfp, succeed, write_file};
use rtmfp::vod::ShareLink;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;

/// A port on which nobody answers, and the socket that keeps it so.
#[expect(clippy::disallowed_methods, reason = "its silence is what is tested")]
fn silent_server() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("rtmfp://{}/films", socket.local_addr().unwrap());
    (socket, url)
}

fn assert_fetches(link: &str, options: &[&str], bytes: &[u8], directory: &Path) -> String {
    let copy = directory.join("copy");
    let (_, err) = succeed(rtmfp(["fetch", link, "-o"]).arg(&copy).args(options));
    assert!(fs::read(&copy).unwrap() == bytes);
    fs::remove_file(&copy).unwrap();
    err
}

#[test]
fn a_link_without_a_server_is_all_that_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 1, 1_000_000);
    let share = Share::start([file.to_str().unwrap(), "--lan"]);
    assert!(share.link.starts_with("rtmfp-share:///1/group=G:"), "{}", share.link);
    let err = assert_fetches(&share.link, &[], &bytes, directory.path());
    assert!(err.contains("looking for members on the local network\n"), "{err}");
    assert!(!err.contains("server"), "{err}");
    // The option changes nothing.
    assert_fetches(&share.link, &["--lan"], &bytes, directory.path());
}

#[test]
fn a_server_need_not_answer_those_who_look_on_the_local_network() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 2, 1_000_000);
    let (_socket, via) = silent_server();
    let share = Share::start([file.to_str().unwrap(), "--lan", "--via", &via]);
    let link: ShareLink = share.link.parse().unwrap();
    assert_eq!(link.app, "films");
    let server = link.servers[0].to_string();
    let err = assert_fetches(&share.link, &["--lan"], &bytes, directory.path());
    assert!(err.contains(&format!("no answer from {server}: fetched on the local")), "{err}");
    // Without the option, the server is needed.
    let copy = directory.path().join("copy");
    let err = fail(rtmfp(["fetch", &share.link, "--timeout", "1s", "-o"]).arg(&copy), 3);
    assert!(err.contains("--lan looks there"), "{err}");
}

#[test]
fn both_ways_are_open_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 3, 1_000_000);
    let (_server, address) = Running::server("127.0.0.1:0", ["--json"; 0]);
    let via = format!("rtmfp://{address}/films");
    let share = Share::start([file.to_str().unwrap(), "--lan", "--via", &via]);
    assert_fetches(&share.link, &[], &bytes, directory.path());
    assert_fetches(&share.link, &["--lan"], &bytes, directory.path());
    // The same again, on the local network alone.
    let without = share.link.replace(&address.to_string(), "");
    assert_fetches(&without, &[], &bytes, directory.path());
}

#[test]
fn a_file_that_is_not_on_the_local_network_is_not_looked_for_there() {
    let link = "rtmfp-share://192.0.2.7/1/group=G:0102010c050e66696c6d00";
    let err = fail(&mut rtmfp(["fetch", link, "--lan"]), 2);
    assert!(err.contains("share the file with --lan"), "{err}");
    let link = "rtmfp-share:///1/group=G:0102010c050e66696c6d00";
    let err = fail(&mut rtmfp(["fetch", link]), 2);
    assert!(err.contains("share the file with --lan"), "{err}");
}

#[test]
fn a_share_on_the_local_network_has_the_same_link_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    write_file(&file, 4, 1_000);
    let start = || {
        let mut command = rtmfp(["share", "--lan"]);
        command.arg(&file).env("XDG_STATE_HOME", directory.path());
        Share::spawn(command)
    };
    let first = start().link.clone();
    assert_eq!(start().link, first);
}
