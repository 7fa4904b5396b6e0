//! The player as a machine of the simulator: it calls whom it called in the recording, with the
//! recorded bytes and keys of its own.

mod respond;
mod terms;

pub use terms::{Terms, answer};
use terms::{is_acceptable, option};

use super::capture::{Call, Keying};
use super::client::Client;
use super::member::Member;
use super::rules::Judge;
use super::session::{ANSWER, Session, With};
use rtmfp::proto::crypto::{
    Certificate, DhGroup, Epd, Fingerprint, HmacPolicy, Identity, IdentityConfig, Initiate,
    Initiated, KeyStyle, KeyingRandom, Negotiation, Opener, Sealer, SendPolicy, SseqPolicy,
};
use rtmfp::proto::group::GroupSpec;
use rtmfp::proto::sim::{Actor, SeededRandom};
use rtmfp::proto::transport::{Arrived, Computed, Job, Machine, Path, Time, Transmit, TransmitBuf};
use rtmfp::wire::chunk::{InitiatorHello, InitiatorKeying, ResponderHello, ResponderKeying};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, Mode, PacketHeader, multiplex};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How far a recorded keying has come in this run.
pub enum Stage {
    Waiting,
    /// Hellos were sent to these.
    Calling(Time, HashSet<SocketAddr>),
    Keying(Time, Box<Initiated>),
    /// Answered.
    Open,
}

pub struct Calling {
    pub call: Call,
    pub stage: Stage,
}

pub struct Player {
    pub address: SocketAddr,
    identity: Arc<Identity>,
    random: SeededRandom,
    pub calls: Vec<Calling>,
    pub sessions: Vec<Session>,
    pub judge: Judge,
    pub spec: Option<GroupSpec>,
    /// Recorded fingerprints and those that stand for them.
    pub fingerprints: HashMap<[u8; 32], [u8; 32]>,
    /// Call members when they are introduced, not when they were called in the recording.
    pub wait_for_introductions: bool,
    /// Say once, as responder, that a cookie belongs to another address.
    pub change_cookie: bool,
    /// What the far ends announced about HMACs and sequence numbers in their components.
    pub terms: Vec<Terms>,
    cookies: Vec<Vec<u8>>,
    next_id: u32,
    begin: Time,
    sealer: Sealer,
    opener: Opener,
    out: VecDeque<(SocketAddr, Vec<u8>)>,
}

/// What an initiating player offers: HMACs of 10 bytes and sequence numbers, each on request.
pub fn offer() -> Negotiation {
    let send = SendPolicy::OnRequest;
    Negotiation {
        hmac: HmacPolicy { send, request: false, require: false, length: 10 },
        sseq: SseqPolicy { send, request: false, require: false },
        groups: vec![DhGroup::Modp2],
        only_on_request: false,
    }
}

/// An identity like the player's: one static key in group 2 and nothing else.
pub fn identity(random: &mut SeededRandom) -> Arc<Identity> {
    let mut config = IdentityConfig::default();
    config.keys = KeyStyle::Static;
    config.groups = vec![DhGroup::Modp2];
    config.accepts_ancillary = false;
    Identity::generate(&config, random).into()
}

impl Player {
    pub fn new(
        now: Time,
        address: SocketAddr,
        calls: Vec<Call>,
        identity: Arc<Identity>,
        random: SeededRandom,
    ) -> Self {
        let stage = |call| Calling { call, stage: Stage::Waiting };
        Self {
            address,
            identity,
            random,
            calls: calls.into_iter().map(stage).collect(),
            sessions: Vec::new(),
            judge: Judge::default(),
            spec: None,
            fingerprints: HashMap::new(),
            wait_for_introductions: false,
            change_cookie: false,
            terms: Vec::new(),
            cookies: Vec::new(),
            next_id: 0x0900_0000,
            begin: now,
            sealer: Sealer::default_key(),
            opener: Opener::default_key(),
            out: VecDeque::new(),
        }
    }

