//! What was recorded of players in groups, an event or message a line.

use bytes::Bytes;
use serde_json::Value;

/// The folder of the recordings.
pub const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/traces");

/// The lines of a recording.
pub fn lines(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(format!("{DIR}/{name}.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The message of a line, if it has a whole one.
pub fn message(line: &Value) -> Option<Bytes> {
    let hex = line["hex"].as_str().filter(|_| line["truncated"] != true)?;
    Some(bytes(hex).into())
}

/// What hexadecimal digits mean.
pub fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect()
}
