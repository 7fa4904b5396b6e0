//! Attempts to open sessions (RFC 7016 §3.5.1.1.1).

use super::candidate::{BACKOFF, Candidate, Purse};
use super::cookies;
use super::{Endpoint, KeyingRandom};
use crate::crypto::{Certificate, CryptoError, Epd, Fingerprint, Initiate, Initiated, SessionKeys};
use crate::transport::event::OpenSessionError;
use crate::transport::job::Work;
use crate::transport::session::{Opening, Session, UNCONFIRMED};
use crate::transport::{
    Arrived, Event, FarAddress, Job, NamedBy, OpenId, Path, Role, SessionId, Time,
};
use crate::wire::Chunk;
use crate::wire::chunk::{CookieChange, InitiatorKeying, ResponderHello, ResponderKeying};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// An attempt leaves it to the far end to open the session for as long as that may still do so:
/// two sessions would override one another. How soon it looks again.
const YIELD_AGAIN: Duration = Duration::from_millis(500);
/// Packets of the session that may arrive before its keys are computed.
const MAX_EARLY: usize = 16;

/// A far end that has answered.
#[derive(Debug)]
struct Keying {
    path: Path,
    far: Certificate,
    cookie: Vec<u8>,
    cookie_changed: bool,
    near_id: u32,
    /// `None` while the near component is being computed.
    initiated: Option<Arc<Initiated>>,
    /// Path of the answer whose keys are being computed, and the passwords that it has proved.
    /// Adopted only if they can be.
    finishing: Option<(Path, Vec<Vec<u8>>)>,
    next: Time,
    sent: u32,
    early: Vec<(Path, Vec<u8>)>,
}

/// An opening session.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) epd: Epd,
    started: Time,
    pub(super) candidates: Vec<Candidate>,
    pub(super) purse: Purse,
    keying: Option<Keying>,
    /// Silent until then: the far end's own keying goes first (§3.5.1.3), and its session will
    /// fulfil this attempt. If that does not come to anything, this attempt goes on.
    yielding: Option<Time>,
}

impl Attempt {
    /// True until a far end has answered a hello.
    pub(super) const fn is_asking(&self) -> bool {
        self.keying.is_none()
    }

    pub(super) fn candidate_at(&mut self, address: SocketAddr) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.path.remote == address)
    }

    fn next_timeout(&self, open_timeout: Duration) -> Time {
        let deadline = self.started + open_timeout;
        if let Some(until) = self.yielding {
            return until.min(deadline);
        }
        match &self.keying {
            Some(keying) if keying.initiated.is_some() => keying.next.min(deadline),
            Some(_) => deadline,
            None => self.candidates.iter().map(|c| c.next).min().unwrap_or(deadline).min(deadline),
        }
    }

    /// Whom it is after, once that is known.
    fn far(&self) -> Option<Fingerprint> {
        let keying = self.keying.as_ref().map(|keying| keying.far.fingerprint());
        keying.or_else(|| self.epd.fingerprint())
    }

    /// The error with which it would end now.
    fn failure(&self, now: Time) -> OpenSessionError {
        let after = now.since(self.started);
        match &self.keying {
            Some(keying) => OpenSessionError::NoKeying { address: keying.path.remote, after },
            None => {
                let addresses = self.candidates.iter().map(|c| c.path.remote).collect();
                OpenSessionError::NoAnswer { addresses, after }
            }
        }
    }

    /// True if the far end with `certificate` at `path` is the one this attempt is after.
    pub(super) fn is_after(&self, certificate: &Certificate, path: Path) -> bool {
        match &self.keying {
            Some(keying) => {
                keying.far == *certificate
                    || (keying.path.remote == path.remote && self.epd.selects(certificate))
            }
            None => {
                self.epd.fingerprint().is_some_and(|wanted| wanted == certificate.fingerprint())
            }
        }
    }
}

impl Endpoint {
    /// Asks `addresses` for a session with whomever `epd` selects. Ends in
    /// [`Event::SessionOpened`] or [`Event::OpenFailed`]. If there is a session with that peer
    /// already, it is reported as opened for this attempt too.
    ///
    /// With no address the attempt waits for [`add_candidate`](Self::add_candidate).
    pub fn open(&mut self, now: Time, epd: Epd, addresses: &[SocketAddr]) -> OpenId {
        let by_owner = |&address| FarAddress { address, named_by: NamedBy::Owner };
        self.open_at(now, epd, addresses.iter().map(by_owner))
    }

