//! What was recorded of one player: what happened to it, step by step, and what it did.

use super::account::{Account, Act};
use super::recording::{lines, message};
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::MembershipMessage;
use rtmfp::proto::group::{FlowKind, GroupSpec, MessageId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// The address of the neighbors of which the recording has none.
const SOMEWHERE: &str = "127.0.0.1:20000";

/// An input to the player. Neighbors are numbered in the order in which they were shown to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The server names a member.
    Introduced(usize),
    /// The server sends another message.
    FromServer(Bytes),
    /// The player has sent its hello, in the session with this number.
    NearHello {
        to: usize,
        session: u32,
    },
    /// A neighbor's hello.
    FarHello {
        from: usize,
        flow: u64,
        is_good: bool,
    },
    /// A neighbor opens a flow in return to the player's flow of the kind `of`.
    FarOpened {
        from: usize,
        flow: u64,
        kind: FlowKind,
        of: FlowKind,
    },
    FarMessage {
        from: usize,
        flow: u64,
        message: Bytes,
    },
    FarFinished {
        from: usize,
        flow: u64,
    },
    /// A neighbor rejects the player's flow.
    FarRejected {
        from: usize,
        kind: FlowKind,
    },
    SessionLost(usize),
    /// A call of the player's script.
    Call(String),
    /// The script has sent a message on the published stream, by the first sign of it.
    Published(Bytes),
    /// The script has answered a request.
    Answered {
        index: u64,
        is_written: bool,
    },
    /// The script sends a directed message on that has come with a destination.
    Forwarded,
    /// The script prints the number of neighbors, the estimate and the coverage.
    Count,
    /// A neighbor ends: it finishes its membership flow.
    FarLeft(usize),
    /// The player has asked a neighbor for a report, with one of its own.
    Reports(usize),
    /// The player has served nobody up to now: its first round of choking is over.
    Serves,
}

/// One player of a recording.
pub struct Player {
    pub name: &'static str,
    pub spec: GroupSpec,
    pub near: Fingerprint,
    pub joined: f64,
    /// The time of the last line.
    pub end: f64,
    pub server: Option<SocketAddr>,
    /// The members that it was shown, with the addresses at which it met them.
    pub members: Vec<(Fingerprint, SocketAddr)>,
    pub steps: Vec<(f64, Step)>,
    pub account: Account,
    /// The neighbors' reports, of which the last is the answer to any question.
    pub reports: BTreeMap<usize, Bytes>,
    /// All posted values of the recording.
    pub values: Vec<Bytes>,
}

/// What the recording leaves out.
#[derive(Default)]
pub struct Hints {
    /// The letter of the player in its script's events, if it is another one.
    pub events: Option<&'static str>,
    /// Faces of the observer's flows, where these are not one of each kind for each face in their
    /// order. A face is a neighbor, in the order in which the player said hello to them.
    pub flows: &'static [(u64, usize)],
    /// Faces whose hellos have a wrong proof.
    pub wrong: &'static [usize],
    /// Nothing is read after this time.
    pub end: Option<f64>,
    /// Which lines are read, if not all.
    pub lines: Option<fn(&Value) -> bool>,
    /// Steps that were not logged.
    pub steps: Vec<(f64, Step)>,
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn kind(line: &Value) -> Option<FlowKind> {
    let hex = line["meta"].as_str()?.get(..6)?;
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    FlowKind::from_metadata(&[byte(0)?, byte(2)?, byte(4)?])
}

impl Player {
    /// Reads what was recorded of the player with this letter.
    pub fn read(name: &'static str, letter: &str, hints: Hints) -> Self {
        Reader::new(name, letter, hints).read()
    }

