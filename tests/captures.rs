//! Captures of real programs: every packet decrypts and verifies, and what is in them equals what
//! an independent decoder found.

#![cfg(feature = "trace")]

use rtmfp::trace::{Capture, Decoder, KeyLog, Stats};
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    files.sort();
    files
}

fn stats(capture: &Path, keys: KeyLog) -> Stats {
    let mut decoder = Decoder::new(keys);
    let mut stats = Stats::default();
    for datagram in Capture::open(File::open(capture).unwrap()).unwrap() {
        stats.add(&decoder.feed(&datagram.unwrap()));
    }
    stats
}

fn keys(capture: &Path) -> KeyLog {
    let mut keys = KeyLog::default();
    keys.read(File::open(capture.with_extension("keys")).unwrap()).unwrap();
    keys
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The counts in the form of the files, in which a count of zero is left out.
fn to_json(stats: &Stats) -> Value {
    let packets = [
        ("datagrams", stats.datagrams),
        ("startup", stats.startup),
        ("session", stats.session),
        ("sessions", stats.sessions),
        ("too_short", stats.too_short),
        ("undecoded", stats.undecoded),
    ];
    let object = |entries: Vec<(String, u64)>| -> Value {
        let entries = entries.into_iter().filter(|(_, count)| *count > 0);
        entries.map(|(name, count)| (name, Value::from(count))).collect::<Map<_, _>>().into()
    };
    let packets = object(packets.map(|(name, count)| (name.to_owned(), count)).to_vec());
    let chunks = object(stats.chunks.iter().map(|(k, n)| (hex(&[*k]), *n)).collect());
    let metadata = object(stats.flow_metadata.iter().map(|(m, n)| (hex(m), *n)).collect());
    serde_json::json!({ "packets": packets, "chunks": chunks, "flow_metadata": metadata })
}

#[test]
fn counts_equal_those_of_an_independent_decoder() {
    let captures = captures();
    assert_eq!(captures.len(), 15);
    for capture in captures {
        let expected = fs::read(capture.with_extension("counts.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let found = to_json(&stats(&capture, keys(&capture)));
        assert_eq!(found, expected, "{}", capture.display());
    }
}
