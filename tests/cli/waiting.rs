//! Messages while nothing arrives, and when a command gives up.

use crate::support::{Killed, Running, Share, fail, rtmfp, write_file};
use rtmfp::GroupSpecBuilder;
use rtmfp::vod::ShareLink;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

const GROUPSPEC: &str = "G:0102010c050e66696c6d00";

/// A server that runs, and a link by way of it whose provider is gone.
fn orphaned_link(directory: &Path) -> (Running, String) {
    let (server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let file = directory.join("film.bin");
    write_file(&file, 1, 1000);
    let via = format!("rtmfp://{address}/films");
    let share = Share::start([file.to_str().unwrap(), "--via", &via, "--listen", "127.0.0.1:0"]);
    (server, share.link.clone())
}

/// A socket that never answers.
#[expect(clippy::disallowed_methods, reason = "its silence is what is tested")]
fn silent_server() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[test]
fn a_fetch_that_finds_nobody_reports_who_was_asked_and_what_failed() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, link) = orphaned_link(directory.path());
    let mut fetch = rtmfp(["fetch", &link, "--timeout", "4s", "--listen", "127.0.0.1:0", "-o"]);
    let err = fail(fetch.arg(directory.path().join("copy")), 3);
    let link: ShareLink = link.parse().unwrap();
    assert!(err.contains("error: gave up: nothing came for 4"), "{err}");
    assert!(err.contains(&format!("  server     {}, connected", link.servers[0])), "{err}");
    assert!(err.contains("0 met so far, 0 connected now"), "{err}");
    assert!(err.contains(&format!("  provider   {}", link.provider.unwrap())), "{err}");
    assert!(!err.contains("again"), "it has connected once: {err}");
}

#[test]
fn a_member_without_neighbors_gives_up() {
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/films");
    let mut join = rtmfp(["join", GROUPSPEC, "--via", &via, "--timeout", "3s"]);
    let err = fail(join.args(["--listen", "127.0.0.1:0"]), 3);
    assert!(err.contains("gave up: no neighbor came for 3"), "{err}");
    assert!(err.contains("it has named nobody else in the group"), "{err}");
}

/// What a member says that has this bootstrap peer, to people and to programs.
fn without_its_bootstrap_peer(server: SocketAddr, peer: &str) -> (String, serde_json::Value) {
    let spec = GroupSpecBuilder::new("alone").unwrap().server_channel(true);
    let spec = spec.bootstrap_peer(peer.parse().unwrap()).build().unwrap();
    let via = format!("rtmfp://{server}/films");
    let join = || {
        let args = ["join", spec.as_str(), "--via", &via, "--timeout", "2s"];
        let mut command = rtmfp(args);
        command.args(["--listen", "127.0.0.1:0"]);
        command
    };
    let err = fail(&mut join(), 3);
    let (status, lines, _) = Running::start(join().arg("--json")).wait();
    assert_eq!(status, Some(3));
    let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let mut waiting = events.filter(|event: &serde_json::Value| event["event"] == "waiting");
    (err, waiting.next().expect("a reason"))
}

#[test]
fn a_bootstrap_peer_that_the_server_does_not_know_is_named() {
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let peer = "07".repeat(32);
    let (err, waiting) = without_its_bootstrap_peer(address, &peer);
    let named = format!("{address} was asked for it, and named no address within ");
    assert!(err.contains(&format!("  trying     {peer}\n             {named}")), "{err}");
    assert!(err.contains("(it is not connected to this server)"), "{err}");
    let candidate = &waiting["trying"][0];
    assert_eq!(candidate["peer_id"], peer.as_str(), "{waiting}");
    assert!(candidate["reason"].as_str().unwrap().starts_with(&named), "{waiting}");
    assert_eq!((&waiting["connected"], &waiting["neighbors"]), (&true.into(), &0.into()));
}

#[cfg(unix)]
#[test]
fn a_bootstrap_peer_that_does_not_answer_is_named_with_its_addresses() {
    let (_server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/films");
    let args = ["join", GROUPSPEC, "--via", &via, "--listen", "127.0.0.1:0", "--json"];
    let stopped = Running::start(&mut rtmfp(args));
    let joined = stopped.until(|line| line.contains(r#""event":"joined""#)).pop().unwrap();
    let joined: serde_json::Value = serde_json::from_str(&joined).unwrap();
    stopped.signal("-STOP");
    let (err, waiting) = without_its_bootstrap_peer(address, joined["peer_id"].as_str().unwrap());
    assert!(err.contains("introduced by the server; no answer from 127.0.0.1:"), "{err}");
    assert!(err.contains("(it is gone, or a NAT or firewall lets nothing through:"), "{err}");
    assert!(err.contains(&format!("rtmfp probe rtmfp://{address} at both ends)")), "{err}");
    let reason = waiting["trying"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("introduced by the server; no answer from 127.0.0.1:"), "{waiting}");
}

#[test]
fn a_silent_server_is_reported_before_the_command_gives_up() {
    let directory = tempfile::tempdir().unwrap();
    let (_socket, address) = silent_server();
    let (link, via) =
        (format!("rtmfp-share://{address}/1/group={GROUPSPEC}"), format!("rtmfp://{address}/a"));
    let copy = directory.path().join("copy");
    let mut fetch = rtmfp(["fetch", &link, "--timeout", "3s", "-o"]);
    let mut join = rtmfp(["join", GROUPSPEC, "--via", &via, "--timeout", "3s"]);
    for err in [fail(fetch.arg(copy), 3), fail(&mut join, 3)] {
        let silence = err.find("no answer from").filter(|_| err.contains(" yet; still trying"));
        let end = err.find("error: gave up: no answer from");
        assert!(silence.is_some() && silence < end, "{err}");
        assert!(err.contains(&address), "{err}");
    }
}

#[test]
fn a_share_reports_that_its_server_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    let (_socket, address) = silent_server();
    let file = directory.path().join("film.bin");
    write_file(&file, 1, 1000);
    let mut share = rtmfp(["share", "--via", &format!("rtmfp://{address}/films")]);
    let mut share = stderr_of(share.arg(&file));
    share.until(&format!("no answer from {address} yet; still trying"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_before_anything_came_does_not_speak_of_progress() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, link) = orphaned_link(directory.path());
    let mut fetch = rtmfp(["fetch", &link, "--listen", "127.0.0.1:0", "-o"]);
    let mut fetch = stderr_of(fetch.arg(directory.path().join("copy")));
    fetch.until("looking for members");
    fetch.interrupt();
    let err = fetch.until("error: ");
    assert!(err.ends_with("error: interrupted before anything was fetched"), "{err}");
}

/// A command whose standard error is read line by line, killed when dropped.
struct StderrOf {
    child: Killed,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStderr>>,
}

fn stderr_of(command: &mut std::process::Command) -> StderrOf {
    use std::io::BufRead;
    let command = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut child = Killed(command.spawn().unwrap());
    let lines = std::io::BufReader::new(child.0.stderr.take().unwrap()).lines();
    StderrOf { child, lines }
}

impl StderrOf {
    /// What is written up to the line that contains this.
    fn until(&mut self, wanted: &str) -> String {
        let mut text = String::new();
        for line in self.lines.by_ref() {
            text += &line.unwrap();
            if text.lines().last().is_some_and(|line| line.contains(wanted)) {
                return text;
            }
            text.push('\n');
        }
        panic!("{wanted:?} is not in\n{text}");
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let pid = self.child.0.id().to_string();
        let kill = std::process::Command::new("kill").args(["-INT", &pid]).status();
        assert!(kill.unwrap().success());
    }
}
