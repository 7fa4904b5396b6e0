//! Connectivity checks: what an address translator in front of a client does
//! (`protocol-notes/connectivity.md`).
//!
//! A client that asks for a check is sent hellos from another port of the server, and from another
//! address if there is one, and is introduced to sockets that have never sent it anything. All this goes
//! to the address of its session alone, which is verified, and is bounded. Hellos leave and answers
//! arrive at a [`Prober`], which has these sockets.

mod prober;

use super::Rendezvous;
use super::addresses::is_public;
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::connectivity::{ADOBE_HOST, APPLICATION};
use crate::flash::{ConnectRequest, Connectivity, Host, Responder, Uri, call};
use crate::transport::buckets::Buckets;
use crate::transport::{Rate, SessionId, Time};
pub use prober::Prober;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Times that a datagram is sent before it counts as kept back.
const TRIES: u32 = 4;
/// Time from one to the next: two round trips, within these bounds.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(1);
/// Addresses of one socket that a client is introduced to, as the server may not know which of its
/// addresses the client can reach.
const MAX_ADDRESSES: usize = 3;
/// Hosts whose checks are counted; further ones share one count.
const MAX_COUNTED: usize = 65_536;
/// Requests that wait for the prober; further ones are dropped like lost packets.
const MAX_REQUESTS: usize = 4096;

/// Limits of connectivity checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectivityLimits {
    /// Checks of clients at one IP address; further ones are refused. A check takes 8 datagrams of less
    /// than 160 bytes and 24 chunks of less than 320 at most, all to the address of the client's session.
    pub from_host: Rate,
    /// Checks at a time; further ones are refused.
    pub at_once: usize,
}

impl Default for ConnectivityLimits {
    fn default() -> Self {
        Self { from_host: Rate { burst: 20, per_second: 1 }, at_once: 1024 }
    }
}

/// What a socket of the [`Prober`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbePurpose {
    /// Hellos leave there: another port of the address at which the server listens.
    HelloFromPort,
    /// Hellos leave there: another address.
    HelloFromAddress,
    /// Clients are introduced to it, and nothing leaves: another port.
    ReplyToPort,
    /// Likewise: another address.
    ReplyToAddress,
}

impl ProbePurpose {
    const ALL: [Self; 4] =
        [Self::HelloFromPort, Self::HelloFromAddress, Self::ReplyToPort, Self::ReplyToAddress];
}

/// A socket of the [`Prober`], for clients of its version of IP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeSocket {
    /// What it is for.
    pub purpose: ProbePurpose,
    /// Its addresses as clients reach it. The first three that may help a client are used.
    pub addresses: Vec<SocketAddr>,
}

impl ProbeSocket {
    /// A socket with these addresses, all of one version of IP.
    pub fn new(purpose: ProbePurpose, addresses: Vec<SocketAddr>) -> Self {
        Self { purpose, addresses }
    }

    const fn is_for_replies(&self) -> bool {
        matches!(self.purpose, ProbePurpose::ReplyToPort | ProbePurpose::ReplyToAddress)
    }

    fn serves(&self, client: IpAddr) -> bool {
        self.addresses.first().is_some_and(|own| own.is_ipv4() == client.is_ipv4())
    }
}

/// A hello for the [`Prober`] to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeRequest {
    /// The number of the socket in [`RendezvousConfig::probe_sockets`](super::RendezvousConfig).
    pub socket: u16,
    /// The address of a client's session.
    pub to: SocketAddr,
    /// The client.
    pub peer: Fingerprint,
    /// Comes back in the answer.
    pub tag: [u8; 16],
}

/// An answer that has arrived at the [`Prober`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeAnswer {
    /// Where it came from.
    pub from: SocketAddr,
    /// The tag of the hello.
    pub tag: [u8; 16],
}

impl ProbeAnswer {
    /// The number of the worker that has asked, if the answer is not forged.
    pub const fn worker(&self) -> usize {
        self.tag[0] as usize
    }
}

