//! Datagrams to decrypted packets.

use super::capture::Datagram;
use super::keylog::KeyLog;
use super::pieces::Pieces;
use super::recognize::{self, Content};
use super::sender::Sender;
use crate::crypto::{Direction, MAX_CERTIFICATE, Opener, Overheard, keying_digest};
use crate::wire::chunk::{InitiatorKeying, ResponderKeying, kind};
use crate::wire::packet::{Chunks, Mode, chunks};
use crate::wire::{Chunk, PacketHeader, WireError, multiplex};
use session::{Opening, Session, ids};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

mod session;

/// Bytes of the shortest datagram that can carry a packet: a session ID and a cipher block.
pub const MIN_DATAGRAM: usize = 20;

/// Initiator keyings that wait for their answer; beyond this, the oldest is dropped.
const MAX_PENDING: usize = 1024;

/// Sessions that are remembered; beyond this, the oldest is dropped.
const MAX_SESSIONS: usize = 16_384;

/// Sessions in which either end uses the same session ID; beyond this, the oldest is not tried.
const MAX_SAME_ID: usize = 256;

/// The longest keying component and cookie that are remembered, in bytes: no end accepts more.
const MAX_FIELD: usize = 4096;

/// Selection of session packets whose HMACs are verified. Checksums always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verify {
    /// All: damaged or forged packets are not decoded.
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
/// the key log. Packets are attributed by session ID, not by address, as sessions may move. Of
/// several sessions with the same ID the one is taken whose keys fit, those between the same
/// addresses first. An HMAC is enough for that. A checksum is right by chance once in 65,536 times,
/// so that the packet must also have the mode of its sender and be full of chunks; if it is not, it is
/// taken only between the addresses of the session. Replays are not detected: every captured packet is
/// shown.
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
    /// The best packet so far of those that are not sound.
    doubtful: Vec<u8>,
}

/// An initiator's keying that may still be answered.
#[derive(Debug, PartialEq, Eq)]
struct Pending {
    session_id: u32,
    component: Vec<u8>,
    cookie: Vec<u8>,
    certificate: Vec<u8>,
}

/// Parameters of a session's keying, besides keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The cookie that the initiator returned.
    pub cookie: Vec<u8>,
    /// The initiator's certificate; empty if it was too long to be one.
    pub certificate: Vec<u8>,
    /// Verification of the packets of initiator and responder. Unknown without the secret.
    pub agreed: Option<[Direction; 2]>,
}

/// Source and destination of a datagram.
pub type Ends = (SocketAddr, SocketAddr);

/// A packet in the decoder's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedPacket<'a> {
    /// The session ID before the packet: 0, or the one that the receiver chose.
    pub session_id: u32,
    /// The sender.
    pub sender: Sender,
    /// The keying that this packet completes, if it does.
    pub keying: Option<Keying>,
    /// Bytes behind the last chunk that are no padding as programs make it: the sender is wrong, or
    /// the key, if there is only a checksum to verify it.
    pub trailing: usize,
    /// The plain packet with its padding.
    pub plain: &'a [u8],
}

/// The result of decoding a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A packet.
    Packet(Packet),
    /// An unreadable datagram.
    Undecoded(Undecoded),
}

/// The reason why a datagram could not be read.
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
    /// The capture has only its beginning, so that it can be neither verified nor decrypted.
    #[error("not captured whole")]
    Cut(u32),
    /// No key fits: the keying was not captured, the datagram is damaged, or it is not RTMFP.
    #[error("no key for session {0:08x}")]
    NoKey(u32),
}

