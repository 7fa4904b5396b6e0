//! Where `rtmfp decode` reads captures and keys from, and its errors for bad ones.

use crate::support::{fail, rtmfp, succeed};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures").join(name)
}

fn whole() -> String {
    let mut command = rtmfp(["decode"]);
    command.arg(fixture("flash-tc2.pcap")).arg("-k").arg(fixture("flash-tc2.keys"));
    succeed(&mut command).0
}

#[test]
fn standard_input_and_keys_by_environment() {
    let mut command = rtmfp(["decode", "-"]);
    command.stdin(Stdio::from(File::open(fixture("flash-tc2.pcap")).unwrap()));
    command.env("RTMFPKEYLOGFILE", fixture("flash-tc2.keys"));
    assert_eq!(succeed(&mut command).0, whole());
}

#[test]
fn a_compressed_file_on_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap.gz");
    let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    encoder.write_all(&fs::read(fixture("flash-tc2.pcap")).unwrap()).unwrap();
    encoder.finish().unwrap();
    let mut command = rtmfp(["decode", "-", "-k"]);
    command.arg(fixture("flash-tc2.keys")).stdin(Stdio::from(File::open(path).unwrap()));
    assert_eq!(succeed(&mut command).0, whole());
}

#[test]
fn a_truncated_file_keeps_what_was_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    let bytes = fs::read(fixture("flash-tc2.pcap")).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let mut command = rtmfp(["decode"]);
    command.arg(&path).arg("-k").arg(fixture("flash-tc2.keys"));
    let (out, err) = succeed(&mut command);
    let whole = whole();
    let all_but_last = whole.lines().count() - 1;
    assert!(out.lines().eq(whole.lines().take(all_but_last)));
    assert!(err.contains("capture file ends inside a packet"), "{err}");
    assert!(err.contains("what came before it was decoded"), "{err}");
}

#[test]
fn bad_files() {
    let err = fail(&mut rtmfp(["decode", "no/such/file"]), 1);
    assert!(err.contains("cannot open no/such/file"), "{err}");
    let mut command = rtmfp(["decode"]);
    let err = fail(command.arg(fixture("README.md")), 1);
    assert!(err.contains("not a capture file"), "{err}");
    let mut command = rtmfp(["decode", "-k", "no/such/keys"]);
    let err = fail(command.arg(fixture("flash-tc2.pcap")), 1);
    assert!(err.contains("cannot read the key log no/such/keys"), "{err}");
    fail(&mut rtmfp(["decode"]), 2);
    let mut command = rtmfp(["decode", "-V", "--json"]);
    fail(command.arg(fixture("flash-tc2.pcap")), 2);
}

/// Errors of the input are reported, with advice.
#[test]
fn odd_input_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("flash-tc2.pcap")).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let err = fail(rtmfp(["decode"]).arg(file("xz", b"\xfd7zXZ\0 and so on")), 1);
    assert!(err.contains("compressed with xz: xz -dc FILE | rtmfp decode -"), "{err}");
    let err = fail(&mut rtmfp(["decode", "-"]), 1);
    assert!(err.contains("standard input: the file is empty"), "{err}");
    let (_, err) = succeed(rtmfp(["decode"]).arg(file("none", &whole[..24])));
    assert!(err.contains("there are no packets in it"), "{err}");
    // From the middle of a session on, in which nothing identifies it.
    let middle = [&whole[..24], &whole[whole.len() - 78..]].concat();
    let (_, err) = succeed(rtmfp(["decode"]).arg(file("middle", &middle)));
    assert!(err.contains("the start of a session, and none was captured"), "{err}");
    // With a snap length of 68 bytes.
    let (mut cut, mut rest) = (whole[..24].to_vec(), &whole[24..]);
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let len = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        cut.extend_from_slice(&header[..8]);
        cut.extend_from_slice(&(len.min(68) as u32).to_le_bytes());
        cut.extend_from_slice(&header[12..]);
        cut.extend_from_slice(&behind[..len.min(68)]);
        rest = &behind[len..];
    }
    let (_, err) = succeed(rtmfp(["decode"]).arg(file("cut", &cut)));
    assert!(err.contains("53 datagrams were cut when they were captured"), "{err}");
}

