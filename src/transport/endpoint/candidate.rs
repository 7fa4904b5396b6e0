//! The addresses that an attempt asks, and what may be sent to each before it answers.
//!
//! Each address gets a tag of its own, so that an answer with this tag from that very address shows
//! that somebody there has read the hello. An answer from anywhere else may have a forged source:
//! that address is asked first, and the keying, which is many times longer and repeated for a
//! while, goes only where a hello was answered.

use super::Endpoint;
use crate::transport::rtt::ticks;
use crate::transport::{NamedBy, OpenId, Path, SessionId, Time};
use crate::wire::Chunk;
use crate::wire::chunk::{InitiatorHello, Redirect};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of a tag.
pub(super) const TAG_LEN: usize = 16;
/// Each repetition waits this much longer than the one before (§3.5.1.1.1).
pub(super) const BACKOFF: Duration = Duration::from_millis(1500);
/// Addresses that one attempt asks at most (REDIRECT_THRESHOLD).
const MAX_CANDIDATES: usize = 24;
/// Plain bytes of a padded hello. A responder answers with at most three times what it received,
/// so that the padding allows for static keys in a large group. It is the usual padding of a
/// packet, only more of it; the first hello and every other after it go without, as everybody's do.
/// From the fourth on it fills a datagram, for certificates with many or large keys, but only to
/// addresses that the owner named.
const PADDED_HELLO: usize = 205;
/// Hellos of one attempt to an address that others have named.
const MAX_HELLOS: u32 = 4;
/// Hellos to an address from which came an answer to a hello that went elsewhere.
const CHECKING_HELLOS: u32 = 2;
/// Bytes that may be sent for each byte of a startup packet that names addresses.
const NAMED_FACTOR: u64 = 3;

/// Reason for which an address is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The owner wants it.
    Owner,
    /// The far end sent its own keying from there, with a cookie that proves it.
    Proven,
    /// The far end of this session is there.
    Far(SessionId),
    /// The far end was there some time ago.
    Before,
    /// The far end of this session named it.
    Session(SessionId),
    /// A startup packet named it. If that came from the far end of a session, the session pays
    /// where the packet's length does not.
    Startup(Option<SessionId>),
}

/// An address that is asked.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: Path,
    pub(super) tag: [u8; TAG_LEN],
    pub(super) next: Time,
    source: Source,
    /// Times that a hello was due, and hellos that were sent.
    tries: u32,
    sent: u32,
    /// Hellos that may still be sent.
    left: u32,
    /// Plain bytes of the next hello, at least.
    padding: usize,
}

/// Budget of an attempt for addresses that startup packets named: bytes earned by the packets'
/// lengths, and spent.
#[derive(Debug, Default)]
pub(super) struct Purse(u64);

impl Purse {
    fn earn(&mut self, received: usize) {
        self.0 = self.0.saturating_add(NAMED_FACTOR * received as u64);
    }

    const fn holds(&self, bytes: usize) -> bool {
        self.0 >= bytes as u64
    }

    const fn pay(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes as u64);
    }
}

impl Candidate {
    /// Takes note that a hello is due and returns its padding; `None` if it is not.
    fn take_turn(&mut self, now: Time, to_peer: bool, full: usize) -> Option<usize> {
        if self.next > now {
            return None;
        }
        self.tries += 1;
        self.next = now + BACKOFF * self.tries;
        if self.left == 0 {
            return None;
        }
        let usual = match (self.source, self.tries) {
            _ if !to_peer => 0,
            (Source::Owner, tries) if tries % 2 == 1 => 0,
            (Source::Owner, 2) | (Source::Session(_) | Source::Before, 3) => PADDED_HELLO,
            (Source::Owner, _) => full,
            _ => 0,
        };
        Some(usual.max(self.padding).min(full))
    }

    /// Named once more by a startup packet: it may get `hellos`, the first at once.
    fn name_again(&mut self, now: Time, hellos: u32) {
        if matches!(self.source, Source::Startup(_)) {
            self.left = self.left.max(hellos);
            self.next = now;
        }
    }
}

impl Endpoint {
    /// One more address to ask, at once. Ignored if it is asked already, or beyond 24.
    pub fn add_candidate(&mut self, now: Time, open: OpenId, address: SocketAddr) {
        self.name_candidate(now, open, address, NamedBy::Owner);
    }

    /// The same, with who named it.
    pub(super) fn name_candidate(
        &mut self,
        now: Time,
        open: OpenId,
        address: SocketAddr,
        by: NamedBy,
    ) {
        let source = match by {
            NamedBy::Owner => Source::Owner,
            NamedBy::Before => Source::Before,
            NamedBy::Session(id) if self.is_at(id, address) => Source::Far(id),
            NamedBy::Session(id) => Source::Session(id),
        };
        self.add_candidate_path(now, open.0, Path::to(address), source);
    }

    fn is_at(&self, session: SessionId, address: SocketAddr) -> bool {
        self.table.open(session).is_some_and(|session| session.path.remote == address)
    }

