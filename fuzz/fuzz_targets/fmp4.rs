//! An FLV: its fragments are whole boxes, and a tag is found after every jump.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::media::flv::{Reader, find_tag};
use rtmfp::media::fmp4::{Remuxer, TrackFinder};

fuzz_target!(|input: &[u8]| {
    let (mut reader, mut tags) = (Reader::new(), Vec::new());
    reader.push(input);
    while let Ok(Some(tag)) = reader.next_tag() {
        tags.push(tag);
    }
    let mut finder = TrackFinder::new();
    for tag in &tags {
        match finder.push(tag) {
            Ok(false) => {}
            Ok(true) => break,
            Err(_) => return,
        }
    }
    let Ok(tracks) = finder.finish() else { return };
    let mut out = tracks.init_segment();
    let mut remuxer = Remuxer::new(tracks);
    tags.iter().for_each(|tag| remuxer.push(tag, &mut out));
    remuxer.finish(&mut out);
    let mut rest = &out[..];
    while let Some(length) = rest.first_chunk::<4>() {
        rest = &rest[u32::from_be_bytes(*length) as usize..];
    }
    assert!(rest.is_empty());
    if let Some(at) = find_tag(input) {
        assert!(at < input.len());
    }
});