/// The checks of a server.
#[derive(Debug)]
pub(super) struct Checks {
    limits: ConnectivityLimits,
    from_host: Buckets<IpAddr>,
    running: HashMap<SessionId, Check>,
    by_tag: HashMap<[u8; 16], (SessionId, ProbePurpose)>,
    timers: BTreeSet<(Time, SessionId)>,
    requests: VecDeque<ProbeRequest>,
}

impl Checks {
    pub(super) fn new(limits: ConnectivityLimits) -> Self {
        Self {
            limits,
            from_host: Buckets::new(limits.from_host, MAX_COUNTED),
            running: HashMap::new(),
            by_tag: HashMap::new(),
            timers: BTreeSet::new(),
            requests: VecDeque::new(),
        }
    }

    pub(super) const fn set_limits(&mut self, limits: ConnectivityLimits) {
        self.limits = limits;
        self.from_host.set_rate(limits.from_host);
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|&(at, _)| at)
    }

    pub(super) fn forget(&mut self, session: SessionId) -> Option<Check> {
        let check = self.running.remove(&session)?;
        self.timers.remove(&(check.next, session));
        for test in &check.tests {
            self.by_tag.remove(&test.tag);
        }
        Some(check)
    }

    fn request(&mut self, request: ProbeRequest) {
        if self.requests.len() < MAX_REQUESTS {
            self.requests.push_back(request);
        }
    }
}

/// A check that runs.
#[derive(Debug)]
pub(super) struct Check {
    public: SocketAddr,
    tests: Vec<Test>,
    responder: Option<Responder>,
    sent: u32,
    next: Time,
}

#[derive(Debug)]
struct Test {
    purpose: ProbePurpose,
    /// The number of the socket.
    socket: u16,
    tag: [u8; 16],
    /// Addresses that the client is introduced to.
    reply: Vec<SocketAddr>,
    seen: Option<SocketAddr>,
}

impl Check {
    fn has_all(&self) -> bool {
        self.tests.iter().all(|test| test.seen.is_some())
    }

    /// `None` if there was no such test, otherwise from where its answer came, if one came.
    fn outcome(&self, purpose: ProbePurpose) -> Option<Option<SocketAddr>> {
        self.tests.iter().find(|test| test.purpose == purpose).map(|test| test.seen)
    }

    fn results(&self, local: &[SocketAddr]) -> Connectivity {
        let arrived = |purpose| self.outcome(purpose).map(|seen| seen.is_some());
        let port = self.outcome(ProbePurpose::ReplyToPort);
        let address = self.outcome(ProbePurpose::ReplyToAddress);
        let introduced = address.or(port);
        let kept = |is_it: fn(SocketAddr, SocketAddr) -> bool| {
            introduced.map(|seen| seen.is_some_and(|seen| is_it(seen, self.public)))
        };
        let reports = !local.is_empty();
        let port_of_public = self.public.port();
        Connectivity {
            public_address: Some(self.public),
            local_addresses: local.to_vec(),
            public_address_is_local: reports.then(|| local.contains(&self.public)),
            public_port_matches_local_port: reports
                .then(|| local.iter().any(|address| address.port() == port_of_public)),
            receive_same_address_different_port: arrived(ProbePurpose::HelloFromPort),
            receive_different_address_different_port: arrived(ProbePurpose::HelloFromAddress),
            send_after_introduction: introduced.map(|seen| seen.is_some()),
            preserves_source_address: kept(|seen, public| seen == public),
            preserves_source_port: kept(|seen, public| seen.port() == public.port()),
            seen_from_other_port: port.flatten(),
            seen_from_other_address: address.flatten(),
        }
    }
}

/// True if a client wants a check by connecting: as clients of Adobe's checker do.
pub(super) fn is_wanted(request: &ConnectRequest, app: &str) -> bool {
    let host = request.tc_url.as_deref().and_then(|url| Uri::parse(url).ok());
    let by_name = |uri: Uri| match uri.server() {
        Some((Host::Name(name), _)) => name.eq_ignore_ascii_case(ADOBE_HOST),
        _ => false,
    };
    app == APPLICATION || host.is_some_and(by_name)
}