    pub fn peer(&self, neighbor: usize) -> Fingerprint {
        self.members[neighbor].0
    }
}

struct Reader {
    player: Player,
    hints: Hints,
    letter: String,
    lines: VecDeque<Value>,
    /// Letters of players, by which neighbors of relayed recordings are known.
    letters: Vec<String>,
    /// Neighbors of the player's and of the observer's flows.
    near_flows: BTreeMap<u64, usize>,
    far_flows: BTreeMap<u64, usize>,
    /// The neighbors' latest membership flows.
    memberships: BTreeMap<usize, u64>,
    /// Neighbors that were sent a hello and have not answered.
    pending: Vec<usize>,
    /// The proof in the player's latest hello to each neighbor, and the session.
    proofs: BTreeMap<usize, (Bytes, u32)>,
    lost: BTreeSet<u32>,
    last_hello: usize,
    /// When the player last asked a neighbor for a report.
    asked: BTreeMap<usize, f64>,
    /// Neighbors in the order in which the player said hello to them: that of the observer's faces.
    order: Vec<usize>,
    /// Members that the player was shown so far.
    shown: usize,
    /// The latest flow of the observer; it has one for each group that the player joins.
    last_flow: u64,
}

impl Reader {
    fn new(name: &'static str, letter: &str, hints: Hints) -> Self {
        let mut lines = lines(name);
        lines.retain(|line| hints.lines.is_none_or(|is_read| is_read(line)));
        let find = |key: &str, line: &Value| line[key].as_str().unwrap().parse().unwrap();
        let joined = lines.iter().find(|l| l["ev"] == "joined" && l["player"] == letter);
        let is_served = joined.is_some();
        // Without a server, by what the script prints.
        let named = lines.iter().find_map(|line| {
            let peer = line["event"].as_str()?.strip_prefix("NEARID ")?;
            Some((peer.parse().unwrap(), line["t"].as_f64().unwrap()))
        });
        let joined = joined.map(|line| (find("fp", line), line["t"].as_f64().unwrap()));
        let (near, joined) = joined.or(named).unwrap_or_else(|| panic!("{name} {letter}"));
        let in_events = hints.events.unwrap_or(letter);
        let of_player = |l: &&Value| l["player"] == in_events && l["event"].is_string();
        let mut events = lines.iter().filter(of_player).map(|line| text(line, "event"));
        let spec = events.find_map(|event| event.strip_prefix("GROUPSPEC ")).unwrap();
        let mut members = Vec::new();
        let mut letters = Vec::new();
        let shown = |l: &&Value| l["ev"] == "identity" && l["shown_to"] == letter;
        for line in lines.iter().filter(shown) {
            members.push((find("fp", line), SOMEWHERE.parse().unwrap()));
            letters.push(text(line, "stands_for").to_owned());
        }
        let spec = GroupSpec::parse(spec).unwrap();
        if members.is_empty() {
            let peers = spec.bootstrap_peers().into_iter();
            members.extend(peers.map(|peer| (peer, SOMEWHERE.parse().unwrap())));
            letters.extend(members.iter().map(|_| "O".to_owned()));
        }
        let values = lines.iter().filter(|l| kind(l) == Some(FlowKind::PostingValues));
        let player = Player {
            name,
            spec,
            near,
            joined,
            end: 0.0,
            server: None,
            members,
            steps: Vec::new(),
            account: Account::default(),
            reports: BTreeMap::new(),
            values: values.filter_map(|line| message(line).or_else(|| padded(line))).collect(),
        };
        Self {
            player,
            hints,
            letter: letter.to_owned(),
            lines: lines.into(),
            letters,
            near_flows: BTreeMap::new(),
            far_flows: BTreeMap::new(),
            memberships: BTreeMap::new(),
            pending: Vec::new(),
            proofs: BTreeMap::new(),
            lost: BTreeSet::new(),
            last_hello: 0,
            asked: BTreeMap::new(),
            order: Vec::new(),
            shown: 0,
            last_flow: 1 + u64::from(is_served),
        }
    }

