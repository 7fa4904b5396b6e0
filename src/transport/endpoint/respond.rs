//! Answers to hellos and keyings (RFC 7016 §3.5.1.1.2), and introductions.

use super::cookies::{self, Hello};
use super::table::source;
use super::{Endpoint, Epd, Forwarded, Interface, IntroductionRequest, KeyingRandom, PendingKey};
use crate::crypto::{
    COOKIE_LEN, Certificate, CookieCheck, CryptoError, Respond, SessionKeys, mac16,
};
use crate::transport::buckets::Rate;
use crate::transport::rtt::ticks;
use crate::transport::session::{Opening, Session};
use crate::transport::{CloseReason, Config, Event, Path, Role, SessionId, Time};
use crate::wire::chunk::{
    CookieChange, ForwardedHello, InitiatorHello, InitiatorKeying, Redirect, ResponderHello,
    ResponderKeying, kind,
};
use crate::wire::{Address, Chunk, Origin};
use bytes::Bytes;

/// Longest tag that is echoed, in bytes; the players' have 16.
const MAX_TAG: usize = 64;
/// Introductions that may wait for their owner; further hellos are ignored.
const MAX_INTRODUCTIONS_QUEUED: usize = 1024;
/// One source may have this part of the keyings that wait, at most.
const PENDING_SHARE: usize = 8;

/// Bytes by which one answer to a hello may exceed [`Config::max_amplification`]: what a server's
/// answer with a whole cookie (148) exceeds three times the shortest hello (36) by, or a player's
/// certificate (228) the hello to a fingerprint (68).
///
/// [`Config::max_amplification`]: crate::transport::Config::max_amplification
const MAX_EXCESS: usize = 40;
/// All answers together: a hundred such answers in a second. Further ones carry a short cookie, or
/// wait for the next hello.
pub(super) const EXCESS: Rate = Rate { burst: 4096, per_second: 4096 };

/// Key of the hash by which keyings are distinguished; it need not be secret.
const KEYING_DIGEST: [u8; 16] = *b"keying component";
/// A keying that is being computed.
#[derive(Debug)]
pub(super) struct Pending {
    path: Path,
    far: Certificate,
    /// Attempts of this end wait for what comes of it.
    awaited: bool,
    proven: Vec<Vec<u8>>,
    component: Vec<u8>,
}

impl Endpoint {
    pub(super) fn on_hello(
        &mut self,
        now: Time,
        path: Path,
        received: usize,
        hello: &InitiatorHello<'_>,
    ) {
        let Ok(epd) = Epd::parse(hello.epd) else { return };
        if hello.tag.len() > MAX_TAG {
            return;
        }
        if self.config.accept && epd.selects(self.identity.certificate()) {
            let by_uri = epd.fingerprint().is_none();
            if by_uri && self.send_elsewhere(now, path, hello.tag, received) {
                return;
            }
            return self.answer_hello(now, path, hello.tag, Hello::of(&epd), received);
        }
        let Some(wanted) = epd.fingerprint().filter(|_| self.config.introduce) else { return };
        if self.introductions < MAX_INTRODUCTIONS_QUEUED {
            self.introductions += 1;
            let tag = Bytes::copy_from_slice(hello.tag);
            let introduction = IntroductionRequest { epd, wanted, tag, from: path, received };
            self.events.push_back(Event::IntroductionWanted(Box::new(introduction)));
        }
    }

    /// A hello that the far end of `forwarder` passed on: the answer goes straight to the initiator
    /// and opens this end's NAT for it (§3.5.1.5). The forwarder's credit pays for it: nothing was
    /// received from there.
    pub(super) fn on_forwarded_hello(
        &mut self,
        now: Time,
        (forwarder, interface): (SessionId, Interface),
        hello: &Forwarded,
    ) {
        let Ok(epd) = Epd::parse(&hello.epd) else { return };
        let selected = self.config.accept
            && self.config.answer_forwarded
            && epd.selects(self.identity.certificate());
        if !selected || hello.reply.port() == 0 || hello.tag.len() > MAX_TAG {
            return;
        }
        let path = Path { interface, remote: hello.reply };
        let cookie = cookies::whole(self.make_cookie(now, path), Hello::of(&epd));
        let identity = self.identity.clone();
        let certificate = identity.certificate().as_bytes();
        let hello = ResponderHello { tag_echo: &hello.tag, cookie: &cookie, certificate };
        let chunk = Chunk::ResponderHello(hello);
        let Some(answer) = self.seal_startup(0, Some(ticks(now)), 0, &chunk) else { return };
        if self.charge(now, path.remote, answer.len(), Some(forwarder)) {
            self.queue_startup(path, &answer);
        }
    }

