//! `rtmfp serve --member`: the server as a member of groups.

use crate::support::{Running, Share, content, fail, own_port, rtmfp, succeed, write_file};
use rtmfp::media::flv::{self, Tag, TagKind};
use rtmfp::proto::group::{GroupSpec, GroupSpecBuilder};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;

const CLIP: &str = "fixtures/clips/test-pattern.flv";
const LOCAL: &str = "127.0.0.1:0";

fn spec(name: &str) -> GroupSpecBuilder {
    GroupSpecBuilder::new(name).unwrap().server_channel(true)
}

/// Everything that a member does.
fn any(name: &str) -> GroupSpec {
    spec(name).posting(true).multicast(true).object_replication(true).build().unwrap()
}

fn json(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let documentation = include_str!("../../docs/json.md");
    for name in value.as_object().unwrap().keys() {
        assert!(documentation.contains(&format!("`{name}`")), "{name} is not documented: {line}");
    }
    value
}

/// Reads lines up to this event.
fn until(running: &Running, event: &str) -> Value {
    let is = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|it| it["event"] == event);
    serde_json::from_str(running.until(is).last().unwrap()).unwrap()
}

/// A server with a member, and the URL of its first address.
fn serve(listen: &[&str], args: &[&str]) -> (Running, String, Value) {
    let mut command = rtmfp(["serve", "--json", "--no-admin"]);
    listen.iter().for_each(|address| _ = command.args(["--listen", address]));
    let server = Running::start(command.args(args));
    let listening = json(&server.line());
    assert_eq!(listening["event"], "listening");
    let url = listening["urls"][0].as_str().unwrap().to_owned();
    (server, url, listening)
}

fn join(spec: &GroupSpec, via: &str, listen: &str) -> std::process::Command {
    let mut command = rtmfp(["join", spec.as_str(), "--json", "--via", via, "--listen", listen]);
    command.stdin(Stdio::piped());
    command
}

