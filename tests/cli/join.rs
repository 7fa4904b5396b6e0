//! `rtmfp join`: members of a group as processes of their own.
#![expect(clippy::disallowed_methods, reason = "a socket that nobody answers from")]

use crate::support::{PATIENCE, Running, fail, rtmfp, write_file};
use rtmfp::amf::Value as Amf;
use rtmfp::peer::{Connection, GroupEvent, NetGroup};
use rtmfp::proto::group::{GroupSpec, GroupSpecBuilder};
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

const NO_ARGS: [&str; 0] = [];
const LOCAL: &str = "127.0.0.1:0";

fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("cli-join").unwrap();
    builder.object_replication(true).server_channel(true).build().unwrap()
}

fn join(server: SocketAddr) -> Command {
    let via = format!("rtmfp://{server}/app");
    rtmfp(["join", spec().as_str(), "--via", &via, "--listen", LOCAL])
}

/// A line of `--json`, if it is as documented.
fn parsed(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap();
    let event = value["event"].as_str().unwrap();
    let (_, documentation) = include_str!("../../docs/joining.md").split_once("## Lines").unwrap();
    let row = format!("| `{event}` | ");
    let row = documentation.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| {
        panic!("{event} is not documented");
    });
    for member in value.as_object().unwrap().keys() {
        let is_common = ["event", "code", "seconds"].contains(&member.as_str());
        assert!(is_common || row.contains(&format!("`{member}`")), "{line}\n{row}");
    }
    assert!(value["seconds"].as_f64().unwrap() >= 0.0, "{line}");
    assert!(value["code"].is_null() || value["code"].as_str().unwrap().starts_with("Net"));
    value
}

/// The next event of this name, what comes before it passed over.
fn event(member: &Running, name: &str) -> Value {
    let lines = member.until(|line| parsed(line)["event"] == name);
    parsed(lines.last().unwrap())
}

fn peer_id(joined_or_neighbor: &Value) -> String {
    let id = joined_or_neighbor["peer_id"].as_str().unwrap();
    assert_eq!(id.len(), 64, "{id}");
    id.to_owned()
}

/// The end of a member; where there is no Ctrl-C a sudden one.
fn end(member: Running) {
    #[cfg(unix)]
    {
        member.interrupt();
        let (status, lines, err) = member.wait();
        assert_eq!(status, Some(0), "{err}");
        assert_eq!(parsed(lines.last().unwrap())["event"], "left");
    }
    #[cfg(not(unix))]
    drop(member);
}

/// What a member with `--json` fetches until it has everything, by index.
fn fetched(member: &Running) -> Vec<Value> {
    let lines = member.until(|line| parsed(line)["event"] == "complete");
    let mut fetched: Vec<Value> = lines.iter().map(|line| parsed(line)).collect();
    fetched.retain(|line| line["event"] == "fetched");
    fetched.sort_by_key(|line| line["index"].as_u64());
    fetched
}

