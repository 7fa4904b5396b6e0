//! Sessions: how each was opened, and its traffic.
//!
//! Sessions that cannot be decrypted count too: sizes, times and the handshake are in the clear.
//!
//! Bounds: [`MAX_SESSIONS`] sessions and [`MAX_HELLOS`] attempts to open one; beyond these, the
//! oldest is dropped.

use super::decoder::{Handshake, Keying};
use super::flows::Side;
use crate::crypto::{Certificate, Direction, Epd, Fingerprint};
use crate::wire::chunk::{CookieChange, ForwardedHello, InitiatorHello, ResponderHello};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Sessions that are remembered; beyond this, the oldest is dropped.
pub const MAX_SESSIONS: usize = 16_384;

/// Attempts to open a session that are remembered; beyond this, the oldest is dropped.
pub const MAX_HELLOS: usize = 4096;

/// Addresses of an end that are remembered; further moves are only counted.
const MAX_ADDRESSES: usize = 8;

/// Introductions of an attempt that are remembered.
const MAX_INTRODUCTIONS: usize = 8;

/// The longest tag, cookie or discriminator that is remembered, in bytes.
const MAX_BLOB: usize = 512;

/// A session and its traffic.
#[derive(Debug, Clone)]
pub struct Session {
    /// The ID on packets to the initiator.
    pub initiator_id: u32,
    /// The ID on packets to the responder.
    pub responder_id: u32,
    /// True if its packets can be decrypted.
    pub has_secret: bool,
    /// Time of the answer to the keying.
    pub keyed: Duration,
    /// The addresses of initiator and responder when the keying was answered.
    pub keyed_between: Option<(SocketAddr, SocketAddr)>,
    /// Time from the first hello to the answer of the keying, if both were captured.
    pub setup: Option<Duration>,
    /// The end that the initiator asked for.
    pub target: Target,
    /// Those who forwarded the initiator's hello.
    pub introductions: Vec<IntroductionRecord>,
    /// Redirects that the initiator got on its way.
    pub redirects: u64,
    /// Verification of the packets of initiator and responder.
    pub agreed: Option<[Direction; 2]>,
    /// The initiator.
    pub initiator: End,
    /// The responder.
    pub responder: End,
    /// The end that first asked to close the session, and the time.
    pub closed: Option<(Side, Duration)>,
}

/// The addressee of a hello.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Target {
    /// The hello was not captured, or selects in another way.
    #[default]
    Unknown,
    /// The server with this URI.
    Uri(String),
    /// The peer with this fingerprint.
    Peer(Fingerprint),
}

/// A forwarded hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntroductionRecord {
    /// The session in which it was forwarded.
    pub session: u64,
    /// The time.
    pub time: Duration,
    /// The frame.
    pub frame: u64,
}

/// One end of a session and its traffic.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// Its peer ID, if its certificate was captured.
    pub fingerprint: Option<Fingerprint>,
    /// Source addresses of its packets, in the order of appearance; at most 8.
    pub addresses: Vec<SocketAddr>,
    /// Number of times that a packet came from another address than the one before.
    pub moves: u64,
    /// Packets that it sent.
    pub packets: u64,
    /// Bytes of their UDP payloads.
    pub bytes: u64,
    /// The smallest and the largest of them.
    pub sizes: (usize, usize),
    /// Time of its first packet.
    pub first: Option<Duration>,
    /// Time of its last packet.
    pub latest: Duration,
    /// Packets that could not be decrypted.
    pub unreadable: u64,
}

/// An attempt to open a session, by its tag.
#[derive(Debug, Default)]
struct Hello {
    target: Target,
    first: Option<Duration>,
    introductions: Vec<IntroductionRecord>,
    redirects: u64,
    responder: Option<Fingerprint>,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<u64, Session>,
    hellos: Bounded<Hello>,
    /// Tags by cookie.
    cookies: Bounded<Vec<u8>>,
}

impl Sessions {
    /// The sessions by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Session)> {
        self.sessions.iter().map(|(number, session)| (*number, session))
    }

    /// A session.
    pub fn find(&self, number: u64) -> Option<&Session> {
        self.sessions.get(&number)
    }

    pub(super) fn hello(&mut self, hello: &InitiatorHello<'_>, now: Duration) {
        if let Some(entry) = self.hellos.entry(hello.tag) {
            entry.first = entry.first.or(Some(now));
            entry.target = target(hello.epd);
        }
    }

    pub(super) fn forwarded(
        &mut self,
        hello: &ForwardedHello<'_>,
        introduction: IntroductionRecord,
    ) {
        let Some(entry) = self.hellos.entry(hello.tag) else { return };
        entry.first = entry.first.or(Some(introduction.time));
        entry.target = target(hello.epd);
        let is_new = entry.introductions.iter().all(|i| i.session != introduction.session);
        if is_new && entry.introductions.len() < MAX_INTRODUCTIONS {
            entry.introductions.push(introduction);
        }
    }

    pub(super) fn redirect(&mut self, tag: &[u8]) {
        if let Some(entry) = self.hellos.entry(tag) {
            entry.redirects += 1;
        }
    }

    pub(super) fn answer(&mut self, hello: &ResponderHello<'_>) {
        if let Some(entry) = self.hellos.entry(hello.tag_echo) {
            entry.responder = fingerprint(hello.certificate);
        }
        if let Some(tag) = self.cookies.entry(hello.cookie)
            && hello.tag_echo.len() <= MAX_BLOB
        {
            *tag = hello.tag_echo.to_vec();
        }
    }

    pub(super) fn cookie_change(&mut self, change: &CookieChange<'_>) {
        let Some(tag) = self.cookies.find(change.old_cookie).cloned() else { return };
        if let Some(entry) = self.cookies.entry(change.new_cookie) {
            *entry = tag;
        }
    }

    pub(super) fn keyed(
        &mut self,
        keying: &Keying,
        handshake: Handshake,
        addresses: (SocketAddr, SocketAddr),
        now: Duration,
    ) {
        let tag = self.cookies.find(&handshake.cookie);
        let hello = tag.and_then(|tag| self.hellos.find(tag));
        let end = |fingerprint| End { fingerprint, ..End::default() };
        let session = Session {
            initiator_id: keying.initiator_id,
            responder_id: keying.responder_id,
            has_secret: keying.has_secret,
            keyed: now,
            keyed_between: Some(addresses),
            setup: hello.and_then(|h| h.first).map(|first| now.saturating_sub(first)),
            target: hello.map(|h| h.target.clone()).unwrap_or_default(),
            introductions: hello.map(|h| h.introductions.clone()).unwrap_or_default(),
            redirects: hello.map_or(0, |h| h.redirects),
            agreed: handshake.agreed,
            initiator: end(fingerprint(&handshake.certificate)),
            responder: end(hello.and_then(|h| h.responder)),
            closed: None,
        };
        self.sessions.insert(keying.session, session);
        if self.sessions.len() > MAX_SESSIONS {
            self.sessions.pop_first();
        }
    }

    /// Counts a packet that an end sent.
    pub(super) fn packet(
        &mut self,
        number: u64,
        side: Side,
        from: SocketAddr,
        size: usize,
        now: Duration,
        readable: bool,
    ) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let end = match side {
            Side::Initiator => &mut session.initiator,
            Side::Responder => &mut session.responder,
        };
        end.packet(from, size, now);
        end.unreadable += u64::from(!readable);
    }

    pub(super) fn close(&mut self, number: u64, side: Side, now: Duration) {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.closed = session.closed.or(Some((side, now)));
        }
    }
}

