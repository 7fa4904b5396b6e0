//! Packets of a session in pieces (RFC 7016 §3.4).
//!
//! Pieces from any sender are reassembled. Packets are cut only where it can't be avoided: of
//! fragments that were cut when the path took larger datagrams than it takes now. The path is
//! searched for larger datagrams only if the far end has shown that it reassembles pieces, which
//! the observed player does not.

use super::receive::Packet;
use super::{Context, Session};
use crate::transport::fragments::{Limits, Reassembly, cut};
use crate::transport::{Config, Path, Role, Time, TransmitBuf};
use crate::wire::chunk::PacketFragment;
use crate::wire::{Chunk, Mode, PacketHeader};

/// Packets of one session that are put together at a time.
const MAX_REASSEMBLED: usize = 4;

/// Packets in pieces, in both directions.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Packets that arrive in pieces, by their ID.
    reassembly: Reassembly<u64>,
    /// ID of the last packet that was sent in pieces.
    last_id: u64,
}

impl Pieces {
    pub(super) fn new(config: &Config) -> Self {
        let limits = Limits { packets: MAX_REASSEMBLED, bytes: config.max_reassembly };
        Self { reassembly: Reassembly::new(limits), last_id: 0 }
    }

    /// Bytes of memory of all pieces.
    pub(super) const fn memory(&self) -> u64 {
        self.reassembly.memory() as u64
    }

    /// Drops packets that no longer grow.
    pub(super) fn expire(&mut self, now: Time) {
        self.reassembly.expire(now);
    }

    /// Drops every packet.
    pub(super) fn clear(&mut self) {
        self.reassembly.clear();
    }

    const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Session {
    /// Takes a piece, and processes the packet that it completes.
    pub(super) fn on_packet_fragment(
        &mut self,
        cx: &mut Context<'_>,
        path: Path,
        packet: &mut Packet,
        piece: &PacketFragment<'_>,
    ) {
        let mode = self.far_mode();
        let id = piece.packet_id;
        let Some(whole) = self.pieces.reassembly.take(cx.now, id, mode, piece, piece.data.len())
        else {
            return;
        };
        let Ok((header, rest)) = PacketHeader::parse(&whole.plain) else { return };
        self.note_header(cx, &header);
        self.handle_chunks(cx, path, packet, rest, true);
    }

    /// The mode of packets from this end.
    pub(super) const fn near_mode(&self) -> Mode {
        match self.role {
            Role::Initiator => Mode::Initiator,
            Role::Responder => Mode::Responder,
        }
    }

    /// The mode of packets from the far end.
    pub(super) const fn far_mode(&self) -> Mode {
        match self.role {
            Role::Initiator => Mode::Responder,
            Role::Responder => Mode::Initiator,
        }
    }

    /// Puts a plain packet into the buffer as datagrams of at most `datagram` bytes.
    pub(super) fn push_in_pieces(&mut self, plain: &[u8], datagram: usize, buf: &mut TransmitBuf) {
        let capacity = self.sealer.plain_capacity(datagram);
        for piece in cut(plain, self.pieces.next_id(), capacity) {
            let packet = self.sealer.begin(&mut buf.bytes);
            PacketHeader::new(self.near_mode()).encode(&mut buf.bytes);
            // Cannot fail: a piece is shorter than a datagram.
            let _ = Chunk::PacketFragment(piece).encode(&mut buf.bytes);
            let range = self.sealer.finish(&mut buf.bytes, packet);
            buf.datagrams.push(range);
        }
    }

    /// Payload of a ping as a packet that is cut in two, in chunks of one packet: whoever answers
    /// puts pieces together again.
    pub(super) fn ping_in_pieces(&mut self, message: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        PacketHeader::new(self.near_mode()).encode(&mut plain);
        let _ = Chunk::Ping(message).encode(&mut plain);
        let packet_id = self.pieces.next_id();
        let (first, second) = plain.split_at(plain.len() / 2);
        let mut chunks = Vec::new();
        for (number, data) in [(0, first), (1, second)] {
            let piece = PacketFragment { more: number == 0, reserved: 0, packet_id, number, data };
            let _ = Chunk::PacketFragment(piece).encode(&mut chunks);
        }
        chunks
    }
}