#[test]
fn members_find_each_other_and_objects_travel() {
    let directory = tempfile::tempdir().unwrap();
    let [have, got, copy] = ["have", "got", "copy"].map(|name| directory.path().join(name));
    fs::create_dir(&have).unwrap();
    let sizes = [(0, 65_536), (1, 0), (7, 100_000)];
    let files = sizes.map(|(n, len)| (n, write_file(&have.join(format!("{n}.bin")), n, len)));
    fs::write(have.join("notes.txt"), "no object").unwrap();
    let (_server, address) = Running::server(LOCAL, NO_ARGS);

    let provider = Running::start(join(address).args(["--json", "--have"]).arg(&have));
    assert_eq!(event(&provider, "connected")["server"], address.to_string());
    let joined = event(&provider, "joined");
    assert_eq!(
        (&joined["name"], &joined["code"]),
        (&Value::from("cli-join"), &Value::from("NetGroup.Connect.Success"))
    );
    assert_eq!(joined["group_id"], spec().group_id().to_string());
    let fetcher =
        Running::start(join(address).args(["--json", "--want", "0-1,7", "--save"]).arg(&got));
    let fetcher_id = peer_id(&event(&fetcher, "joined"));

    // Each sees the other.
    let neighbor = event(&provider, "neighbor_connected");
    assert_eq!(neighbor["code"], "NetGroup.Neighbor.Connect");
    assert_eq!(peer_id(&neighbor), fetcher_id);
    assert_eq!(peer_id(&event(&fetcher, "neighbor_connected")), peer_id(&joined));

    let fetched = fetched(&fetcher);
    assert_eq!(fetched.len(), 3);
    for (line, (index, bytes)) in fetched.iter().zip(&files) {
        assert_eq!(line["code"], "NetGroup.Replication.Fetch.Result");
        assert_eq!((&line["index"], &line["bytes"]), (&(*index).into(), &bytes.len().into()));
        assert_eq!((&line["type"], peer_id(line)), (&"ByteArray".into(), peer_id(&joined)));
        let file = got.join(format!("{index}.bin"));
        assert_eq!(line["file"], file.to_str().unwrap());
        assert!(fs::read(&file).unwrap() == *bytes, "object {index}");
    }
    assert_eq!(fs::read_dir(&got).unwrap().count(), 3, "nothing else is left");
    for _ in 0..3 {
        assert_eq!(event(&provider, "sent")["code"], "NetGroup.Replication.Request");
    }

    // When the provider is gone, another member fetches from the first.
    end(provider);
    #[cfg(unix)]
    {
        let gone = event(&fetcher, "neighbor_disconnected");
        assert_eq!(gone["code"], "NetGroup.Neighbor.Disconnect");
        assert_eq!(peer_id(&gone), peer_id(&joined));
    }
    let mut third = join(address);
    third.args(["--want", "0-1,7", "--exit-when-done", "--save"]).arg(&copy);
    let (status, out, err) = Running::start(&mut third).wait();
    assert_eq!(status, Some(0), "{out:?}\n{err}");
    let result = format!("received from {fetcher_id}: ByteArray, 100.0 kB");
    assert!(out.iter().any(|line| line.contains(&result)), "{out:?}");
    assert_eq!(
        out[out.len() - 2..],
        ["complete: 3 objects".to_owned(), "left the group  [NetGroup.Connect.Closed]".to_owned()]
    );
    for (index, bytes) in &files {
        assert!(fs::read(copy.join(format!("{index}.bin"))).unwrap() == *bytes);
    }
}

async fn member(server: SocketAddr) -> NetGroup {
    let connection = Connection::connect(&format!("rtmfp://{server}/app")).await.unwrap();
    connection.join(spec()).await.unwrap()
}

/// Values other than byte arrays are JSON in files, and themselves to the next member.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_saved_as_json_and_passed_on() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let poem = Amf::object([("author", Amf::from("William \"Blake\"")), ("year", 1794.into())]);
    let objects = [poem, Amf::from("Tiger, tiger"), Amf::array([1.0, 2.5])];
    let provider = member(address).await;
    provider.add_have_objects(0, 2).await.unwrap();
    let providing = tokio::spawn({
        let (provider, objects) = (provider.clone(), objects.clone());
        async move {
            let mut events = provider.events();
            while let Ok(event) = events.recv().await {
                if let GroupEvent::ReplicationRequest { index, request_id } = event {
                    let object = &objects[usize::try_from(index).unwrap()];
                    provider.write_requested_object(request_id, object).await.unwrap();
                }
            }
        }
    });
    let mut command = join(address);
    let middle =
        Running::start(command.args(["--json", "--want", "0-2", "--save"]).arg(directory.path()));
    let fetched = fetched(&middle);
    let types: Vec<&str> = fetched.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Object", "String", "Array"]);
    let text = |n: u64| fs::read_to_string(directory.path().join(format!("{n}.json"))).unwrap();
    assert_eq!(text(0), "{\"author\":\"William \\\"Blake\\\"\",\"year\":1794}\n");
    assert_eq!(text(1), "\"Tiger, tiger\"\n");
    assert_eq!(text(2), "[1,2.5]\n");

    provider.close().await;
    providing.await.unwrap();
    let last = member(address).await;
    last.add_want_objects(0, 2).await.unwrap();
    let mut events = last.events();
    for _ in 0..objects.len() {
        let (index, object) = loop {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
            if let GroupEvent::ReplicationFetchResult { index, object, .. } = event {
                break (index, object.decode().unwrap());
            }
        };
        assert_eq!(object, objects[usize::try_from(index).unwrap()]);
    }
    last.connection().close(PATIENCE).await.unwrap();
}