/// The address of the server by which a client has called it, if it was not by name.
pub(super) fn called(request: &ConnectRequest) -> Option<IpAddr> {
    match Uri::parse(request.tc_url.as_deref()?).ok()?.server()? {
        (Host::Ip(ip), _) => Some(*ip),
        (Host::Name(_), _) => None,
    }
}

/// The addresses of a socket to which a client at `client` is introduced.
fn reply_addresses(
    socket: &ProbeSocket,
    client: IpAddr,
    called: Option<IpAddr>,
) -> Vec<SocketAddr> {
    let Some(first) = socket.addresses.first() else { return Vec::new() };
    // It has reached that, if nothing but a port is different.
    let named = called
        .filter(|ip| {
            socket.purpose == ProbePurpose::ReplyToPort && ip.is_ipv4() == client.is_ipv4()
        })
        .map(|ip| SocketAddr::new(ip, first.port()));
    let wants_public = is_public(client) && socket.addresses.iter().any(|own| is_public(own.ip()));
    let own = socket.addresses.iter().copied();
    let own = own.filter(|own| !wants_public || is_public(own.ip()));
    let own = own.filter(|own| client.is_loopback() == own.ip().is_loopback());
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in named.into_iter().chain(own) {
        if !all.contains(&address) && all.len() < MAX_ADDRESSES {
            all.push(address);
        }
    }
    all
}

impl Rendezvous {
    /// A hello for the [`Prober`].
    #[must_use]
    pub fn poll_probe(&mut self) -> Option<ProbeRequest> {
        self.checks.as_mut()?.requests.pop_front()
    }

    /// An answer has arrived at the [`Prober`].
    pub fn handle_probe_answer(&mut self, now: Time, answer: ProbeAnswer) {
        let Some(checks) = &mut self.checks else { return };
        let Some(&(session, purpose)) = checks.by_tag.get(&answer.tag) else { return };
        let Some(check) = checks.running.get_mut(&session) else { return };
        if let Some(test) = check.tests.iter_mut().find(|test| test.purpose == purpose) {
            test.seen.get_or_insert(answer.from);
        }
        if check.has_all() {
            self.conclude_check(now, session);
        }
        self.drain_endpoint(now);
    }

    /// A client calls [`METHOD`](crate::flash::connectivity::METHOD), with the address of the server that it
    /// has reached if it knows that.
    pub(super) fn on_check_called(
        &mut self,
        now: Time,
        session: SessionId,
        (args, responder): (&[Value], Option<Responder>),
    ) {
        // Only the client itself sends anything there.
        let named = args.first().and_then(Value::as_str).and_then(|text| text.parse().ok());
        if let (Some(named), Some(client)) = (named, self.clients.get_mut(&session)) {
            client.called = Some(named);
        }
        if let Err((responder, why)) = self.check_connectivity(now, session, responder) {
            self.answer_call(now, session, responder, Err(why));
        }
    }

    /// Begins a check, or says why not.
    pub(super) fn check_connectivity(
        &mut self,
        now: Time,
        session: SessionId,
        responder: Option<Responder>,
    ) -> Result<(), (Option<Responder>, &'static str)> {
        let (Some(client), Some(info)) =
            (self.clients.get(&session), self.endpoint.session(session))
        else {
            return Ok(());
        };
        let public = info.path().remote;
        let Some(checks) = self.checks.as_mut().filter(|_| !self.config.probe_sockets.is_empty())
        else {
            return Err((responder, "this server makes no connectivity checks"));
        };
        if let Some(check) = checks.running.get_mut(&session) {
            if check.responder.is_some() {
                return Err((responder, "a connectivity check is running"));
            }
            check.responder = responder;
            return Ok(());
        }
        if checks.running.len() >= checks.limits.at_once
            || !checks.from_host.spend(now, public.ip(), 1)
        {
            self.stats.checks_refused += 1;
            return Err((responder, "too many connectivity checks"));
        }
        let mut tests: Vec<Test> = Vec::new();
        for (socket, place) in self.config.probe_sockets.iter().enumerate() {
            if !place.serves(public.ip()) || tests.iter().any(|it| it.purpose == place.purpose) {
                continue;
            }
            let reply = match place.is_for_replies() {
                true => reply_addresses(place, public.ip(), client.called),
                false => Vec::new(),
            };
            // Nothing that this client can reach.
            if place.is_for_replies() && reply.is_empty() {
                continue;
            }
            let mut tag = [0; 16];
            self.random.fill_bytes(&mut tag);
            tag[0] = self.endpoint.worker().number() as u8;
            checks.by_tag.insert(tag, (session, place.purpose));
            tests.push(Test {
                purpose: place.purpose,
                socket: socket as u16,
                tag,
                reply,
                seen: None,
            });
        }
        checks.timers.insert((now, session));
        let check = Check { public, tests, responder, sent: 0, next: now };
        checks.running.insert(session, check);
        self.stats.checks += 1;
        self.check_timeouts(now);
        Ok(())
    }

