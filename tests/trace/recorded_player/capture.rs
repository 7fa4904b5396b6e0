//! What the player did, out of a capture: the calls it made, and what it sent then.

use rtmfp::trace::{Capture, Decoded, Decoder, KeyLog, Sender};
use rtmfp::wire::chunk::{Chunk, OPTION_METADATA, OPTION_RETURN_ASSOCIATION, UserDataFlags};
use rtmfp::wire::option::{Item, items};
use rtmfp::wire::vlu;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The head of a player's certificate: one option, a static key in group 2.
const PLAYER_CERTIFICATE: [u8; 4] = [0x81, 0x02, 0x1d, 0x02];

/// A decrypted datagram.
pub struct Line {
    pub at: Duration,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sender: Sender,
    /// The session that this keying made.
    pub keyed: Option<(u64, u32)>,
    chunks: Vec<(u8, Vec<u8>)>,
}

impl Line {
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        self.chunks.iter().filter_map(|(kind, payload)| Chunk::parse(*kind, payload).ok())
    }
}

/// A capture.
pub struct Recording {
    pub lines: Vec<Line>,
}

/// An attempt of the player to open a session.
#[derive(Debug, Clone)]
pub struct Call {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub at: Duration,
    pub epd: Vec<u8>,
    pub tag: Vec<u8>,
    /// What came of it; none if nobody answered.
    pub keying: Option<Keying>,
}

/// The player's half of a keying, and what it sent in the session.
#[derive(Debug, Clone)]
pub struct Keying {
    pub peer: SocketAddr,
    pub session_id: u32,
    pub certificate: Vec<u8>,
    pub component: Vec<u8>,
    pub signature: Vec<u8>,
    pub script: Script,
}

/// What the player sent in a session.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// When the session was open.
    pub begin: Duration,
    pub moves: Vec<Move>,
    /// The metadata of the far end's flows.
    pub far_flows: BTreeMap<u64, Vec<u8>>,
}

/// One chunk of the player's.
#[derive(Debug, Clone)]
pub struct Move {
    pub at: Duration,
    /// Chunks of one packet have the same number.
    pub packet: usize,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Data(Fragment),
    Exception { flow: u64, code: u64 },
    Ping(Vec<u8>),
    Probe(u64),
    Close,
    CloseAck,
}

#[derive(Debug, Clone)]
pub struct Fragment {
    pub flow: u64,
    pub sequence: u64,
    pub flags: UserDataFlags,
    pub options: Option<Options>,
    pub data: Vec<u8>,
    /// It came as Next User Data.
    pub next: bool,
}

/// The options of a flow's first fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub metadata: Vec<u8>,
    pub association: Option<u64>,
    /// The kinds in their order.
    pub kinds: Vec<u64>,
}

impl Options {
    pub fn parse(list: &[u8]) -> Self {
        let mut options = Self { metadata: Vec::new(), association: None, kinds: Vec::new() };
        for item in items(list) {
            let Ok(Item::Option(option)) = item else { break };
            options.kinds.push(option.kind);
            match option.kind {
                OPTION_METADATA => options.metadata = option.value.to_vec(),
                OPTION_RETURN_ASSOCIATION => {
                    options.association = vlu::parse("association", option.value).ok().map(|v| v.0);
                }
                _ => {}
            }
        }
        options
    }
}

impl Recording {
    pub fn open(name: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
        let file = |extension| File::open(folder.join(format!("{name}.{extension}"))).unwrap();
        let mut keys = KeyLog::default();
        keys.read(file("keys")).unwrap();
        let mut decoder = Decoder::new(keys);
        let (mut lines, mut begin) = (Vec::new(), None);
        for datagram in Capture::open(file("pcap")).unwrap() {
            let datagram = datagram.unwrap();
            let begin = *begin.get_or_insert(datagram.time);
            let Decoded::Packet(packet) = decoder.feed(&datagram) else { continue };
            lines.push(Line {
                at: datagram.time.saturating_sub(begin),
                source: packet.source,
                destination: packet.destination,
                sender: packet.sender,
                keyed: packet.keying.map(|keying| (keying.session, keying.initiator_id)),
                chunks: packet.raw_chunks().map(|(k, bytes)| (k, bytes.to_vec())).collect(),
            });
        }
        Self { lines }
    }

