//! Startup packets in both directions: under the default key, in pieces if they are long.

use super::{Endpoint, Timer};
use crate::transport::datagrams::Datagrams;
use crate::transport::fragments::{Limits, Reassembly, cut};
use crate::transport::rtt::ticks;
use crate::transport::{Path, Time};
use crate::wire::chunk::{PacketFragment, kind};
use crate::wire::multiplex::SESSION_ID_LEN;
use crate::wire::packet::chunks;
use crate::wire::{Chunk, Mode, PacketHeader};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Startup datagrams that may wait to be sent; further ones are dropped like lost packets.
const MAX_STARTUP_QUEUE: usize = 4096;
/// Pieces that may wait for their time; further ones are dropped likewise.
const MAX_PACED: usize = 1024;
/// To one address not more is sent in pieces in [`PACE`] (§3.4), in bytes and datagrams.
const PACE_BYTES: usize = 4380;
const PACE_DATAGRAMS: usize = 4;
const PACE: Duration = Duration::from_millis(200);
/// A startup datagram of this length is never cut, in bytes: it passes every common path, and the
/// observed player puts nothing together.
const WHOLE: usize = 1200;
/// Startup packets in pieces that one IP address may have waiting.
const MAX_REASSEMBLED_PER_IP: usize = 4;
/// Bytes of a startup packet in pieces, on average, headers included.
const REASSEMBLED_LEN: usize = 16 << 10;

/// Identifies a startup packet in pieces: source, session ID, packet ID.
type PieceKey = (SocketAddr, u32, u64);

/// Startup packets that come or go.
#[derive(Debug)]
pub(super) struct Startup {
    queue: VecDeque<(Path, Vec<u8>)>,
    /// Pieces that wait for their time.
    paced: BTreeMap<(Time, u64), (Path, Vec<u8>)>,
    pieces: Reassembly<PieceKey>,
    /// Of packets and of what is paced.
    number: u64,
    /// Datagrams that were dropped because too many waited.
    dropped: u64,
}

impl Startup {
    pub(super) fn new(reassemblies: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            paced: BTreeMap::new(),
            pieces: Reassembly::new(Limits {
                packets: reassemblies,
                bytes: reassemblies.saturating_mul(REASSEMBLED_LEN),
            }),
            number: 0,
            dropped: 0,
        }
    }

    /// The next datagram to send.
    pub(super) fn pop(&mut self) -> Option<(Path, Vec<u8>)> {
        self.queue.pop_front()
    }

    pub(super) fn push(&mut self, path: Path, datagram: Vec<u8>) {
        if self.queue.len() < MAX_STARTUP_QUEUE {
            self.queue.push_back((path, datagram));
        } else {
            self.dropped += 1;
        }
    }

    /// The datagrams that were dropped because too many waited.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Queues pieces at once as far as the pace allows, and the others for later.
    fn push_paced(&mut self, now: Time, path: Path, datagrams: &[Vec<u8>]) {
        let waiting = self.paced.iter().filter(|(_, (other, _))| other.remote == path.remote);
        let mut at = waiting.map(|((at, _), _)| *at + PACE).max().unwrap_or(now);
        let (mut bytes, mut count) = (0, 0);
        for datagram in datagrams {
            if count == PACE_DATAGRAMS || bytes + datagram.len() > PACE_BYTES {
                at += PACE;
                (bytes, count) = (0, 0);
            }
            bytes += datagram.len();
            count += 1;
            if at <= now {
                self.push(path, datagram.clone());
            } else if self.paced.len() < MAX_PACED {
                self.number += 1;
                self.paced.insert((at, self.number), (path, datagram.clone()));
            } else {
                self.dropped += 1;
            }
        }
    }

    /// When the next piece is to be sent.
    fn next_paced(&self) -> Option<Time> {
        self.paced.first_key_value().map(|((at, _), _)| *at)
    }

    /// Queues the pieces that have waited long enough.
    fn release(&mut self, now: Time) {
        while self.next_paced().is_some_and(|at| at <= now) {
            if let Some((_, (path, datagram))) = self.paced.pop_first() {
                self.push(path, datagram);
            }
        }
    }
}

impl Endpoint {
    /// Sends one startup chunk under the default key.
    pub(super) fn send_startup(&mut self, path: Path, session_id: u32, chunk: &Chunk<'_>) {
        let timestamp = Some(ticks(self.now));
        if let Some(datagrams) = self.seal_startup(0, timestamp, session_id, chunk) {
            self.queue_startup(path, &datagrams);
        }
    }

    /// The same, unless the datagrams would be longer than `limit` together. Returns how long
    /// they are if they were sent.
    /// Some implementations (librtmfp) ignore packets without a timestamp, but most do not care: if
    /// need be, it goes without.
    pub(super) fn send_startup_within(
        &mut self,
        limit: usize,
        path: Path,
        session_id: u32,
        chunk: &Chunk<'_>,
    ) -> Option<usize> {
        for timestamp in [Some(ticks(self.now)), None] {
            let sealed = self.seal_startup(0, timestamp, session_id, chunk);
            if let Some(datagrams) = sealed.filter(|datagrams| datagrams.len() <= limit) {
                self.queue_startup(path, &datagrams);
                return Some(datagrams.len());
            }
        }
        None
    }

    pub(super) fn queue_startup(&mut self, path: Path, datagrams: &Datagrams) {
        if let [datagram] = &datagrams.0[..] {
            return self.startup.push(path, datagram.clone());
        }
        self.startup.push_paced(self.now, path, &datagrams.0);
        self.schedule_paced();
    }

