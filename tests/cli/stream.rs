//! `rtmfp stream`: a file is published and recorded by another process.

use crate::support::{Running, fail, rtmfp};
use rtmfp::media::flv::{self, Tag, TagKind};
use rtmfp::server::{Server, ServerConfig};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const CLIP: &str = "fixtures/clips/test-pattern.flv";
const LOCAL: &str = "127.0.0.1:0";

fn tags(path: &Path) -> Vec<Tag> {
    let mut reader = flv::Reader::new();
    reader.push(&fs::read(path).unwrap());
    let tags = std::iter::from_fn(|| reader.next_tag().unwrap()).collect();
    assert!(reader.is_between_tags(), "{} ends with a whole tag", path.display());
    tags
}

/// A line of `--json`, if it is as documented.
fn parsed(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap();
    let event = value["event"].as_str().unwrap();
    let row = format!("| `{event}` | ");
    let documentation = include_str!("../../docs/streams.md");
    let row = documentation.lines().find(|line| line.starts_with(&row));
    let row = row.unwrap_or_else(|| panic!("{event} is not documented"));
    for member in value.as_object().unwrap().keys() {
        let is_common = ["event", "seconds"].contains(&member.as_str());
        assert!(is_common || row.contains(&format!("`{member}`")), "{line}\n{row}");
    }
    value
}

fn spec() -> String {
    let made = ["groupspec", "new", "cli-stream", "--multicast", "--server-channel", "--lan"];
    crate::support::succeed(&mut rtmfp(made)).0.trim().to_owned()
}

fn stream(args: &[&str], via: &str) -> Command {
    let mut command = rtmfp(["stream"]);
    command.args(args).args(["--via", via, "--listen", LOCAL]);
    command
}

#[test]
fn a_file_goes_from_peer_to_peer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ServerConfig::default().with_listen(vec![LOCAL.parse().unwrap()]);
    let server = runtime.block_on(Server::start(config)).unwrap();
    let via = server.client_uris().remove(0);
    let directory = tempfile::tempdir().unwrap();
    let recorded = directory.path().join("recorded.flv");
    let output = recorded.to_str().unwrap();
    let publisher = Running::start(&mut stream(&["publish", "peers", "cam", CLIP, "--json"], &via));
    let connected = publisher.until(|line| parsed(line)["event"] == "connected");
    let peer_id = parsed(connected.last().unwrap())["peer_id"].as_str().unwrap().to_owned();
    let play = ["play", &peer_id, "cam", "-o", output, "--json"];
    let (status, lines, err) = Running::start(&mut stream(&play, &via)).wait();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(parsed(lines.last().unwrap())["event"], "ended");
    let (status, lines, err) = publisher.wait();
    assert_eq!(status, Some(0), "{err}");
    let events: Vec<_> = lines.iter().map(|line| parsed(line)["event"].clone()).collect();
    assert!(events.contains(&"peer_connected".into()), "{events:?}");
    assert_eq!(parsed(lines.last().unwrap())["delivered"], true);
    assert!(tags(&recorded) == tags(Path::new(CLIP)));
}

#[test]
fn a_file_goes_through_the_server() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ServerConfig::default().with_listen(vec![LOCAL.parse().unwrap()]);
    let server = runtime.block_on(Server::start(config)).unwrap();
    let via = server.client_uris().remove(0) + "live";
    let directory = tempfile::tempdir().unwrap();
    let recorded = directory.path().join("recorded.flv");
    let output = recorded.to_str().unwrap();
    let player =
        Running::start(&mut stream(&["play", "server", "cam", "-o", output, "--json"], &via));
    while runtime.block_on(server.stats()).unwrap().rendezvous.players == 0 {}
    let publish = ["publish", "server", "cam", CLIP, "--json"];
    let (status, lines, err) = Running::start(&mut stream(&publish, &via)).wait();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(parsed(lines.last().unwrap())["delivered"], true);
    let (status, lines, err) = player.wait();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(parsed(lines.last().unwrap())["event"], "ended");
    assert!(fs::read(&recorded).unwrap() == fs::read(CLIP).unwrap());
}

#[test]
fn what_has_no_stream_is_reported() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut config = ServerConfig::default().with_listen(vec![LOCAL.parse().unwrap()]);
    config.rendezvous.streams = None;
    let server = runtime.block_on(Server::start(config)).unwrap();
    let via = server.client_uris().remove(0);
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("recorded.flv");
    let output = output.to_str().unwrap();
    let err = fail(&mut stream(&["play", "server", "live", "-o", output], &via), 1);
    assert!(err.contains("this server relays no streams (NetStream.Play.Failed)"), "{err}");
    let err = fail(&mut stream(&["publish", "server", "live", CLIP], &via), 1);
    assert!(err.contains("this server relays no streams (NetStream.Publish.Denied)"), "{err}");
    let nobody = "ab".repeat(32);
    let err = fail(&mut stream(&["publish", &nobody, "live", CLIP], &via), 2);
    assert!(err.contains("write the word peers"), "{err}");
    let err = fail(&mut stream(&["play", "nonsense", "live", "-o", output], &via), 2);
    assert!(err.contains("a peer ID of 64 digits"), "{err}");
    let err = fail(&mut rtmfp(["stream", "publish", "peers", "live", CLIP, "--lan"]), 2);
    assert!(err.contains("need the server of --via"), "{err}");
}

