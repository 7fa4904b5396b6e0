//! A filter of `decode`. An error is at a place in the filter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::trace::filter::Filter;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Err(error) = text.parse::<Filter>() else { return };
    assert!(!error.message.is_empty());
    assert!(error.column <= error.text.chars().count());
    let _ = error.to_string();
});
