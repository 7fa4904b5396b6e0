//! Introductions (RFC 7016 §3.5.1.4, §3.5.1.5) and their limits.
//!
//! An asker sends a hello for a client. It receives the client's addresses, and its hello is forwarded
//! to the client, so that each opens its NAT for the other. The hello's source may be forged: the
//! bytes to the asker and the answer of the client are together at most three times as long as the
//! hello. A client of the server may go beyond that for a while, since a player's hello is short
//! and its answer long. A client gets no more forwarded hellos than it can bear, and from one host
//! only a part of them; beyond that the asker still receives the addresses.

use super::history::Answer;
use super::{Rendezvous, RendezvousEvent, addresses};
use crate::transport::buckets::Buckets;
use crate::transport::{IntroductionRequest, Rate, SessionId, Time};
use crate::wire::{Address, Origin};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// Askers and clients whose traffic is counted; further ones share one count.
const MAX_COUNTED: usize = 65_536;
/// The bytes sent to an asker, by the server and by the client that it asks for, are at most this
/// many times the bytes of its hello.
const FACTOR: usize = 3;
/// Bytes of the longest common cookie.
const COOKIE: usize = 64;

/// Limits of introductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IntroductionLimits {
    /// Hellos from one IP address; further ones are ignored.
    pub from_host: Rate,
    /// Hellos from one address and port that are forwarded. Further ones are only answered.
    pub from_address: Rate,
    /// Hellos that are forwarded to one client. Further ones are only answered.
    pub to_client: Rate,
    /// Hellos that are forwarded to one client from one IP address.
    pub from_host_to_client: Rate,
    /// Bytes that a client at one address and port may be sent beyond three times what it has sent,
    /// by answers to forwarded hellos. Others may not.
    pub beyond_factor: Rate,
}

impl Default for IntroductionLimits {
    fn default() -> Self {
        Self {
            from_host: Rate { burst: 400, per_second: 200 },
            from_address: Rate { burst: 128, per_second: 16 },
            to_client: Rate { burst: 64, per_second: 32 },
            from_host_to_client: Rate { burst: 16, per_second: 4 },
            beyond_factor: Rate { burst: 8192, per_second: 64 },
        }
    }
}

/// The budgets of hosts. The ports of one host are spread over all workers, which have these in
/// common: they are used once for each hello that asks for a client, and never for a packet of a
/// session.
#[derive(Debug, Clone)]
pub(super) struct HostBudgets(Arc<Mutex<Buckets<IpAddr>>>);

impl HostBudgets {
    pub(super) fn new(limits: IntroductionLimits) -> Self {
        Self(Arc::new(Mutex::new(Buckets::new(limits.from_host, MAX_COUNTED))))
    }

    /// Nothing panics under the lock, so that a poisoned one is as good as any.
    fn spend(&self, now: Time, host: IpAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spend(now, host, 1)
    }

    fn set_rate(&self, rate: Rate) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set_rate(rate);
    }
}

/// The recent introductions.
#[derive(Debug)]
pub(super) struct Budgets {
    from_host: HostBudgets,
    from_address: Buckets<SocketAddr>,
    to_client: Buckets<SessionId>,
    from_host_to_client: Buckets<(IpAddr, SessionId)>,
    beyond_factor: Buckets<SocketAddr>,
}

impl Budgets {
    pub(super) fn new(limits: IntroductionLimits, from_host: HostBudgets) -> Self {
        Self {
            from_host,
            from_address: Buckets::new(limits.from_address, MAX_COUNTED),
            to_client: Buckets::new(limits.to_client, MAX_COUNTED),
            from_host_to_client: Buckets::new(limits.from_host_to_client, MAX_COUNTED),
            beyond_factor: Buckets::new(limits.beyond_factor, MAX_COUNTED),
        }
    }

    /// True if a hello from an asker may be forwarded by another worker, which brings the asker
    /// `beyond` bytes too many.
    fn ask(&mut self, now: Time, from: SocketAddr, beyond: usize) -> bool {
        self.from_address.has(now, &from, 1)
            && self.beyond_factor.spend(now, from, beyond as u64)
            && self.from_address.spend(now, from, 1)
    }

    /// True if one more hello from a host may be forwarded to a client.
    pub(super) fn bear(&mut self, now: Time, from: IpAddr, to: SessionId) -> bool {
        let pair = (from, to);
        self.from_host_to_client.has(now, &pair, 1)
            && self.to_client.spend(now, to, 1)
            && self.from_host_to_client.spend(now, pair, 1)
    }

    pub(super) fn set_limits(&mut self, limits: IntroductionLimits) {
        self.from_host.set_rate(limits.from_host);
        self.from_address.set_rate(limits.from_address);
        self.to_client.set_rate(limits.to_client);
        self.from_host_to_client.set_rate(limits.from_host_to_client);
        self.beyond_factor.set_rate(limits.beyond_factor);
    }

