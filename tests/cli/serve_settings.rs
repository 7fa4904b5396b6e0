//! Settings of `rtmfp serve`: file, environment and options; what a reload changes; the log; the
//! messages to a service manager.
#![cfg(unix)]

use crate::support::{PATIENCE, Running, fail, rtmfp, succeed};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The server with this file at a port of loopback that is free.
fn server(file: &Path) -> Running {
    let file = file.to_str().unwrap();
    Running::start(&mut rtmfp(["serve", "--listen", "127.0.0.1:0", "--config", file]))
}

/// The lines of a log, each an object.
fn objects(log: &str) -> Vec<Value> {
    let object = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    log.lines().map(object).collect()
}

#[test]
fn the_printed_file_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serve.toml");
    let (sample, _) = succeed(&mut rtmfp(["serve", "--print-config"]));
    assert!(sample.contains("\n[limits]\n"), "{sample}");
    fs::write(&file, sample).unwrap();
    let server = server(&file);
    assert!(server.line().contains("listening on UDP 127.0.0.1:"));
}

#[test]
fn mistakes_say_where_and_what_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serve.toml");
    fs::write(&file, "[limits]\nsesions = 7\n").unwrap();
    let path = file.to_str().unwrap();
    let err = fail(&mut rtmfp(["serve", "--config", path]), 1);
    let expected = "line 2: there is no setting limits.sesions; did you mean limits.sessions?";
    assert_eq!(err, format!("error: {path}: {expected}\n"));
    let missing = directory.path().join("none");
    let err = fail(&mut rtmfp(["serve", "--config", missing.to_str().unwrap()]), 1);
    assert!(err.contains("can't read the configuration file"), "{err}");
    let err = fail(rtmfp(["serve"]).env("RTMFP_LIMITS_MEMORY", "lots"), 1);
    assert!(err.contains("variable RTMFP_LIMITS_MEMORY must be a number of bytes"), "{err}");
}

#[test]
fn options_overrule_the_environment_and_that_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serve.toml");
    fs::write(&file, "listen = \"127.0.0.1:1\"\npublic_address = \"of-file.example\"").unwrap();
    let mut command = rtmfp(["serve", "--listen", "127.0.0.1:0"]);
    command.env("RTMFP_CONFIG", &file).env("RTMFP_LISTEN", "127.0.0.1:2");
    command.env("RTMFP_PUBLIC_ADDRESS", "of-environment.example").env("RTMFP_LISTN", "7");
    let server = Running::start(&mut command);
    let screen = server.until(|line| line == "Press Ctrl-C to stop.").join("\n");
    assert!(screen.contains("rtmfp://of-environment.example:"), "{screen}");
    server.interrupt();
    let (_, _, err) = server.wait();
    let log = objects(&err);
    assert!(log[0]["message"].as_str().unwrap().ends_with("is it RTMFP_LISTEN?"), "{err}");
}

#[test]
fn a_hangup_reloads_what_can_be_reloaded() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serve.toml");
    fs::write(&file, "[limits]\ngroups_per_client = 7\n").unwrap();
    let args = ["serve", "--json", "--listen", "127.0.0.1:0", "--config"];
    let server = Running::start(rtmfp(args).arg(&file));
    let event = |name: &str| -> Value {
        let wanted = format!("\"event\":\"{name}\"");
        let line = server.until(|line| line.contains(&wanted)).pop().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let url = event("listening")["urls"][0].as_str().unwrap().to_owned();

    // A bad file changes nothing.
    fs::write(&file, "[limits]\ngroups = 0\n").unwrap();
    server.signal("-HUP");
    event("reload_failed");
    let new = "key_log = \"elsewhere\"\n[limits]\ngroups_per_client = 0\n[log]\nlevel = \"info\"\n";
    fs::write(&file, new).unwrap();
    server.signal("-HUP");
    let reloaded = event("reloaded");
    assert_eq!(reloaded["changed"], json!(["log.level", "limits.groups_per_client"]));
    assert_eq!(reloaded["needs_restart"], json!(["key_log"]));
    let args = ["join", "G:0103010c050e6368617400", "--listen", "127.0.0.1:0", "--via"];
    let member = Running::start(rtmfp(args).arg(format!("{url}chat")));
    let reached = event("limit_reached");
    assert_eq!((&reached["effect"], &reached["times"]), (&json!("joins refused"), &json!(1)));
    drop(member);
    server.interrupt();
    let (status, _, err) = server.wait();
    assert_eq!(status, Some(0), "{err}");

    let log = objects(&err);
    let find = |text: &str| -> Vec<&Value> {
        log.iter().filter(|line| line["message"].as_str().unwrap_or("").contains(text)).collect()
    };
    let [bad] = find("the settings stay as they are")[..] else { panic!("{err}") };
    assert_eq!(bad["level"], "ERROR");
    assert!(bad["message"].as_str().unwrap().contains("line 2: there is no setting limits.groups"));
    let [restart] = find("restart needed")[..] else { panic!("{err}") };
    assert!(restart["message"].as_str().unwrap().starts_with("key_log "), "{restart}");
    let [limit] = find("limit reached")[..] else { panic!("{err}") };
    assert_eq!(limit["limit"], "limits.groups_per_client, limits.members_per_group");
    // The level of the log has changed, too.
    assert_eq!(find("client connected").len(), 1, "{err}");
    assert!(!directory.path().join("elsewhere").exists());
}

#[test]
fn the_log_has_the_form_that_is_chosen() {
    for (format, is_json) in [("json", true), ("human", false)] {
        let args = ["serve", "-v", "--listen", "127.0.0.1:0", "--log-format", format];
        let server = Running::start(&mut rtmfp(args));
        server.until(|line| line == "Press Ctrl-C to stop.");
        server.interrupt();
        let (_, _, err) = server.wait();
        let first = err.lines().next().unwrap();
        assert!(first.contains("listening on UDP 127.0.0.1:"), "{err}");
        assert_eq!(serde_json::from_str::<Value>(first).is_ok(), is_json, "{err}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_service_manager_learns_of_start_life_reload_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (file, socket) = (directory.path().join("serve.toml"), directory.path().join("notify"));
    fs::write(&file, "").unwrap();
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = rtmfp(["serve", "--listen", "127.0.0.1:0"]);
    command.arg("--config").arg(&file);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "100000").env_remove("WATCHDOG_PID");
    let server = Running::start(&mut command);
    let until = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let len = manager.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    assert!(until("READY=1").contains("STATUS=clients connect to rtmfp://127.0.0.1:"));
    until("WATCHDOG=1");
    server.signal("-HUP");
    assert!(until("RELOADING=1").contains("MONOTONIC_USEC="));
    until("READY=1");
    server.signal("-TERM");
    until("STOPPING=1");
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn man_pages_completions_and_a_file_for_packages() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path();
    succeed(&mut rtmfp(["generate", to.to_str().unwrap()]));
    let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
    assert!(read("man/rtmfp-serve.1").contains("\\-\\-print\\-config"));
    assert!(read("completions/rtmfp.bash").contains("--print-config"));
    let file = read("serve.toml");
    assert!(file.contains("identity = \"/var/lib/rtmfp/identity\""), "{file}");
    let mut command = rtmfp(["serve", "--listen", "127.0.0.1:0", "--identity"]);
    command.arg(to.join("identity")).arg("--config").arg(to.join("serve.toml"));
    assert!(Running::start(&mut command).line().contains("listening on UDP"));
}
