//! A capture file, byte for byte. It ends, and its datagrams are no longer than it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::trace::Capture;
use std::io::Cursor;

fuzz_target!(|input: &[u8]| {
    let Ok(mut capture) = Capture::open(Cursor::new(input.to_vec())) else { return };
    let mut frames = 0;
    while let Ok(Some(datagram)) = capture.advance() {
        // A frame can hold several, joined by segmentation offload.
        assert!(datagram.frame >= frames.max(1) && datagram.payload.len() <= 65_535);
        frames = datagram.frame;
    }
    assert!(capture.advance().is_ok_and(|datagram| datagram.is_none()), "it has ended");
});
