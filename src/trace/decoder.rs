//! Datagrams to decrypted packets.

use super::keylog::KeyLog;
use super::pcap::Datagram;
use crate::crypto::{Opener, Overheard, keying_digest};
use crate::wire::chunk::{InitiatorKeying, ResponderKeying, kind};
use crate::wire::packet::{Chunks, chunks};
use crate::wire::{Chunk, PacketHeader, WireError, multiplex};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use thiserror::Error;

/// Bytes of the shortest datagram that can carry a packet: a session ID and a cipher block.
pub const MIN_DATAGRAM: usize = 20;

/// Initiator keyings that wait for their answer; of more the oldest are forgotten.
const MAX_PENDING: usize = 1024;

/// Sessions that are remembered; of more the oldest are forgotten.
const MAX_SESSIONS: usize = 16_384;

/// Sessions in which either end uses the same session ID; of more the oldest are no longer tried.
const MAX_SAME_ID: usize = 256;

/// Reads the datagrams of a capture in their order.
///
/// It learns the sessions from the keyings that pass and decrypts those that have their secret in
/// the key log. Packets are attributed by session ID, not by address, as sessions may move; of
/// several sessions with the same ID the one is taken whose keys fit. Nothing is checked for
/// replays: what was captured is shown.
#[derive(Debug)]
pub struct Decoder {
    keys: KeyLog,
    default_key: Opener,
    pending: VecDeque<Pending>,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
    /// Numbers of the sessions in which an end is known by this ID, oldest first.
    by_id: HashMap<u32, Vec<u64>>,
    scratch: Vec<u8>,
}

/// An initiator's keying that may still be answered.
#[derive(Debug, PartialEq, Eq)]
struct Pending {
    session_id: u32,
    component: Vec<u8>,
}

#[derive(Debug)]
struct Session {
    digest: [u8; 32],
    initiator_id: u32,
    responder_id: u32,
    /// Absent without a secret.
    keys: Option<Overheard>,
}

/// What became of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A packet.
    Packet(Packet),
    /// Nothing that can be read.
    Undecoded(Undecoded),
}

/// Why a datagram could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Undecoded {
    /// Shorter than [`MIN_DATAGRAM`].
    #[error("too short")]
    TooShort,
    /// It belongs, by its ID, to a session whose keying was seen but whose secret is not in the key
    /// log.
    #[error("no secret for session {0:08x}")]
    NoSecret(u32),
    /// No key fits: the keying was not captured, the datagram is damaged, or it is not RTMFP.
    #[error("no key for session {0:08x}")]
    NoKey(u32),
}

/// Who sent a packet, by the key that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Anybody: a startup packet under the Default Session Key.
    Startup,
    /// The initiator of the session with this number.
    Initiator(u64),
    /// The responder of the session with this number.
    Responder(u64),
}

/// A decrypted packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where the datagram came from.
    pub source: SocketAddr,
    /// Where the datagram went.
    pub destination: SocketAddr,
    /// The session ID before the packet: 0, or the one that the receiver chose.
    pub session_id: u32,
    /// Whose packet it is.
    pub sender: Sender,
    /// The keying that this packet completes, if it does.
    pub keying: Option<Keying>,
    /// The plain packet with its padding.
    pub plain: Vec<u8>,
}

/// A keying that was answered. A repeated answer is reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keying {
    /// The number that the session has in this decoder, from 0.
    pub session: u64,
    /// The ID on packets to the initiator.
    pub initiator_id: u32,
    /// The ID on packets to the responder.
    pub responder_id: u32,
    /// Whether the session can be decrypted.
    pub has_secret: bool,
}

impl Packet {
    /// The header.
    pub fn header(&self) -> Result<PacketHeader, WireError> {
        PacketHeader::parse(&self.plain).map(|(header, _)| header)
    }

    /// The chunks that can be parsed; none if the header cannot.
    pub fn chunks(&self) -> Chunks<'_> {
        chunks(PacketHeader::parse(&self.plain).map_or(&[], |(_, rest)| rest))
    }

    /// All chunks as type code and payload.
    pub fn raw_chunks(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut chunks = self.chunks();
        std::iter::from_fn(move || chunks.raw())
    }
}

