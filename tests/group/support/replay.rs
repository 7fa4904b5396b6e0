//! A group in the place of a recorded player.

use super::account::{Account, Act};
use super::player::{Player, Step};
use bytes::Bytes;
use rtmfp::proto::flash::Message;
use rtmfp::proto::group::message::{
    Hello, MembershipMessage, MulticastControl, MulticastData, ReplicationMessage,
};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupAddress, GroupConfig, GroupEvent,
    MembershipRules, NetStreamId, PostKey, SubscriptionRules,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use rtmfp::wire::RawOption;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// The times of ticks after the first are random: this is how much longer than the player the group
/// may take until it connects.
const LATER: Duration = Duration::from_secs(45);

/// Flows that neighbors have not opened to the player have numbers from this on.
const OPENED: u64 = 5_000_000;

/// Neighbors that the player serves at a time.
const UNCHOKED: usize = 4;

fn time(seconds: f64) -> Time {
    Time::from_micros((seconds * 1e6) as u64)
}

pub struct Replay<'a> {
    pub player: &'a Player,
    pub group: Group,
    pub now: Time,
    pub account: Account,
    sessions: BTreeMap<usize, (u32, SessionId)>,
    neighbors: HashMap<SessionId, usize>,
    tokens: BTreeMap<(usize, FlowKind), FlowToken>,
    kinds: HashMap<FlowToken, (usize, FlowKind)>,
    /// Flows of neighbors that were not rejected.
    accepted: BTreeMap<(usize, u64), FlowKind>,
    /// Members that the group wants a session with.
    wanted: BTreeSet<usize>,
    is_asked: bool,
    /// The neighbors that were last asked for objects and fragments, if these come from whoever was asked.
    asked: Option<BTreeMap<(FlowKind, u64), usize>>,
    /// The fragments that the player has asked each neighbor for.
    pulled: BTreeSet<(usize, u64)>,
    /// Streams that are published and played, by name.
    pub(super) streams: BTreeMap<String, NetStreamId>,
    pub(super) plays: BTreeMap<String, NetStreamId>,
    /// Directed messages with a destination, which the script sends on.
    forwards: VecDeque<(GroupAddress, Bytes)>,
    /// Requests that the application has not answered.
    pub(super) requests: VecDeque<(u64, u32)>,
    /// Values that were received.
    pub(super) heard: BTreeSet<PostKey>,
    /// What the player has sent and its script has written, by index.
    pub(super) objects: BTreeMap<u64, Bytes>,
}

/// The settings that make a group do what a player does, where it would do something else.
pub fn as_observed(player: &Player) -> GroupConfig {
    let mut config = GroupConfig::new(player.spec.clone(), player.near);
    config.server = player.server;
    config.membership = MembershipRules::Observed;
    config.multicast.subscription = SubscriptionRules::Observed;
    config.replication.max_in_flight = 4;
    // From its first round of choking on, which is ours when there is anybody to serve.
    config.replication.max_unchoked = 0;
    config.replication.max_pending = 1;
    config
}

impl<'a> Replay<'a> {
    /// Replays everything to a group with the observed settings.
    pub fn run(player: &'a Player) -> Self {
        Self::run_with(player, as_observed(player), 1)
    }

    pub fn run_with(player: &'a Player, config: GroupConfig, seed: u64) -> Self {
        let mut replay = Self::new(player, config, seed);
        replay.play();
        replay
    }

    /// Replays everything to a group that serves and asks other neighbors than the player: objects come
    /// and fragments from the neighbor that was asked for them, and the script answers at once.
    pub fn run_as_chosen(player: &'a Player, seed: u64) -> Self {
        let mut replay = Self::new(player, as_observed(player), seed);
        replay.asked = Some(BTreeMap::new());
        replay.play();
        replay
    }

    fn play(&mut self) {
        for (at, step) in &self.player.steps {
            self.advance(time(*at));
            self.apply(step);
            self.drain();
        }
        self.advance(time(self.player.end + 0.5));
    }

    fn new(player: &'a Player, config: GroupConfig, seed: u64) -> Self {
        let now = time(player.joined);
        let objects = player.account.acts.iter().filter_map(|(_, _, act)| {
            let Act::Sent(FlowKind::Replication, message) = act else { return None };
            match ReplicationMessage::parse(message.clone()) {
                Ok(ReplicationMessage::Object { index, value }) => Some((index, value)),
                _ => None,
            }
        });
        let pulled = player.account.acts.iter().filter_map(|(_, to, act)| {
            let Act::Sent(FlowKind::MulticastControl, message) = act else { return None };
            match MulticastControl::parse(message) {
                Ok(MulticastControl::Pull(number)) => Some((*to, number)),
                _ => None,
            }
        });
        let mut replay = Self {
            player,
            group: Group::new(config, now, seed),
            now,
            account: Account::default(),
            sessions: BTreeMap::new(),
            neighbors: HashMap::new(),
            tokens: BTreeMap::new(),
            kinds: HashMap::new(),
            accepted: BTreeMap::new(),
            wanted: BTreeSet::new(),
            streams: BTreeMap::new(),
            plays: BTreeMap::new(),
            is_asked: false,
            asked: None,
            pulled: pulled.collect(),
            forwards: VecDeque::new(),
            requests: VecDeque::new(),
            heard: BTreeSet::new(),
            objects: objects.collect(),
        };
        replay.drain();
        replay
    }

