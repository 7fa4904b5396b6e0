//! Recorded players that send directed messages: a group in the place of each one sends the same
//! messages to the same neighbors, reports the same events, and prints the same coverage.

use crate::support::recording::{lines, message};
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupAddress, GroupConfig, GroupEvent, GroupSpec,
    ReceiveMode, SendMode, SendResult,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowToken, SessionId, Time};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};

const SPEC: &str = "G:0100010c020e7400";

/// What a player did or what happened to it, without times.
#[derive(Debug, Default, PartialEq)]
struct Account {
    /// Receiver and message.
    sent: Vec<(String, Bytes)>,
    /// The modes that it announced to each neighbor.
    modes: BTreeMap<String, Vec<u8>>,
    /// Results of its calls.
    results: Vec<String>,
    /// `from` of its SendTo.Notify events: those of neighbors, and those of its own. The log has each
    /// in its order, but not both together: a player takes in what arrives every 30 ms.
    received: [Vec<String>; 2],
    coverage_notified: usize,
    /// `COUNT` lines: neighbors, estimate, coverage, mode.
    counts: Vec<String>,
}

/// A group in the place of one player.
struct Stand {
    group: Group,
    now: Time,
    /// Letters of the neighbors; the position is the number of the session.
    neighbors: Vec<(String, Fingerprint)>,
    kinds: HashMap<FlowToken, FlowKind>,
    account: Account,
    /// Messages of neighbors with a destination, which the script sends on.
    pending: VecDeque<(GroupAddress, Bytes)>,
}

impl Stand {
    fn new(near: Fingerprint) -> Self {
        let config = GroupConfig::new(GroupSpec::parse(SPEC).unwrap(), near);
        Self {
            group: Group::new(config, Time::ZERO, 1),
            now: Time::ZERO,
            neighbors: Vec::new(),
            kinds: HashMap::new(),
            account: Account::default(),
            pending: VecDeque::new(),
        }
    }

    fn connect(&mut self, letter: &str, far: Fingerprint) {
        let session = SessionId(self.neighbors.len() as u32);
        self.neighbors.push((letter.to_owned(), far));
        let address = "127.0.0.1:20000".parse().unwrap();
        let (near, far_nonce) = ([1; 32], [2; 32]);
        self.group.on_introduced(self.now, far, true);
        self.group.on_session_opened(self.now, session, far, true, near, far_nonce, address);
        self.drain();
        let config = self.group.config();
        let hello = Hello::new(&config.spec, &near, config.near);
        let hello = MembershipMessage::Hello(hello).to_bytes();
        let verdict = self.group.on_hello(self.now, session, membership(session), &hello);
        assert_eq!(verdict, FlowVerdict::Accept);
        self.drain();
    }

    fn session(&self, letter: &str) -> SessionId {
        let at = self.neighbors.iter().position(|(known, _)| known == letter).expect("a neighbor");
        SessionId(at as u32)
    }

    /// A message of a neighbor.
    fn arrive(&mut self, from: &str, kind: FlowKind, message: Bytes) {
        let session = self.session(from);
        let flow = match kind {
            FlowKind::Membership => membership(session),
            _ => routing(session),
        };
        self.group.on_message(self.now, session, flow, message);
        self.drain();
    }

    /// A neighbor opens its `1D` flow.
    fn open(&mut self, from: &str) {
        let session = self.session(from);
        let ours = |(_, kind): &(&FlowToken, &FlowKind)| **kind == FlowKind::Membership;
        let mut tokens: Vec<_> = self.kinds.iter().filter(ours).map(|(token, _)| *token).collect();
        tokens.sort();
        let token = tokens[session.0 as usize];
        let (flow, kind) = (routing(session), FlowKind::Routing);
        let verdict = self.group.on_flow_opened(self.now, session, flow, kind, token);
        assert_eq!(verdict, FlowVerdict::Accept);
    }

