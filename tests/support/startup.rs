//! Packets made by hand.

use rtmfp::proto::crypto::Sealer;
use rtmfp::wire::{Chunk, Mode, PacketHeader};

/// A startup datagram with one chunk.
pub fn startup(session_id: u32, chunk: &Chunk<'_>) -> Vec<u8> {
    seal(
        &mut Sealer::default_key(),
        session_id,
        &PacketHeader::new(Mode::Startup),
        std::slice::from_ref(chunk),
    )
}

/// An encrypted packet with these chunks.
pub fn seal(sealer: &mut Sealer, id: u32, header: &PacketHeader, chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut plain = Vec::new();
    header.encode(&mut plain);
    for chunk in chunks {
        chunk.encode(&mut plain).expect("a chunk below 64 KiB");
    }
    seal_plain(sealer, id, &plain)
}

/// An encrypted packet with anything in it.
pub fn seal_plain(sealer: &mut Sealer, id: u32, plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = sealer.begin(&mut bytes);
    bytes.extend_from_slice(plain);
    let range = sealer.finish(&mut bytes, start);
    sealer.seal(id, &mut bytes, &[range]);
    bytes
}