    /// Sends what is due, and ends checks whose time is over.
    pub(super) fn check_timeouts(&mut self, now: Time) {
        while let Some(checks) = &mut self.checks
            && let Some(&(at, session)) = checks.timers.first()
            && at <= now
        {
            checks.timers.pop_first();
            match checks.running.get(&session) {
                Some(check) if check.has_all() || check.sent >= TRIES => {
                    self.conclude_check(now, session);
                }
                Some(_) => self.send_probes(now, session),
                None => {}
            }
        }
    }

    fn send_probes(&mut self, now: Time, session: SessionId) {
        let Some(info) = self.endpoint.session(session) else { return };
        let Some(checks) = &mut self.checks else { return };
        let Some(check) = checks.running.get_mut(&session) else { return };
        let (peer, to) = (info.far(), check.public);
        let pause = info.round_trip().map_or(LONGEST / 2, |time| time * 2);
        check.sent += 1;
        check.next = now + pause.clamp(SHORTEST, LONGEST);
        checks.timers.insert((check.next, session));
        let (mut hellos, mut forwards) = (Vec::new(), Vec::new());
        for purpose in ProbePurpose::ALL {
            let waiting =
                check.tests.iter().filter(|it| it.purpose == purpose && it.seen.is_none());
            for &Test { socket, tag, ref reply, .. } in waiting {
                match purpose {
                    ProbePurpose::HelloFromPort | ProbePurpose::HelloFromAddress => {
                        hellos.push(ProbeRequest { socket, to, peer, tag });
                    }
                    ProbePurpose::ReplyToPort | ProbePurpose::ReplyToAddress => {
                        forwards.extend(reply.iter().map(|&reply| (reply, tag)));
                    }
                }
            }
        }
        hellos.into_iter().for_each(|request| checks.request(request));
        for (reply, tag) in forwards {
            self.endpoint.introduce_to(now, session, reply, &tag);
        }
    }

    fn conclude_check(&mut self, now: Time, session: SessionId) {
        let Some(check) = self.checks.as_mut().and_then(|checks| checks.forget(session)) else {
            return;
        };
        let Some(client) = self.clients.get_mut(&session) else { return };
        let results = check.results(&client.local_addresses);
        tracing::debug!(%session, "connectivity checked");
        let info = results.to_info();
        let sent = client.connection.notify(now, "onStatus", vec![info.clone()]);
        debug_assert_eq!(sent, Ok(()), "plain values have an encoding");
        self.answer_call(now, session, check.responder, Ok(info));
        self.carry_out(now, session);
    }

    fn answer_call(
        &mut self,
        now: Time,
        session: SessionId,
        responder: Option<Responder>,
        outcome: Result<Value, &str>,
    ) {
        let outcome = outcome.map_err(call::failed);
        let client = self.clients.get_mut(&session);
        if let (Some(client), Some(responder)) = (client, responder) {
            let answered = client.connection.answer(now, responder, outcome);
            debug_assert_eq!(answered, Ok(()), "plain values have an encoding");
        }
    }
}