/// A decrypted packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source of the datagram.
    pub source: SocketAddr,
    /// Destination of the datagram.
    pub destination: SocketAddr,
    /// The session ID before the packet: 0, or the one that the receiver chose.
    pub session_id: u32,
    /// The sender.
    pub sender: Sender,
    /// The keying that this packet completes, if it does.
    pub keying: Option<Keying>,
    /// Bytes behind the last chunk that are no padding; see [`OpenedPacket::trailing`].
    pub trailing: usize,
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
    /// True if the session can be decrypted.
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
    /// A decoder with these secrets.
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
            doubtful: Vec::new(),
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
        let ends = (datagram.source, datagram.destination);
        match self.open(datagram.time, ends, &datagram.payload) {
            Err(reason) => Decoded::Undecoded(reason),
            Ok(opened) => Decoded::Packet(Packet {
                source: datagram.source,
                destination: datagram.destination,
                session_id: opened.session_id,
                sender: opened.sender,
                keying: opened.keying,
                trailing: opened.trailing,
                plain: opened.plain.to_vec(),
            }),
        }
    }

    /// Takes the payload of the next datagram, which passed at `time` between `ends`: its source and
    /// its destination. Allocates nothing for packets of sessions, unless they are in pieces.
    ///
    /// A packet that a piece completes stands behind that piece: its chunks, without its header and
    /// without padding.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be read.
    pub fn open(
        &mut self,
        time: Duration,
        ends: Ends,
        payload: &[u8],
    ) -> Result<OpenedPacket<'_>, Undecoded> {
        if payload.len() < MIN_DATAGRAM {
            return Err(Undecoded::TooShort);
        }
        let session_id = multiplex::session_id(payload).ok_or(Undecoded::TooShort)?;
        let encrypted = &payload[multiplex::SESSION_ID_LEN..];
        let sender = self.find_sender(session_id, ends, encrypted);
        let sender = sender.ok_or_else(|| self.reason(session_id, ends))?;
        let mut trailing = recognize::trailing(&self.plain);
        trailing += self.pieces.take(time, ends.0, (sender, session_id), &mut self.plain);
        let keying = match sender {
            Sender::Startup => self.note_keyings(session_id, ends),
            _ => None,
        };
        Ok(OpenedPacket { session_id, sender, keying, trailing, plain: &self.plain })
    }

    /// True if the session ID of a datagram is that of a session whose keying was seen, or that of
    /// startup.
    pub(super) fn has_session_id(&self, payload: &[u8]) -> bool {
        let id = multiplex::session_id(payload);
        id.is_some_and(|id| id == 0 || self.by_id.contains_key(&id))
    }

    /// The session between these addresses whose packets may have this ID, the newest first, and
    /// whether the datagram is one of its initiator.
    pub(super) fn session_between(&self, session_id: u32, ends: Ends) -> Option<(u64, bool)> {
        let numbers = self.by_id.get(&session_id)?.iter().rev();
        let sides = numbers.flat_map(|number| [(*number, 0), (*number, 1)]);
        let mut sides = sides.filter(|(number, side)| {
            self.sessions.get(number).is_some_and(|session| {
                session.id_of_packets(*side) == session_id && session.is_between(*side, ends)
            })
        });
        sides.next().map(|(number, side)| (number, side == 0))
    }

    /// True if a datagram can be decrypted.
    pub(super) fn can_open(&mut self, ends: Ends, payload: &[u8]) -> bool {
        let Some(session_id) = multiplex::session_id(payload) else { return false };
        let encrypted = payload.get(multiplex::SESSION_ID_LEN..).unwrap_or_default();
        self.find_sender(session_id, ends, encrypted).is_some()
    }

    /// The plain packet that was opened last.
    pub(super) fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// Takes the parameters of a session's keying, once.
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

    /// The sender of a packet, which is then in `plain`.
    fn find_sender(&mut self, session_id: u32, ends: Ends, encrypted: &[u8]) -> Option<Sender> {
        let doubtful = match self.open_session(session_id, ends, encrypted) {
            Some((sender, true)) => return Some(sender),
            found => found.map(|(sender, _)| sender),
        };
        if self.open_startup(encrypted) {
            let is_sound = Content::of(&self.plain, Mode::Startup).is_sound();
            let is_expected = session_id == 0 || self.awaits_answer(session_id);
            if is_sound || (is_expected && doubtful.is_none()) {
                return Some(Sender::Startup);
            }
        }
        std::mem::swap(&mut self.plain, &mut self.doubtful);
        doubtful
    }

    /// Tries the sessions with this ID, those between the same addresses first, then the newest. The
    /// packet is then in `plain`; or in `doubtful`, if it is not certain to be the session's.
    fn open_session(
        &mut self,
        session_id: u32,
        ends: Ends,
        encrypted: &[u8],
    ) -> Option<(Sender, bool)> {
        let numbers = self.by_id.get(&session_id)?;
        let may_trust = self.verify == Verify::Sampled && numbers.len() == 1;
        let (scratch, plain) = (&mut self.scratch, &mut self.plain);
        let mut best: Option<(Content, Sender)> = None;
        for (is_between, number) in [true, false]
            .iter()
            .flat_map(|is_between| numbers.iter().rev().map(|number| (*is_between, *number)))
        {
            let Some(session) = self.sessions.get_mut(&number) else { continue };
            for (side, sender) in
                [Sender::Initiator(number), Sender::Responder(number)].into_iter().enumerate()
            {
                if session.id_of_packets(side) != session_id
                    || session.is_between(side, ends) != is_between
                {
                    continue;
                }
                match session.open(side, may_trust, encrypted, scratch, plain) {
                    Opening::Certain => {
                        session.paths[side] = ends;
                        return Some((sender, true));
                    }
                    Opening::Doubtful(content)
                        if is_between && best.is_none_or(|(other, _)| content > other) =>
                    {
                        best = Some((content, sender));
                        std::mem::swap(plain, &mut self.doubtful);
                    }
                    Opening::Doubtful(_) | Opening::Failed => {}
                }
            }
        }
        best.map(|(_, sender)| (sender, false))
    }

    fn open_startup(&mut self, encrypted: &[u8]) -> bool {
        self.scratch.clear();
        self.scratch.extend_from_slice(encrypted);
        let Ok(plain) = self.default_key.open(&mut self.scratch) else { return false };
        self.plain.clear();
        self.plain.extend_from_slice(plain);
        true
    }

    /// True if an initiator with this ID has asked for keys.
    fn awaits_answer(&self, session_id: u32) -> bool {
        self.pending.iter().any(|pending| pending.session_id == session_id)
    }

    fn reason(&self, session_id: u32, ends: Ends) -> Undecoded {
        let numbers = self.by_id.get(&session_id).into_iter().flatten();
        let sessions = numbers.filter_map(|number| self.sessions.get(number));
        let (mut lacks_secret, mut is_damaged) = (false, false);
        for session in sessions {
            let is_between = (0..2).any(|side| session.is_between(side, ends));
            match session.keys {
                None if is_between => return Undecoded::NoSecret(session_id),
                None => lacks_secret = true,
                Some(_) => is_damaged |= is_between,
            }
        }
        match lacks_secret && !is_damaged {
            true => Undecoded::NoSecret(session_id),
            false => Undecoded::NoKey(session_id),
        }
    }

    /// Looks for keyings in the startup packet in `plain`.
    fn note_keyings(&mut self, session_id: u32, ends: Ends) -> Option<Keying> {
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
                    completed = completed.or(self.note_responder(session_id, ends, keying));
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
    fn note_responder(
        &mut self,
        initiator_id: u32,
        ends: Ends,
        keying: ResponderKeying<'_>,
    ) -> Option<Keying> {
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
        let session = Session {
            digest,
            initiator_id,
            responder_id: keying.session_id,
            paths: [(ends.1, ends.0), ends],
            keys,
            opened: [0; 2],
            handshake,
        };
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

#[cfg(test)]
mod tests;
