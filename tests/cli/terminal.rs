//! `rtmfp join` on a terminal: `script`, of util-linux, is one.

use crate::support::{Running, rtmfp};
use rtmfp::{GroupSpec, GroupSpecBuilder};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";
const ENTER: &str = "\r";
const CTRL_C: &str = "\x03";

fn spec() -> GroupSpec {
    GroupSpecBuilder::new("terminal").unwrap().posting(true).server_channel(true).build().unwrap()
}

fn join(server: SocketAddr) -> String {
    format!("join {} --via rtmfp://{server}/app --listen 127.0.0.1:0", spec())
}

/// A member on a terminal whose state is in this directory.
fn talker(server: SocketAddr, state: &Path) -> Running {
    let member = format!("'{}' {}", env!("CARGO_BIN_EXE_rtmfp"), join(server));
    let mut command = Command::new("script");
    command.args(["-qec", &member, "/dev/null"]);
    command.env("XDG_STATE_HOME", state).env("TERM", "xterm").stdin(Stdio::piped());
    Running::start(&mut command)
}

/// A member that reports what the others post.
fn listener(server: SocketAddr) -> Running {
    let mut command = rtmfp(join(server).split(' '));
    Running::start(command.arg("--json").stdin(Stdio::piped()))
}

fn posted(listener: &Running) -> Value {
    let line = listener.until(|line| line.contains(r#""event":"posting""#)).pop().unwrap();
    serde_json::from_str::<Value>(&line).unwrap()["value"].clone()
}

fn quit(talker: Running, keys: &str) -> String {
    let mut talker = talker;
    talker.type_text(keys);
    let (status, lines, _) = talker.wait();
    assert_eq!(status, Some(0), "{lines:?}");
    lines.join("\n")
}

#[test]
fn lines_are_edited_while_output_arrives_and_found_again() {
    let state = tempfile::tempdir().unwrap();
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let mut listener = listener(address);
    let mut talker = talker(address, state.path());
    talker.until(|line| line.contains("NetGroup.Neighbor.Connect"));

    talker.type_text(&format!("hello wrld{LEFT}{LEFT}{LEFT}o"));
    listener.type_line(r#"{"command":"post","value":"an interruption"}"#);
    talker.until(|line| line.contains("an interruption"));
    talker.type_text(ENTER);
    assert_eq!(posted(&listener), "hello world");
    talker.until(|line| line.contains("posted "));
    talker.type_text(&format!("{UP} again{ENTER}"));
    assert_eq!(posted(&listener), "hello world again");
    assert!(quit(talker, &format!("/quit{ENTER}")).contains("left the group"));

    let history = state.path().join("rtmfp/history");
    assert_eq!(history.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&history).unwrap();
    assert!(kept.ends_with("\nhello world\nhello world again\n/quit\n"), "{kept}");

    // In another run.
    let mut talker = self::talker(address, state.path());
    talker.until(|line| line.contains("NetGroup.Neighbor.Connect"));
    talker.type_text(&format!("{UP}{UP}{UP}, friends{ENTER}"));
    assert_eq!(posted(&listener), "hello world, friends");
    assert!(quit(talker, CTRL_C).contains("left the group"));
}