/// A small message that stands for a value of ten thousand million elements is reported, not accepted, and
/// the object is asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_objects_are_told_and_requested_again() {
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let mut bomb = Amf::from("x");
    for _ in 0..10 {
        bomb = Amf::array(vec![bomb; 10]);
    }
    let provider = member(address).await;
    provider.add_have_objects(0, 0).await.unwrap();
    let providing = tokio::spawn({
        let provider = provider.clone();
        async move {
            let mut objects = [bomb, Amf::from("harmless")].into_iter();
            let mut events = provider.events();
            while let Ok(event) = events.recv().await {
                if let GroupEvent::ReplicationRequest { request_id, .. } = event {
                    let object = objects.next().unwrap();
                    provider.write_requested_object(request_id, &object).await.unwrap();
                }
            }
        }
    });
    let fetcher = Running::start(join(address).args(["--json", "--want", "0"]));
    let unreadable = event(&fetcher, "unreadable");
    assert_eq!(peer_id(&unreadable), provider.connection().peer_id().to_string());
    assert_eq!(unreadable["index"], 0);
    assert_eq!(fetched(&fetcher)[0]["type"], "String");
    provider.close().await;
    providing.await.unwrap();
}

#[test]
fn an_earlier_run_is_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("3.bin"), "here").unwrap();
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let mut command = join(address);
    command.args(["--exit-when-done", "--want", "3", "--have"]).arg(directory.path());
    let (status, out, err) = Running::start(command.arg("--save").arg(directory.path())).wait();
    assert_eq!(status, Some(0), "{out:?}\n{err}");
    assert!(out.contains(&"complete: 1 object".to_owned()), "{out:?}");
}

/// What cannot be read any more is denied, and the member stays.
#[test]
fn a_file_that_vanishes_is_not_offered_any_more() {
    let directory = tempfile::tempdir().unwrap();
    write_file(&directory.path().join("0.bin"), 1, 100);
    write_file(&directory.path().join("1.bin"), 1, 100);
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let provider = Running::start(join(address).args(["--json", "--have"]).arg(directory.path()));
    event(&provider, "joined");
    fs::remove_file(directory.path().join("0.bin")).unwrap();
    let fetcher = Running::start(join(address).args(["--json", "--want", "0-1"]));
    assert_eq!(event(&provider, "denied")["index"], 0);
    assert_eq!(event(&fetcher, "fetched")["index"], 1);
}

#[cfg(unix)]
#[test]
fn a_server_that_comes_back_is_found_again() {
    // Where nobody else takes the port meanwhile.
    let listen = if cfg!(target_os = "linux") { "127.0.0.29:0" } else { LOCAL };
    let (server, address) = Running::server(listen, NO_ARGS);
    let member = Running::start(join(address).arg("--json"));
    event(&member, "joined");
    server.interrupt();
    let (status, _, err) = server.wait();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(event(&member, "disconnected")["code"], "NetConnection.Connect.Closed");
    let (_server, again) = Running::server(&address.to_string(), NO_ARGS);
    assert_eq!(again, address);
    assert_eq!(event(&member, "connected")["server"], address.to_string());
    // Who comes later finds the group there.
    let other = Running::start(join(address).arg("--json"));
    event(&other, "neighbor_connected");
    event(&member, "neighbor_connected");
}

#[test]
fn who_must_end_before_everything_is_fetched_fails() {
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let args = ["--want", "0-4", "--exit-when-done", "--for", "5s"];
    let (status, out, err) = Running::start(join(address).args(args)).wait();
    assert_eq!(status, Some(1), "{out:?}\n{err}");
    let missing = "error: ended before everything was fetched: 5 of 5 objects are missing";
    let (is_joined, is_reported) =
        (out.iter().any(|line| line.contains("joined")), err.contains(missing));
    // On a machine so busy that connecting takes longer, the other error is reported.
    assert!(
        is_reported || (!is_joined && err.contains("in the time given by --for")),
        "{out:?}\n{err}"
    );
}