    /// The same with addresses that others have named, who bear what it costs: little is sent to
    /// them until they answer ([`NamedBy`]).
    pub fn open_at(
        &mut self,
        now: Time,
        epd: Epd,
        addresses: impl IntoIterator<Item = FarAddress>,
    ) -> OpenId {
        self.now = now;
        let id = self.next_attempt;
        self.next_attempt += 1;
        if let Some(session) = epd.fingerprint().and_then(|far| self.table.find(far)) {
            self.report_opened(session, vec![OpenId(id)]);
            return OpenId(id);
        }
        // The far end may have opened a session that it has not used yet.
        let unconfirmed = epd.fingerprint().is_some_and(|far| self.table.is_unconfirmed(far));
        let yielding = unconfirmed.then(|| now + UNCONFIRMED);
        let (candidates, purse, keying) = (Vec::new(), Purse::default(), None);
        let attempt = Attempt { epd, started: now, candidates, purse, keying, yielding };
        self.attempts.insert(id, attempt);
        for FarAddress { address, named_by } in addresses {
            self.name_candidate(now, OpenId(id), address, named_by);
        }
        self.attempt_timeout(now, id);
        OpenId(id)
    }

    /// Gives an attempt up; [`Event::OpenFailed`] follows.
    pub fn cancel_open(&mut self, open: OpenId) {
        self.fail(open.0, OpenSessionError::Cancelled);
    }

    /// Progress of an attempt: the error with which it would end now. `None` if it is over.
    pub fn so_far(&self, now: Time, open: OpenId) -> Option<OpenSessionError> {
        self.attempts.get(&open.0).map(|attempt| attempt.failure(now))
    }

    /// Cancels an attempt without an event, and returns how far it came. `None` if it is over.
    pub fn give_up(&mut self, now: Time, open: OpenId) -> Option<OpenSessionError> {
        let error = self.so_far(now, open)?;
        self.forget(open.0);
        Some(error)
    }