/// One player has only IPv4, the other only IPv6: nothing but the server can carry what they post.
#[test]
fn players_that_cannot_reach_each_other_meet_the_server() {
    let spec = any("chat");
    let (server, _, listening) = serve(&[LOCAL, "[::1]:0"], &["--member", spec.as_str()]);
    let url = |at: usize| format!("{}chat", listening["urls"][at].as_str().unwrap());
    let member = listening["member"]["peer_id"].clone();
    assert_eq!(listening["member"]["groups"][0], spec.group_id().to_string());
    let mut ann = Running::start(&mut join(&spec, &url(0), LOCAL));
    let met = until(&ann, "neighbor_connected");
    assert_eq!(met["peer_id"], member, "alone but for the server");
    let mut bob = Running::start(&mut join(&spec, &url(1), "[::1]:0"));
    assert_eq!(until(&bob, "neighbor_connected")["peer_id"], member);
    ann.type_line(r#"{"command":"post","value":"hi"}"#);
    assert_eq!(until(&bob, "posting")["value"], "hi");
    bob.type_line(r#"{"command":"post","value":{"text":"hello"}}"#);
    assert_eq!(until(&ann, "posting")["value"]["text"], "hello");
    bob.type_line(r#"{"command":"peers"}"#);
    let peers = until(&bob, "peers");
    assert_eq!(peers["peers"].as_array().unwrap().len(), 1, "{peers}");
    drop(server);
}

#[cfg(unix)]
#[test]
fn a_file_that_was_shared_stays_when_everybody_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("films")).unwrap();
    let film = write_file(&at("films/film.mp4"), 1, 400_000);
    write_file(&at("films/other.mp4"), 2, 1000);
    let listen = format!("127.0.0.1:{}", own_port());
    let (first, url, _) = serve(&[&listen], &[]);
    let via = format!("{url}films");
    let share =
        Share::start([at("films/film.mp4").to_str().unwrap(), "--via", &via, "--listen", LOCAL]);
    let link = share.link.clone();
    let group = link.split("group=").nth(1).unwrap().split('/').next().unwrap().to_owned();
    drop(share);
    first.interrupt();
    first.wait();

    let seed = at("films");
    let (server, ..) = serve(&[&listen], &["--member", &group, "--seed", seed.to_str().unwrap()]);
    let offered = until(&server, "offered");
    assert_eq!((&offered["name"], &offered["bytes"]), (&"film.mp4".into(), &400_000.into()));
    let (out, err) =
        succeed(rtmfp(["fetch", &link, "--json", "--listen", LOCAL, "-o"]).arg(at("copy")));
    assert!(fs::read(at("copy")).unwrap() == film, "{err}");
    let complete = out.lines().find(|line| line.contains("\"event\":\"complete\"")).unwrap();
    assert!(complete.contains("\"verified\":true"), "by the hashes of the link: {complete}");

    // Another file of the name is another file of the group.
    let new = write_file(&at("films/film.mp4"), 3, 100_000);
    assert_eq!(until(&server, "offered")["bytes"], 100_000);
    let args = ["fetch", &group, "--via", &via, "--listen", LOCAL, "-o"];
    succeed(rtmfp(args).arg(at("new")));
    assert!(fs::read(at("new")).unwrap() == new);
    server.interrupt();
    let (status, lines, err) = server.wait();
    assert_eq!(status, Some(0), "{err}");
    let left = lines.iter().find(|line| line.contains("member_left")).unwrap();
    assert!(json(left)["bytes_sent"].as_u64().unwrap() > 500_000, "{left}");
}

/// As a Flash application makes them: objects by their numbers, and a file whose object 0 is the number of
/// objects.
#[test]
fn objects_and_files_as_flash_applications_expect_them() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("seed/objects")).unwrap();
    for index in 0..3 {
        fs::write(at(&format!("seed/objects/{index}.bin")), content(index, 5000)).unwrap();
    }
    let film = write_file(&at("seed/film.flv"), 9, 150_000);
    let (objects, file) = (any("objects"), any("film.flv"));
    let mut command = rtmfp(["serve", "--json", "--no-admin", "--listen", LOCAL]);
    command.args(["--member", objects.as_str(), "--member", file.as_str(), "--seed"]);
    command.arg(at("seed")).env("RTMFP_MEMBER_DESCRIPTOR", "number");
    let server = Running::start(&mut command);
    let via = format!("{}app", json(&server.line())["urls"][0].as_str().unwrap());
    until(&server, "offered");
    until(&server, "offered");
    let want = ["--want", "0-2", "--exit-when-done", "--save"];
    let mut player = join(&objects, &via, LOCAL);
    succeed(player.args(want).arg(at("got")));
    for index in 0..3 {
        assert!(fs::read(at(&format!("got/{index}.bin"))).unwrap() == content(index, 5000));
    }
    let mut number = join(&file, &via, LOCAL);
    succeed(number.args(["--want", "0", "--exit-when-done", "--save"]).arg(at("zero")));
    assert_eq!(fs::read_to_string(at("zero/0.json")).unwrap(), "4\n");
    let args = ["fetch", file.as_str(), "--via", &via, "--listen", LOCAL, "-o"];
    succeed(rtmfp(args).arg(at("copy")));
    assert!(fs::read(at("copy")).unwrap() == film);

    // Objects come and go with their files.
    fs::remove_file(at("seed/objects/2.bin")).unwrap();
    fs::write(at("seed/objects/7.bin"), "seven").unwrap();
    while until(&server, "offered")["objects"] != 3 {}
    let mut player = join(&objects, &via, LOCAL);
    succeed(player.args(["--want", "7", "--exit-when-done", "--save"]).arg(at("more")));
    assert_eq!(fs::read_to_string(at("more/7.bin")).unwrap(), "seven");
}

fn tags(path: &Path) -> Vec<Tag> {
    let mut reader = flv::Reader::new();
    reader.push(&fs::read(path).unwrap());
    std::iter::from_fn(|| reader.next_tag().unwrap()).collect()
}

