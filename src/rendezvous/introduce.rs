//! Introductions (RFC 7016 §3.5.1.4, §3.5.1.5) and their limits.
//!
//! An asker sends a hello for a client. It receives the client's addresses, and its hello is forwarded
//! to the client, so that each opens its NAT for the other. The hello's source may be forged: the
//! bytes to the asker and the answer of the client are together at most three times as long as the
//! hello. A client of the server may go beyond that for a while, since a player's hello is short
//! and its answer long. A client gets no more forwarded hellos than it can bear, and from one host
//! only a part of them; beyond that the asker still receives the addresses.
//!
//! The budgets of clients, whose addresses are proven, are apart from those of strangers: a flood from
//! forged sources uses up what strangers may do, and fills their tables alone.

use super::addresses::Asker;
use super::history::Answer;
use super::{Rendezvous, RendezvousEvent, addresses};
use crate::transport::buckets::Buckets;
use crate::transport::{IntroductionRequest, Rate, SessionId, Time};
use crate::wire::{Address, Origin};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Hellos of other clients that are forwarded to one client. Further ones are only answered. Of
    /// those that come from elsewhere half as many are forwarded.
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

/// The same for both sorts of askers.
#[derive(Debug)]
struct Each<T> {
    clients: T,
    strangers: T,
}

impl<T> Each<T> {
    fn of(&self, asker: Asker) -> &T {
        match asker {
            Asker::Client => &self.clients,
            Asker::Stranger => &self.strangers,
        }
    }

    const fn of_mut(&mut self, asker: Asker) -> &mut T {
        match asker {
            Asker::Client => &mut self.clients,
            Asker::Stranger => &mut self.strangers,
        }
    }
}

/// The budgets of hosts. The ports of one host are spread over all workers, which have these in
/// common: they are used once for each hello that asks for a client, and never for a packet of a
/// session.
#[derive(Debug, Clone)]
pub(super) struct HostBudgets(Arc<Mutex<Each<Buckets<IpAddr>>>>);

impl HostBudgets {
    pub(super) fn new(limits: IntroductionLimits) -> Self {
        let hosts = || Buckets::new(limits.from_host, MAX_COUNTED);
        Self(Arc::new(Mutex::new(Each { clients: hosts(), strangers: hosts() })))
    }

    /// Nothing panics under the lock, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Each<Buckets<IpAddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spend(&self, now: Time, asker: Asker, host: IpAddr) -> bool {
        self.lock().of_mut(asker).spend(now, host, 1)
    }

    fn set_rate(&self, rate: Rate) {
        let mut hosts = self.lock();
        hosts.clients.set_rate(rate);
        hosts.strangers.set_rate(rate);
    }
}

/// The recent introductions.
#[derive(Debug)]
pub(super) struct Budgets {
    from_host: HostBudgets,
    forwards: Each<Forwards>,
    /// Of clients alone.
    beyond_factor: Buckets<SocketAddr>,
}

/// The hellos of one sort of askers that were forwarded.
#[derive(Debug)]
struct Forwards {
    from_address: Buckets<SocketAddr>,
    to_client: Buckets<SessionId>,
    from_host_to_client: Buckets<(IpAddr, SessionId)>,
}

impl Forwards {
    fn new(limits: IntroductionLimits) -> Self {
        Self {
            from_address: Buckets::new(limits.from_address, MAX_COUNTED),
            to_client: Buckets::new(limits.to_client, MAX_COUNTED),
            from_host_to_client: Buckets::new(limits.from_host_to_client, MAX_COUNTED),
        }
    }

    const fn set_limits(&mut self, limits: IntroductionLimits) {
        self.from_address.set_rate(limits.from_address);
        self.to_client.set_rate(limits.to_client);
        self.from_host_to_client.set_rate(limits.from_host_to_client);
    }
}

/// What strangers may do: half as much to a client.
fn of_strangers(limits: IntroductionLimits) -> IntroductionLimits {
    let Rate { burst, per_second } = limits.to_client;
    let to_client = Rate { burst: (burst / 2).max(1), per_second: (per_second / 2).max(1) };
    IntroductionLimits { to_client, ..limits }
}

impl Budgets {
    pub(super) fn new(limits: IntroductionLimits, from_host: HostBudgets) -> Self {
        Self {
            from_host,
            forwards: Each {
                clients: Forwards::new(limits),
                strangers: Forwards::new(of_strangers(limits)),
            },
            beyond_factor: Buckets::new(limits.beyond_factor, MAX_COUNTED),
        }
    }

    /// True if a hello from an asker may be forwarded by another worker, which brings the asker
    /// `beyond` bytes too many.
    fn ask(&mut self, now: Time, asker: Asker, from: SocketAddr, beyond: usize) -> bool {
        self.forwards.of(asker).from_address.has(now, &from, 1)
            && self.go_beyond(now, from, beyond)
            && self.forwards.of_mut(asker).from_address.spend(now, from, 1)
    }

    /// True if one more hello from a host may be forwarded to a client.
    pub(super) fn bear(&mut self, now: Time, asker: Asker, from: IpAddr, to: SessionId) -> bool {
        let pair = (from, to);
        let forwards = self.forwards.of_mut(asker);
        forwards.from_host_to_client.has(now, &pair, 1)
            && forwards.to_client.spend(now, to, 1)
            && forwards.from_host_to_client.spend(now, pair, 1)
    }

