//! Everything that endpoints send, decrypted, and the rules that it must keep.

use super::packets::open_default;
use rtmfp::proto::crypto::{Overheard, keying_digest};
use rtmfp::proto::sim::Actor;
use rtmfp::proto::transport::{
    Arrived, Computed, Endpoint, Job, Machine, Path, Time, Transmit, TransmitBuf,
};
use rtmfp::wire::chunk::{FragmentControl, UserDataFlags};
use rtmfp::wire::multiplex::session_id;
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// An endpoint whose datagrams are recorded.
#[derive(Debug)]
pub struct Tapped(pub Endpoint, pub Tape);

/// What an endpoint has sent, and the secrets of its sessions.
#[derive(Debug, Default)]
pub struct Tape {
    pub max_datagram: usize,
    pub sent: Vec<(Time, SocketAddr, Vec<u8>)>,
    /// Bytes received from each address.
    pub received: HashMap<SocketAddr, usize>,
    known: HashSet<u32>,
    secrets: HashMap<String, Vec<u8>>,
}

impl Tapped {
    pub fn new(endpoint: Endpoint, max_datagram: usize) -> Self {
        Self(endpoint, Tape { max_datagram, ..Tape::default() })
    }

    fn note_secrets(&mut self) {
        let Self(endpoint, tape) = self;
        for (id, session) in endpoint.sessions() {
            if tape.known.insert(id.0) {
                let line = session.key_log_line().expect("the configuration keeps secrets");
                let mut words = line.as_ref().split(' ').skip(1);
                let (digest, secret) = (words.next().unwrap(), words.next().unwrap());
                tape.secrets.insert(digest.to_owned(), unhex(secret));
            }
        }
    }
}

impl Machine for Tapped {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        *self.1.received.entry(path.remote).or_default() += arrived.bytes.len();
        self.0.handle_datagrams(now, path, arrived);
        self.note_secrets();
    }
    fn handle_timeout(&mut self, now: Time) {
        self.0.handle_timeout(now);
    }
    fn handle_computed(&mut self, now: Time, computed: Computed) {
        self.0.handle_computed(now, computed);
        self.note_secrets();
    }
    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        let transmit = self.0.poll_transmit(now, buf)?;
        for datagram in buf.datagrams() {
            assert!(datagram.len() <= self.1.max_datagram, "{} bytes", datagram.len());
            self.1.sent.push((now, transmit.path.remote, datagram.to_vec()));
        }
        Some(transmit)
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.0.poll_timeout()
    }
    fn poll_job(&mut self) -> Option<Job> {
        self.0.poll_job()
    }
}

impl Actor for Tapped {
    fn react(&mut self, _now: Time) -> bool {
        false
    }
}

/// A packet that was sent.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Time,
    /// Index of the sender.
    pub from: usize,
    pub to: SocketAddr,
    pub session: u32,
    pub startup: bool,
    pub header: PacketHeader,
    pub len: usize,
    rest: Vec<u8>,
}

impl Seen {
    pub fn new(
        (at, from, to): (Time, usize, SocketAddr),
        session: u32,
        startup: bool,
        (len, plain): (usize, &[u8]),
    ) -> Self {
        let (header, rest) = PacketHeader::parse(plain).expect("a packet header");
        let rest = rest.to_vec();
        Self { at, from, to, session, startup, header, len, rest }
    }

    pub fn chunks(&self) -> Vec<Chunk<'_>> {
        chunks(&self.rest).collect()
    }

    /// True if a chunk satisfies `wanted`.
    pub fn any(&self, wanted: impl FnMut(Chunk<'_>) -> bool) -> bool {
        self.chunks().into_iter().any(wanted)
    }
}

/// What several endpoints have sent, each in its order.
#[derive(Debug)]
pub struct Wire {
    pub seen: Vec<Seen>,
    /// Session packets whose keys are not known.
    pub unknown: usize,
    /// An end looks for larger datagrams, to which packets in pieces belong.
    searches: bool,
}

type Direction = (Overheard, bool);

