//! Blocks of a pcapng file behind a section header: the first byte selects the byte order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::trace::Capture;
use std::io::Cursor;

fuzz_target!(|input: &[u8]| {
    let Some((order, blocks)) = input.split_first() else { return };
    let mut file = vec![0x0a, 0x0d, 0x0d, 0x0a];
    let words: [u32; 5] = [28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX];
    for word in words.into_iter().chain([28]) {
        let bytes = if order & 1 == 0 { word.to_le_bytes() } else { word.to_be_bytes() };
        file.extend_from_slice(&bytes);
    }
    file.extend_from_slice(blocks);
    let mut capture = Capture::open(Cursor::new(file)).expect("a section header");
    let mut frames = 0;
    while let Ok(Some(datagram)) = capture.advance() {
        // A frame can hold several, joined by segmentation offload.
        assert!(datagram.frame >= frames.max(1) && datagram.payload.len() <= 65_535);
        frames = datagram.frame;
    }
});
