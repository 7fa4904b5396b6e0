//! Bare AMF3 values with common tables. What can be read can be written, and reads back as what
//! was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::amf::{Encoding, Reader, Value, Writer};

fuzz_target!(|input: &[u8]| {
    let values = read(input.to_vec());
    for value in &values {
        let _ = format!("{value} {value:?}");
    }
    let Some(first) = written(&values) else { return };
    let read = read(first.clone());
    assert_eq!(read.len(), values.len());
    assert_eq!(written(&read), Some(first));
});

/// The values up to the first error.
fn read(input: Vec<u8>) -> Vec<Value> {
    let mut reader = Reader::new(input);
    std::iter::from_fn(|| reader.read_amf3().ok()).collect()
}

/// The message, or nothing if a value has no encoding.
fn written(values: &[Value]) -> Option<Vec<u8>> {
    let mut writer = Writer::new(Encoding::Amf3);
    for value in values {
        writer.write_amf3(value).ok()?;
    }
    Some(writer.into_vec())
}