    /// Adds a candidate, unless there are too many. One that is known is asked again at once if
    /// a startup packet named it.
    fn add_candidate_path(&mut self, now: Time, id: u64, path: Path, source: Source) {
        let mut tag = [0; TAG_LEN];
        self.random.fill_bytes(&mut tag);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let left = match source {
            Source::Owner | Source::Proven | Source::Far(_) => u32::MAX,
            Source::Before | Source::Session(_) => MAX_HELLOS,
            Source::Startup(_) => 1,
        };
        if let Some(known) = attempt.candidate_at(path.remote) {
            match source {
                Source::Startup(_) => known.name_again(now, left),
                Source::Proven => {
                    (known.source, known.left) = (source, left);
                    known.next = now;
                }
                _ => return,
            }
        } else {
            let unusable = path.remote.port() == 0 || path.remote.ip().is_unspecified();
            if unusable || attempt.candidates.len() >= MAX_CANDIDATES {
                return;
            }
            self.by_tag.insert(tag, (id, attempt.candidates.len()));
            attempt.candidates.push(Candidate {
                path,
                tag,
                next: now,
                source,
                tries: 0,
                sent: 0,
                left,
                padding: 0,
            });
        }
        self.table.schedule_attempt(now, id);
    }

    /// A redirect came from `path` in `received` bytes: one hello goes to each address that it
    /// names, as far as it pays for them.
    pub(super) fn on_redirect(
        &mut self,
        now: Time,
        path: Path,
        received: usize,
        redirect: &Redirect<'_>,
    ) {
        let Some(&(id, index)) = self.by_tag.get(redirect.tag_echo) else { return };
        let Some(attempt) = self.attempts.get_mut(&id).filter(|a| a.is_asking()) else {
            return;
        };
        attempt.purse.earn(received);
        let asked = attempt.candidates.get(index).filter(|c| c.path.remote == path.remote);
        let by = match asked.map(|candidate| candidate.source) {
            Some(Source::Far(session)) => Some(session),
            _ => None,
        };
        let mut named: Vec<Path> =
            redirect.addresses().map(|address| Path::to(address.socket)).collect();
        if named.is_empty() {
            named.push(path);
        }
        named.truncate(MAX_CANDIDATES);
        for path in named {
            self.add_candidate_path(now, id, path, Source::Startup(by));
        }
    }

    /// An answer of `received` bytes came from `path`, where the hello that it answers did not go.
    /// The address is asked itself, with a hello long enough for the same answer.
    pub(super) fn check_candidate(&mut self, now: Time, id: u64, path: Path, received: usize) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.purse.earn(received);
        }
        self.add_candidate_path(now, id, path, Source::Startup(None));
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if let Some(candidate) = attempt.candidate_at(path.remote) {
            candidate.name_again(now, CHECKING_HELLOS);
            candidate.next = now;
            candidate.padding = received.div_ceil(NAMED_FACTOR as usize);
        }
    }

    /// Asks an address from which a packet of the far end itself arrived.
    pub(super) fn ask_again(&mut self, now: Time, id: u64, path: Path) {
        self.add_candidate_path(now, id, path, Source::Proven);
    }

    /// Sends a hello to every candidate that is due and whose budget allows it: first to those that
    /// got the fewest.
    pub(super) fn send_hellos(&mut self, now: Time, id: u64) {
        let full = self.startup_capacity();
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let to_peer = attempt.epd.fingerprint().is_some();
        let epd = attempt.epd.clone();
        let candidates = attempt.candidates.iter_mut().enumerate();
        let mut due: Vec<(u32, usize, usize)> = candidates
            .filter_map(|(index, c)| Some((c.sent, index, c.take_turn(now, to_peer, full)?)))
            .collect();
        due.sort_unstable();
        for (_, index, padding) in due {
            let Some(candidate) = self.attempts.get(&id).and_then(|a| a.candidates.get(index))
            else {
                continue;
            };
            let (path, tag, source) = (candidate.path, candidate.tag, candidate.source);
            let hello = Chunk::InitiatorHello(InitiatorHello { epd: epd.as_bytes(), tag: &tag });
            let Some(datagrams) = self.seal_startup(padding, Some(ticks(now)), 0, &hello) else {
                continue;
            };
            if !self.pay_for_hello(now, id, (path.remote, source), datagrams.len()) {
                continue;
            }
            if let Some(candidate) =
                self.attempts.get_mut(&id).and_then(|a| a.candidates.get_mut(index))
            {
                candidate.sent += 1;
                if candidate.left != u32::MAX {
                    candidate.left -= 1;
                }
            }
            self.queue_startup(path, &datagrams);
        }
    }

    fn pay_for_hello(
        &mut self,
        now: Time,
        id: u64,
        (address, source): (SocketAddr, Source),
        bytes: usize,
    ) -> bool {
        let by = match source {
            Source::Owner | Source::Proven | Source::Far(_) => return true,
            Source::Before => return self.charge(now, address, bytes, None),
            Source::Session(session) => return self.charge(now, address, bytes, Some(session)),
            Source::Startup(by) => by,
        };
        let holds = self.attempts.get(&id).is_some_and(|attempt| attempt.purse.holds(bytes));
        if !holds {
            return by.is_some() && self.charge(now, address, bytes, by);
        }
        let charged = self.charge(now, address, bytes, None);
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|_| charged) {
            attempt.purse.pay(bytes);
        }
        charged
    }
}
