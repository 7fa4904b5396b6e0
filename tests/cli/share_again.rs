//! `rtmfp share` of the same file has the same link when it is started again; files of every size and
//! name are shared.
#![cfg(unix)]

use crate::support::{Running, Share, hold_usual_port, rtmfp, succeed, write_file};
use rtmfp::vod::ShareLink;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

/// A share with this directory for state.
fn share(state: &Path, file: &Path, more: &[&str]) -> Command {
    let mut command = rtmfp(["share"]);
    command.arg(file).args(more).env("XDG_STATE_HOME", state);
    command
}

fn stop(mut share: Share) -> String {
    share.interrupt();
    let (status, err) = share.wait();
    assert_eq!(status, Some(0), "{err}");
    err
}

#[test]
fn a_restart_keeps_the_link_and_new_gives_another() {
    let directory = tempfile::tempdir().unwrap();
    let (file, state) = (directory.path().join("film.bin"), directory.path().join("state"));
    let bytes = write_file(&file, 41, 100_000);
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/films");
    let start = |more: &[&str]| {
        Share::spawn(share(
            &state,
            &file,
            &[&["--via", &via, "--listen", "127.0.0.1"], more].concat(),
        ))
    };
    let first = start(&[]);
    let link = first.link.clone();
    // Another process at the same time cannot be the same peer.
    let other = start(&[]);
    assert_ne!(other.link, link);
    assert!(stop(other).contains("another process shares this file already"));
    stop(first);

    let second = start(&[]);
    assert_eq!(second.link, link);
    let copy = directory.path().join("copy");
    succeed(rtmfp(["fetch", &link, "--listen", "127.0.0.1", "-o"]).arg(&copy));
    assert!(fs::read(&copy).unwrap() == bytes);
    assert!(stop(second).contains("the link is that of the last time"));

    let new = start(&["--new"]);
    let new_link = new.link.clone();
    assert_ne!(new_link, link);
    stop(new);
    assert_eq!(start(&[]).link, new_link);
}

#[test]
fn the_port_is_kept_where_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let (file, state) = (directory.path().join("film.bin"), directory.path().join("state"));
    write_file(&file, 42, 1000);
    // RTMFP's port is taken, so that each share has another one.
    #[expect(clippy::disallowed_methods, reason = "stands in the way and sends nothing")]
    let taken = |port: u16| UdpSocket::bind(("127.0.0.1", port));
    let _usual = hold_usual_port();
    let start = || Share::spawn(share(&state, &file, &["--listen", "127.0.0.1"]));
    let first = start();
    let link: ShareLink = first.link.parse().unwrap();
    stop(first);
    let second = start();
    assert_eq!(second.link, link.to_string());
    stop(second);

    let blocker = taken(link.servers[0].port()).unwrap();
    let third = start();
    assert_ne!(third.link, link.to_string());
    let err = stop(third);
    assert!(err.contains("of the earlier link is taken"), "{err}");
    drop(blocker);
    assert_eq!(start().link, link.to_string(), "the earlier port is kept");
}

#[test]
fn without_a_place_for_state_it_goes_on_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    write_file(&file, 43, 1000);
    // No directory can be made below a file.
    let share = Share::spawn(share(&file, &file, &["--listen", "127.0.0.1"]));
    assert_eq!(stop(share).matches("WARNING: the link will be another").count(), 1);
}

#[test]
fn an_empty_file_and_a_long_name_are_shared() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let long = format!("{}.bin", "x".repeat(251));
    fs::write(at("empty"), "").unwrap();
    let bytes = write_file(&at(&long), 44, 100_000);
    for (name, content) in [("empty", Vec::new()), (long.as_str(), bytes)] {
        for form in ["object", "number"] {
            let share = Share::start([
                at(name).to_str().unwrap(),
                "--listen",
                "127.0.0.1",
                "--descriptor",
                form,
            ]);
            let out = at(form);
            fs::create_dir_all(&out).unwrap();
            let (stdout, _) = succeed(rtmfp(["fetch", &share.link, "-o"]).arg(&out));
            let path = stdout.trim_end();
            assert!(fs::read(path).unwrap() == content, "{path}");
            assert!(path.ends_with(name), "{path}");
            let output = rtmfp(["fetch", &share.link, "-o", "-"]).output().unwrap();
            assert!(output.status.success() && output.stdout == content);
            fs::remove_dir_all(&out).unwrap();
        }
    }
    let demo = rtmfp(["demo", "--receivers", "2"]).arg(at("empty")).output().unwrap();
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
}
