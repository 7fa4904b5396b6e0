//! A film: the probe of it ends after few reads of few bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::media::probe::{MAX_READ, MAX_READS, Probe, probe};
use std::io::Cursor;

fuzz_target!(|input: &[u8]| {
    let info = probe(Cursor::new(input)).expect("memory can be read");
    assert!(info.bytes_per_second().is_none_or(|rate| rate >= 0.0));
    // The same bytes, wherever the probe looks, in a file that may be of any size.
    let size = input.last_chunk::<8>().map(|size| u64::from_be_bytes(*size));
    let mut probe = Probe::new(size);
    let mut reads = 0;
    while let Some(range) = probe.wants() {
        assert!(!range.is_empty() && range.end - range.start <= MAX_READ);
        reads += 1;
        assert!(reads <= MAX_READS);
        let len = input.len().min((range.end - range.start) as usize);
        probe.push(&input[..len]);
    }
});