#[test]
fn groups_where_it_cannot_work_are_reported() {
    let error = |builder: GroupSpecBuilder, args: &[&str]| {
        let spec = builder.build().unwrap();
        let mut command = rtmfp(["join", spec.as_str(), "--via", "rtmfp://127.0.0.1/app"]);
        fail(command.args(args), 2)
    };
    let group = || GroupSpecBuilder::new("bare").unwrap();
    assert!(error(group(), &[]).contains("does not enable the server channel"));
    let channel = || group().server_channel(true);
    let err = error(channel().peer_to_peer_disabled(true), &[]);
    assert!(err.contains("forbids connections among members"), "{err}");
    let err = error(channel(), &["--want", "0"]);
    assert!(err.contains("--want does not work in this group"), "{err}");
    let err = error(channel(), &["--have", "."]);
    assert!(err.contains("--have does not work in this group"), "{err}");
}

#[test]
fn mistakes_are_reported() {
    let via = ["--via", "rtmfp://127.0.0.1/app"];
    let usage = |args: &[&str]| fail(rtmfp(["join"]).args(args).args(via), 2);
    assert!(usage(&["chat"]).contains("starts with \"G:\""));
    assert!(usage(&["G:0101xx"]).contains("not a hexadecimal digit"));
    let spec = spec();
    let usage = |args: &[&str]| usage(&[&[spec.as_str()], args].concat());
    assert!(usage(&["--want", "9-1"]).contains("write 1-9"));
    assert!(usage(&["--want", "all"]).contains("write ranges like 0-99,200"));
    assert!(usage(&["--want", "9007199254740993"]).contains("above 2^53"));
    assert!(usage(&["--save", "."]).contains("--want"));
    assert!(usage(&["--for", "soon"]).contains("is not a time"));
    assert!(fail(&mut rtmfp(["join", spec.as_str()]), 2).contains("--via"));
    let err = fail(&mut rtmfp(["join", spec.as_str(), "--via", "rtmfp:"]), 2);
    assert!(err.contains("write rtmfp://host/app") && !err.contains("link"), "{err}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = |args: &[&str]| {
        let mut command = rtmfp(["join", spec.as_str()]);
        fail(command.args(via).args(args).arg(file.join("inside")), 1)
    };
    let err = refused(&["--want", "0", "--save"]);
    assert!(err.contains("error: cannot write to --save ") && err.contains("inside"), "{err}");
    assert!(refused(&["--have"]).contains("error: cannot offer --have "));
}

#[test]
fn a_server_that_does_not_answer_is_reported() {
    let silent = UdpSocket::bind(LOCAL).unwrap();
    let err = fail(join(silent.local_addr().unwrap()).args(["--for", "1s"]), 1);
    assert!(err.contains("error: cannot connect to rtmfp://127.0.0.1:"), "{err}");
    assert!(err.contains("is it running, and does a firewall let UDP through?"), "{err}");
}

#[cfg(unix)]
#[test]
fn a_member_whose_lines_nobody_reads_leaves() {
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let one = Running::start(join(address).arg("--json"));
    event(&one, "joined");
    // The lines are: connected, joined, the first neighbor.
    let shell = format!(
        "'{}' join '{}' --via rtmfp://{address}/app --listen {LOCAL} | head -n 3",
        env!("CARGO_BIN_EXE_rtmfp"),
        spec()
    );
    let mut two = Command::new("sh").args(["-c", &shell]).stdout(Stdio::null()).spawn().unwrap();
    let two_id = peer_id(&event(&one, "neighbor_connected"));
    // The line about another neighbor reaches nobody.
    let _three = Running::start(join(address).arg("--json"));
    let left = event(&one, "neighbor_disconnected");
    assert_eq!(peer_id(&left), two_id);
    assert!(two.wait().unwrap().success());
}

/// Two members with `--json` that listen on standard input, as neighbors.
fn two_members(spec: &GroupSpec, server: SocketAddr) -> [Running; 2] {
    let via = format!("rtmfp://{server}/app");
    let start = || {
        let args = ["join", spec.as_str(), "--via", &via, "--listen", LOCAL, "--json"];
        let mut command = rtmfp(args);
        command.stdin(Stdio::piped());
        Running::start(&mut command)
    };
    [start(), start()]
}