    /// A hello goes to every candidate that is due, or the keying is repeated.
    pub(super) fn attempt_timeout(&mut self, now: Time, id: u64) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let elapsed = now.since(attempt.started);
        if elapsed >= self.config.open_timeout {
            let error = attempt.failure(now);
            return self.fail(id, error);
        }
        if attempt.yielding.is_some_and(|until| until <= now) {
            let far = attempt.far();
            let waits = far.is_some_and(|far| self.table.is_unconfirmed(far));
            attempt.yielding = waits.then(|| now + YIELD_AGAIN);
        }
        if attempt.yielding.is_some() {
            // Nothing to do until then.
        } else if attempt.keying.is_some() {
            self.repeat_keying(now, id);
        } else {
            self.send_hellos(now, id);
        }
        if let Some(attempt) = self.attempts.get(&id) {
            let next = attempt.next_timeout(self.config.open_timeout);
            self.table.schedule_attempt(next, id);
        }
    }

    fn repeat_keying(&mut self, now: Time, id: u64) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let Some(keying) = &mut attempt.keying else { return };
        let Some(initiated) = keying.initiated.clone().filter(|_| keying.next <= now) else {
            return;
        };
        keying.sent += 1;
        keying.next = now + BACKOFF * keying.sent;
        let (path, near_id, cookie) = (keying.path, keying.near_id, keying.cookie.clone());
        let identity = self.identity.clone();
        let mut chunk = InitiatorKeying {
            session_id: near_id,
            cookie: &cookie,
            certificate: identity.certificate().as_bytes(),
            component: initiated.component(),
            signature: &[],
        };
        let mut signed = Vec::new();
        chunk.encode_signed(&mut signed);
        let signature = self.config.passwords.sign(&signed);
        chunk.signature = &signature;
        self.send_startup(path, 0, &Chunk::InitiatorKeying(chunk));
    }

    /// An answer of `received` bytes came from `path`.
    pub(super) fn on_responder_hello(
        &mut self,
        now: Time,
        path: Path,
        received: usize,
        hello: &ResponderHello<'_>,
    ) {
        if self.on_watched_hello(now, path, hello.tag_echo) {
            return;
        }
        let Some(&(id, index)) = self.by_tag.get(hello.tag_echo) else {
            return self.report_answer(path, hello.tag_echo);
        };
        let waits = |a: &&Attempt| a.keying.is_none() && a.yielding.is_none();
        let Some(attempt) = self.attempts.get(&id).filter(waits) else { return };
        let Ok(far) = Certificate::parse(hello.certificate) else { return };
        if !attempt.epd.selects(&far) || far.fingerprint() == self.fingerprint() {
            return;
        }
        if let Some(session) = self.table.find(far.fingerprint()) {
            self.forget(id);
            return self.report_opened(session, vec![OpenId(id)]);
        }
        let asked = attempt.candidates.get(index).map(|candidate| candidate.path.remote);
        if asked != Some(path.remote) {
            return self.check_candidate(now, id, path, received);
        }
        self.prove(path.remote);
        // One keying with a far end is enough (§3.5.1.1.1); its session fulfils this attempt too.
        if self.attempts.values().any(|a| a.keying.as_ref().is_some_and(|k| k.far == far)) {
            return;
        }
        let near_id = self.new_session_id();
        let random = KeyingRandom::from_rng(&mut *self.random);
        let work = Initiate {
            identity: self.identity.clone(),
            far: far.clone(),
            offer: self.config.negotiation.clone(),
            ours: cookies::is_ours(hello.cookie),
            random,
        };
        let keying = Keying {
            path,
            far,
            cookie: hello.cookie.to_vec(),
            cookie_changed: false,
            near_id,
            initiated: None,
            finishing: None,
            next: now,
            sent: 0,
            early: Vec::new(),
        };
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.keying = Some(keying);
        }
        self.keying_ids.insert(near_id, id);
        self.jobs.push_back(Job(Work::Initiate { open: id, work: Box::new(work) }));
    }

    pub(super) fn on_initiated(
        &mut self,
        now: Time,
        id: u64,
        result: Result<Box<Initiated>, CryptoError>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let Some(keying) = &mut attempt.keying else { return };
        match result {
            Ok(initiated) => {
                keying.initiated = Some(Arc::from(initiated));
                keying.next = now;
                self.attempt_timeout(now, id);
            }
            Err(error) => {
                let address = keying.path.remote;
                self.fail(id, OpenSessionError::Keying { address, error });
            }
        }
    }

    /// The work was not done: the far end is asked again when that is due, and answers again.
    pub(super) fn on_initiate_refused(&mut self, now: Time, id: u64) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if let Some(keying) = attempt.keying.take() {
            self.keying_ids.remove(&keying.near_id);
            self.attempt_timeout(now, id);
        }
    }

    /// The work was not done: the next answer to a repeated keying is taken.
    pub(super) fn on_finish_refused(&mut self, id: u64) {
        if let Some(keying) = self.attempts.get_mut(&id).and_then(|a| a.keying.as_mut()) {
            keying.finishing = None;
        }
    }

    pub(super) fn on_cookie_change(&mut self, now: Time, near_id: u32, change: &CookieChange<'_>) {
        let Some(&id) = self.keying_ids.get(&near_id) else { return };
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let Some(keying) = &mut attempt.keying else { return };
        if keying.cookie_changed || keying.cookie != change.old_cookie {
            return;
        }
        keying.cookie_changed = true;
        keying.cookie = change.new_cookie.to_vec();
        keying.next = now;
        self.attempt_timeout(now, id);
    }

    pub(super) fn on_responder_keying(
        &mut self,
        path: Path,
        near_id: u32,
        chunk: &ResponderKeying<'_>,
    ) {
        let Some(&id) = self.keying_ids.get(&near_id) else { return };
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if attempt.yielding.is_some() {
            return;
        }
        let Some(keying) = &mut attempt.keying else { return };
        let Some(initiated) = keying.initiated.clone().filter(|_| keying.finishing.is_none())
        else {
            return;
        };
        let mut signed = Vec::new();
        chunk.encode_signed(&mut signed);
        signed.extend_from_slice(initiated.component());
        let Some(proven) = self.config.passwords.accept(chunk.signature, &signed) else {
            tracing::debug!(address = %path.remote, "keying without a password that is known");
            return;
        };
        keying.finishing = Some((path, proven));
        let component = chunk.component.to_vec();
        let far_id = chunk.session_id;
        self.jobs.push_back(Job(Work::Finish { open: id, initiated, component, far_id }));
    }

    pub(super) fn on_finished(
        &mut self,
        now: Time,
        id: u64,
        far_id: u32,
        result: Result<Box<SessionKeys>, CryptoError>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let Some(keying) = &mut attempt.keying else { return };
        let keys = match result {
            Ok(keys) => *keys,
            Err(error) => {
                tracing::debug!(address = %keying.path.remote, %error, "key exchange refused");
                keying.finishing = None;
                return;
            }
        };
        let (path, proven) = keying.finishing.take().unwrap_or((keying.path, Vec::new()));
        let (far, near_id) = (keying.far.clone(), keying.near_id);
        let early = std::mem::take(&mut keying.early);
        self.forget(id);
        if let Some(session) = self.table.find(far.fingerprint()) {
            // The far end's keying was faster; what it made of this one fades away unused.
            return self.report_opened(session, vec![OpenId(id)]);
        }
        let opening = Opening {
            id: SessionId(near_id),
            far_id,
            role: Role::Initiator,
            far,
            path,
            keys,
            mobility_secret: self.random_bytes(),
            proven,
        };
        let mut session = Session::new(now, &self.config, opening);
        session.ping_unless_used(now);
        self.table.enter(path.remote.ip(), usize::MAX, usize::MAX);
        self.table.insert(session);
        let session = SessionId(near_id);
        self.table.name(session);
        self.report_opened(session, vec![OpenId(id)]);
        self.settle(now, session);
        for (path, mut datagram) in early {
            self.handle_session_packets(now, path, Arrived::one(&mut datagram), session);
        }
    }

    /// Keeps a packet that may belong to a session whose keys are still being computed.
    pub(super) fn keep_early(&mut self, id: u64, path: Path, datagram: &[u8]) {
        if let Some(keying) = self.attempts.get_mut(&id).and_then(|a| a.keying.as_mut())
            && keying.finishing.is_some()
            && keying.early.len() < MAX_EARLY
        {
            keying.early.push((path, datagram.to_vec()));
        }
    }

    /// Reports a session to the attempts `opens` and to every other attempt that is after this
    /// far end.
    pub(super) fn report_opened(&mut self, id: SessionId, mut opens: Vec<OpenId>) {
        let Some(session) = self.table.open(id) else { return };
        let (role, far, remote) = (session.role, session.far.fingerprint(), session.path.remote);
        let others: Vec<u64> = self.attempts_after(&session.far, session.path).collect();
        for other in others {
            self.forget(other);
            opens.push(OpenId(other));
        }
        tracing::debug!(session = %id, peer = %far, address = %remote, ?role, "session open");
        self.events.push_back(Event::SessionOpened { session: id, role, far, opens });
    }

    /// The attempts that are after the far end with `certificate` at `path`.
    pub(super) fn attempts_after(
        &self,
        certificate: &Certificate,
        path: Path,
    ) -> impl Iterator<Item = u64> {
        let wanted = move |attempt: &Attempt| attempt.is_after(certificate, path);
        self.attempts.iter().filter(move |(_, attempt)| wanted(attempt)).map(|(&id, _)| id)
    }

    /// Silences an attempt while the far end's own keying is answered.
    pub(super) fn yield_attempt(&mut self, now: Time, id: u64) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.yielding = Some(now + UNCONFIRMED);
            self.table.schedule_attempt(now + UNCONFIRMED, id);
        }
    }

    /// Drops an attempt without a word.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(attempt) = self.attempts.remove(&id) {
            for candidate in &attempt.candidates {
                self.by_tag.remove(&candidate.tag[..]);
            }
            if let Some(keying) = attempt.keying {
                self.keying_ids.remove(&keying.near_id);
            }
        }
    }

    fn fail(&mut self, id: u64, error: OpenSessionError) {
        if self.attempts.contains_key(&id) {
            self.forget(id);
            self.events.push_back(Event::OpenFailed { open: OpenId(id), error });
        }
    }

    /// A session ID that no session and no attempt uses. It names this worker.
    pub(super) fn new_session_id(&mut self) -> u32 {
        loop {
            let id = self.worker.sign(self.random.next_u32());
            let taken =
                id == 0 || self.table.contains(SessionId(id)) || self.keying_ids.contains_key(&id);
            if !taken {
                return id;
            }
        }
    }

    pub(super) fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill_bytes(&mut bytes);
        bytes
    }
}