#[test]
fn a_file_is_published_and_recorded() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ServerConfig::default().with_listen(vec![LOCAL.parse().unwrap()]);
    let server = runtime.block_on(Server::start(config)).unwrap();
    let via = server.client_uris().remove(0);
    let (directory, spec) = (tempfile::tempdir().unwrap(), spec());
    let recorded = directory.path().join("recorded.flv");
    let output = recorded.to_str().unwrap();
    let player =
        Running::start(&mut stream(&["play", &spec, "news", "-o", output, "--json"], &via));
    player.until(|line| parsed(line)["event"] == "joined");
    let publish = ["publish", &spec, "news", CLIP, "--json"];
    let (status, lines, err) = Running::start(&mut stream(&publish, &via)).wait();
    assert_eq!(status, Some(0), "{err}");
    let ended = parsed(lines.last().unwrap());
    assert_eq!((&ended["event"], &ended["delivered"]), (&"ended".into(), &true.into()));
    let (status, lines, err) = player.wait();
    assert_eq!(status, Some(0), "{err}");
    let events: Vec<_> = lines.iter().map(|line| parsed(line)["event"].clone()).collect();
    assert!(events.contains(&"started".into()), "{events:?}");
    let ended = parsed(lines.last().unwrap());
    assert_eq!(ended["event"], "ended");
    assert!(ended["duration"].as_f64().unwrap() > 2.5, "{ended}");

    let (published, recorded) = (tags(Path::new(CLIP)), tags(&recorded));
    for kind in [TagKind::Video, TagKind::Audio, TagKind::Script] {
        let of_kind = |tags: &[Tag]| {
            let of_kind = tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.data.clone());
            of_kind.collect::<Vec<_>>()
        };
        let (published, recorded) = (of_kind(&published), of_kind(&recorded));
        assert_eq!(recorded.len(), published.len(), "{kind:?}");
        assert!(recorded == published, "{kind:?}: the same number, but not the same");
    }
    assert_eq!(recorded[0].timestamp, 0);

    // What is there is not replaced.
    let err = fail(&mut stream(&["play", &spec, "news", "-o", output], &via), 1);
    assert!(err.contains("exists and is not replaced"), "{err}");
}

#[test]
fn what_cannot_be_streamed_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.flv");
    fs::write(&text, "no film").unwrap();
    let (via, text, spec) = ("rtmfp://127.0.0.1:1/app", text.to_str().unwrap(), spec());
    let err = fail(&mut stream(&["publish", &spec, "news", text], via), 1);
    assert!(
        err.contains("text.flv") && err.contains("does not begin with the letters FLV"),
        "{err}"
    );
    let err = fail(&mut stream(&["publish", &spec, "news", "nowhere.flv"], via), 1);
    assert!(err.contains("cannot read nowhere.flv"), "{err}");
    let mute = rtmfp::GroupSpecBuilder::new("mute").unwrap().server_channel(true).build().unwrap();
    let err = fail(&mut stream(&["play", mute.as_str(), "news", "-o", "-"], via), 2);
    assert!(err.contains("--multicast"), "{err}");
    let err = fail(&mut stream(&["play", &spec, "news", "-o", "-", "--json"], via), 2);
    assert!(err.contains("standard output"), "{err}");
    let err = fail(&mut stream(&["publish", &spec, "news", "-", "--max-peers", "3"], via), 2);
    assert!(err.contains("--max-peers is for streams that are published to peers"), "{err}");
}

#[test]
fn a_stream_that_does_not_come_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("nothing.flv");
    let mut command = rtmfp(["stream", "play"]);
    command.args([&spec(), "news", "--lan", "--timeout", "1s", "-o"]).arg(&output);
    let err = fail(&mut command, 3);
    assert!(err.contains("waiting for the stream") && err.contains("239.255.19.35"), "{err}");
    assert!(!output.exists(), "an empty file would be in the way of the next attempt");
}

/// A pipe that gives nothing does not keep the command from its end.
#[test]
fn a_silent_pipe_is_waited_for_as_long_as_allowed() {
    let args = ["publish", &spec(), "news", "-", "--for", "1s"];
    let mut command = stream(&args, "rtmfp://127.0.0.1:1/app");
    let (status, _, err) = Running::start(command.stdin(Stdio::piped())).wait();
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("nothing was to be read in the time given by --for"), "{err}");
}