    /// Answers with a whole cookie if the answer is short enough, or if the budget for answers that
    /// are not has what it is too long by; otherwise with a short cookie, or not at all.
    fn answer_hello(&mut self, now: Time, path: Path, tag: &[u8], kind: Hello, received: usize) {
        let short = self.make_cookie(now, path);
        let whole = cookies::whole(short, kind);
        let limit = self.config.max_amplification * received;
        let identity = self.identity.clone();
        let certificate = identity.certificate().as_bytes();
        let hello =
            |cookie| Chunk::ResponderHello(ResponderHello { tag_echo: tag, cookie, certificate });
        let Some(answer) = self.seal_startup(0, Some(ticks(now)), 0, &hello(&whole)) else {
            return;
        };
        let excess = answer.len().saturating_sub(limit);
        if excess == 0 || (excess <= MAX_EXCESS && self.excess.spend(now, (), excess as u64)) {
            return self.queue_startup(path, &answer);
        }
        self.counters.answers_limited += 1;
        self.send_startup_within(limit, path, 0, &hello(&short));
    }

    fn make_cookie(&self, now: Time, path: Path) -> [u8; COOKIE_LEN] {
        self.worker.cookies().make(now.as_millis(), path.remote)
    }

    /// Answers an introduction with addresses to ask (§3.5.1.4), as many as may be sent to an
    /// address that is not verified (`Config::max_amplification`). Returns the bytes that it took.
    pub fn redirect(&mut self, introduction: &IntroductionRequest, addresses: &[Address]) -> usize {
        let limit = self.config.max_amplification * introduction.received;
        let mut scratch = Vec::new();
        for count in (1..=addresses.len()).rev() {
            let redirect = Redirect::new(&introduction.tag, &addresses[..count], &mut scratch);
            let chunk = Chunk::Redirect(redirect);
            if let Some(sent) = self.send_startup_within(limit, introduction.from, 0, &chunk) {
                return sent;
            }
        }
        self.counters.answers_limited += u64::from(!addresses.is_empty());
        0
    }

    /// Passes a hello on to the peer of `session` (§3.5.1.5), unless it is too long for a packet.
    pub fn forward_hello(
        &mut self,
        now: Time,
        session: SessionId,
        introduction: &IntroductionRequest,
    ) {
        let Some(entry) = self.table.get_mut(session) else { return };
        let hello = ForwardedHello {
            epd: introduction.epd.as_bytes(),
            reply_address: Address::new(introduction.from.remote, Origin::Reflexive),
            tag: &introduction.tag,
        };
        let mut payload = Vec::with_capacity(hello.encoded_len());
        hello.encode(&mut payload);
        if payload.len() > entry.control_capacity() {
            return;
        }
        entry.push_control(None, kind::FORWARDED_HELLO, &payload);
        self.settle(now, session);
    }

