//! Reassembly of fragmented packets (RFC 7016 §2.3.1, §3.4).

use super::recognize;
use super::sender::Sender;
use crate::transport::Time;
use crate::transport::fragments::{Limits, Reassembly};
use crate::wire::PacketHeader;
use crate::wire::chunk::{PacketFragment, kind};
use crate::wire::packet::chunks;
use std::net::SocketAddr;
use std::time::Duration;

/// Incomplete packets that are kept.
const MAX_PACKETS: usize = 256;

/// Bytes of their fragments.
const MAX_BYTES: usize = 4 << 20;

/// A capture of more than this is as good as one of this length, for the age of pieces.
const MAX_TIME: Duration = Duration::from_secs(u32::MAX as u64);

/// The identity of a fragmented packet: sender, session ID, source (of startup packets only)
/// and packet ID. Sessions may move from address to address.
type Key = (Sender, u32, Option<SocketAddr>, u64);

/// Fragments that wait for the others, under the rules of a receiver: a packet that does not grow for
/// a second is dropped.
#[derive(Debug)]
pub(super) struct Pieces {
    waiting: Reassembly<Key>,
    begin: Option<Duration>,
    now: Time,
}

impl Default for Pieces {
    fn default() -> Self {
        let limits = Limits { packets: MAX_PACKETS, bytes: MAX_BYTES };
        Self { waiting: Reassembly::new(limits), begin: None, now: Time::ZERO }
    }
}

impl Pieces {
    /// Takes the pieces in a plain packet. The chunks of a packet that has become whole take the
    /// place of the padding, behind the last piece. Returns what is behind its chunks that is no
    /// padding, in bytes.
    pub(super) fn take(
        &mut self,
        time: Duration,
        source: SocketAddr,
        (sender, session_id): (Sender, u32),
        plain: &mut Vec<u8>,
    ) -> usize {
        let Ok((header, body)) = PacketHeader::parse(plain) else { return 0 };
        let (mut whole_chunks, mut trailing) = (Vec::new(), 0);
        let mut walk = chunks(body);
        let pieces = std::iter::from_fn(|| walk.raw())
            .filter(|(code, _)| *code == kind::PACKET_FRAGMENT)
            .filter_map(|(_, payload)| PacketFragment::parse(payload).ok());
        for piece in pieces {
            self.advance(time);
            let source = (sender == Sender::Startup).then_some(source);
            let key = (sender, session_id, source, piece.packet_id);
            if let Some(whole) = self.waiting.take(self.now, key, header.mode, &piece, 0) {
                whole_chunks.extend_from_slice(without_padding(&whole.plain).1);
                trailing += recognize::trailing(&whole.plain);
            }
        }
        if !whole_chunks.is_empty() {
            let (header, content) = without_padding(plain);
            plain.truncate(header + content.len());
            plain.append(&mut whole_chunks);
        }
        trailing
    }

    /// Time as the pieces see it never goes back, whatever a capture contains.
    fn advance(&mut self, time: Duration) {
        let begin = *self.begin.get_or_insert(time);
        let now = Time::ZERO + time.saturating_sub(begin).min(MAX_TIME);
        self.now = self.now.max(now);
    }
}

/// The length of a packet's header, and its chunks up to the padding.
fn without_padding(plain: &[u8]) -> (usize, &[u8]) {
    let body = PacketHeader::parse(plain).map_or(&[][..], |(_, body)| body);
    let mut walk = chunks(body);
    loop {
        let rest = walk.rest().len();
        match walk.raw() {
            Some((code, _)) if !matches!(code, kind::PADDING_00 | kind::PADDING_FF) => {}
            _ => return (plain.len() - body.len(), &body[..body.len() - rest]),
        }
    }
}