impl Decoder {
    /// A decoder that knows these secrets.
    pub fn new(keys: KeyLog) -> Self {
        Self {
            keys,
            default_key: Opener::default_key(),
            pending: VecDeque::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            by_id: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Takes the next datagram.
    pub fn feed(&mut self, datagram: &Datagram) -> Decoded {
        if datagram.payload.len() < MIN_DATAGRAM {
            return Decoded::Undecoded(Undecoded::TooShort);
        }
        let Some(session_id) = multiplex::session_id(&datagram.payload) else {
            return Decoded::Undecoded(Undecoded::TooShort);
        };
        let encrypted = &datagram.payload[multiplex::SESSION_ID_LEN..];
        let opened = match self.open_session(session_id, encrypted) {
            None => self.open_startup(encrypted),
            opened => opened,
        };
        let Some((sender, plain)) = opened else {
            return Decoded::Undecoded(self.reason(session_id));
        };
        let mut packet = Packet {
            source: datagram.source,
            destination: datagram.destination,
            session_id,
            sender,
            keying: None,
            plain,
        };
        if sender == Sender::Startup {
            packet.keying = self.note_keyings(&packet);
        }
        Decoded::Packet(packet)
    }

    /// Tries the sessions with this ID, the newest first.
    fn open_session(&mut self, session_id: u32, encrypted: &[u8]) -> Option<(Sender, Vec<u8>)> {
        for number in self.by_id.get(&session_id)?.iter().rev() {
            let Some(session) = self.sessions.get_mut(number) else { continue };
            let Some(keys) = &mut session.keys else { continue };
            if session.responder_id == session_id
                && let Ok(plain) = keys.open_from_initiator(encrypted, &mut self.scratch)
            {
                return Some((Sender::Initiator(*number), plain.to_vec()));
            }
            if session.initiator_id == session_id
                && let Ok(plain) = keys.open_from_responder(encrypted, &mut self.scratch)
            {
                return Some((Sender::Responder(*number), plain.to_vec()));
            }
        }
        None
    }

    fn open_startup(&mut self, encrypted: &[u8]) -> Option<(Sender, Vec<u8>)> {
        self.scratch.clear();
        self.scratch.extend_from_slice(encrypted);
        let plain = self.default_key.open(&mut self.scratch).ok()?;
        Some((Sender::Startup, plain.to_vec()))
    }

    fn reason(&self, session_id: u32) -> Undecoded {
        let mut numbers = self.by_id.get(&session_id).into_iter().flatten();
        let known = |n: &u64| self.sessions.get(n).is_some_and(|session| session.keys.is_none());
        if numbers.any(known) {
            Undecoded::NoSecret(session_id)
        } else {
            Undecoded::NoKey(session_id)
        }
    }

    fn note_keyings(&mut self, packet: &Packet) -> Option<Keying> {
        let mut completed = None;
        for (code, payload) in packet.raw_chunks() {
            match (code, Chunk::parse(code, payload)) {
                (kind::INITIATOR_KEYING, Ok(Chunk::InitiatorKeying(keying))) => {
                    self.note_initiator(keying);
                }
                (kind::RESPONDER_KEYING, Ok(Chunk::ResponderKeying(keying))) => {
                    completed = completed.or(self.note_responder(packet.session_id, keying));
                }
                _ => {}
            }
        }
        completed
    }

    fn note_initiator(&mut self, keying: InitiatorKeying<'_>) {
        let component = keying.component.to_vec();
        let pending = Pending { session_id: keying.session_id, component };
        // A repetition, perhaps with another cookie, becomes the newest.
        self.pending.retain(|other| *other != pending);
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(pending);
    }

    /// Matches an answer with its question: of the initiators that chose this session ID the one
    /// whose secret is known, otherwise the newest.
    fn note_responder(&mut self, initiator_id: u32, keying: ResponderKeying<'_>) -> Option<Keying> {
        let questions = self.pending.iter().rev().filter(|p| p.session_id == initiator_id);
        let mut answered = questions.map(|pending| {
            let digest = keying_digest(&pending.component, keying.component);
            (pending, digest, self.keys.secret(&digest))
        });
        let newest = answered.next()?;
        let (pending, digest, secret) = match newest.2 {
            Some(_) => newest,
            None => answered.find(|(.., secret)| secret.is_some()).unwrap_or(newest),
        };
        let same = |n: &u64| self.sessions.get(n).is_some_and(|s| s.digest == digest);
        if self.by_id.get(&initiator_id).is_some_and(|numbers| numbers.iter().any(same)) {
            return None;
        }
        let keys = secret
            .and_then(|secret| Overheard::new(&pending.component, keying.component, secret).ok());
        let responder_id = keying.session_id;
        Some(self.remember(Session { digest, initiator_id, responder_id, keys }))
    }

    fn remember(&mut self, session: Session) -> Keying {
        let number = self.next_session;
        self.next_session += 1;
        let keying = Keying {
            session: number,
            initiator_id: session.initiator_id,
            responder_id: session.responder_id,
            has_secret: session.keys.is_some(),
        };
        for id in ids(&session) {
            let numbers = self.by_id.entry(id).or_default();
            if numbers.len() == MAX_SAME_ID {
                numbers.remove(0);
            }
            numbers.push(number);
        }
        self.sessions.insert(number, session);
        if self.sessions.len() > MAX_SESSIONS
            && let Some((number, oldest)) = self.sessions.pop_first()
        {
            for id in ids(&oldest) {
                if let Some(numbers) = self.by_id.get_mut(&id) {
                    numbers.retain(|other| *other != number);
                    if numbers.is_empty() {
                        self.by_id.remove(&id);
                    }
                }
            }
        }
        keying
    }
}

/// The IDs of a session, without repetition.
fn ids(session: &Session) -> impl Iterator<Item = u32> + use<> {
    let (a, b) = (session.initiator_id, session.responder_id);
    std::iter::once(a).chain((a != b).then_some(b))
}

#[cfg(test)]
mod tests;