impl End {
    fn packet(&mut self, from: SocketAddr, size: usize, now: Duration) {
        self.packets += 1;
        self.bytes += size as u64;
        self.sizes = match self.packets {
            1 => (size, size),
            _ => (self.sizes.0.min(size), self.sizes.1.max(size)),
        };
        self.first = self.first.or(Some(now));
        self.latest = now;
        if self.addresses.last() == Some(&from) {
            return;
        }
        self.moves += u64::from(!self.addresses.is_empty());
        // The address in use stands last.
        self.addresses.retain(|address| *address != from);
        if self.addresses.len() == MAX_ADDRESSES {
            self.addresses.remove(0);
        }
        self.addresses.push(from);
    }

    /// Bytes per second from the first packet to the last.
    pub fn rate(&self) -> f64 {
        let span = self.latest.saturating_sub(self.first.unwrap_or(self.latest)).as_secs_f64();
        if span > 0.0 { self.bytes as f64 / span } else { 0.0 }
    }
}

fn fingerprint(certificate: &[u8]) -> Option<Fingerprint> {
    Certificate::parse(certificate).ok().map(|certificate| certificate.fingerprint())
}

fn target(epd: &[u8]) -> Target {
    if epd.len() > MAX_BLOB {
        return Target::Unknown;
    }
    let Ok(epd) = Epd::parse(epd) else { return Target::Unknown };
    match (epd.ancillary(), epd.fingerprint()) {
        (Some(uri), _) => Target::Uri(String::from_utf8_lossy(uri).into_owned()),
        (None, Some(peer)) => Target::Peer(peer),
        (None, None) => Target::Unknown,
    }
}

/// A map of at most [`MAX_HELLOS`] entries, which drops the oldest, with keys of at most
/// [`MAX_BLOB`] bytes.
#[derive(Debug)]
struct Bounded<T> {
    entries: HashMap<Vec<u8>, T>,
    order: VecDeque<Vec<u8>>,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T: Default> Bounded<T> {
    fn find(&self, key: &[u8]) -> Option<&T> {
        self.entries.get(key)
    }

    /// The entry, made if it is missing. None if the key is too long or empty.
    fn entry(&mut self, key: &[u8]) -> Option<&mut T> {
        if key.is_empty() || key.len() > MAX_BLOB {
            return None;
        }
        if !self.entries.contains_key(key) {
            if self.order.len() == MAX_HELLOS
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key.to_vec());
            self.entries.insert(key.to_vec(), T::default());
        }
        self.entries.get_mut(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_bounded() {
        let mut sessions = Sessions::default();
        for n in 0..(MAX_HELLOS as u32 + 10) {
            let tag = n.to_be_bytes();
            sessions.hello(&InitiatorHello { epd: b"", tag: &tag }, Duration::ZERO);
            let answer = ResponderHello { tag_echo: &tag, cookie: &tag, certificate: b"" };
            sessions.answer(&answer);
        }
        sessions.hello(&InitiatorHello { epd: b"", tag: &[1; MAX_BLOB + 1] }, Duration::ZERO);
        assert_eq!(sessions.hellos.entries.len(), MAX_HELLOS);
        assert_eq!(sessions.cookies.order.len(), MAX_HELLOS);
        assert!(sessions.hellos.find(&0u32.to_be_bytes()).is_none());
    }

    #[test]
    fn an_end_that_moves() {
        let mut end = End::default();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for (second, port) in [1, 1, 2, 1, 1].into_iter().enumerate() {
            end.packet(address(port), 100 + second, Duration::from_secs(second as u64));
        }
        assert_eq!((end.moves, end.sizes), (2, (100, 104)));
        assert_eq!(end.addresses, [address(2), address(1)]);
        assert_eq!(end.rate(), 510.0 / 4.0);
        for port in 10..30 {
            end.packet(address(port), 1, Duration::ZERO);
        }
        assert_eq!(end.addresses.len(), MAX_ADDRESSES);
    }
}