    pub(super) fn on_initiator_keying(
        &mut self,
        now: Time,
        path: Path,
        received: usize,
        chunk: &InitiatorKeying<'_>,
    ) {
        let (cookie, hello) = cookies::read(chunk.cookie);
        match self.worker.cookies().check(now.as_millis(), path.remote, cookie) {
            CookieCheck::Valid => self.prove(path.remote),
            CookieCheck::WrongAddress => {
                let whole = cookies::whole(self.make_cookie(now, path), hello);
                // As long as the old one.
                let new_cookie = &whole[..chunk.cookie.len()];
                let change = CookieChange { old_cookie: chunk.cookie, new_cookie };
                let limit = self.config.max_amplification * received;
                let chunk_id = chunk.session_id;
                let sent =
                    self.send_startup_within(limit, path, chunk_id, &Chunk::CookieChange(change));
                self.counters.answers_limited += u64::from(sent.is_none());
                return;
            }
            CookieCheck::Stale | CookieCheck::Foreign => return,
        }
        let Ok(far) = Certificate::parse(chunk.certificate) else { return };
        if !self.config.accept || far.fingerprint() == self.fingerprint() {
            return;
        }
        let key = (path.remote, chunk.session_id, mac16(&KEYING_DIGEST, &[chunk.component]));
        if self.pending.contains_key(&key) || self.repeat_answer(now, path, &far, key) {
            return;
        }
        let mut signed = Vec::new();
        chunk.encode_signed(&mut signed);
        let Some(proven) = self.config.passwords.accept(chunk.signature, &signed) else {
            tracing::debug!(address = %path.remote, "keying without a password that is known");
            return;
        };
        let rivals: Vec<u64> = self.attempts_after(&far, path).collect();
        if !rivals.is_empty() && self.identity.certificate().precedes_or_equals(&far) {
            return self.prevail(now, path, rivals);
        }
        let space = self.has_space(path) && self.keyings.spend(now, path.remote, 1);
        if !space || !self.enter_keying(now, path) {
            self.counters.keyings_ignored += 1;
            tracing::debug!(address = %path.remote, "keying ignored: too many");
            return;
        }
        let awaited = !rivals.is_empty();
        rivals.into_iter().for_each(|id| self.yield_attempt(now, id));
        let mut policy = self.config.negotiation.clone();
        policy.only_on_request |= hello == Hello::NotByUrl;
        let work = Respond {
            identity: self.identity.clone(),
            initiator: far.clone(),
            skic: chunk.component.to_vec(),
            policy,
            random: KeyingRandom::from_rng(&mut *self.random),
        };
        let component = match self.config.passwords.offered.is_empty() {
            true => Vec::new(),
            false => chunk.component.to_vec(),
        };
        self.pending.insert(key, Pending { path, far, awaited, proven, component });
        self.keying_queue.push(now, source(path.remote.ip()), key, Box::new(work));
    }

    fn has_space(&self, path: Path) -> bool {
        let ip = path.remote.ip();
        self.worker.keyings().of(source(ip)) < self.pending_share()
            && (self.table.len_of_all() < self.config.max_sessions || self.table.unconfirmed() > 0)
            && (self.table.count_with(ip) < self.config.max_sessions_per_ip
                || self.table.unconfirmed_with(ip) > 0)
    }

    /// Keyings of one source that may wait.
    fn pending_share(&self) -> usize {
        (self.config.max_pending_keyings / PENDING_SHARE).max(1)
    }

    /// Takes a place among the keyings that wait: if none is free, that of a host that has had more of
    /// them computed.
    fn enter_keying(&mut self, now: Time, path: Path) -> bool {
        let (share, max) = (self.pending_share(), self.config.max_pending_keyings);
        let host = source(path.remote.ip());
        if self.worker.keyings().enter(host, share, max) {
            return true;
        }
        if self.worker.keyings().of(host) >= share {
            return false;
        }
        let Some(last) = self.keying_queue.displace(now, host) else { return false };
        self.take_pending(last);
        self.counters.keyings_ignored += 1;
        self.worker.keyings().enter(host, share, max)
    }

    fn take_pending(&mut self, key: PendingKey) -> Option<Pending> {
        let pending = self.pending.remove(&key)?;
        self.worker.keyings().leave(source(key.0.ip()));
        Some(pending)
    }

    /// Makes space for one more session with an address, of sessions that were not used yet: of that
    /// address, or of any if there are too many altogether. False if there is none to be had.
    fn make_space(&mut self, path: Path) -> bool {
        let ip = path.remote.ip();
        let full = self.table.count_with(ip) >= self.config.max_sessions_per_ip;
        if full || self.table.unconfirmed_with(ip) >= self.config.max_unconfirmed_per_ip {
            let evicted = self.table.evict_unconfirmed(ip);
            self.counters.unconfirmed_evicted += u64::from(evicted);
            return evicted;
        }
        if self.table.len_of_all() >= self.config.max_sessions
            || self.table.unconfirmed() >= self.config.max_unconfirmed
        {
            let evicted = self.table.evict_unconfirmed_anywhere();
            self.counters.unconfirmed_evicted += u64::from(evicted);
            return evicted;
        }
        true
    }