    fn advance(&mut self, to: Time) {
        while let Some(at) = self.group.poll_timeout().filter(|at| *at <= to) {
            self.now = self.now.max(at);
            self.group.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.max(to);
    }

    /// Goes on until something is so.
    fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = self.now + LATER;
        while !is_so(self) {
            let due = self.group.poll_timeout().filter(|due| *due < end);
            let due =
                due.unwrap_or_else(|| panic!("{}: {what}, at {:?}", self.player.name, self.now));
            self.advance(due);
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Introduced(member) if self.player.server.is_none() => {
                let (peer, address) = self.player.members[*member];
                self.group.on_announced(self.now, peer, address);
            }
            Step::Introduced(member) => {
                self.group.on_introduced(self.now, self.player.peer(*member), false);
            }
            Step::FromServer(message) => self.group.on_server_message(self.now, message),
            Step::NearHello { to, session } => self.say_hello(*to, *session),
            Step::FarHello { from, flow, is_good } => self.receive_hello(*from, *flow, *is_good),
            Step::FarOpened { from, flow, kind, of } => {
                let Some((_, session)) = self.sessions.get(from).copied() else { return };
                let token = self.tokens.get(&(*from, *of)).copied().unwrap_or(FlowToken(u32::MAX));
                let flow_id = FlowId(*flow);
                let verdict = self.group.on_flow_opened(self.now, session, flow_id, *kind, token);
                match verdict {
                    FlowVerdict::Accept => drop(self.accepted.insert((*from, *flow), *kind)),
                    FlowVerdict::Reject(_) => self.act(*from, Act::Rejected(*kind)),
                }
            }
            Step::FarMessage { from, flow, message } => {
                let (from, flow) = &self.giver(*from, *flow, message);
                if let Some(kind) = self.accepted.get(&(*from, *flow)) {
                    self.heard.extend(Act::Sent(*kind, message.clone()).posted());
                }
                let session = self.sessions.get(from).map(|(_, session)| *session);
                if let Some(session) = session
                    && self.accepted.contains_key(&(*from, *flow))
                {
                    let message = self.with_key(message);
                    self.group.on_message(self.now, session, FlowId(*flow), message);
                }
            }
            Step::FarFinished { from, flow } => {
                let session = self.sessions.get(from).map(|(_, session)| *session);
                if let Some(session) = session
                    && self.accepted.remove(&(*from, *flow)).is_some()
                {
                    self.group.on_flow_finished(self.now, session, FlowId(*flow));
                }
            }
            Step::FarRejected { from, kind } => {
                let flow = (*from, *kind);
                self.wait("a flow to be rejected", |it| it.tokens.contains_key(&flow));
                let token = self.tokens.remove(&flow).expect("it was waited for");
                let input = FlowInput::Rejected { token, code: 0 };
                self.group.on_flow_input(self.now, self.sessions[from].1, input);
            }
            Step::SessionLost(from) => {
                if let Some((_, session)) = self.sessions.remove(from) {
                    self.group.on_session_closed(self.now, session);
                    self.tokens.retain(|(of, _), _| of != from);
                }
            }
            Step::Call(step) => self.call(step),
            Step::Published(message) => {
                let id = self.streams.values().next().expect("a stream is published");
                let message = Message::parse(message).unwrap();
                self.group.multicast_mut(self.now).send(*id, &message).unwrap();
            }
            Step::Answered { index, is_written } => self.answer(*index, *is_written),
            Step::Forwarded => {
                let (to, message) = self.forwards.pop_front().expect("something to send on");
                let result = self.group.routing_mut().send_to_nearest(&to, message).unwrap();
                self.account.results.push(result.as_str().to_owned());
            }
            Step::Count => self.count(),
            Step::FarLeft(from) => {
                if let Some(flow) = self.membership(*from) {
                    self.apply(&Step::FarFinished { from: *from, flow });
                }
            }
            Step::Reports(to) => self.ask(*to),
            Step::Serves => self.group.replication_mut(self.now).set_max_unchoked(UNCHOKED),
        }
    }