impl Wire {
    pub fn new(ends: &[&Tapped]) -> Self {
        let tapes: Vec<&Tape> = ends.iter().map(|tapped| &tapped.1).collect();
        let searches = tapes.iter().any(|tape| tape.max_datagram > 1200);
        let mut wire = Self { seen: Vec::new(), unknown: 0, searches };
        let mut keys = Self::keys(&tapes);
        let mut scratch = Vec::new();
        for (from, tape) in tapes.iter().enumerate() {
            for (at, to, datagram) in &tape.sent {
                let id = session_id(datagram).expect("a session ID");
                let envelope = (*at, from, *to);
                if let Some(plain) = open_default(datagram) {
                    wire.seen.push(Seen::new(envelope, id, true, (datagram.len(), &plain)));
                    continue;
                }
                let candidates = keys.get_mut(&id).into_iter().flatten();
                let mut plain = None;
                for (overheard, from_initiator) in candidates {
                    let opened = if *from_initiator {
                        overheard.open_from_initiator(&datagram[4..], &mut scratch)
                    } else {
                        overheard.open_from_responder(&datagram[4..], &mut scratch)
                    };
                    if let Ok(opened) = opened {
                        plain = Some(opened.to_vec());
                        break;
                    }
                }
                match plain {
                    Some(plain) => {
                        wire.seen.push(Seen::new(envelope, id, false, (datagram.len(), &plain)));
                    }
                    None => wire.unknown += 1,
                }
            }
        }
        wire
    }

    /// By the session ID on the packet: who can read it, and whether the initiator sends it.
    fn keys(tapes: &[&Tape]) -> HashMap<u32, Vec<Direction>> {
        let (mut initiators, mut responders) = (Vec::new(), Vec::new());
        for (_, _, datagram) in tapes.iter().flat_map(|tape| &tape.sent) {
            let Some(plain) = open_default(datagram) else { continue };
            let (_, rest) = PacketHeader::parse(&plain).expect("a packet header");
            for chunk in chunks(rest) {
                match chunk {
                    Chunk::InitiatorKeying(k) => {
                        initiators.push((k.session_id, k.component.to_vec()));
                    }
                    Chunk::ResponderKeying(k) => {
                        responders.push((k.session_id, k.component.to_vec()));
                    }
                    _ => {}
                }
            }
        }
        let mut keys: HashMap<u32, Vec<Direction>> = HashMap::new();
        for (initiator, skic) in &initiators {
            for (responder, skrc) in &responders {
                let digest = hex(&keying_digest(skic, skrc));
                let Some(secret) = tapes.iter().find_map(|t| t.secrets.get(&digest)) else {
                    continue;
                };
                let overheard = || Overheard::new(skic, skrc, secret).expect("an agreed keying");
                keys.entry(*initiator).or_default().push((overheard(), false));
                keys.entry(*responder).or_default().push((overheard(), true));
            }
        }
        keys
    }

    /// Session packets of the end with this index.
    pub fn session_packets(&self, from: usize) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(move |seen| !seen.startup && seen.from == from)
    }

    /// What must hold for everything that is sent to anybody.
    pub fn check_rules(&self) {
        for seen in &self.seen {
            if seen.startup {
                assert_eq!(seen.header.mode, Mode::Startup);
                continue;
            }
            assert_ne!(seen.header.mode, Mode::Startup);
            assert!(!seen.chunks().is_empty(), "an empty packet: {seen:?}");
            for chunk in seen.chunks() {
                let in_pieces = matches!(chunk, Chunk::PacketFragment(_));
                if !(in_pieces && self.searches) {
                    check_chunk(&chunk);
                }
            }
        }
    }
}

fn check_chunk(chunk: &Chunk<'_>) {
    match chunk {
        Chunk::UserData(data) => check_fragment(data.flags, data.data),
        Chunk::NextUserData(data) => check_fragment(data.flags, data.data),
        Chunk::BitmapAck(_) => panic!("a bitmap acknowledgement"),
        Chunk::Unknown { .. } | Chunk::PacketFragment(_) => panic!("{chunk:?}"),
        _ => {}
    }
}

/// A final flag on an empty fragment that is not abandoned is an empty message, which ends the
/// observed player's process.
fn check_fragment(flags: UserDataFlags, data: &[u8]) {
    assert!(!(flags.last && data.is_empty() && !flags.abandon), "an empty final fragment");
    assert!(!flags.abandon || data.is_empty(), "data in an abandoned fragment");
    assert_eq!(flags.reserved, 0);
    if flags.fragment != FragmentControl::Whole && !flags.abandon {
        assert!(!data.is_empty(), "an empty part of a message");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}