    /// Another player with the same certificate and calls.
    pub fn twin(&self, now: Time, address: SocketAddr, random: SeededRandom) -> Self {
        let calls = self.calls.iter().map(|calling| calling.call.clone()).collect();
        let twin = Self::new(now, address, calls, self.identity.clone(), random);
        let (spec, fingerprints) = (self.spec.clone(), self.fingerprints.clone());
        let wait_for_introductions = self.wait_for_introductions;
        Self { spec, fingerprints, wait_for_introductions, ..twin }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// Everything recorded was sent.
    pub fn is_done(&self) -> bool {
        let answered = |calling: &Calling| {
            calling.call.keying.is_none() && !matches!(calling.stage, Stage::Waiting)
                || matches!(calling.stage, Stage::Open)
        };
        self.calls.iter().all(answered) && self.sessions.iter().all(Session::is_done)
    }

    /// Judges what must be true in the end.
    pub fn finish(&mut self, now: Time) {
        for calling in &self.calls {
            let (expected, call) = (calling.call.keying.is_some(), &calling.call);
            let open = matches!(calling.stage, Stage::Open);
            self.judge.rule(
                now,
                "whoever was called is reached, and nobody else answers",
                open == expected,
                || format!("{:02x?} at {}", call.epd, call.to),
            );
        }
        for session in &mut self.sessions {
            session.finish(now, &mut self.judge);
        }
    }

    fn process(&mut self, now: Time) {
        for index in 0..self.calls.len() {
            if self.call_due(index).is_some_and(|due| due <= now) {
                self.place_call(now, index);
            }
        }
        for session in &mut self.sessions {
            session.process(now, &mut self.judge);
            while let Some(datagram) = session.poll_datagram() {
                self.out.push_back(datagram);
            }
        }
        let forwarded: Vec<_> =
            self.sessions.iter_mut().flat_map(|s| s.forwarded.drain(..)).collect();
        for hello in forwarded {
            self.answer_hello(hello.reply, &hello.epd, &hello.tag);
        }
    }

    /// When a call is to be placed; none if it was, or waits for an introduction.
    fn call_due(&self, index: usize) -> Option<Time> {
        let Calling { call, stage: Stage::Waiting } = &self.calls[index] else { return None };
        let first = self.calls.first().map_or(Duration::ZERO, |first| first.call.at);
        let due = self.begin + call.at.saturating_sub(first);
        let wanted = Epd::parse(&self.epd(call)).ok().and_then(|epd| epd.fingerprint());
        match wanted.filter(|_| self.wait_for_introductions) {
            Some(wanted) => self.is_introduced(wanted).then_some(self.begin),
            None => Some(due),
        }
    }

    fn is_introduced(&self, wanted: Fingerprint) -> bool {
        self.sessions.iter().any(|session| match &session.with {
            With::Server(client) => client.introduced.contains(&wanted.0),
            With::Peer(_) => false,
        })
    }

    /// The recorded discriminator, with this run's fingerprint in it.
    fn epd(&self, call: &Call) -> Vec<u8> {
        let mut epd = call.epd.clone();
        if let [0x21, 0x0f, fingerprint @ ..] = &mut epd[..]
            && let Some(new) = self.fingerprints.get(&*fingerprint)
        {
            fingerprint.copy_from_slice(new);
        }
        epd
    }

    fn place_call(&mut self, now: Time, index: usize) {
        let to = self.calls[index].call.to;
        self.calls[index].stage = Stage::Calling(now, HashSet::new());
        self.hello(index, to);
    }

    fn hello(&mut self, index: usize, to: SocketAddr) {
        let (epd, tag) = (self.epd(&self.calls[index].call), self.calls[index].call.tag.clone());
        let Stage::Calling(_, asked) = &mut self.calls[index].stage else { return };
        if asked.insert(to) {
            self.startup(to, 0, &Chunk::InitiatorHello(InitiatorHello { epd: &epd, tag: &tag }));
            self.judge.replayed("hellos");
        }
    }

    fn startup(&mut self, to: SocketAddr, session_id: u32, chunk: &Chunk<'_>) {
        let mut datagram = Vec::new();
        let start = self.sealer.begin(&mut datagram);
        let header = PacketHeader { timestamp: Some(0), ..PacketHeader::new(Mode::Startup) };
        header.encode(&mut datagram);
        chunk.encode(&mut datagram).unwrap();
        let range = self.sealer.finish(&mut datagram, start);
        self.sealer.seal(session_id, &mut datagram, &[range]);
        self.out.push_back((to, datagram));
    }

    fn on_startup(&mut self, now: Time, from: SocketAddr, session_id: u32, datagram: &[u8]) {
        let mut encrypted = datagram[multiplex::SESSION_ID_LEN..].to_vec();
        let Ok(plain) = self.opener.open(&mut encrypted) else {
            // Late packets of a session that is over.
            return;
        };
        let Ok((header, rest)) = PacketHeader::parse(plain) else { return };
        self.judge.rule(now, "startup packets have mode 3", header.mode == Mode::Startup, || {
            format!("{header:?}")
        });
        for chunk in chunks(rest) {
            match chunk {
                Chunk::InitiatorHello(hello) => self.answer_hello(from, hello.epd, hello.tag),
                Chunk::ResponderHello(hello) => self.on_responder_hello(now, from, &hello),
                Chunk::Redirect(redirect) => {
                    let addresses: Vec<_> = redirect.addresses().map(|a| a.socket).collect();
                    self.on_redirect(now, redirect.tag_echo, &addresses);
                }
                Chunk::InitiatorKeying(keying) => {
                    self.answer_keying(now, from, session_id, &keying)
                }
                Chunk::ResponderKeying(keying) => {
                    self.on_responder_keying(now, from, session_id, &keying)
                }
                other => self.judge.rule(
                    now,
                    "no other chunks in startup",
                    matches!(other, Chunk::Padding { .. }),
                    || format!("{other:?}"),
                ),
            }
        }
    }

    fn called(&self, tag: &[u8]) -> Option<usize> {
        self.calls.iter().position(|calling| calling.call.tag == tag)
    }

    fn on_redirect(&mut self, now: Time, tag: &[u8], addresses: &[SocketAddr]) {
        let call = self.called(tag);
        self.judge.rule(
            now,
            "a redirect has the tag of the hello, and addresses",
            call.is_some() && !addresses.is_empty(),
            || format!("{tag:02x?} {addresses:?}"),
        );
        if let Some(index) = call {
            addresses.iter().for_each(|address| self.hello(index, *address));
        }
    }

    fn on_responder_hello(&mut self, now: Time, from: SocketAddr, hello: &ResponderHello<'_>) {
        let Some(index) = self.called(hello.tag_echo) else {
            return self.judge.rule(
                now,
                "a responder hello has the tag of the hello",
                false,
                || format!("{hello:02x?}"),
            );
        };
        let Calling { call, stage } = &self.calls[index];
        let Stage::Calling(since, _) = stage else { return };
        let Some(keying) = call.keying.clone() else {
            return self.judge.rule(now, "nobody answers a hello for somebody else", false, || {
                format!("{from}")
            });
        };
        let late = now.since(*since);
        self.judge
            .rule(now, "a hello is answered at once", late <= ANSWER * 2, || format!("{late:?}"));
        let certificate = Certificate::parse(hello.certificate);
        let to_server = Epd::parse(&call.epd).is_ok_and(|epd| epd.ancillary().is_some());
        self.judge.rule(
            now,
            "the certificate takes ancillary data (0A) if a URL was asked for, and has keys in group 2",
            certificate.is_ok() && is_acceptable(hello.certificate, to_server),
            || format!("{:02x?}", hello.certificate),
        );
        let Ok(far) = certificate else { return };
        let random = KeyingRandom::from_rng(&mut self.random);
        let identity = self.identity.clone();
        let Ok(initiated) = Initiate { identity, far, offer: offer(), ours: false, random }.run()
        else {
            return self.judge.rule(
                now,
                "a session with this certificate is possible",
                false,
                String::new,
            );
        };
        // The layout is the recorded one; only the random bytes differ.
        let (ours, theirs) = (initiated.component(), &keying.component);
        assert_eq!(
            (ours.len(), &ours[..5], &ours[69..]),
            (theirs.len(), &theirs[..5], &theirs[69..])
        );
        let certificate = self.identity.certificate().as_bytes().to_vec();
        assert_eq!(
            (certificate.len(), &certificate[..4]),
            (keying.certificate.len(), &keying.certificate[..4])
        );
        let component = ours.to_vec();
        let chunk = InitiatorKeying {
            session_id: keying.session_id,
            cookie: hello.cookie,
            certificate: &certificate,
            component: &component,
            signature: &keying.signature,
        };
        self.startup(from, 0, &Chunk::InitiatorKeying(chunk));
        self.judge.replayed("keyings");
        self.calls[index].stage = Stage::Keying(now, Box::new(initiated));
    }

    fn on_responder_keying(
        &mut self,
        now: Time,
        from: SocketAddr,
        session_id: u32,
        chunk: &ResponderKeying<'_>,
    ) {
        let asked = |calling: &Calling| {
            let keying = calling.call.keying.as_ref();
            matches!(calling.stage, Stage::Keying(..))
                && keying.is_some_and(|k| k.session_id == session_id)
        };
        let Some(index) = self.calls.iter().position(asked) else {
            return self.judge.rule(
                now,
                "a responder keying has the initiator's session ID",
                false,
                || format!("{session_id:08x}"),
            );
        };
        self.judge.rule(
            now,
            "a responder keying has the initiator's session ID",
            true,
            String::new,
        );
        self.terms.push(Terms::of(chunk.component));
        let hmac = option(chunk.component, 0x1a);
        let terms = hmac.map_or((0, 0), |value| (value[0], value[1]));
        self.judge.rule(
            now,
            "the HMAC answer has never SOR without SND, and a length of 4 to 32 if and only if SND",
            terms.0 & 0x06 != 0x02
                && (terms.0 & 0x04 != 0) == (4..=32).contains(&terms.1)
                && (terms.0 & 0x04 != 0 || terms.1 == 0),
            || format!("{terms:02x?}"),
        );
        let calling = &mut self.calls[index];
        let Stage::Keying(since, initiated) = std::mem::replace(&mut calling.stage, Stage::Open)
        else {
            return;
        };
        self.judge.rule(now, "a keying is answered at once", now.since(since) <= ANSWER, || {
            format!("{:?}", now.since(since))
        });
        let keys = initiated.finish(chunk.component);
        self.judge.rule(now, "the responder's component makes keys", keys.is_ok(), || {
            format!("{:?}", keys.as_ref().err())
        });
        let Ok(keys) = keys else { return };
        let call = calling.call.clone();
        let keying = call.keying.as_ref().expect("it was keyed");
        let epd = Epd::parse(&self.epd(&call)).expect("a recorded discriminator");
        let with = match epd.fingerprint() {
            Some(far) => With::Peer(Box::new(Member::new(
                self.spec.clone(),
                [self.fingerprint(), far],
                self.address,
                keys.near_nonce,
                keys.far_nonce,
            ))),
            None => With::Server(Client::default()),
        };
        let keying = self.substituted(keying);
        let ids = [session_id, chunk.session_id];
        let session = Session::new(now, Mode::Initiator, ids, from, keys, Some(&keying), with);
        self.sessions.push(session);
        self.judge.replayed("sessions");
    }

    /// What was recorded, with this run's fingerprints in place of the recorded ones.
    fn substituted(&self, keying: &Keying) -> Keying {
        let mut keying = keying.clone();
        for step in &mut keying.script.moves {
            let super::capture::What::Data(fragment) = &mut step.what else { continue };
            if fragment.data.len() < 32 {
                continue;
            }
            for at in 0..=fragment.data.len() - 32 {
                if let Some(new) = self.fingerprints.get(&fragment.data[at..at + 32]) {
                    fragment.data[at..at + 32].copy_from_slice(new);
                }
            }
        }
        keying
    }
}

impl Machine for Player {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        for datagram in arrived.each() {
            let id = multiplex::session_id(datagram).expect("a datagram of ours");
            let session = self.sessions.iter().position(|s| s.near_id == id).filter(|_| id != 0);
            match session {
                Some(index) => {
                    self.sessions[index].receive(now, path.remote, datagram, &mut self.judge);
                }
                None => self.on_startup(now, path.remote, id, datagram),
            }
        }
        self.process(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.process(now);
    }

    fn handle_computed(&mut self, _now: Time, _computed: Computed) {}

    fn poll_transmit(&mut self, _now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        buf.clear();
        let (to, datagram) = self.out.pop_front()?;
        buf.push(&datagram);
        Some(Transmit::to(Path::to(to)))
    }

    fn poll_timeout(&self) -> Option<Time> {
        let calls = (0..self.calls.len()).filter_map(|index| self.call_due(index));
        calls.chain(self.sessions.iter().filter_map(Session::poll_timeout)).min()
    }

    fn poll_job(&mut self) -> Option<Job> {
        None
    }
}

impl Actor for Player {
    fn react(&mut self, _now: Time) -> bool {
        false
    }
}
