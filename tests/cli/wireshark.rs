//! Decrypted captures in tshark, with the installed plugin.
//!
//! Skipped where there is no tshark, unless the environment variable RTMFP_REQUIRE_TSHARK is set.
#![cfg(unix)]

use crate::support::{fail, rtmfp, succeed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures").join(name)
}

/// A person with the plugin, and a decrypted capture.
struct Person {
    home: tempfile::TempDir,
    capture: PathBuf,
}

impl Person {
    /// None where there is no tshark.
    fn with_capture(name: &str) -> Option<Self> {
        if let Err(error) = Command::new("tshark").arg("-v").stdout(Stdio::null()).status() {
            let is_required = std::env::var_os("RTMFP_REQUIRE_TSHARK").is_some();
            assert!(!is_required, "tshark is required and does not run: {error}");
            eprintln!("SKIPPED: tshark is not installed ({error})");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        succeed(rtmfp(["wireshark", "install"]).env("HOME", home.path()));
        let capture = home.path().join("decrypted.pcap");
        let mut decode = rtmfp(["decode", "--decrypted"]);
        decode.arg(&capture).arg(fixture(&format!("{name}.pcap")));
        let (out, _) = succeed(decode.arg("-k").arg(fixture(&format!("{name}.keys"))));
        assert_eq!(out, "");
        Some(Self { home, capture })
    }

    fn tshark(&self, args: &[&str]) -> String {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.capture).args(args).env("HOME", self.home.path());
        succeed(&mut command).0
    }
}

#[test]
fn fields_are_found_by_display_filters() {
    let Some(person) = Person::with_capture("flash-group-full") else { return };
    let fields = ["-T", "fields", "-e", "rtmfp.frame", "-e", "rtmfp.flow"];
    let shown = person.tshark(&[&["-Y", "rtmfp.chunk == 0x10"][..], &fields].concat());
    // The chunk's flow and that of the message which it completes.
    assert!(shown.starts_with("5\t2,2\n7\t2,2,2,2\n9\t3,2,3\n"), "{shown}");
    let shown = person.tshark(&["-Y", "rtmfp.message_name == \"Hello\"", "-c", "40"]);
    assert!(shown.lines().count() > 0 && shown.lines().all(|line| line.contains("{Hello")));
    let both = "rtmfp.sender == \"responder\" && rtmfp.session == 0 && udp.srcport == 24600";
    assert!(person.tshark(&["-Y", both]).lines().count() > 3);
}

#[test]
fn a_packet_is_shown_as_rtmfp_decode_shows_it() {
    let Some(person) = Person::with_capture("flash-group-full") else { return };
    let shown = person.tshark(&["-V", "-Y", "rtmfp.frame == 5"]);
    for line in [
        "RTMFP, #0 initiator Data flow=2 seq=1 [TC 0] 247B {Command connect() #1}",
        "    Original length: 286",
        "        Flags: 0x8d",
        "            Mode: initiator (0x01)",
        "    Chunk: UserData (0x10)",
        "            Metadata (4 bytes): 54430400",
        "        Message: Command (0x14)",
        "            Value: \"connect\"",
        "                \"tcUrl\": \"rtmfp://127.0.0.1:24600/t/B\"",
    ] {
        assert!(shown.contains(&format!("\n{line}\n")), "{line:?} is not in\n{shown}");
    }
}

/// Ports of other protocols among them, keyings whose secret is missing, malformed messages.
#[test]
fn every_packet_is_shown() {
    for name in ["flash-hmac-matrix", "flash-nc-stream", "flash-startup"] {
        let Some(person) = Person::with_capture(name) else { return };
        let mut decode = rtmfp(["decode"]);
        decode.arg(fixture(&format!("{name}.pcap")));
        let (lines, _) = succeed(decode.arg("-k").arg(fixture(&format!("{name}.keys"))));
        let shown = person.tshark(&["-Y", "rtmfp", "-T", "fields", "-e", "_ws.col.Info"]);
        assert_eq!(shown.lines().count(), lines.lines().count(), "{name}");
        for (shown, line) in shown.lines().zip(lines.lines()) {
            assert!(line.ends_with(shown), "{shown:?} against {line:?}");
        }
        let broken = "_ws.lua.error || (_ws.malformed && !rtmfp.malformed)";
        assert_eq!(person.tshark(&["-Y", broken]), "", "{name}");
    }
}

#[test]
fn the_plugin_is_installed_printed_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let plugin = home.path().join(".local/lib/wireshark/plugins/rtmfp.lua");
    let extcap = home.path().join(".local/lib/wireshark/extcap/rtmfp");
    let run = |args: &[&str]| succeed(rtmfp(args).env("HOME", home.path())).0;
    let printed = run(&["wireshark", "install", "--print"]);
    assert!(!plugin.exists());
    run(&["wireshark", "install"]);
    assert_eq!(fs::read_to_string(&plugin).unwrap(), printed);
    let copy = home.path().join("copy.lua");
    run(&["wireshark", "install", "-o", copy.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&copy).unwrap(), printed);
    assert!(extcap.exists());
    run(&["wireshark", "uninstall"]);
    assert!(!plugin.exists() && !extcap.exists());
    run(&["wireshark", "uninstall"]);
    let err = fail(rtmfp(["wireshark", "install"]).env_remove("HOME"), 1);
    assert!(err.contains("HOME is not set"), "{err}");
}

#[test]
fn wireshark_captures_by_way_of_the_installed_program() {
    let home = tempfile::tempdir().unwrap();
    succeed(rtmfp(["wireshark", "install"]).env("HOME", home.path()));
    let program = home.path().join(".local/lib/wireshark/extcap/rtmfp");
    let call = |args: &[&str]| succeed(Command::new(&program).args(args)).0;
    let interfaces = call(&["--extcap-interfaces", "--extcap-version=4.0"]);
    assert!(interfaces.contains("interface {value=rtmfp}{display="), "{interfaces}");
    let interface = ["--extcap-interface", "rtmfp"];
    let dlts = call(&[&interface[..], &["--extcap-dlts"]].concat());
    assert!(dlts.starts_with("dlt {number=147}{name=USER0}"), "{dlts}");
    let config = call(&[&interface[..], &["--extcap-config"]].concat());
    assert!(config.lines().all(|line| line.starts_with("arg {number=")), "{config}");

    let (pcap, keys) = (fixture("flash-tc2.pcap"), fixture("flash-tc2.keys"));
    let by_wireshark = home.path().join("fifo");
    let mut capture = Command::new(&program);
    capture.args(interface).arg("--capture").arg("--capture-file").arg(&pcap);
    succeed(capture.arg("--keys").arg(&keys).arg("--fifo").arg(&by_wireshark));
    let decrypted = home.path().join("decrypted.pcap");
    succeed(rtmfp(["decode", "--decrypted"]).arg(&decrypted).arg(&pcap).arg("-k").arg(&keys));
    assert!(fs::read(by_wireshark).unwrap() == fs::read(decrypted).unwrap());
}