    fn read(mut self) -> Player {
        let end = self.hints.end.unwrap_or(f64::MAX);
        while let Some(line) = self.lines.pop_front() {
            let at = line["t"].as_f64().unwrap();
            if at > end {
                break;
            }
            self.player.end = at;
            self.read_line(at, &line);
        }
        let mut player = self.player;
        let publishes = |(_, step): &(f64, Step)| matches!(step, Step::Call(call) if call.split(':').nth(1).is_some_and(|c| c.starts_with("pub")));
        if player.steps.iter().any(publishes) {
            player.steps.extend(super::publisher::messages(&player.account));
        }
        player.steps.append(&mut self.hints.steps);
        player.steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        player
    }

    fn read_line(&mut self, at: f64, line: &Value) {
        if line["ev"] == "identity" && line["shown_to"] == self.letter.as_str() {
            let peer = text(line, "fp").parse().unwrap();
            let number = self.player.members.iter().position(|(of, _)| *of == peer).unwrap();
            self.shown = self.shown.max(number + 1);
            return self.step(at, Step::Introduced(number));
        }
        let in_events = self.hints.events.unwrap_or(&self.letter);
        if line["event"].is_string() {
            if line["player"] != in_events {
                return;
            }
            return self.read_event(at, text(line, "event"));
        }
        if line["ev"] == "REJECTING" {
            let from = self.order[line["face"].as_u64().unwrap() as usize];
            let kind = kind(line).unwrap();
            return self.step(at, Step::FarRejected { from, kind });
        }
        if line["ev"] == "TRY" {
            let kind = u8::from_str_radix(text(line, "type").trim_start_matches("0x"), 16).unwrap();
            let peer: Fingerprint = text(line, "fp").parse().unwrap();
            return self.step(at, Step::FromServer([&[kind][..], &peer.0].concat().into()));
        }
        if line["ev"] == "FINISH" {
            return self.finish(at, self.order[line["face"].as_u64().unwrap() as usize]);
        }
        let Some((from, to)) = text(line, "dir").split_once('>') else { return };
        if to == "server" {
            self.last_flow += u64::from(from == self.letter);
        } else if from == self.letter && line["obs"] != true {
            self.read_near(at, line, to);
        } else if to == self.letter {
            self.read_far(at, line, from);
        }
    }

    /// The observer finishes the flows of a face beside that of membership.
    fn finish(&mut self, at: f64, from: usize) {
        let membership = self.memberships.get(&from).copied();
        let of_face = |(flow, of): &(&u64, &usize)| **of == from && Some(**flow) != membership;
        let flows: Vec<u64> =
            self.far_flows.iter().filter(of_face).map(|(flow, _)| *flow).collect();
        flows.into_iter().for_each(|flow| self.step(at, Step::FarFinished { from, flow }));
    }

    fn step(&mut self, at: f64, step: Step) {
        self.player.steps.push((at, step));
    }

    fn act(&mut self, at: f64, to: usize, act: Act) {
        self.player.account.acts.push((at, to, act));
    }

    /// The neighbor with this letter, if it is a player; of several, the one that said hello last.
    fn lettered(&self, letter: &str) -> Option<usize> {
        let shown = &self.letters[..self.shown];
        let is_it = |known: &&String| *known == letter;
        let latest = shown.get(self.last_hello).filter(is_it).map(|_| self.last_hello);
        let found = match shown.iter().filter(is_it).count() {
            0 | 1 => shown.iter().position(|known| known == letter),
            _ => latest.or(shown.iter().rposition(|known| known == letter)),
        };
        found.filter(|_| letter != "O")
    }

