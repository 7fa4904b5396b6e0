//! Datagrams to decrypted packets.

use super::capture::Datagram;
use super::keylog::KeyLog;
use super::pieces::Pieces;
use super::recognize;
use crate::crypto::{Direction, MAX_CERTIFICATE, Opener, Overheard, keying_digest};
use crate::wire::chunk::{InitiatorKeying, ResponderKeying, kind};
use crate::wire::packet::{Chunks, Mode, chunks};
use crate::wire::{Chunk, PacketHeader, WireError, multiplex};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// Bytes of the shortest datagram that can carry a packet: a session ID and a cipher block.
pub const MIN_DATAGRAM: usize = 20;

/// Initiator keyings that wait for their answer; of more the oldest are forgotten.
const MAX_PENDING: usize = 1024;

/// Sessions that are remembered; of more the oldest are forgotten.
const MAX_SESSIONS: usize = 16_384;

/// Sessions in which either end uses the same session ID; of more the oldest are no longer tried.
const MAX_SAME_ID: usize = 256;

/// The longest keying component and cookie that are remembered, in bytes: no end accepts more.
const MAX_FIELD: usize = 4096;

/// HMACs that are verified in each direction of a session before any is not.
const VERIFY_FIRST: u64 = 64;

/// Of what follows every so many are verified.
const VERIFY_EVERY: u64 = 64;

/// Which HMACs of session packets are verified. Checksums always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verify {
    /// All: what was damaged or forged is not decoded.
    #[default]
    All,
    /// The first 64 in each direction of a session and of the rest one in 64, as well as those of
    /// packets that do not look like packets; after a wrong one all until one is right. Several
    /// times faster; bytes that were damaged within user data go unnoticed.
    Sampled,
}

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
    verify: Verify,
    pieces: Pieces,
    scratch: Vec<u8>,
    plain: Vec<u8>,
}

/// An initiator's keying that may still be answered.
#[derive(Debug, PartialEq, Eq)]
struct Pending {
    session_id: u32,
    component: Vec<u8>,
    cookie: Vec<u8>,
    certificate: Vec<u8>,
}

#[derive(Debug)]
struct Session {
    digest: [u8; 32],
    initiator_id: u32,
    responder_id: u32,
    /// Absent without a secret.
    keys: Option<Overheard>,
    /// Packets that were opened: of the initiator, of the responder.
    opened: [u64; 2],
    handshake: Option<Handshake>,
}

/// What the keying of a session said besides keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The cookie that the initiator returned.
    pub cookie: Vec<u8>,
    /// The initiator's certificate; empty if it was too long to be one.
    pub certificate: Vec<u8>,
    /// How packets are verified: of the initiator, of the responder. Unknown without the secret.
    pub agreed: Option<[Direction; 2]>,
}