/// The server needs tokens, which its own member does not have.
#[test]
fn a_stream_that_is_published_at_the_server_is_played_in_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let secret = at("secret");
    let secret = secret.to_str().unwrap();
    let (token, _) = succeed(&mut rtmfp(["token", "--secret-file", secret]));
    let spec = any("tv");
    let ingest = format!("live/cam=news@{}", spec.as_str());
    let (server, url, _) = serve(&[LOCAL], &["--secret-file", secret, "--ingest", &ingest]);
    let token = token.trim();
    let via = |app: &str| format!("{url}{app}?token={token}");
    let mut command = rtmfp(["stream", "play", spec.as_str(), "news", "--json", "--listen", LOCAL]);
    let player = Running::start(command.args(["--via", &via("tv"), "-o"]).arg(at("recorded.flv")));
    until(&player, "neighbor_connected");
    let mut command = rtmfp(["stream", "publish", "server", "cam", CLIP, "--listen", LOCAL]);
    let (status, _, err) = Running::start(command.args(["--json", "--via", &via("live")])).wait();
    assert_eq!(status, Some(0), "{err}");
    let started = until(&server, "ingest_started");
    let expected = ["live", "cam", "news"].map(Value::from);
    assert_eq!(["app", "name", "stream"].map(|key| started[key].clone()), expected);
    until(&server, "ingest_ended");
    let (status, lines, err) = player.wait();
    assert_eq!(status, Some(0), "{err}");
    assert!(lines.last().unwrap().contains("\"event\":\"ended\""), "{lines:?}");
    let (published, recorded) = (tags(Path::new(CLIP)), tags(&at("recorded.flv")));
    for kind in [TagKind::Video, TagKind::Audio, TagKind::Script] {
        let of_kind = |tags: &[Tag]| {
            let of_kind = tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.data.clone());
            of_kind.collect::<Vec<_>>()
        };
        assert!(of_kind(&recorded) == of_kind(&published), "{kind:?}");
    }

    // The next one of the name goes there, too.
    let mut command = rtmfp(["stream", "publish", "server", "cam", CLIP, "--listen", LOCAL]);
    let again = Running::start(command.args(["--json", "--via", &via("live")]));
    until(&server, "ingest_started");
    drop(again);
    until(&server, "ingest_ended");
}

/// A groupspec lets whoever has it into the group.
#[cfg(unix)]
#[test]
fn groupspecs_are_in_no_log_and_no_output() {
    let directory = tempfile::tempdir().unwrap();
    write_file(&directory.path().join("film.mp4"), 1, 1000);
    let (spec, tv) = (any("secret-group"), any("secret-tv"));
    let ingest = format!("live/cam={}", tv.as_str());
    let mut command = rtmfp(["serve", "-vvv", "--json", "--admin", "0", "--listen", LOCAL]);
    command.env("RTMFP_MEMBER_GROUPS", spec.as_str()).args(["--ingest", &ingest, "--seed"]);
    let server = Running::start(command.arg(directory.path()));
    let first = server.line();
    let listening = json(&first);
    assert_eq!(listening["member"]["groups"].as_array().unwrap().len(), 2, "{listening}");
    let offered = server.until(|line| line.contains("\"event\":\"offered\""));
    let page = listening["admin"].as_str().unwrap();
    let text = |path: &str| {
        let mut answer = ureq::get(format!("{page}{path}")).call().unwrap();
        answer.body_mut().read_to_string().unwrap()
    };
    let mut seen = first + &offered.join("\n");
    for path in ["", "api/v1/status", "api/v1/sessions", "api/v1/groups", "metrics"] {
        seen += &text(path);
    }
    assert!(seen.contains(&spec.group_id().to_string()), "the group is named by its identity");
    server.interrupt();
    let (status, lines, err) = server.wait();
    assert_eq!(status, Some(0), "{err}");
    seen += &(lines.join("\n") + &err);
    for hidden in [spec.as_str(), tv.as_str(), "secret-group", "secret-tv"] {
        let hidden = hidden.trim_start_matches("G:");
        assert!(!seen.contains(hidden), "{hidden} is in\n{seen}");
    }
}

#[test]
fn what_a_member_cannot_do_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let alone = GroupSpecBuilder::new("alone").unwrap().posting(true).build().unwrap();
    let chat = spec("chat").posting(true).build().unwrap();
    let missing = directory.path().join("missing");
    let missing = missing.to_str().unwrap();
    let files = any("files");
    for (args, status, expected) in [
        (vec!["--member", alone.as_str()], 2, "cannot find each other through a server"),
        (vec!["--member", chat.as_str(), "--seed", missing], 2, "object replication"),
        (vec!["--member", files.as_str(), "--seed", missing], 1, "cannot offer what is in"),
        (vec!["--seed", missing], 2, "of which the member has none"),
    ] {
        let mut command = rtmfp(["serve", "--no-admin", "--listen", LOCAL]);
        let err = fail(command.args(&args), status);
        assert!(err.contains(expected) && !err.contains(&chat.as_str()[2..]), "{args:?}\n{err}");
    }
}