    /// What the player has sent.
    fn read_near(&mut self, at: f64, line: &Value, to: &str) {
        let flow = line["flow"].as_u64().unwrap_or_default();
        let Some(kind) = kind(line) else { return };
        if line["ev"] == "exception" {
            return; // Of a player, about a flow of the observer to it: in the other direction.
        }
        if line["ev"] == "flow" {
            let of = line["assocflow"].as_u64().and_then(|of| self.far_flows.get(&of).copied());
            self.near_flows.extend(self.lettered(to).or(of).map(|to| (flow, to)));
            return;
        }
        let message = message(line).or_else(|| padded(line));
        let hello = message.as_ref().filter(|m| kind == FlowKind::Membership && m[0] == 1);
        if let Some(Ok(MembershipMessage::Hello(hello))) = hello.map(MembershipMessage::parse) {
            let to = self.member(hello.receiver);
            self.near_flows.insert(flow, to);
            self.pending.push(to);
            self.near_hello(at, to, Bytes::copy_from_slice(&hello.proof.0));
        }
        let Some(&to) = self.near_flows.get(&flow) else { return };
        if line["ev"] == "complete" {
            if line["error"] == true {
                let session = self.proofs.get(&to).map_or(0, |(_, session)| *session);
                if self.lost.insert(session) {
                    self.step(at, Step::SessionLost(to));
                }
                return;
            }
            return self.act(at, to, Act::Finished(kind));
        }
        let Some(message) = message else { return };
        if let Ok(MembershipMessage::Report(report)) = MembershipMessage::parse(&message)
            && kind == FlowKind::Membership
        {
            let seen = report.receiver_address().unwrap().socket;
            self.player.members[to].1 = seen;
            let mut server = report.sender_addresses().into_iter();
            let server = server.find(|a| a.origin == rtmfp::wire::Origin::Relay);
            self.player.server = server.map(|a| a.socket).or(self.player.server);
            // A second question within 100 ms is not answered by us.
            let is_soon = |before: f64| at - before < 0.15;
            if report.asks() && !self.asked.insert(to, at).is_some_and(is_soon) {
                self.player.account.note_report(to, &report);
                self.step(at, Step::Reports(to));
            }
        }
        if kind == FlowKind::Replication && message[..] == [0x17] {
            self.step(at, Step::Serves);
        }
        self.act(at, to, Act::Sent(kind, message));
    }

    /// The number of a member. Of some the player knows by reports alone.
    fn member(&mut self, peer: Fingerprint) -> usize {
        let members = &mut self.player.members;
        let known = members.iter().position(|(known, _)| *known == peer);
        known.unwrap_or_else(|| {
            members.push((peer, SOMEWHERE.parse().unwrap()));
            self.letters.push("O".to_owned());
            members.len() - 1
        })
    }

    fn near_hello(&mut self, at: f64, to: usize, proof: Bytes) {
        if !self.order.contains(&to) {
            self.order.push(to);
        }
        let next = self.proofs.values().map(|(_, session)| session + 1).max().unwrap_or(1);
        let known = self.proofs.get(&to).filter(|(known, _)| *known == proof);
        let session = known.map_or(next, |(_, session)| *session);
        self.proofs.insert(to, (proof, session));
        self.step(at, Step::NearHello { to, session });
    }

    /// What the player has received, and what it did with flows to it.
    fn read_far(&mut self, at: f64, line: &Value, from: &str) {
        let Some(kind) = kind(line) else { return };
        let of_player = self.lettered(from);
        let flow = line["flow"].as_u64();
        if line["ev"] == "exception" {
            let known = flow.and_then(|flow| self.far_flows.get(&flow).copied());
            let whom = of_player.or(known).unwrap();
            return self.act(at, whom, Act::Rejected(kind));
        }
        if kind == FlowKind::Membership {
            return self.read_membership(at, line, of_player);
        }
        let Some(flow) = flow else { return };
        match text(line, "ev") {
            "flow" => {
                let from = of_player.unwrap_or_else(|| self.of_observer(flow, kind));
                self.far_flows.insert(flow, from);
                self.last_flow = self.last_flow.max(flow).min(999_999);
                if line["assoc"].is_string() {
                    let is_data = text(line, "assoc") == "475211";
                    let of =
                        if is_data { FlowKind::MulticastControl } else { FlowKind::Membership };
                    self.step(at, Step::FarOpened { from, flow, kind, of });
                }
            }
            "complete" => {
                let Some(&from) = self.far_flows.get(&flow) else { return };
                if line["error"] != true {
                    self.step(at, Step::FarFinished { from, flow });
                }
            }
            _ => {
                let Some(&from) = self.far_flows.get(&flow) else { return };
                let Some(message) = message(line).or_else(|| padded(line)) else { return };
                self.step(at, Step::FarMessage { from, flow, message });
            }
        }
    }