/// Two members send to each other: to all, to the next, and to the nearest of an address.
#[test]
fn members_send_to_each_other() {
    let spec = GroupSpecBuilder::new("cli-send").unwrap().routing(true).server_channel(true);
    let spec = spec.build().unwrap();
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let mut members = two_members(&spec, address);
    let at = [0, 1].map(|n: usize| event(&members[n], "joined")["address"].clone());
    members.iter().for_each(|member| drop(event(member, "neighbor_connected")));

    for command in ["all", "next", "prev"] {
        for from in [0, 1] {
            let line = format!(r#"{{"command":"{command}","value":{{"by":"{command}"}}}}"#);
            members[from].type_line(&line);
            assert_eq!(event(&members[from], "directed")["result"], "sent");
            let message = event(&members[1 - from], "directed_message");
            assert_eq!(message["value"]["by"], command);
            assert_eq!((&message["from"], &message["from_local"]), (&at[from], &false.into()));
            assert_eq!(message["code"], "NetGroup.SendTo.Notify");
        }
    }

    // One bit beside its address the member hears only what is for the nearest.
    let own = at[1].as_str().unwrap();
    let last = if own.ends_with('0') { '1' } else { '0' };
    let beside = format!("{}{last}", &own[..own.len() - 1]);
    let line = format!(r#"{{"command":"nearest","address":"{beside}","value":"x"}}"#);
    members[0].type_line(&line);
    assert_eq!(event(&members[0], "directed")["result"], "no route");
    members[1].type_line(r#"{"command":"mode","mode":"nearest"}"#);
    assert_eq!(event(&members[1], "mode")["mode"], "nearest");
    members[1].type_line(&line);
    let message = event(&members[1], "directed_message");
    assert_eq!((&message["from"], &message["from_local"]), (&at[1], &true.into()));
    // The mode arrives before what is sent after it.
    members[1].type_line(r#"{"command":"all","value":"now"}"#);
    event(&members[0], "directed_message");
    members[0].type_line(&line);
    assert_eq!(event(&members[0], "directed")["result"], "sent");
    assert_eq!(event(&members[1], "directed_message")["value"], "x");
    members.into_iter().for_each(end);
}

/// Two members post to each other, in both directions and as every kind of JSON.
#[test]
fn members_post_to_each_other() {
    let spec = GroupSpecBuilder::new("cli-chat").unwrap().posting(true).server_channel(true);
    let spec = spec.build().unwrap();
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let mut members = two_members(&spec, address);
    members.iter().for_each(|member| drop(event(member, "neighbor_connected")));
    let long = format!("\"{}\"", "x".repeat(200_000));
    for (from, value) in [
        (0, r#""hello""#),
        (1, r#"{"text":"hi","user":"b"}"#),
        (0, "[1.5,null]"),
        (0, long.as_str()),
    ] {
        members[from].type_line(&format!(r#"{{"command":"post","value":{value}}}"#));
        let posted = event(&members[from], "posted");
        let posting = event(&members[1 - from], "posting");
        assert_eq!(posting["value"], serde_json::from_str::<Value>(value).unwrap());
        assert_eq!(posting["message_id"], posted["message_id"]);
        assert_eq!(posting["code"], "NetGroup.Posting.Notify");
    }
    members[0].type_line(r#"{"command":"peers"}"#);
    assert_eq!(event(&members[0], "peers")["peers"].as_array().unwrap().len(), 1);
    members[1].type_line(r#"{"command":"stats"}"#);
    let stats = event(&members[1], "stats");
    assert_eq!((&stats["posted"], &stats["received"]), (&1.into(), &3.into()));
    members[1].type_line(r#"{"command":"fly"}"#);
    event(&members[1], "bad_input");
    for mut member in members {
        member.type_line(r#"{"command":"quit"}"#);
        let (status, lines, errors) = member.wait();
        assert_eq!(status, Some(0), "{errors}");
        assert_eq!(parsed(lines.last().unwrap())["event"], "left");
    }
}

/// A group without server channel: one member connects to the other by its peer ID. Objects are offered
/// and fetched by commands.
#[test]
fn members_connect_and_exchange_objects_by_command() {
    let spec = GroupSpecBuilder::new("cli-objects").unwrap().object_replication(true);
    let spec = spec.build().unwrap();
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let via = format!("rtmfp://{address}/app");
    let start = |neighbour: &str| {
        let mut command =
            rtmfp(["join", spec.as_str(), "--via", &via, "--listen", LOCAL, "--json"]);
        Running::start(command.args(["--neighbour", neighbour]).stdin(Stdio::piped()))
    };
    let nobody = "0".repeat(64);
    let [mut a, mut b] = [start(&nobody), start(&nobody)];
    let [id, own] = [&a, &b].map(|member| peer_id(&event(member, "joined")));
    a.type_line(r#"{"command":"have","index":3,"value":{"n":[1.5,"x"]}}"#);
    let objects = event(&a, "objects");
    assert_eq!((&objects["have"], &objects["want"]), (&"3".into(), &"".into()));
    b.type_line(r#"{"command":"want","ranges":"2-4"}"#);
    assert_eq!(event(&b, "objects")["want"], "2-4");
    b.type_line(&format!(r#"{{"command":"connect","peer_id":"{id}"}}"#));
    assert_eq!(peer_id(&event(&b, "connecting")), id);
    assert_eq!(peer_id(&event(&b, "neighbor_connected")), id);
    let fetched = event(&b, "fetched");
    assert_eq!((&fetched["index"], &fetched["type"]), (&3.into(), &"Object".into()));
    assert_eq!(fetched["value"], serde_json::json!({"n": [1.5, "x"]}));
    assert_eq!(event(&a, "sent")["index"], 3);
    b.type_line(r#"{"command":"unwant","ranges":4}"#);
    assert_eq!(event(&b, "objects")["want"], "2");
    a.type_line(r#"{"command":"have","index":2,"value":null}"#);
    assert_eq!(event(&b, "fetched")["index"], 2);
    assert_eq!(event(&b, "complete")["objects"], 2);
    b.type_line(r#"{"command":"unhave","ranges":"0-2"}"#);
    let objects = event(&b, "objects");
    assert_eq!((&objects["have"], &objects["want"]), (&"3".into(), &"".into()));
    b.type_line(&format!(r#"{{"command":"hint","peer_id":"{id}"}}"#));
    assert_eq!(peer_id(&event(&b, "noted")), id);
    b.type_line(&format!(r#"{{"command":"connect","peer_id":"{own}"}}"#));
    let reason = event(&b, "bad_input")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("cannot be a neighbour: it is this member itself"), "{reason}");
    b.type_line(r#"{"command":"post","value":1}"#);
    assert_eq!(event(&b, "bad_input")["reason"], "posting is not enabled in the groupspec");
    b.type_line(r#"{"command":"help"}"#);
    assert_eq!(event(&b, "commands")["commands"][0]["command"], "post");
    [a, b].into_iter().for_each(end);
}

/// Commands in a file, the last of which has no end of line.
#[test]
fn the_last_line_of_the_input_counts() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "{\"command\":\"stats\"}\n{\"command\":\"quit\"}").unwrap();
    let (_server, address) = Running::server(LOCAL, NO_ARGS);
    let mut command = join(address);
    command.arg("--json").stdin(fs::File::open(file.path()).unwrap());
    let (status, lines, errors) = Running::start(&mut command).wait();
    assert_eq!(status, Some(0), "{errors}");
    let events: Vec<_> = lines.iter().map(|line| parsed(line)["event"].clone()).collect();
    assert_eq!(events, ["connected", "joined", "stats", "left"]);
}

#[test]
fn members_on_this_host_meet_without_a_server() {
    let made = ["groupspec", "new", "cli-lan", "--posting", "--lan", "--unique"];
    let spec = crate::support::succeed(&mut rtmfp(made)).0;
    let member = || rtmfp(["join", spec.trim(), "--lan", "--json"]);
    let first = Running::start(&mut member());
    event(&first, "serverless");
    let second = Running::start(&mut member());
    let ids = [&first, &second].map(|member| peer_id(&event(member, "joined")));
    assert_eq!(peer_id(&event(&first, "neighbor_connected")), ids[1]);
    assert_eq!(peer_id(&event(&second, "neighbor_connected")), ids[0]);
    end(first);
    end(second);
}

#[test]
fn a_group_that_is_not_on_the_local_network_is_refused_there() {
    let err = fail(&mut rtmfp(["join", spec().as_str(), "--lan"]), 2);
    assert!(err.contains("rtmfp groupspec new … --lan"), "{err}");
}
