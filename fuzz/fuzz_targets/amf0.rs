//! A command message: AMF0 values, some of them AMF3. What can be read can be written, and reads
//! back as what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::amf::{Encoding, Reader, Value, Writer};

fuzz_target!(|input: &[u8]| {
    let mut reader = Reader::new(input.to_vec());
    let mut values = Vec::new();
    while let Ok(value) = reader.read_value() {
        let _ = format!("{value} {value:?}");
        values.push(value);
    }
    for encoding in [Encoding::Amf0, Encoding::Amf0Only, Encoding::Amf3] {
        let Some(first) = written(&values, encoding) else { continue };
        let read = Reader::new(first.clone()).read_all().expect("what was written can be read");
        assert_eq!(written(&read, encoding), Some(first));
    }
});

/// The message, or nothing if a value has no encoding.
fn written(values: &[Value], encoding: Encoding) -> Option<Vec<u8>> {
    let mut writer = Writer::new(encoding);
    for value in values {
        writer.write(value).ok()?;
    }
    Some(writer.into_vec())
}
