//! A plain packet: header, chunks, padding. What can be read can be written, and reads back as what
//! was written. The same bytes as a datagram: the session ID comes back out of its scrambling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::wire::packet::{Chunks, chunks};
use rtmfp::wire::{Chunk, PacketHeader, multiplex};

fuzz_target!(|input: &[u8]| {
    session_id_survives_scrambling(input);
    let Ok((header, rest)) = PacketHeader::parse(input) else { return };
    let found: Vec<Chunk<'_>> = chunks(rest).collect();
    assert!(found.len() <= count_raw(chunks(rest)));

    let mut written = Vec::new();
    header.encode(&mut written);
    assert_eq!(written.len(), header.encoded_len());
    assert_eq!(written.len() + rest.len(), input.len());
    for chunk in &found {
        let before = written.len();
        chunk.encode(&mut written).expect("a chunk of a packet is not too long for a packet");
        assert_eq!(written.len() - before, chunk.encoded_len());
    }

    let (header_again, rest) = PacketHeader::parse(&written).expect("what was written can be read");
    assert_eq!(header_again, header);
    let mut again = chunks(rest);
    assert!(again.by_ref().eq(found));
    assert!(again.rest().is_empty());
});

/// How many chunks there are, readable or not.
fn count_raw(mut chunks: Chunks<'_>) -> usize {
    std::iter::from_fn(|| chunks.raw()).count()
}

fn session_id_survives_scrambling(input: &[u8]) {
    let Some(id) = multiplex::session_id(input) else {
        assert!(input.len() < multiplex::SESSION_ID_LEN);
        return;
    };
    let mut datagram = input.to_vec();
    multiplex::scramble(id, &mut datagram);
    assert_eq!(datagram, input);
    multiplex::scramble(!id, &mut datagram);
    assert_eq!(multiplex::session_id(&datagram), Some(!id));
}
