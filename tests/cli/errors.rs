//! How errors are worded, whatever the command.

use crate::support::{fail, rtmfp, write_file};

const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/flash-startup.pcap");
const GROUPSPEC: &str = "G:0102010c050e66696c6d00";

#[test]
fn errors_of_the_operating_system_are_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("film.bin");
    write_file(&file, 1, 1000);
    let (file, none) = (file.to_str().unwrap(), "/no/such/directory/file");
    let link = format!("rtmfp-share://127.0.0.1:9/1/group={GROUPSPEC}");
    let via = "rtmfp://127.0.0.1:9/a";
    for command in [
        &["share", none][..],
        &["share", file, "--keylog", none],
        &["fetch", &link, "--keylog", none],
        &["join", GROUPSPEC, "--via", via, "--have", none],
        &["join", GROUPSPEC, "--via", via, "--want", "0", "--save", &format!("{file}/directory")],
        &["join", GROUPSPEC, "--via", via, "--keylog", none],
        &["serve", "--listen", "127.0.0.1:0", "--identity", none],
        &["serve", "--listen", "127.0.0.1:0", "--keylog", none],
        &["demo", none],
        &["demo", file, "--keep", &format!("{file}/directory")],
        &["decode", none],
        &["decode", CAPTURE, "--keys", none],
    ] {
        let err = fail(&mut rtmfp(command), 1);
        assert_eq!(err.matches("os error").count(), 1, "{command:?}: {err}");
        assert!(err.starts_with("error: ") || err.contains("\nerror: "), "{command:?}: {err}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    for command in [
        &["groupspec", "show", GROUPSPEC][..],
        &["groupspec", "new", "film"],
        &["decode", CAPTURE],
        &["decode", CAPTURE, "--stats"],
        &["decode", CAPTURE, "--json"],
        &["demo", "--receivers", "1"],
        &["demo", "--receivers", "1", "--json"],
        &["--help"],
    ] {
        // Nobody reads this pipe.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = rtmfp(command);
        let output = command.current_dir(&directory).stdout(writer).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {err}");
        assert!(!err.contains("error") && !err.contains("panicked"), "{command:?}: {err}");
    }
}