/// A packet in the decoder's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The session ID before the packet: 0, or the one that the receiver chose.
    pub session_id: u32,
    /// Whose packet it is.
    pub sender: Sender,
    /// The keying that this packet completes, if it does.
    pub keying: Option<Keying>,
    /// The plain packet with its padding.
    pub plain: &'a [u8],
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
            verify: Verify::All,
            pieces: Pieces::default(),
            scratch: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// The same with another rule for HMACs.
    #[must_use]
    pub fn verifying(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Adds secrets. Sessions that were keyed before stay as they are.
    pub fn keys_mut(&mut self) -> &mut KeyLog {
        &mut self.keys
    }

    /// Takes the next datagram.
    pub fn feed(&mut self, datagram: &Datagram) -> Decoded {
        match self.open(datagram.time, datagram.source, &datagram.payload) {
            Err(reason) => Decoded::Undecoded(reason),
            Ok(opened) => Decoded::Packet(Packet {
                source: datagram.source,
                destination: datagram.destination,
                session_id: opened.session_id,
                sender: opened.sender,
                keying: opened.keying,
                plain: opened.plain.to_vec(),
            }),
        }
    }

    /// Takes the payload of the next datagram, which came from `source` at `time`. Allocates
    /// nothing for packets of sessions, unless they are in pieces.
    ///
    /// A packet that a piece completes stands behind that piece: its chunks, without its header and
    /// without padding.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn open(
        &mut self,
        time: Duration,
        source: SocketAddr,
        payload: &[u8],
    ) -> Result<Opened<'_>, Undecoded> {
        if payload.len() < MIN_DATAGRAM {
            return Err(Undecoded::TooShort);
        }
        let session_id = multiplex::session_id(payload).ok_or(Undecoded::TooShort)?;
        let encrypted = &payload[multiplex::SESSION_ID_LEN..];
        let sender = match self.open_session(session_id, encrypted) {
            None => self.open_startup(encrypted).then_some(Sender::Startup),
            opened => opened,
        };
        let sender = sender.ok_or_else(|| self.reason(session_id))?;
        self.pieces.take(time, source, (sender, session_id), &mut self.plain);
        let keying = (sender == Sender::Startup).then(|| self.note_keyings(session_id)).flatten();
        Ok(Opened { session_id, sender, keying, plain: &self.plain })
    }

    /// The plain packet that was opened last.
    pub(super) fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// What the keying of a session said. It can be had once.
    pub fn take_handshake(&mut self, session: u64) -> Option<Handshake> {
        self.sessions.get_mut(&session)?.handshake.take()
    }

    /// The sessions without a secret whose packets may have this ID, the newest first: their
    /// numbers, and whether the ID is the one of the responder.
    pub fn sessions_without_secret(&self, session_id: u32) -> impl Iterator<Item = (u64, bool)> {
        let numbers = self.by_id.get(&session_id).into_iter().flatten().rev();
        numbers.filter_map(move |number| {
            let session = self.sessions.get(number).filter(|session| session.keys.is_none())?;
            Some((*number, session.responder_id == session_id))
        })
    }

    /// Tries the sessions with this ID, the newest first. The packet is then in `plain`.
    fn open_session(&mut self, session_id: u32, encrypted: &[u8]) -> Option<Sender> {
        let numbers = self.by_id.get(&session_id)?;
        let may_trust = self.verify == Verify::Sampled && numbers.len() == 1;
        for number in numbers.iter().rev() {
            let Some(session) = self.sessions.get_mut(number) else { continue };
            let ids = [session.responder_id, session.initiator_id];
            let senders = [Sender::Initiator(*number), Sender::Responder(*number)];
            for (side, sender) in senders.into_iter().enumerate() {
                if ids[side] == session_id
                    && session.open(side, may_trust, encrypted, &mut self.scratch, &mut self.plain)
                {
                    return Some(sender);
                }
            }
        }
        None
    }

    fn open_startup(&mut self, encrypted: &[u8]) -> bool {
        self.scratch.clear();
        self.scratch.extend_from_slice(encrypted);
        let Ok(plain) = self.default_key.open(&mut self.scratch) else { return false };
        self.plain.clear();
        self.plain.extend_from_slice(plain);
        true
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

    /// Looks for keyings in the startup packet in `plain`.
    fn note_keyings(&mut self, session_id: u32) -> Option<Keying> {
        let (_, body) = PacketHeader::parse(&self.plain).ok()?;
        let mut walk = chunks(body);
        if !std::iter::from_fn(|| walk.raw()).any(|(code, _)| is_keying(code)) {
            return None;
        }
        let plain = std::mem::take(&mut self.plain);
        let mut completed = None;
        let mut walk = chunks(PacketHeader::parse(&plain).map_or(&[], |(_, rest)| rest));
        while let Some((code, payload)) = walk.raw() {
            match (code, Chunk::parse(code, payload)) {
                (kind::INITIATOR_KEYING, Ok(Chunk::InitiatorKeying(keying))) => {
                    self.note_initiator(keying);
                }
                (kind::RESPONDER_KEYING, Ok(Chunk::ResponderKeying(keying))) => {
                    completed = completed.or(self.note_responder(session_id, keying));
                }
                _ => {}
            }
        }
        self.plain = plain;
        completed
    }

    fn note_initiator(&mut self, keying: InitiatorKeying<'_>) {
        if keying.component.len() > MAX_FIELD {
            return;
        }
        let bounded = |bytes: &[u8], max| if bytes.len() > max { vec![] } else { bytes.to_vec() };
        let pending = Pending {
            session_id: keying.session_id,
            component: keying.component.to_vec(),
            cookie: bounded(keying.cookie, MAX_FIELD),
            certificate: bounded(keying.certificate, MAX_CERTIFICATE),
        };
        // A repetition, perhaps with another cookie, becomes the newest.
        self.pending.retain(|other| {
            (other.session_id, &other.component) != (pending.session_id, &pending.component)
        });
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
        let handshake = Some(Handshake {
            cookie: pending.cookie.clone(),
            certificate: pending.certificate.clone(),
            agreed: keys.as_ref().map(Overheard::agreed),
        });
        let responder_id = keying.session_id;
        let opened = [0; 2];
        let session = Session { digest, initiator_id, responder_id, keys, opened, handshake };
        Some(self.remember(session))
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

fn is_keying(code: u8) -> bool {
    matches!(code, kind::INITIATOR_KEYING | kind::RESPONDER_KEYING)
}

impl Session {
    /// Decrypts a packet of the initiator (0) or responder (1) into `plain` if the keys fit.
    fn open(
        &mut self,
        side: usize,
        may_trust: bool,
        encrypted: &[u8],
        scratch: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> bool {
        let Some(keys) = &mut self.keys else { return false };
        let count = self.opened[side];
        if may_trust
            && keys.has_hmac()[side]
            && count >= VERIFY_FIRST
            && !count.is_multiple_of(VERIFY_EVERY)
        {
            let (mode, opened) = match side {
                0 => (Mode::Initiator, keys.trust_from_initiator(encrypted, scratch)),
                _ => (Mode::Responder, keys.trust_from_responder(encrypted, scratch)),
            };
            if let Some(opened) = opened.filter(|opened| recognize::is_packet(opened, mode)) {
                plain.clear();
                plain.extend_from_slice(opened);
                self.opened[side] += 1;
                return true;
            }
        }
        let opened = match side {
            0 => keys.open_from_initiator(encrypted, scratch),
            _ => keys.open_from_responder(encrypted, scratch),
        };
        let Ok(opened) = opened else { return false };
        plain.clear();
        plain.extend_from_slice(opened);
        self.opened[side] += 1;
        true
    }
}

/// The IDs of a session, without repetition.
fn ids(session: &Session) -> impl Iterator<Item = u32> + use<> {
    let (a, b) = (session.initiator_id, session.responder_id);
    std::iter::once(a).chain((a != b).then_some(b))
}

#[cfg(test)]
mod tests;