/// Frames that are not read are counted by reason, in a note and in the counts.
#[test]
fn frames_that_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.pcap");
    let mut file = fs::read(fixture("links/pppoe.pcap")).unwrap();
    let mut frame = |ether_type: u16, behind: &[u8]| {
        let frame = [&[2; 12][..], &ether_type.to_be_bytes(), behind].concat();
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend_from_slice(&u32::to_le_bytes(word));
        }
        file.extend_from_slice(&frame);
    };
    frame(0x88cc, &[0; 50]);
    frame(0x0806, &[0; 28]);
    frame(0x0806, &[0; 28]);
    frame(0x0800, &[&[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6][..], &[0; 10]].concat());
    fs::write(&path, file).unwrap();
    let (out, err) = succeed(rtmfp(["decode", "--stats"]).arg(&path));
    let note = "4 of 9 frames are not read: 2 of EtherType 0x0806 (ARP), 1 of EtherType 0x88cc \
                (LLDP), 1 of IP protocol 6 (TCP)";
    assert!(err.contains(note), "{err}");
    assert!(out.contains("frames\n  read                            5\n"), "{out}");
    assert!(out.contains("         2  EtherType 0x0806 (ARP), from frame 7 on\n"), "{out}");
    let (out, _) = succeed(rtmfp(["decode", "--stats", "--json"]).arg(&path));
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    let frames = &value["frames"];
    assert_eq!((&frames["total"], &frames["read"]), (&9.into(), &5.into()));
    let first = serde_json::json!(
        { "reason": "ethertype", "number": 0x0806, "name": "ARP", "frames": 2, "first": 7 });
    assert_eq!(frames["reasons"][0], first);
    assert_eq!(frames["reasons"].as_array().unwrap().len(), 3);
    // Of two files together, but with a note for each.
    let (out, err) = succeed(rtmfp(["decode", "--stats"]).arg(&path).arg(&path));
    assert!(out.contains("not read                        8\n"), "{out}");
    assert_eq!(err.matches("4 of 9 frames are not read").count(), 2, "{err}");
}

/// A file that grows is followed, and Ctrl-C ends it with the reports.
#[cfg(unix)]
#[test]
fn a_file_that_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing.pcap");
    let bytes = fs::read(fixture("flash-tc2.pcap")).unwrap();
    // Half a packet at a time.
    let (first, rest) = bytes.split_at(500);
    fs::write(&path, first).unwrap();
    // Secrets come before the end of the handshake, and after decoding began: no file so far.
    let keys = folder.path().join("growing.keys");
    let mut command = rtmfp(["decode", "--follow", "-k"]);
    command.arg(&keys).arg(&path);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let whole = whole();
    let mut expected = whole.lines();
    assert_eq!(lines.next().unwrap().unwrap(), expected.next().unwrap());
    let secrets = fs::read(fixture("flash-tc2.keys")).unwrap();
    fs::write(&keys, secrets).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    let (second, last) = rest.split_at(rest.len() - 10);
    file.write_all(second).unwrap();
    for expected in expected.clone().take(whole.lines().count() - 2) {
        assert_eq!(lines.next().unwrap().unwrap(), expected);
    }
    file.write_all(last).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), expected.next_back().unwrap());
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(lines.next().is_none());
}

/// Whoever reads the output may stop at any time.
#[test]
fn a_reader_that_has_seen_enough() {
    let mut command = rtmfp(["decode"]);
    command.arg(fixture("flash-loss-window.pcap")).arg("-V");
    command.arg("-k").arg(fixture("flash-loss-window.keys"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().is_ok());
    drop(lines);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !err.contains("panicked"), "{err}");
}