    pub(super) fn set_limits(&mut self, limits: IntroductionLimits) {
        self.from_host.set_rate(limits.from_host);
        self.forwards.clients.set_limits(limits);
        self.forwards.strangers.set_limits(of_strangers(limits));
        self.beyond_factor.set_rate(limits.beyond_factor);
    }

    /// True if one more hello may be forwarded, which brings the asker `beyond` bytes too many.
    fn forward(
        &mut self,
        now: Time,
        (asker, from): (Asker, SocketAddr),
        to: SessionId,
        beyond: usize,
    ) -> bool {
        let pair = (from.ip(), to);
        let forwards = self.forwards.of(asker);
        forwards.from_address.has(now, &from, 1)
            && forwards.from_host_to_client.has(now, &pair, 1)
            && self.beyond_factor.has(now, &from, beyond as u64)
            && self.bear(now, asker, from.ip(), to)
            && self.forwards.of_mut(asker).from_address.spend(now, from, 1)
            && self.go_beyond(now, from, beyond)
    }

    /// True if the asker may be sent `beyond` bytes too many. None at all take no place.
    fn go_beyond(&mut self, now: Time, from: SocketAddr, beyond: usize) -> bool {
        beyond == 0 || self.beyond_factor.spend(now, from, beyond as u64)
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
        let asker = self.asker(from);
        if !self.budgets.from_host.spend(now, asker, from.ip()) {
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
        let Some(addresses) = self.addresses_for(session, introduction, asker) else { return };
        let sent = self.endpoint.redirect(introduction, &addresses);
        let Some(info) = self.endpoint.session(session) else { return };
        let certificate = info.certificate().as_bytes().len();
        let beyond = self.beyond(introduction, sent, certificate);
        let asker = (asker, from);
        if beyond.is_some_and(|beyond| self.budgets.forward(now, asker, session, beyond)) {
            self.endpoint.forward_hello(now, session, introduction);
            self.stats.forwarded += 1;
        } else {
            self.stats.forwards_limited += 1;
        }
        self.note_introduction(now, introduction);
    }

    /// Who asks from an address.
    pub(super) fn asker(&self, from: SocketAddr) -> Asker {
        if self.places.0.contains_key(&from) { Asker::Client } else { Asker::Stranger }
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
        let is_client = self.asker(introduction.from.remote) == Asker::Client;
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
        let (asker, beyond) = (self.asker(from), self.beyond(introduction, sent, certificate));
        beyond.is_some_and(|beyond| self.budgets.ask(now, asker, from, beyond))
    }

    /// The addresses of the client of `session` that the asker gets.
    pub(super) fn addresses_for(
        &mut self,
        session: SessionId,
        introduction: &IntroductionRequest,
        asker: Asker,
    ) -> Option<Vec<Address>> {
        let client = self.clients.get_mut(&session)?;
        let info = self.endpoint.session(session)?;
        let observed = info.path().remote;
        let from = introduction.from.remote.ip();
        let received = info.stats().bytes_received;
        if client.is_own {
            let all = addresses::of_own_peer(observed, &client.local_addresses, from);
            let of_kind = |address| match address == observed {
                true => Address::new(address, Origin::Reflexive),
                false => Address::new(address, Origin::Local),
            };
            return Some(all.into_iter().map(of_kind).collect());
        }
        let own = &self.config.own_addresses;
        let reported = client.reported.hand_out((observed, received), (from, asker), own);
        let reported = reported.into_iter().map(|address| Address::new(address, Origin::Local));
        let observed = Address::new(observed, Origin::Reflexive);
        Some(std::iter::once(observed).chain(reported).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each hello comes from another host and asks for another client, until all places are taken.
    #[test]
    fn hostile_hosts_without_number_leave_clients_their_budgets() {
        let (limits, now) = (IntroductionLimits::default(), Time::from_millis(1000));
        let mut budgets = Budgets::new(limits, HostBudgets::new(limits));
        for n in 0..2 * MAX_COUNTED as u32 {
            let [_, a, b, c] = n.to_be_bytes();
            let from = SocketAddr::from(([10, a, b, c], 5));
            budgets.from_host.spend(now, Asker::Stranger, from.ip());
            budgets.forward(now, (Asker::Stranger, from), SessionId(n), 0);
            budgets.forward(now, (Asker::Stranger, from), SessionId(7), 0);
        }
        let client = SocketAddr::from(([192, 0, 2, 1], 5));
        for _ in 0..limits.from_host_to_client.burst {
            assert!(budgets.from_host.spend(now, Asker::Client, client.ip()));
            assert!(budgets.forward(now, (Asker::Client, client), SessionId(7), 300));
        }
        let stranger = SocketAddr::from(([192, 0, 2, 2], 5));
        assert!(!budgets.forward(now, (Asker::Stranger, stranger), SessionId(7), 0));
        assert!(budgets.beyond_factor.has(now, &stranger, limits.beyond_factor.burst.into()));
    }
}