    /// Every attempt of every player, in the order of their hellos.
    pub fn calls(&self) -> Vec<Call> {
        let players = self.players();
        let mut calls: Vec<Call> = Vec::new();
        // The tag that belongs to a cookie.
        let mut tags: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        for line in &self.lines {
            let find = |calls: &mut Vec<Call>, tag: &[u8], from| {
                calls.iter().position(|call| call.tag == tag && call.from == from)
            };
            for chunk in line.chunks() {
                match chunk {
                    Chunk::InitiatorHello(hello)
                        if players.contains(&line.source)
                            && find(&mut calls, hello.tag, line.source).is_none() =>
                    {
                        calls.push(Call {
                            from: line.source,
                            to: line.destination,
                            at: line.at,
                            epd: hello.epd.to_vec(),
                            tag: hello.tag.to_vec(),
                            keying: None,
                        });
                    }
                    Chunk::ResponderHello(hello) => {
                        tags.insert(hello.cookie.to_vec(), hello.tag_echo.to_vec());
                    }
                    Chunk::CookieChange(change) => {
                        if let Some(tag) = tags.get(change.old_cookie).cloned() {
                            tags.insert(change.new_cookie.to_vec(), tag);
                        }
                    }
                    Chunk::InitiatorKeying(keying) if players.contains(&line.source) => {
                        let tag = &tags[keying.cookie];
                        let call = find(&mut calls, tag, line.source).unwrap();
                        calls[call].keying = Some(Keying {
                            peer: line.destination,
                            session_id: keying.session_id,
                            certificate: keying.certificate.to_vec(),
                            component: keying.component.to_vec(),
                            signature: keying.signature.to_vec(),
                            script: Script::default(),
                        });
                    }
                    _ => {}
                }
            }
            if let Some((session, initiator_id)) = line.keyed {
                let answered = |call: &&mut Call| {
                    let asked = call.keying.as_ref().is_some_and(|k| k.session_id == initiator_id);
                    call.from == line.destination && asked
                };
                if let Some(call) = calls.iter_mut().rev().find(answered) {
                    call.keying.as_mut().unwrap().script = self.script(session, line.at);
                }
            }
        }
        calls
    }

    /// The addresses of players, as initiators.
    fn players(&self) -> HashSet<SocketAddr> {
        let lines = self.lines.iter();
        let keys = lines.filter(|line| {
            line.chunks().any(|chunk| match chunk {
                Chunk::InitiatorKeying(k) => k.certificate.starts_with(&PLAYER_CERTIFICATE),
                _ => false,
            })
        });
        keys.map(|line| line.source).collect()
    }

    /// What the initiator of a session sent in it.
    fn script(&self, session: u64, begin: Duration) -> Script {
        let mut script = Script { begin, ..Script::default() };
        for (packet, line) in self.lines.iter().enumerate() {
            if line.sender == Sender::Initiator(session) {
                let at = line.at;
                script.moves.extend(moves(line).map(|what| Move { at, packet, what }));
            } else if line.sender == Sender::Responder(session) {
                for what in moves(line) {
                    if let What::Data(Fragment { flow, options: Some(options), .. }) = what {
                        script.far_flows.entry(flow).or_insert(options.metadata);
                    }
                }
            }
        }
        script
    }
}

/// The chunks with content; acknowledgements and ping replies answer what was sent then.
fn moves(line: &Line) -> impl Iterator<Item = What> {
    let mut last = (0, 0);
    line.chunks().filter_map(move |chunk| {
        Some(match chunk {
            Chunk::UserData(data) => {
                last = (data.flow, data.sequence);
                What::Data(Fragment {
                    flow: data.flow,
                    sequence: data.sequence,
                    flags: data.flags,
                    options: data.options.map(Options::parse),
                    data: data.data.to_vec(),
                    next: false,
                })
            }
            Chunk::NextUserData(data) => {
                last.1 += 1;
                What::Data(Fragment {
                    flow: last.0,
                    sequence: last.1,
                    flags: data.flags,
                    options: data.options.map(Options::parse),
                    data: data.data.to_vec(),
                    next: true,
                })
            }
            Chunk::FlowException { flow, exception } => What::Exception { flow, code: exception },
            Chunk::Ping(payload) => What::Ping(payload.to_vec()),
            Chunk::BufferProbe(flow) => What::Probe(flow),
            Chunk::CloseRequest => What::Close,
            Chunk::CloseAck => What::CloseAck,
            _ => return None,
        })
    })
}