    /// A logged call of the player's script, with the message that the player sent.
    fn call(&mut self, step: &str, message: Bytes) {
        let words: Vec<_> = step.split(':').collect();
        let own = self.group.address();
        let mut routing = self.group.routing_mut();
        let result = match words[1] {
            "near" | "nearval" => {
                let address = match words[2] {
                    "nbr" => GroupAddress::of(&self.neighbors[0].1),
                    "me" => own,
                    "zero" => GroupAddress([0; 32]),
                    "ff" => GroupAddress([0xff; 32]),
                    address => address.parse().unwrap(),
                };
                routing.send_to_nearest(&address, message)
            }
            "inc" => routing.send_to_neighbor(SendMode::NextIncreasing, message),
            "dec" => routing.send_to_neighbor(SendMode::NextDecreasing, message),
            "all" => routing.send_to_all_neighbors(message),
            "recv" => {
                let mode = match words[2] {
                    "nearest" => ReceiveMode::Nearest,
                    _ => ReceiveMode::Exact,
                };
                self.group.set_receive_mode(self.now, mode);
                self.drain();
                return;
            }
            "count" => return,
            other => panic!("{other}"),
        };
        self.note(result.unwrap());
    }

    /// The player's script sends on what has just come to where it should go.
    fn forward(&mut self) {
        let (to, message) = self.pending.pop_front().expect("something to send on");
        let result = self.group.routing_mut().send_to_nearest(&to, message);
        self.note(result.unwrap());
    }

    fn note(&mut self, result: SendResult) {
        self.account.results.push(result.as_str().to_owned());
        self.drain();
    }

