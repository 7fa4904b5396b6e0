//! The load tester: each workload with a few clients, against a server that it starts itself. What it
//! measures here means nothing.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

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