    fn schedule_paced(&mut self) {
        if let Some(at) = self.startup.next_paced() {
            self.table.schedule_other(at, Timer::Startup);
        }
    }

    pub(super) fn release_paced(&mut self, now: Time) {
        self.startup.release(now);
        self.schedule_paced();
    }

    pub(super) fn seal_startup(
        &mut self,
        padded: usize,
        timestamp: Option<u16>,
        session_id: u32,
        chunk: &Chunk<'_>,
    ) -> Option<Datagrams> {
        let mut plain = Vec::with_capacity(chunk.encoded_len().max(padded) + 8);
        PacketHeader { timestamp, ..PacketHeader::new(Mode::Startup) }.encode(&mut plain);
        chunk.encode(&mut plain).ok()?;
        plain.resize(plain.len().max(padded), kind::PADDING_FF);
        let capacity = self.startup_capacity();
        if plain.len() <= capacity {
            return Some(Datagrams(vec![self.seal_plain(session_id, &plain)]));
        }
        self.startup.number += 1;
        let packets = cut(&plain, self.startup.number, capacity).map(|piece| {
            let mut packet = Vec::with_capacity(capacity);
            PacketHeader::new(Mode::Startup).encode(&mut packet);
            Chunk::PacketFragment(piece).encode(&mut packet).map(|()| packet)
        });
        let packets: Vec<Vec<u8>> = packets.collect::<Result<_, _>>().ok()?;
        Some(Datagrams(packets.iter().map(|packet| self.seal_plain(session_id, packet)).collect()))
    }

    /// Bytes of the largest startup packet that is not cut.
    pub(super) fn startup_capacity(&self) -> usize {
        self.default_sealer.plain_capacity(self.config.max_datagram.max(WHOLE))
    }

    fn seal_plain(&mut self, session_id: u32, plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(plain.len() + 32);
        let packet = self.default_sealer.begin(&mut bytes);
        bytes.extend_from_slice(plain);
        let range = self.default_sealer.finish(&mut bytes, packet);
        self.default_sealer.seal(session_id, &mut bytes, &[range]);
        bytes
    }

    pub(super) fn handle_startup(
        &mut self,
        now: Time,
        path: Path,
        session_id: u32,
        datagram: &mut [u8],
    ) {
        let received = datagram.len();
        let Ok(plain) = self.default_opener.open(&mut datagram[SESSION_ID_LEN..]) else { return };
        self.handle_startup_packet(now, path, session_id, (plain, received), false);
    }

    /// Processes a plain packet that came in `received` bytes of datagrams, maybe `in_pieces`.
    fn handle_startup_packet(
        &mut self,
        now: Time,
        path: Path,
        session_id: u32,
        (plain, received): (&[u8], usize),
        in_pieces: bool,
    ) {
        let Ok((header, rest)) = PacketHeader::parse(plain) else { return };
        if header.mode != Mode::Startup {
            return;
        }
        for chunk in chunks(rest) {
            match chunk {
                Chunk::PacketFragment(piece) if !in_pieces => {
                    // One piece a datagram: of more, the bytes received would count twice.
                    return self.on_piece(now, path, session_id, received, &piece);
                }
                Chunk::InitiatorHello(hello) if session_id == 0 => {
                    // One answer a datagram: more would add up to more than was received.
                    return self.on_hello(now, path, received, &hello);
                }
                // Likewise one a datagram, whose length pays for what it causes.
                Chunk::ResponderHello(hello) if session_id == 0 => {
                    return self.on_responder_hello(now, path, received, &hello);
                }
                Chunk::Redirect(redirect) if session_id == 0 => {
                    return self.on_redirect(now, path, received, &redirect);
                }
                Chunk::InitiatorKeying(keying) if session_id == 0 => {
                    return self.on_initiator_keying(now, path, received, &keying);
                }
                Chunk::ResponderKeying(keying) => {
                    self.on_responder_keying(path, session_id, &keying);
                }
                Chunk::CookieChange(change) => self.on_cookie_change(now, session_id, &change),
                _ => {}
            }
        }
    }

    fn on_piece(
        &mut self,
        now: Time,
        path: Path,
        session_id: u32,
        received: usize,
        piece: &PacketFragment<'_>,
    ) {
        let key: PieceKey = (path.remote, session_id, piece.packet_id);
        let ip: IpAddr = path.remote.ip();
        let pieces = &mut self.startup.pieces;
        let from_there = pieces.count(|other| *other != key && other.0.ip() == ip);
        if from_there >= MAX_REASSEMBLED_PER_IP {
            pieces.expire(now);
            if pieces.count(|other| *other != key && other.0.ip() == ip) >= MAX_REASSEMBLED_PER_IP {
                return;
            }
        }
        if let Some(whole) = pieces.take(now, key, Mode::Startup, piece, received) {
            let packet = (&whole.plain[..], whole.received);
            self.handle_startup_packet(now, path, session_id, packet, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Interface;

    #[test]
    fn hostile_floods_of_answers_wait_in_bounds() {
        let mut startup = Startup::new(4);
        let remote = SocketAddr::from(([192, 0, 2, 1], 1935));
        let path = Path { interface: Interface::ANY, remote };
        for _ in 0..MAX_STARTUP_QUEUE + 7 {
            startup.push(path, vec![0; 100]);
        }
        assert_eq!((startup.queue.len(), startup.dropped()), (MAX_STARTUP_QUEUE, 7));
        startup.push_paced(Time::ZERO, path, &vec![vec![0; 1000]; MAX_PACED + 5]);
        // Four go at once, and find no place.
        assert_eq!((startup.paced.len(), startup.dropped()), (MAX_PACED, 7 + 5));
    }
}