    /// The neighbor that sends this message and its flow, where it matters who was asked for it.
    fn giver(&mut self, from: usize, flow: u64, message: &Bytes) -> (usize, u64) {
        let kind = self.accepted.get(&(from, flow)).copied();
        let (Some(asked), Some(kind)) = (&self.asked, kind) else { return (from, flow) };
        let number = match kind {
            FlowKind::Replication => match ReplicationMessage::parse(message.clone()) {
                Ok(ReplicationMessage::Object { index, .. }) => index,
                _ => return (from, flow),
            },
            FlowKind::MulticastData => match MulticastData::parse(message) {
                Ok(MulticastData::Fragment(it)) => it.number(),
                Ok(MulticastData::End(number)) => number,
                _ => return (from, flow),
            },
            _ => return (from, flow),
        };
        if kind == FlowKind::MulticastData && !self.pulled.contains(&(from, number)) {
            return (from, flow);
        }
        let of = asked.get(&(kind, number)).copied().unwrap_or(from);
        let is_it = |(far, of_kind): &(&(usize, u64), &FlowKind)| far.0 == of && **of_kind == kind;
        if let Some((far, _)) = self.accepted.iter().find(is_it) {
            return *far;
        }
        // It has not answered the player by that time.
        let (flow, of_kind) = (OPENED + of as u64, FlowKind::MulticastControl);
        self.apply(&Step::FarOpened { from: of, flow, kind, of: of_kind });
        (of, flow)
    }

    /// The player has sent its hello, so this is due.
    fn say_hello(&mut self, to: usize, number: u32) {
        if self.sessions.get(&to).is_none_or(|(open, _)| *open != number) {
            self.wait("a session is wanted", |it| it.wanted.contains(&to));
            self.wanted.remove(&to);
            let session = SessionId(number);
            self.sessions.insert(to, (number, session));
            self.neighbors.insert(session, to);
            let (peer, address) = self.player.members[to];
            let (near, far) = ([1; 32], [2; 32]);
            self.group.on_session_opened(self.now, session, peer, true, near, far, address);
            self.group.on_rtt(session, Duration::from_millis(1));
            self.drain();
        }
        let hello = (to, FlowKind::Membership);
        self.wait("a hello is sent", |it| it.tokens.contains_key(&hello));
    }

    fn receive_hello(&mut self, from: usize, flow: u64, is_good: bool) {
        let Some((_, session)) = self.sessions.get(&from).copied() else { return };
        let nonce = if is_good { [1; 32] } else { [9; 32] };
        let config = self.group.config();
        let hello = Hello::new(&config.spec, &nonce, config.near);
        let hello = MembershipMessage::Hello(hello).to_bytes();
        match self.group.on_hello(self.now, session, FlowId(flow), &hello) {
            FlowVerdict::Accept => drop(self.accepted.insert((from, flow), FlowKind::Membership)),
            FlowVerdict::Reject(_) => self.act(from, Act::Rejected(FlowKind::Membership)),
        }
    }

