//! A group in the place of a recorded player.

use super::account::{Account, Act};
use super::player::{Player, Step};
use bytes::Bytes;
use rtmfp::proto::group::message::{Hello, MembershipMessage, ReplicationMessage};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupAddress, GroupConfig, GroupEvent,
    MembershipRules, MessageId, PostKey, ReceiveMode, ReplicationStrategy, SendMode,
    SubscriptionRules,
};
use rtmfp::proto::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use rtmfp::wire::RawOption;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// The times of ticks after the first are random: this is how much longer than the player the group
/// may take until it connects.
const LATER: Duration = Duration::from_secs(45);

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
    /// The neighbors that were last asked for objects, if objects come from whoever was asked.
    asked: Option<BTreeMap<u64, usize>>,
    /// Requests that the application has not answered.
    requests: VecDeque<(u64, u32)>,
    /// Values that were posted or received.
    heard: BTreeSet<PostKey>,
    /// What the player has sent and its script has written, by index.
    objects: BTreeMap<u64, Bytes>,
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
    /// from the neighbor that was asked for them, and the script answers at once.
    pub fn run_as_chosen(player: &'a Player) -> Self {
        let mut replay = Self::new(player, as_observed(player), 1);
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
            is_asked: false,
            asked: None,
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
                    self.group.on_message(self.now, session, FlowId(*flow), message.clone());
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
            Step::Answered { index, is_written } => self.answer(*index, *is_written),
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

    /// The neighbor that sends this message and its flow, where it matters who was asked for an object.
    fn giver(&self, from: usize, flow: u64, message: &Bytes) -> (usize, u64) {
        let Some(asked) = &self.asked else { return (from, flow) };
        let Ok(ReplicationMessage::Object { index, .. }) =
            ReplicationMessage::parse(message.clone())
        else {
            return (from, flow);
        };
        let of = asked.get(&index).copied().unwrap_or(from);
        let is_it = |(far, kind): &(&(usize, u64), &FlowKind)| {
            far.0 == of && **kind == FlowKind::Replication
        };
        self.accepted.iter().find(is_it).map_or((from, flow), |(far, _)| *far)
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

    /// A call of the player's script.
    fn call(&mut self, step: &str) {
        let words: Vec<_> = step.split(':').collect();
        let number = |i: usize| words[i].parse::<u64>().unwrap();
        let range = || number(2)..=number(3);
        let (group, now) = (&mut self.group, self.now);
        match words[1] {
            "have" => group.replication_mut(now).add_have(range()).unwrap(),
            "unhave" => group.replication_mut(now).remove_have(range()).unwrap(),
            "want" => group.replication_mut(now).add_want(range()).unwrap(),
            "unwant" => group.replication_mut(now).remove_want(range()).unwrap(),
            "sparse" => (0..number(2)).for_each(|i| {
                let start = number(3) + i * number(4);
                group.replication_mut(now).add_have(start..=start + number(5)).unwrap();
            }),
            "strat" if words[2] == "rarestFirst" => {
                group.replication_mut(now).set_strategy(ReplicationStrategy::RarestFirst);
            }
            "recv" if words[2] == "nearest" => group.set_receive_mode(now, ReceiveMode::Nearest),
            "recv" => group.set_receive_mode(now, ReceiveMode::Exact),
            "near" | "nearval" | "inc" | "dec" | "all" => self.route(&words),
            "post" | "posts" | "postk" => self.post(&words),
            "close" | "closenc" => group.close(now),
            "pub" | "play" | "nsclose" | "send" | "sendrep" | "count" | "rep" | "strat"
            | "join2" => {}
            other => panic!("{}: {other}", self.player.name),
        }
    }

    fn route(&mut self, words: &[&str]) {
        let sent = |account: &Account| {
            let sent = account.acts.iter().filter_map(|(_, _, act)| match act {
                Act::Sent(FlowKind::Routing, message) => Some(message.clone()),
                _ => None,
            });
            sent.collect::<Vec<_>>()
        };
        let next = sent(&self.player.account).get(sent(&self.account).len()).cloned();
        let message = next.unwrap_or(Bytes::from_static(&[5]));
        let own = self.group.address();
        let mut routing = self.group.routing_mut();
        let result = match words[1] {
            "inc" => routing.send_to_neighbor(SendMode::NextIncreasing, message),
            "dec" => routing.send_to_neighbor(SendMode::NextDecreasing, message),
            "all" => routing.send_to_all_neighbors(message),
            _ => {
                let address = match words[2] {
                    "nbr" => GroupAddress::of(&self.player.peer(0)),
                    "me" => own,
                    "zero" => GroupAddress([0; 32]),
                    "ff" => GroupAddress([0xff; 32]),
                    address => address.parse().unwrap(),
                };
                routing.send_to_nearest(&address, message)
            }
        };
        self.account.results.push(result.unwrap().as_str().to_owned());
    }

    /// The script posts one or several values, which are among those that the player sent next.
    fn post(&mut self, words: &[&str]) {
        let is_many = matches!(words[1], "posts" | "postk");
        let count = if is_many { words[2].parse().unwrap() } else { 1 };
        let result = self.player.account.results.get(self.account.results.len());
        self.account.results.extend(result.cloned());
        if result.is_none_or(|result| result.parse::<MessageId>().is_err()) {
            return;
        }
        let from = self.now.as_secs_f64();
        let known: BTreeMap<PostKey, &Bytes> =
            self.player.values.iter().map(|value| (MessageId::of(value).key(), value)).collect();
        let mut posted = Vec::new();
        if let Some(value) = result.and_then(|id| known.get(&id.parse::<MessageId>().ok()?.key())) {
            posted.push((*value).clone());
        }
        let acts = self.player.account.acts.iter().filter(|(at, ..)| *at >= from);
        for key in acts.flat_map(|(_, _, act)| act.posted()) {
            // One that nobody asked for is only known by its key.
            let unknown = || Bytes::from(format!("\x02\0\x10{key}"));
            let value = known.get(&key).map_or_else(unknown, |value| (*value).clone());
            if posted.len() < count && !posted.contains(&value) && self.heard.insert(key) {
                posted.push(value);
            }
        }
        for value in posted {
            self.heard.insert(MessageId::of(&value).key());
            self.group.posting_mut(self.now).post(value.into()).unwrap();
        }
    }

    fn answer(&mut self, index: u64, is_written: bool) {
        let at = self.requests.iter().position(|(of, _)| *of == index || index == u64::MAX);
        let Some((index, id)) = at.and_then(|at| self.requests.remove(at)) else { return };
        let mut replication = self.group.replication_mut(self.now);
        match self.objects.get(&index).filter(|_| is_written) {
            Some(object) => replication.write_requested(id, object.clone()),
            None => replication.deny_requested(id),
        };
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
                if let (Some(asked), Ok(ReplicationMessage::Request(index))) =
                    (&mut self.asked, ReplicationMessage::parse(message.clone()))
                    && kind == FlowKind::Replication
                {
                    asked.insert(index, to);
                }
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
            GroupEvent::SendToNotify { from, .. } => from.to_string(),
            GroupEvent::PostingNotify { message_id, .. } => message_id.to_string(),
            GroupEvent::MulticastStreamPublishNotify { name }
            | GroupEvent::MulticastStreamUnpublishNotify { name } => name.clone(),
            _ => String::new(),
        };
        let event = format!("{} {about}", event.code()).trim_end().to_owned();
        self.account.events.push((self.now.as_secs_f64(), event));
    }
}