    fn count(&mut self) {
        let (from, to) = self.group.local_coverage();
        let neighbors = self.group.neighbors().len();
        let estimate = self.group.estimated_member_count();
        let mode = match self.group.config().receive_mode {
            ReceiveMode::Exact => "exact",
            ReceiveMode::Nearest => "nearest",
        };
        let count = format!("nbrs={neighbors} est={estimate} cov={from}..{to} mode={mode}");
        self.account.counts.push(count);
    }

    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            let GroupAction::Flow { session, action } = action else { continue };
            match action {
                FlowAction::Open { token, metadata, options } => {
                    let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                    let far = (kind != FlowKind::Membership).then_some(membership(session));
                    assert_eq!(options.association, far);
                    self.kinds.insert(token, kind);
                }
                FlowAction::Send { token, message, .. } => self.on_sent(session, token, message),
                other => panic!("{other:?}"),
            }
        }
        while let Some(event) = self.group.poll_event() {
            match event {
                GroupEvent::SendToNotify { message, from, from_local } => {
                    let value = message.decode().unwrap();
                    if let Some(to) = value.property("to").filter(|_| !from_local) {
                        let to = to.as_str().unwrap().parse().unwrap();
                        self.pending.push_back((to, message.into_bytes()));
                    }
                    self.account.received[usize::from(from_local)].push(from.to_string());
                }
                GroupEvent::LocalCoverageNotify { from, to } => {
                    assert_eq!((from, to), self.group.local_coverage());
                    self.account.coverage_notified += 1;
                }
                GroupEvent::NeighborConnect { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn on_sent(&mut self, session: SessionId, token: FlowToken, message: Bytes) {
        let to = self.neighbors[session.0 as usize].0.clone();
        match self.kinds[&token] {
            FlowKind::Routing => self.account.sent.push((to, message)),
            FlowKind::Membership if matches!(message[..], [0x0e | 0x0f]) => {
                self.account.modes.entry(to).or_default().push(message[0]);
            }
            _ => {}
        }
    }
}

fn membership(session: SessionId) -> FlowId {
    FlowId(100 + u64::from(session.0))
}

fn routing(session: SessionId) -> FlowId {
    FlowId(200 + u64::from(session.0))
}

/// The part of `text` between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split(start).nth(1).unwrap().split(end).next().unwrap()
}

/// What the player did by the log.
fn recorded(lines: &[Value], player: &str) -> Account {
    let mut account = Account::default();
    for line in lines {
        let event = line["event"].as_str().filter(|_| line["player"] == player).unwrap_or_default();
        if let Some(result) = event.split("-> ").nth(1).filter(|result| !result.is_empty()) {
            account.results.push(result.to_owned());
        } else if event.starts_with("SENDTO") {
            let is_local = between(event, "fromLocal=", " ") == "true";
            let from = between(event, "from=", " ").to_owned();
            account.received[usize::from(is_local)].push(from);
        } else if event.contains("LocalCoverage.Notify") {
            account.coverage_notified += 1;
        } else if let Some(count) = event.strip_prefix("COUNT ") {
            account.counts.push(count.split(" strat").next().unwrap().to_owned());
        }
        let Some((from, to)) = line["dir"].as_str().and_then(|dir| dir.split_once('>')) else {
            continue;
        };
        let Some(message) = message(line).filter(|_| from == player && line["obs"] != true) else {
            continue;
        };
        if line["meta"] == "47521d" {
            account.sent.push((to.to_owned(), message));
        } else if line["meta"] == "47521c" && matches!(message[..], [0x0e | 0x0f]) {
            account.modes.entry(to.to_owned()).or_default().push(message[0]);
        }
    }
    account
}

/// Puts a group in the place of a player.
fn replay(name: &str, player: &str) {
    let lines = lines(name);
    let recorded = recorded(&lines, player);
    let find = |key: &str, line: &Value| line[key].as_str().unwrap().parse().unwrap();
    let joined = lines.iter().find(|l| l["ev"] == "joined" && l["player"] == player).unwrap();
    let mut stand = Stand::new(find("fp", joined));
    let mut shown = HashMap::new();
    for line in &lines {
        stand.now = Time::from_micros((line["t"].as_f64().unwrap() * 1e6) as u64);
        if line["ev"] == "identity" && line["shown_to"] == player {
            let peer: Fingerprint = find("fp", line);
            assert_eq!(GroupAddress::of(&peer).to_string(), line["groupaddr"].as_str().unwrap());
            shown.insert(line["stands_for"].as_str().unwrap().to_owned(), peer);
        }
        if let Some(event) = line["event"].as_str().filter(|_| line["player"] == player) {
            if let Some(step) = event.strip_prefix("STEP ") {
                let next = recorded.sent.get(stand.account.sent.len());
                let message = next.map_or(Bytes::from_static(&[5]), |(_, m)| m.clone());
                stand.call(step.split(" ->").next().unwrap(), message);
            } else if event.starts_with("FWD") {
                stand.forward();
            } else if event.starts_with("COUNT") {
                stand.count();
            }
        }
        let Some((from, to)) = line["dir"].as_str().and_then(|dir| dir.split_once('>')) else {
            continue;
        };
        if to != player || from == "server" {
            continue;
        }
        let (meta, by_observer) = (line["meta"].as_str().unwrap_or_default(), line["obs"] == true);
        match message(line) {
            None if meta == "47521d" => stand.open(from),
            Some(message) if meta == "47521d" => stand.arrive(from, FlowKind::Routing, message),
            Some(message) if by_observer && message[0] == 1 => stand.connect(from, shown[from]),
            Some(message) if by_observer && message.len() == 1 => {
                stand.arrive(from, FlowKind::Membership, message);
            }
            _ => {}
        }
    }
    assert!(recorded.sent.len() >= 2 && recorded.counts.len() >= 2, "something to compare");
    assert_eq!(stand.account, recorded, "{name}, player {player}");
}

#[test]
fn two_players() {
    replay("route-2players", "A");
    replay("route-2players", "B");
}

#[test]
fn three_players() {
    replay("route-3players", "A");
    replay("route-3players", "B");
    replay("route-3players", "C");
}
