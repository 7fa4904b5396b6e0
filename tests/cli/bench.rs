//! The benchmark program: each work in a small version, so that it stays in order. What it measures
//! here means nothing.

use rtmfp::trace::KeyLog;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `cargo test` builds the examples, beside the directory of the program.
fn program() -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_rtmfp")).parent().unwrap();
    let program = directory.join("examples").join(format!("bench{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "first: cargo build --example bench");
    program
}

fn bench(arguments: &str) -> Output {
    Command::new(program()).args(arguments.split(' ')).output().unwrap()
}

/// Runs a work and returns the last line of its output, which must have these fields and no others,
/// all with a value that was measured.
fn figures(arguments: &str, fields: &[&str]) -> Value {
    let output = bench(&format!("{arguments} --runs 2 --json"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["work"], arguments.split(' ').next().unwrap());
    let mut found: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    found.retain(|key| *key != "work");
    let mut wanted = fields.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    for field in fields {
        assert!(line[field].as_f64().is_some_and(|value| value >= 0.0), "{line}");
    }
    line
}

/// The fields of the work `swarm`.
const SWARM: [&str; 14] = [
    "n",
    "lb_s",
    "first_s",
    "median_s",
    "last_s",
    "end_s",
    "last_over_lb",
    "copies",
    "wire_over_payload",
    "startup_s_p50",
    "startup_s_max",
    "stalls",
    "cpu_s_per_gib",
    "identical",
];

#[test]
fn bulk() {
    let fields = ["sender_cpu_s_per_gib", "receiver_cpu_s_per_gib", "mb_per_s"];
    for mode in ["hmac-sseq", "checksum"] {
        let line = figures(&format!("bulk --mode {mode} --seconds 0.1"), &fields);
        assert!(fields.iter().all(|field| line[field].as_f64().unwrap() > 0.0), "{line}");
    }
}

#[test]
fn messages() {
    let line = figures("messages --size 100 --seconds 0.1", &["per_second"]);
    assert!(line["per_second"].as_f64().unwrap() > 0.0, "{line}");
}

#[test]
fn pingpong() {
    let line = figures("pingpong --seconds 0.5", &["p50_us", "p99_us"]);
    assert!(line["p50_us"].as_f64() <= line["p99_us"].as_f64(), "{line}");
}

#[test]
fn handshakes() {
    let fields = ["per_second", "p99_ms", "server_cpu_ms", "busiest_worker_ms"];
    let work = "handshakes --group 2 --concurrency 4 --count 16 --client-sockets 2";
    let line = figures(work, &fields);
    assert!(fields.iter().all(|field| line[field].as_f64().unwrap() > 0.0), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn idle() {
    let arguments = "idle --sessions 40 --settle 0.01 --window 0.01";
    figures(arguments, &["bytes_per_session", "cpu_percent", "busiest_worker_percent"]);
}

#[test]
fn lossy() {
    let line = figures("lossy --loss 0.01 --rtt-ms 4 --mbit 10 --seconds 0.3", &["mb_per_s"]);
    let rate = line["mb_per_s"].as_f64().unwrap();
    assert!(rate > 0.0 && rate < 1.25, "a link of 1.25 MB/s: {rate}");
}

#[test]
fn demo_path() {
    let fields = ["cpu_s_per_gib", "seconds", "wire_per_payload", "threads", "sockets"];
    let line = figures("demo-path --receivers 2 --size 1MiB", &fields);
    assert!(line["wire_per_payload"].as_f64().unwrap() > 1.0, "{line}");
    if cfg!(target_os = "linux") {
        let members = 4.0;
        assert!(line["sockets"].as_f64().unwrap() >= members, "{line}");
    }
}

#[test]
fn swarm() {
    let work = "swarm --n 2 --size 256KiB";
    let line = figures(work, &SWARM);
    assert_eq!(line["identical"], 2.0, "{line}");
    assert!(line["last_over_lb"].as_f64().unwrap() > 1.0, "{line}");
    let again = figures(work, &SWARM);
    assert_eq!(line["last_s"], again["last_s"], "the seed determines the run");
}

#[test]
fn swarm_with_others() {
    for (work, copies) in [
        ("swarm --n 2 --size 256KiB --hostile denying --hostile both", 2.0),
        ("swarm --n 4 --size 256KiB --hostile idle --members mixed", 4.0),
    ] {
        let line = figures(work, &SWARM);
        assert_eq!((&line["n"], &line["identical"]), (&copies.into(), &copies.into()), "{line}");
    }
}

#[test]
fn the_key_log_has_each_session_and_nobody_else_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let work = format!("bulk --seconds 0.01 --runs 2 --keylog {}", file.display());
    let output = bench(&work);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("WARNING"));
    let mut keylog = KeyLog::default();
    assert_eq!(keylog.read(File::open(&file).unwrap()).unwrap(), 2);
    assert_eq!(keylog.len(), 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn mistakes_are_reported() {
    for (arguments, code, message) in [
        ("bulk --mode rot13", 2, "possible values: hmac-sseq, checksum"),
        ("handshakes --group 3", 2, "there are 2, 5, 14 and 16"),
        ("lossy --loss 2", 2, "a probability from 0 to 0.9"),
        ("demo-path --size 2MB", 2, "1 byte to 64GiB are possible"),
        ("swarm --loss 1", 2, "a probability from 0 to 0.9"),
        ("swarm --hostile rude", 2, "there are silent, idle, both"),
        ("swarm --hostile idle:0", 2, "1 to 200 members are possible"),
        ("swarm --unlimited", 2, "--real"),
        ("swarm --svg /nonexistent/a.svg --n 1 --size 1 --runs 1", 1, "cannot write /nonexistent"),
        ("swarm --up 0", 2, "a rate from 0.01 to 10000 Mbit/s"),
        ("sleep", 2, "unrecognized subcommand"),
        ("bulk --keylog /nonexistent/keys", 1, "cannot write the key log /nonexistent/keys"),
    ] {
        let output = bench(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(message), "{errors}");
    }
}
