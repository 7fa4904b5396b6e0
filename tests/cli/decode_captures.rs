//! `rtmfp decode` on captures of real programs: the same counts as an independent decoder, and
//! output that stays as it is.

use crate::support::{fail, rtmfp, succeed};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures")
}

fn captures() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn decode(name: &str, args: &[&str]) -> Command {
    let mut command = rtmfp(["decode"]);
    command.arg(folder().join(name).with_extension("pcap"));
    command.arg("--keys").arg(folder().join(name).with_extension("keys"));
    command.args(args).env_remove("RTMFPKEYLOGFILE");
    command
}

fn output(name: &str, args: &[&str]) -> String {
    succeed(&mut decode(name, args)).0
}

#[test]
fn counts_are_those_of_an_independent_decoder() {
    let names = captures();
    assert_eq!(names.len(), 15);
    for name in names {
        let file = folder().join(&name).with_extension("counts.json");
        let expected: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        for verify in [&["--stats", "--json"][..], &["--stats", "--json", "--verify"]] {
            let mut found: Value = serde_json::from_str(&output(&name, verify)).unwrap();
            let frames = found.as_object_mut().unwrap().remove("frames").unwrap();
            assert_eq!(found, expected, "{name}");
            assert_eq!(frames["read"], expected["packets"]["datagrams"], "{name}");
            assert_eq!((&frames["total"], &frames["unread"]), (&frames["read"], &0.into()));
        }
    }
}

/// Every packet is an object with the same members, and every message is read to its end.
#[test]
fn every_packet_is_json() {
    for name in captures() {
        let mut frames = 0;
        for line in output(&name, &["--json"]).lines() {
            let packet: Value = serde_json::from_str(line).unwrap();
            frames += 1;
            for member in ["frame", "time", "relative", "src", "dst", "len", "kind"] {
                assert!(packet.get(member).is_some(), "{name}: {line}");
            }
            let undecoded = packet["kind"] == "undecoded";
            assert_eq!(packet.get("reason").is_some(), undecoded, "{name}: {line}");
            assert!(packet.get("chunks").is_some() || undecoded, "{name}: {line}");
        }
        let counts = fs::read(folder().join(&name).with_extension("counts.json")).unwrap();
        let counts: Value = serde_json::from_slice(&counts).unwrap();
        assert!(frames > 0 && frames <= counts["packets"]["datagrams"].as_u64().unwrap());
    }
}

#[test]
fn lines() {
    insta::assert_snapshot!("lines_flash_tc2", output("flash-tc2", &[]));
    insta::assert_snapshot!("lines_cpp_p2p_intro", output("cpp-p2p-intro", &[]));
}

#[test]
fn trees() {
    let keyings = output("flash-tc2", &["-V", "-f", "frame<=5"]);
    insta::assert_snapshot!("tree_handshake", keyings);
    let filter = "message==Report || message==Have || message==Announce || message==Stream";
    let args = ["-V", "-f", &format!("({filter}) && time<13")];
    let messages = output("flash-group-full", &args);
    let start: String = messages.lines().take(160).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!("tree_group", start);
}

#[test]
fn json() {
    let args = ["--json", "-f", "frame<=6 || chunk==FIHello"];
    insta::assert_snapshot!("json_flash_tc2", output("flash-tc2", &args));
    let data = output("cpp-echo-g2-checksum", &["--json", "--data", "-f", "frame==5"]);
    insta::assert_snapshot!("json_with_data", data);
}

#[test]
fn reports() {
    insta::assert_snapshot!("sessions_flash_tc2", output("flash-tc2", &["--sessions"]));
    insta::assert_snapshot!("flows_flash_nc_stream", output("flash-nc-stream", &["--flows"]));
    insta::assert_snapshot!("groups_flash_group_full", output("flash-group-full", &["--groups"]));
    insta::assert_snapshot!("stats_mona_group", output("mona-c2_group_eof", &["--stats"]));
    for report in ["--sessions", "--flows", "--groups"] {
        for line in output("flash-group-full", &[report, "--json"]).lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object()), "{line}");
        }
    }
}

#[test]
fn an_introduction_is_tied_to_its_session() {
    let text = output("flash-tc2", &["--sessions", "--json"]);
    let sessions: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let between_players = &sessions[2];
    assert_eq!(between_players["introductions"][0]["session"], 0);
    assert_eq!(between_players["introductions"][0]["frame"], 21);
    assert_eq!(between_players["has_secret"], false);
    let unreadable = |end: &str| between_players[end]["unreadable"].as_u64().unwrap();
    assert_eq!(unreadable("initiator") + unreadable("responder"), 35);
    assert!(unreadable("initiator") > 0 && unreadable("responder") > 0);
}

#[test]
fn sessions_without_a_secret_are_said_to_be_so_once() {
    let (out, err) = succeed(&mut decode("flash-tc2", &[]));
    assert_eq!(out.matches("no secret: cannot be decrypted").count(), 1, "{out}");
    assert_eq!(out.matches(" encrypted").count(), 35, "{out}");
    assert_eq!(err.matches("session #2 cannot be decrypted (35 packets)").count(), 1, "{err}");
    assert!(err.contains("its secret is not in the key log; --sessions shows"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn filters_choose_packets_and_what_they_belong_to() {
    let lines = output("flash-tc2", &["-f", "chunk==IHello && src==127.0.0.1:50515"]);
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let sessions = output("flash-tc2", &["--sessions", "-f", "chunk==FIHello"]);
    assert_eq!(sessions.matches("session #").count(), 1, "{sessions}");
    let err = fail(&mut decode("flash-tc2", &["-f", "chunk==IHello &&"]), 2);
    assert!(
        err.contains("expected a field, ! or (\n  chunk==IHello &&\n                  ^"),
        "{err}"
    );
}

#[test]
fn what_was_carried_becomes_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for _ in 0..2 {
        // A second run writes the same, and does not add to what is there.
        output("flash-group-full", &["--extract", path]);
        output("cpp-pubplay-hmac-sseq", &["--extract", path]);
    }
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| format!("{} {}", e.file_name().to_str().unwrap(), e.metadata().unwrap().len()))
        .collect();
    files.sort();
    insta::assert_snapshot!("extracted", files.join("\n"));
}
