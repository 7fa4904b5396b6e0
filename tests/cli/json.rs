//! `--json`: the events of `share`, `fetch` and `serve` for programs.
#![cfg(unix)]

use crate::support::{Running, rtmfp, succeed, write_file};
use rtmfp::vod::{Digest256, ShareLink};
use serde_json::Value;
use std::collections::BTreeSet;

const DOCS: &str = include_str!("../../docs/json.md");

fn json(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let members = value.as_object().unwrap();
    assert!(value["seconds"].is_number(), "{line}");
    // Every name is documented.
    for name in members.keys().chain([&value["event"].as_str().unwrap().to_owned()]) {
        assert!(DOCS.contains(&format!("`{name}`")), "{name} is not documented: {line}");
    }
    value
}

fn is(event: &str) -> impl Fn(&str) -> bool {
    move |line| json(line)["event"] == event
}

fn last(lines: &[String]) -> Value {
    json(lines.last().unwrap())
}

fn events(lines: &[String]) -> BTreeSet<String> {
    lines.iter().map(|line| json(line)["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_server_a_share_and_a_fetch() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    let bytes = write_file(&file, 1, 300_000);
    let sha256 = Digest256::of(&bytes).to_string();

    let server = Running::start(&mut rtmfp(["serve", "--json", "--listen", "127.0.0.1:0"]));
    let listening = last(&server.until(is("listening")));
    let url = listening["urls"][0].as_str().unwrap().to_owned();
    assert!(url.starts_with("rtmfp://127.0.0.1:"), "{listening}");

    let via = format!("{url}films");
    let mut share = rtmfp(["share", "--json", "--listen", "127.0.0.1:0", "--via", &via]);
    let share = Running::start(share.arg(&file));
    let shared = last(&share.until(is("shared")));
    assert_eq!((&shared["bytes"], &shared["chunks"]), (&300_000.into(), &5.into()));
    assert_eq!(shared["sha256"], sha256.as_str());
    let link = shared["link"].as_str().unwrap();
    let provider = link.parse::<ShareLink>().unwrap().provider.unwrap().to_string();
    let client = last(&server.until(is("client_connected")));
    assert_eq!((&client["peer_id"], &client["app"]), (&provider.as_str().into(), &"films".into()));

    let copy = directory.path().join("copy");
    let mut fetch = rtmfp(["fetch", link, "--json", "--listen", "127.0.0.1:0", "-o"]);
    let (out, _) = succeed(fetch.arg(&copy));
    let lines: Vec<String> = out.lines().map(str::to_owned).collect();
    let names = events(&lines);
    for event in ["connecting", "connected", "progress", "complete", "stopped"] {
        assert!(names.contains(event), "{event}: {names:?}");
    }
    let find = |event: &str| json(lines.iter().rfind(|line| is(event)(line)).unwrap());
    assert_eq!(find("complete")["sha256"], sha256.as_str());
    assert_eq!(find("complete")["path"], copy.to_str().unwrap());
    assert_eq!(
        (&find("progress")["fraction"], &find("progress")["bytes"]),
        (&1.0.into(), &300_000.into())
    );
    assert_eq!(find("progress")["bytes_from_provider"], 300_000);
    assert!(!events(&share.until(is("neighbor_connected"))).contains("failed"));

    share.interrupt();
    let (status, lines, _) = share.wait();
    assert_eq!((status, &last(&lines)["event"]), (Some(0), &"stopped".into()));
    server.interrupt();
    let (status, lines, _) = server.wait();
    assert_eq!((status, &last(&lines)["event"]), (Some(0), &"stopped".into()));
    assert_eq!(last(&lines)["connected"], 2);
}

#[test]
fn a_failure_is_the_last_event() {
    let directory = tempfile::tempdir().unwrap();
    let output = rtmfp(["share", "--json", "/no/such/file"]).output().unwrap();
    let failed = json(String::from_utf8_lossy(&output.stdout).trim_end());
    assert_eq!((&failed["event"], &failed["status"]), (&"failed".into(), &1.into()));
    assert!(failed["reason"].as_str().unwrap().contains("/no/such/file"), "{failed}");

    // Nobody is in the group.
    let (server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let link = format!("rtmfp-share://{address}/1/group=G:0102010c050e66696c6d00");
    let mut fetch = rtmfp(["fetch", &link, "--json", "--timeout", "4s", "-o"]);
    let output = fetch.arg(directory.path().join("copy")).output().unwrap();
    let lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(json).collect();
    let [.., waiting, _stopped, failed] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&failed["status"], output.status.code()), (&3.into(), Some(3)));
    assert_eq!(waiting["event"], "waiting");
    assert_eq!(waiting["server"], address.to_string().as_str());
    assert_eq!((&waiting["connected"], &waiting["members_met"]), (&true.into(), &0.into()));
    drop(server);
}