    /// True if one more hello may be forwarded, which brings the asker `beyond` bytes too many.
    fn forward(&mut self, now: Time, from: SocketAddr, to: SessionId, beyond: usize) -> bool {
        let pair = (from.ip(), to);
        self.from_address.has(now, &from, 1)
            && self.from_host_to_client.has(now, &pair, 1)
            && self.beyond_factor.has(now, &from, beyond as u64)
            && self.to_client.spend(now, to, 1)
            && self.from_host_to_client.spend(now, pair, 1)
            && self.from_address.spend(now, from, 1)
            && self.beyond_factor.spend(now, from, beyond as u64)
    }
}

/// The current addresses of the clients, each with the number of its sessions.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<SocketAddr, usize>);

impl Places {
    pub(super) fn enter(&mut self, address: SocketAddr) {
        *self.0.entry(address).or_default() += 1;
    }

    pub(super) fn leave(&mut self, address: SocketAddr) {
        if let Some(count) = self.0.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&address);
            }
        }
    }
}

/// The length of the answer to a hello with such a tag, by an end with such a certificate: a startup
/// packet in blocks of 16 bytes behind the session ID.
const fn answer_len(tag: usize, certificate: usize) -> usize {
    let chunk = 3 + 1 + tag + 1 + COOKIE + certificate;
    4 + (5 + chunk).next_multiple_of(16)
}

impl Rendezvous {
    /// Answers a hello for a client.
    pub(super) fn introduce(&mut self, now: Time, introduction: &IntroductionRequest) {
        let (from, wanted) = (introduction.from.remote, introduction.wanted);
        if !self.budgets.from_host.spend(now, from.ip()) {
            self.history.note(now, from, wanted, Answer::Limited);
            self.stats.introductions_limited += 1;
            return;
        }
        let Some(session) = self.endpoint.session_with(wanted) else {
            // Another member may know it: then that is noted, too.
            self.history.note(now, from, wanted, Answer::UnknownPeer);
            if !self.look_up(introduction) {
                self.stats.unknown_peers += 1;
            }
            return;
        };
        self.note_hello(now, from, self.own(session));
        let Some(addresses) = self.addresses_for(session, introduction) else { return };
        let sent = self.endpoint.redirect(introduction, &addresses);
        let Some(info) = self.endpoint.session(session) else { return };
        let certificate = info.certificate().as_bytes().len();
        let beyond = self.beyond(introduction, sent, certificate);
        if beyond.is_some_and(|beyond| self.budgets.forward(now, from, session, beyond)) {
            self.endpoint.forward_hello(now, session, introduction);
            self.stats.forwarded += 1;
        } else {
            self.stats.forwards_limited += 1;
        }
        self.note_introduction(now, introduction);
    }

    /// An asker was sent the addresses of a client.
    pub(super) fn note_introduction(&mut self, now: Time, introduction: &IntroductionRequest) {
        self.stats.introductions += 1;
        let (from, to) = (introduction.from.remote, introduction.wanted);
        self.history.note(now, from, to, Answer::Addresses);
        self.report(RendezvousEvent::Introduced { from, to });
    }

    /// Bytes that the asker is sent beyond the usual factor if its hello is forwarded to a client
    /// with such a certificate. `None` if the hello may be forged and is too short for that.
    fn beyond(
        &self,
        introduction: &IntroductionRequest,
        sent: usize,
        certificate: usize,
    ) -> Option<usize> {
        let answer = answer_len(introduction.tag.len(), certificate);
        let beyond = (sent + answer).saturating_sub(FACTOR * introduction.received);
        let is_client = self.places.0.contains_key(&introduction.from.remote);
        (beyond == 0 || is_client).then_some(beyond)
    }

    /// True if a hello may be forwarded by another worker, as far as the asker is concerned.
    pub(super) fn may_forward(
        &mut self,
        now: Time,
        introduction: &IntroductionRequest,
        sent: usize,
        certificate: usize,
    ) -> bool {
        let from = introduction.from.remote;
        let beyond = self.beyond(introduction, sent, certificate);
        beyond.is_some_and(|beyond| self.budgets.ask(now, from, beyond))
    }

    /// The addresses of the client of `session` that the asker gets.
    pub(super) fn addresses_for(
        &mut self,
        session: SessionId,
        introduction: &IntroductionRequest,
    ) -> Option<Vec<Address>> {
        let client = self.clients.get_mut(&session)?;
        let info = self.endpoint.session(session)?;
        let observed = info.path().remote;
        let asker = introduction.from.remote.ip();
        let received = info.stats().bytes_received;
        if client.is_own {
            let all = addresses::of_own_peer(observed, &client.local_addresses, asker);
            let of_kind = |address| match address == observed {
                true => Address::new(address, Origin::Reflexive),
                false => Address::new(address, Origin::Local),
            };
            return Some(all.into_iter().map(of_kind).collect());
        }
        let own = &self.config.own_addresses;
        let reported = client.reported.hand_out((observed, received), asker, own);
        let reported = reported.into_iter().map(|address| Address::new(address, Origin::Local));
        let observed = Address::new(observed, Origin::Reflexive);
        Some(std::iter::once(observed).chain(reported).collect())
    }
}
