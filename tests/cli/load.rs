//! The load tester: each workload with a few clients, against a server that it starts itself. What it
//! measures here means nothing.

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Runs a workload and returns the last line of its output.
fn load(arguments: &str) -> Value {
    let directory = Path::new(env!("CARGO_BIN_EXE_rtmfp")).parent().unwrap();
    let name = format!("rtmfp-load{}", std::env::consts::EXE_SUFFIX);
    let program = directory.join("examples").join(name);
    assert!(program.exists(), "first: cargo build --example rtmfp-load");
    let arguments = format!("{arguments} --runs 1 --json");
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["work"], arguments.split(' ').next().unwrap());
    line
}

fn figure(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("no {name}: {line}"))
}

#[test]
fn clients_connect_to_each_worker() {
    for workers in [1, 2] {
        let line = load(&format!("connect --clients 40 --workers {workers}"));
        assert!(figure(&line, "connects_per_second") > 0.0, "{line}");
        assert!(figure(&line, "p99_ms") >= figure(&line, "p50_ms"), "{line}");
    }
}

#[test]
fn clients_are_introduced_to_each_other() {
    let line = load("introduce --clients 20 --introductions 60 --sockets 20");
    assert!(figure(&line, "introductions_per_second") > 0.0, "{line}");
}

#[test]
fn idle_clients_take_memory() {
    let line = load("idle --clients 100 --settle 0 --window 1");
    assert!(figure(&line, "bytes_per_client") > 0.0, "{line}");
}

#[test]
fn everything_that_is_published_is_played() {
    let line = load("play --players 8 --streams 2 --kbit 100 --settle 1 --window 2");
    assert_eq!(figure(&line, "missing"), 0.0, "{line}");
    // What is on the way when the window begins and ends is counted on one side only.
    assert!((0.5..1.5).contains(&figure(&line, "delivered")), "{line}");
}

/// Runs an attack for a second or two, and checks that honest clients are served and memory is bounded. One
/// attack at a time: they would starve each other's clients.
fn attack(kind: &str, sessions: u32) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let line =
        load(&format!("attack {kind} --window 2 --sessions {sessions} --rate 3000 --no-rest"));
    assert!(figure(&line, "sent_per_s") > 0.0, "{line}");
    assert!(figure(&line, "received_per_s") > 0.0, "{line}");
    for served in ["connected", "introduced", "relayed", "played"] {
        assert!(figure(&line, served) > 0.0, "{served}: {line}");
        assert!(figure(&line, &format!("{served}_before")) > 0.5, "{served} before: {line}");
    }
    assert_eq!(figure(&line, "lost"), 0.0, "{line}");
    assert!(figure(&line, "held_peak_mb") < 300.0, "{line}");
}

#[test]
fn clients_are_served_while_hellos_are_forged() {
    attack("hellos", 1);
}

#[test]
fn clients_are_served_while_keyings_flood() {
    attack("keyings", 1);
}

#[test]
fn clients_are_served_while_packets_are_replayed() {
    attack("replay", 1);
}

#[test]
fn clients_are_served_while_session_ids_are_guessed() {
    attack("ids", 1);
}

#[test]
fn clients_are_served_while_others_join_without_end() {
    attack("joins", 8);
}

#[test]
fn clients_are_served_while_calls_are_as_large_as_can_be() {
    attack("amf", 4);
}

#[test]
fn clients_are_served_while_others_do_not_read() {
    attack("readers", 12);
}

#[test]
fn clients_are_served_while_flows_have_no_end() {
    attack("flows", 8);
}

#[test]
fn only_servers_at_private_addresses_are_attacked() {
    let directory = Path::new(env!("CARGO_BIN_EXE_rtmfp")).parent().unwrap();
    let name = format!("rtmfp-load{}", std::env::consts::EXE_SUFFIX);
    let mut program = Command::new(directory.join("examples").join(name));
    let output = program.args(["attack", "hellos", "--url", "rtmfp://192.0.2.1/x"]).output();
    let output = output.unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("only a server of one's own is attacked"), "{errors}");
}

#[test]
fn clients_are_served_while_shared_objects_change_without_end() {
    attack("objects", 8);
}

#[test]
fn clients_are_served_while_the_hook_is_slow() {
    attack("hook", 8);
}