    /// Sends the answer again if this keying was answered already and the initiator has not used
    /// the keys yet. True if it was answered.
    fn repeat_answer(&mut self, now: Time, path: Path, far: &Certificate, key: PendingKey) -> bool {
        let Some(id) = self.table.answered(key) else { return false };
        let Some(session) = self.table.get_mut(id).filter(|s| s.far == *far) else { return false };
        session.on_keying_repeated(now);
        let answer = session.keying_answer.clone();
        if let Some((_, datagrams)) = answer.filter(|(_, datagrams)| !datagrams.is_empty()) {
            self.queue_startup(path, &datagrams);
        }
        true
    }

    /// Both ends are opening a session with each other, and this one goes first (§3.5.1.3): the
    /// far end's keying is ignored, but for the address, which reaches it for certain.
    fn prevail(&mut self, now: Time, path: Path, rivals: Vec<u64>) {
        rivals.into_iter().for_each(|id| self.ask_again(now, id, path));
    }

    pub(super) fn on_responded(
        &mut self,
        now: Time,
        key: PendingKey,
        result: Result<(Vec<u8>, Box<SessionKeys>), CryptoError>,
    ) {
        self.keying_queue.on_done();
        let Some(pending) = self.take_pending(key) else { return };
        let Pending { path, far, awaited, proven, component: far_component } = pending;
        let (component, keys) = match result {
            Ok(result) => result,
            Err(error) => {
                tracing::debug!(address = %path.remote, %error, "key exchange refused");
                return;
            }
        };
        let Config { max_sessions_per_ip, max_sessions, .. } = self.config;
        if !self.make_space(path)
            || !self.table.enter(path.remote.ip(), max_sessions_per_ip, max_sessions)
        {
            self.counters.keyings_ignored += 1;
            return;
        }
        let (_, far_id, _) = key;
        let near_id = self.new_session_id();
        let mut chunk =
            ResponderKeying { session_id: near_id, component: &component, signature: &[] };
        let mut signed = Vec::new();
        chunk.encode_signed(&mut signed);
        signed.extend_from_slice(&far_component);
        let signature = self.config.passwords.sign(&signed);
        chunk.signature = &signature;
        let chunk = Chunk::ResponderKeying(chunk);
        let Some(answer) = self.seal_startup(0, Some(ticks(now)), far_id, &chunk) else {
            return self.table.leave(path.remote.ip());
        };
        let opening = Opening {
            id: SessionId(near_id),
            far_id,
            role: Role::Responder,
            far,
            path,
            keys: *keys,
            mobility_secret: self.random_bytes(),
            proven,
        };
        let mut session = Session::new(now, &self.config, opening);
        if awaited {
            // An attempt of this end waits for this session, and the initiator may have nothing to
            // send.
            session.push_control(None, kind::PING, &[]);
        }
        session.keying_answer = Some((key, answer.clone()));
        self.queue_startup(path, &answer);
        self.table.insert(session);
        self.settle(now, SessionId(near_id));
    }

    /// The work was not done: a repetition of the keying is taken like a new one.
    pub(super) fn on_respond_refused(&mut self, key: PendingKey) {
        self.keying_queue.on_done();
        self.take_pending(key);
        self.counters.keyings_ignored += 1;
        self.keyings.give_back(&key.0, 1);
        self.keying_queue.forget(source(key.0.ip()));
    }

    /// The initiator has used the keys: the session is announced, and takes the place of an older
    /// one with the same certificate (RFC 7425 §4.3.7).
    ///
    /// A certificate without a static key proves nothing, so that such an older session falls only
    /// if the new one comes from the same IP address.
    pub(super) fn on_confirmed(&mut self, now: Time, id: SessionId) {
        let Some(session) = self.table.get_mut(id) else { return };
        let (far, ip) = (session.far.clone(), session.path.remote.ip());
        if let Some(((address, ..), _)) = &session.keying_answer {
            self.keyings.give_back(address, 1);
            self.keying_queue.forget(source(address.ip()));
        }
        let proven = far.static_groups().next().is_some();
        let older = self.table.find(far.fingerprint()).filter(|&older| older != id);
        if let Some(older) = older {
            let same_ip = self.table.open(older).is_some_and(|s| s.path.remote.ip() == ip);
            if let Some((session, mut cx)) = self.entry(now, older).filter(|_| proven || same_ip) {
                session.close_abruptly(&mut cx, CloseReason::Overridden);
                self.settle(now, older);
            }
        }
        self.table.name(id);
        self.report_opened(id, Vec::new());
    }
}
