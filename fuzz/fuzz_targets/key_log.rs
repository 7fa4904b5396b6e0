//! A key log. Every secret that is counted can be looked up, and an error names a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::trace::{KeyLog, KeyLogError};

fuzz_target!(|input: &[u8]| {
    let mut log = KeyLog::default();
    match log.read(input) {
        Ok(found) => assert!(log.len() <= found && log.is_empty() == (found == 0)),
        Err(KeyLogError::Malformed { line, error }) => {
            assert!(line > 0 && error.column <= input.len());
        }
        Err(error) => {
            let _ = error.to_string();
        }
    }
});
