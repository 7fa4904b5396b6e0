//! An FLV in pieces: its tags can be written, and read back as what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::media::flv::{self, Reader, Tag};

fuzz_target!(|input: &[u8]| {
    let (step, file) = input.split_first().map_or((1, input), |(first, rest)| (*first, rest));
    let tags = read(file, usize::from(step).max(1));
    let mut written = flv::header(true, true).to_vec();
    tags.iter().for_each(|tag| tag.encode(&mut written).expect("it was read"));
    assert_eq!(read(&written, usize::MAX), tags);
});

/// The tags up to the first error.
fn read(file: &[u8], step: usize) -> Vec<Tag> {
    let (mut reader, mut tags) = (Reader::new(), Vec::new());
    for piece in file.chunks(step.min(file.len()).max(1)) {
        reader.push(piece);
        loop {
            match reader.next_tag() {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => break,
                Err(_) => return tags,
            }
        }
    }
    tags
}
