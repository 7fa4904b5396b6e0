//! What `rtmfp decode` writes never replaces what it reads, and nothing is written before it is
//! known that the inputs can be read.
#![cfg(unix)]

use crate::support::{fail, rtmfp, succeed};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder with a capture, its key log, and other names of both.
struct Folder(TempDir);

const CAPTURE: [&str; 4] = ["a.pcap", "hard", "soft", "./d/../a.pcap"];
const KEYS: [&str; 3] = ["a.keys", "hard.keys", "soft.keys"];

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.path("a.pcap"), fixture("flash-nc-stream.pcap")).unwrap();
        fs::write(folder.path("a.keys"), fixture("flash-nc-stream.keys")).unwrap();
        fs::create_dir(folder.path("d")).unwrap();
        for (file, hard, soft) in [("a.pcap", "hard", "soft"), ("a.keys", "hard.keys", "soft.keys")]
        {
            fs::hard_link(folder.path(file), folder.path(hard)).unwrap();
            symlink(file, folder.path(soft)).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn decode(&self, args: &[&str]) -> Command {
        let mut command = rtmfp(["decode"]);
        command.current_dir(self.0.path()).args(args);
        command
    }

    fn assert_intact(&self) {
        assert!(fs::read(self.path("a.pcap")).unwrap() == fixture("flash-nc-stream.pcap"));
        assert!(fs::read(self.path("a.keys")).unwrap() == fixture("flash-nc-stream.keys"));
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn no_input_is_overwritten_by_any_name() {
    let folder = Folder::new();
    for (names, what) in [(&CAPTURE[..], "the capture"), (&KEYS[..], "the key log")] {
        for output in names {
            let args = ["a.pcap", "-k", "a.keys", "--decrypted", output];
            let err = fail(&mut folder.decode(&args), 1);
            assert!(err.contains(&format!("--decrypted {output} is {what}")), "{err}");
            assert!(err.contains("choose another file"), "{err}");
            folder.assert_intact();
        }
    }
    // The second capture, and the key log that the environment names.
    let args = ["d/../soft", "hard", "--decrypted", "a.pcap"];
    fail(&mut folder.decode(&args), 1);
    let mut by_variable = folder.decode(&["a.pcap", "--decrypted", "soft.keys"]);
    fail(by_variable.env("RTMFPKEYLOGFILE", "a.keys"), 1);
    folder.assert_intact();
}

#[test]
fn redirections_of_the_shell_are_inputs_and_outputs_too() {
    let folder = Folder::new();
    let mut command = folder.decode(&["-", "--decrypted", "hard"]);
    command.stdin(Stdio::from(File::open(folder.path("a.pcap")).unwrap()));
    assert!(fail(&mut command, 1).contains("the capture"));
    let appending = OpenOptions::new().append(true).open(folder.path("a.pcap")).unwrap();
    let child = folder.decode(&["soft"]).stdout(appending).stderr(Stdio::piped()).spawn();
    let output = child.unwrap().wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && err.contains("standard output is redirected"), "{err}");
    folder.assert_intact();
}

#[test]
fn what_was_carried_overwrites_no_input() {
    let folder = Folder::new();
    let args = ["a.pcap", "-k", "a.keys", "--extract"];
    succeed(folder.decode(&args).arg("first"));
    let mut names = fs::read_dir(folder.path("first")).unwrap();
    let name = names.next().unwrap().unwrap().file_name();
    fs::create_dir(folder.path("second")).unwrap();
    symlink("../a.pcap", folder.path("second").join(&name)).unwrap();
    let err = fail(folder.decode(&args).arg("second"), 1);
    assert!(err.contains("is the capture that is read") && err.contains("directory"), "{err}");
    folder.assert_intact();
}

/// An input that cannot be read costs no output of an earlier run.
#[test]
fn nothing_is_written_before_the_inputs_can_be_read() {
    let folder = Folder::new();
    fs::write(folder.path("old"), "old").unwrap();
    fs::write(folder.path("empty"), "").unwrap();
    fs::write(folder.path("text"), "some text, and more than a header").unwrap();
    for (args, why) in [
        (&["missing"][..], "cannot open missing"),
        (&["a.pcap", "missing"], "cannot open missing"),
        (&["empty"], "empty: the file is empty"),
        (&["text"], "text: not a capture file"),
        (&["d"], "d is a directory"),
        (&["a.pcap", "-k", "missing"], "cannot read the key log missing"),
        (&["a.pcap", "-k", "hard"], "hard is a capture file, not a key log"),
        (&["a.keys", "-k", "a.pcap"], "it is a key log, not a capture file: give it with --keys"),
    ] {
        let mut command = folder.decode(args);
        let err = fail(command.args(["--decrypted", "old", "--extract", "new"]), 1);
        assert!(err.contains(why), "{err}");
        assert_eq!(fs::read(folder.path("old")).unwrap(), b"old", "{args:?}");
        assert!(!folder.path("new").exists(), "{args:?}");
    }
    // What standard input is turns out later.
    let mut command = folder.decode(&["-", "--decrypted", "old", "--extract", "new"]);
    let err = fail(command.stdin(File::open(folder.path("text")).unwrap()), 1);
    assert!(err.contains("cannot decode standard input: not a capture file"), "{err}");
    assert_eq!(fs::read(folder.path("old")).unwrap(), b"old");
    assert!(!folder.path("new").exists());
}

#[test]
fn standard_output_and_pipes_are_written_to_in_order() {
    let folder = Folder::new();
    let args = ["a.pcap", "-k", "a.keys", "--decrypted"];
    succeed(folder.decode(&args).arg("file"));
    let expected = fs::read(folder.path("file")).unwrap();
    assert!(expected.len() > 1000);
    for name in ["-", "/dev/stdout"] {
        let output = folder.decode(&args).arg(name).output().unwrap();
        assert!(output.status.success() && output.stdout == expected, "{name}");
        // Behind what is there already.
        let path = folder.path("appended");
        fs::write(&path, "before").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut command = folder.decode(&args);
        assert!(command.arg(name).stdout(file).status().unwrap().success());
        assert!(fs::read(&path).unwrap() == [b"before", &expected[..]].concat(), "{name}");
        let err = fail(folder.decode(&args).args([name, "--stats"]), 1);
        assert!(err.contains("takes standard output"), "{err}");
    }
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = folder.decode(&args).arg("pipe").stderr(Stdio::null()).spawn().unwrap();
    let mut found = Vec::new();
    File::open(&pipe).unwrap().read_to_end(&mut found).unwrap();
    assert!(child.wait().unwrap().success() && found == expected);
    let file_type = fs::symlink_metadata(&pipe).unwrap().file_type();
    assert!(!file_type.is_file(), "still a pipe");
    // A device takes what is read and what is written.
    succeed(&mut folder.decode(&["a.pcap", "-k", "/dev/null", "--decrypted", "/dev/null"]));
}

#[test]
fn a_key_log_without_secrets_is_noted() {
    let folder = Folder::new();
    fs::write(folder.path("other"), "CLIENT_RANDOM 00 00\n").unwrap();
    let (_, err) = succeed(&mut folder.decode(&["a.pcap", "-k", "other", "--stats"]));
    assert!(err.contains("no secrets in the key log other"), "{err}");
}