    /// The neighbor that opens a flow of this kind: the next of those that have none.
    fn of_observer(&self, flow: u64, kind: FlowKind) -> usize {
        if let Some((_, face)) = self.hints.flows.iter().find(|(of, _)| *of == flow) {
            return self.order[*face];
        }
        let opened = self.player.steps.iter().filter(|(_, step)| match step {
            Step::FarOpened { kind: of, .. } => *of == kind,
            _ => false,
        });
        self.order[opened.count() % self.order.len()]
    }

    fn read_membership(&mut self, at: f64, line: &Value, of_player: Option<usize>) {
        if line["ev"] == "complete" {
            // A neighbor that ends: its flow to the observer, and then that of the observer.
            let from = of_player.unwrap();
            let flow = self.memberships.get(&from).copied();
            match line["error"] == true {
                true => self.step(at, Step::SessionLost(from)),
                false => self.step(at, Step::FarFinished { from, flow: flow.unwrap() }),
            }
            return;
        }
        // Those of players arrive at the observer alone.
        if of_player.is_some() && line["obs"] != true {
            return;
        }
        let Some(message) = message(line).or_else(|| padded(line)) else { return };
        if message[0] == 1 {
            let from = self.answering().or(of_player).unwrap_or(self.last_hello);
            if !self.memberships.contains_key(&from) || self.pending.contains(&from) {
                return self.far_hello(at, from, line["flow"].as_u64());
            }
        }
        let reports = MembershipMessage::parse(&message);
        let port = match &reports {
            Ok(MembershipMessage::Report(report)) => report.sender_addresses(),
            _ => Vec::new(),
        };
        let at_port = |(_, at): &(Fingerprint, SocketAddr)| {
            port.iter().any(|a| a.origin == rtmfp::wire::Origin::Reflexive && a.socket == *at)
        };
        let of_report = self.player.members.iter().position(at_port);
        let from = of_player.or(of_report).unwrap_or(self.last_hello);
        if matches!(reports, Ok(MembershipMessage::Report(_))) {
            self.player.reports.insert(from, message.clone());
        }
        let Some(&flow) = self.memberships.get(&from) else { return };
        self.step(at, Step::FarMessage { from, flow, message });
    }

    /// The neighbor that answers the player's hello: that to which the latest one went, or the one
    /// that the player sends something next.
    fn answering(&self) -> Option<usize> {
        let next = self.lines.iter().find_map(|line| {
            let flow = line["flow"].as_u64().filter(|_| text(line, "meta") == "47521c")?;
            let message = message(line).filter(|_| text(line, "dir").starts_with(&self.letter))?;
            let of = self.near_flows.get(&flow).filter(|_| message[0] != 1);
            of.copied().filter(|of| self.pending.contains(of))
        });
        let latest = self.pending.last().copied();
        let is_at_once = matches!(
            self.player.steps.last(),
            Some((_, Step::NearHello { to, .. })) if Some(*to) == latest
        );
        if is_at_once { latest } else { next }
    }

    fn far_hello(&mut self, at: f64, from: usize, flow: Option<u64>) {
        self.pending.retain(|of| *of != from);
        self.last_flow = flow.unwrap_or(self.last_flow + 1);
        let flow = self.last_flow;
        self.far_flows.insert(flow, from);
        self.memberships.insert(from, flow);
        self.last_hello = from;
        let face = self.order.iter().position(|of| *of == from);
        let is_good = face.is_none_or(|face| !self.hints.wrong.contains(&face));
        self.step(at, Step::FarHello { from, flow, is_good });
    }