    fn act(&mut self, to: usize, act: Act) {
        self.account.acts.push((self.now.as_secs_f64(), to, act));
    }

    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            match action {
                GroupAction::Connect { peer, .. } => {
                    let members = &self.player.members;
                    let member = members.iter().position(|(of, _)| *of == peer);
                    self.wanted.extend(member);
                }
                GroupAction::Flow { session, action } => self.act_on_flow(session, action),
                _ => {}
            }
        }
        while let Some(event) = self.group.poll_event() {
            self.note(&event);
        }
        while self.asked.is_some()
            && let Some((index, id)) = self.requests.pop_front()
        {
            let object = self.objects.get(&index).cloned().unwrap_or(Bytes::from_static(&[5]));
            self.group.replication_mut(self.now).write_requested(id, object);
            self.drain();
        }
    }

    fn act_on_flow(&mut self, session: SessionId, action: FlowAction) {
        let of = self.neighbors[&session];
        match action {
            FlowAction::Open { token, metadata, .. } => {
                let kind = FlowKind::from_metadata(&metadata).expect("a group's flow");
                self.kinds.insert(token, (of, kind));
                self.tokens.insert((of, kind), token);
            }
            FlowAction::Send { token, message, .. } => {
                let (to, kind) = self.kinds[&token];
                if let Ok(MembershipMessage::Report(report)) = MembershipMessage::parse(&message)
                    && kind == FlowKind::Membership
                    && self.is_asked
                {
                    return self.account.note_report(to, &report);
                }
                self.note_request(to, kind, &message);
                self.act(to, Act::Sent(kind, message.clone()));
                if kind == FlowKind::Membership && message.starts_with(&[0x0a, 0x01, 0x00]) {
                    self.report(to);
                }
            }
            FlowAction::Finish { token } => {
                let (to, kind) = self.kinds[&token];
                self.act(to, Act::Finished(kind));
                if self.tokens.get(&(to, kind)) == Some(&token) {
                    self.tokens.remove(&(to, kind));
                }
            }
            FlowAction::Reject { flow, .. } => {
                if let Some(kind) = self.accepted.remove(&(of, flow.0)) {
                    self.act(of, Act::Rejected(kind));
                }
            }
            _ => {}
        }
    }

    /// A description of the player's stream is one of the group's, whose key is another.
    fn with_key(&self, message: &Bytes) -> Bytes {
        let described = |account: &Account| {
            account.acts.iter().find_map(|(_, _, act)| match act {
                Act::Sent(FlowKind::MulticastControl, message) if message[0] == 0x21 => {
                    Some(message.clone())
                }
                _ => None,
            })
        };
        let is_ours =
            !self.streams.is_empty() && described(&self.player.account).as_ref() == Some(message);
        let ours = is_ours.then(|| described(&self.account)).flatten();
        ours.unwrap_or_else(|| message.clone())
    }

    fn note_request(&mut self, to: usize, kind: FlowKind, message: &Bytes) {
        let Some(asked) = &mut self.asked else { return };
        match kind {
            FlowKind::Replication => {
                if let Ok(ReplicationMessage::Request(index)) =
                    ReplicationMessage::parse(message.clone())
                {
                    asked.insert((kind, index), to);
                }
            }
            FlowKind::MulticastControl => {
                if let Ok(MulticastControl::Pull(number)) = MulticastControl::parse(message) {
                    asked.insert((FlowKind::MulticastData, number), to);
                }
            }
            _ => {}
        }
    }

    /// The accepted membership flow of a neighbor.
    fn membership(&self, from: usize) -> Option<u64> {
        let is_it = |(of, kind): &(&(usize, u64), &FlowKind)| {
            of.0 == from && **kind == FlowKind::Membership
        };
        self.accepted.iter().rfind(is_it).map(|((_, flow), _)| *flow)
    }

    /// The observer answers reports that ask.
    fn report(&mut self, from: usize) {
        let report = self.player.reports.get(&from).cloned();
        if let (Some(flow), Some(report)) = (self.membership(from), report) {
            self.group.on_message(self.now, self.sessions[&from].1, FlowId(flow), report);
        }
    }

    /// The ticks of the player are at random times and for random neighbors, and so are ours. To see
    /// what the group reports to that neighbor, it is asked by it.
    fn ask(&mut self, from: usize) {
        let Some(flow) = self.membership(from) else { return };
        let ask = match self.player.reports.get(&from).map(MembershipMessage::parse) {
            Some(Ok(MembershipMessage::Report(mut report))) => {
                let ask = RawOption { kind: 0, value: Bytes::new() };
                report.options.0.insert(0, ask);
                MembershipMessage::Report(report).to_bytes()
            }
            _ => Bytes::from_static(&[0x0a, 1, 0, 0]),
        };
        let (_, session) = self.sessions[&from];
        self.is_asked = true;
        self.group.on_message(self.now, session, FlowId(flow), ask);
        self.drain();
        self.is_asked = false;
    }

    fn note(&mut self, event: &GroupEvent) {
        let about = match event {
            GroupEvent::NeighborConnect { peer_id, .. }
            | GroupEvent::NeighborDisconnect { peer_id, .. } => peer_id.to_string(),
            GroupEvent::ReplicationFetchSendNotify { index }
            | GroupEvent::ReplicationFetchFailed { index }
            | GroupEvent::ReplicationFetchResult { index, .. } => index.to_string(),
            GroupEvent::ReplicationRequest { index, request_id } => {
                self.requests.push_back((*index, *request_id));
                index.to_string()
            }
            GroupEvent::SendToNotify { message, from, from_local } => {
                let value = message.decode().unwrap();
                if let Some(to) = value.property("to").filter(|_| !from_local) {
                    let to = to.as_str().unwrap().parse().unwrap();
                    self.forwards.push_back((to, message.clone().into_bytes()));
                }
                let at = self.now.as_secs_f64();
                let local = if *from_local { "(local)" } else { "" };
                return self.account.events.push((at, format!("{}{local} {from}", event.code())));
            }
            GroupEvent::PostingNotify { message_id, .. } => message_id.to_string(),
            GroupEvent::MulticastStreamMessage { .. } | GroupEvent::MulticastStreamEnd { .. } => {
                return;
            }
            GroupEvent::MulticastStreamReset { name, .. }
            | GroupEvent::MulticastStreamPublishNotify { name }
            | GroupEvent::MulticastStreamUnpublishNotify { name } => name.clone(),
            _ => String::new(),
        };
        let event = format!("{} {about}", event.code()).trim_end().to_owned();
        self.account.events.push((self.now.as_secs_f64(), event));
    }
}