    /// What the player's script has logged.
    fn read_event(&mut self, at: f64, event: &str) {
        let word = |at: usize| event.split(' ').nth(at).unwrap_or_default();
        let value = |key: &str| between(event, &format!("{key}="), &[' ', '}']).to_owned();
        match word(0) {
            "STEP" => {
                self.step(at, Step::Call(word(1).to_owned()));
                let result = event.split("-> ").nth(1).filter(|result| !result.is_empty());
                self.player.account.results.extend(result.map(str::to_owned));
            }
            "COUNT" => {
                self.step(at, Step::Count);
                let count = event.strip_prefix("COUNT ").unwrap().split(" strat").next().unwrap();
                self.player.account.counts.push(count.to_owned());
            }
            "WROTE" | "DENIED" => {
                let index = value("idx").parse().unwrap_or(u64::MAX);
                self.step(at, Step::Answered { index, is_written: word(0) == "WROTE" });
            }
            "REQ" => self.event(at, format!("NetGroup.Replication.Request {}", value("idx"))),
            "FETCHED" => {
                self.event(at, format!("NetGroup.Replication.Fetch.Result {}", value("idx")));
            }
            "POSTING" => self.event(at, format!("NetGroup.Posting.Notify {}", value("id"))),
            // A player takes in what arrives every 30 ms, and its own at once.
            "SENDTO" if value("fromLocal") == "true" => {
                self.event(at, format!("NetGroup.SendTo.Notify(local) {}", value("from")));
            }
            "SENDTO" => self.event(at, format!("NetGroup.SendTo.Notify {}", value("from"))),
            "FWD" => {
                self.step(at, Step::Forwarded);
                let result = event.split("-> ").nth(1).unwrap_or_default();
                self.player.account.results.push(result.to_owned());
            }
            "NETSTATUS" | "NS" => {
                let code = value("code");
                let about = match code.as_str() {
                    "NetGroup.Connect.Success" | "NetGroup.Connect.Closed" => return,
                    "NetGroup.Neighbor.Connect" | "NetGroup.Neighbor.Disconnect" => value("peerID"),
                    "NetGroup.LocalCoverage.Notify" => String::new(),
                    "NetStream.MulticastStream.Reset" => word(1).to_owned(),
                    _ if code.contains("Multicast") => value("name"),
                    _ => value("index"),
                };
                if code.starts_with("NetGroup") || code.contains("MulticastStream") {
                    self.event(at, format!("{code} {about}").trim_end().to_owned());
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, at: f64, event: String) {
        self.player.account.events.push((at, event));
    }
}

/// A message of which the log has only the beginning: it goes on periodically by the hash, or else
/// with zeros.
fn padded(line: &Value) -> Option<Bytes> {
    let mut whole = line.clone();
    whole.as_object_mut()?.remove("truncated")?;
    let beginning = message(&whole)?;
    let len = usize::try_from(line["len"].as_u64()?).ok()?;
    let periodic = |period: usize| {
        let mut bytes = beginning.to_vec();
        while bytes.len() < len {
            bytes.push(bytes.len().checked_sub(period).map_or(0, |at| bytes[at]));
        }
        Bytes::from(bytes)
    };
    let is_it = |bytes: &Bytes| MessageId::of(bytes).to_string() == text(line, "sha256");
    let mut zeros = beginning.to_vec();
    zeros.resize(len, 0);
    Some([256, 10, 1].map(periodic).into_iter().find(is_it).unwrap_or(zeros.into()))
}

/// The part of `text` from `start` to any of some characters.
fn between<'a>(text: &'a str, start: &str, ends: &[char]) -> &'a str {
    let rest = text.split(start).nth(1).unwrap_or_default();
    rest.split(ends).next().unwrap_or_default()
}
