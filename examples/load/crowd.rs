//! Clients on the sockets of one driver, each a node of its own that does what its role says.

use crate::many::Many;
use crate::media::{self, Source};
use crate::tally::Tally;
use rtmfp::GroupSpec;
use rtmfp::amf::Value;
use rtmfp::driver::{Service, os_random};
use rtmfp::proto::crypto::{DhGroup, Fingerprint, Identity, IdentityConfig, Negotiation};
use rtmfp::proto::flash::stream::{NetStreamEvent, Request};
use rtmfp::proto::flash::{Methods, Uri};
use rtmfp::proto::node::{Node, NodeConfig, NodeEvent, PublishToPeers, StreamHandle};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::proto::transport::{
    Arrived, Computed, Interface, Job, Machine, Path, Time, Transmit, TransmitBuf,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// The stream that clients offer to each other.
const OFFERED: &str = "load";

/// The method of a client that the server's `relay` calls.
const RELAYED: &str = "onRelay";

/// How long a client that leaves waits for peers that do not answer, as a program that ends does.
const LEAVING: Duration = Duration::from_secs(2);

/// What a client does when it has connected.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Leaves.
    Leave,
    /// Stays, and offers other clients a stream.
    Offer,
    /// Stays.
    Stay,
    /// Asks the server for this client, plays the stream that it offers, and leaves.
    Visit(Fingerprint),
    /// Publishes a stream at the server, of so many kbit/s.
    Publish(String, u32),
    /// Plays a stream of the server.
    Play(String),
}

/// The end of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Closes the connection.
    Leave,
    /// Is gone without a word.
    Crash,
    /// Goes on at another address for as long again, and then leaves.
    Move,
}

/// Lives that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Lives {
    /// Clients at a time.
    pub(crate) population: usize,
    /// One of them is joined, sometimes.
    pub(crate) groups: Vec<GroupSpec>,
    /// The longest life.
    pub(crate) longest: Duration,
}

/// A function on a crowd.
pub(crate) type Command = Box<dyn FnOnce(&mut Crowd, Time) + Send>;

pub(crate) struct Crowd {
    uri: Uri,
    server: SocketAddr,
    group: DhGroup,
    addresses: Vec<SocketAddr>,
    many: Many<Node>,
    clients: HashMap<usize, Client>,
    /// Attempts that wait until fewer are under way.
    waiting: VecDeque<(Identity, Role)>,
    opening: usize,
    concurrency: usize,
    next: usize,
    due: BTreeSet<(Time, usize)>,
    lives: Option<Lives>,
    random: SeededRandom,
    tally: Tally,
    stopping: bool,
}

struct Client {
    since: Time,
    role: Role,
    stage: Stage,
    streams: BTreeMap<StreamHandle, Use>,
    end: Option<(Time, End)>,
    /// Its entry in [`Crowd::due`].
    due: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Connected,
    Leaving,
}

enum Use {
    Source(Source),
    /// The number of the last message.
    Played(Option<u64>),
    /// A stream of another client, which the server introduces.
    Introduction(Time),
    Offered,
}

impl Crowd {
    pub(crate) fn new(uri: Uri, server: SocketAddr, group: DhGroup, concurrency: usize) -> Self {
        Self {
            uri,
            server,
            group,
            addresses: Vec::new(),
            many: Many::default(),
            clients: HashMap::new(),
            waiting: VecDeque::new(),
            opening: 0,
            concurrency,
            next: 0,
            due: BTreeSet::new(),
            lives: None,
            random: SeededRandom::new(1),
            tally: Tally::default(),
            stopping: false,
        }
    }

    /// The addresses of its sockets.
    pub(crate) fn on(mut self, addresses: Vec<SocketAddr>) -> Self {
        let seed = addresses.first().map_or(1, |address| u64::from(address.port()));
        self.random = SeededRandom::new(seed);
        self.addresses = addresses;
        self
    }

    /// Has clients with these identities and roles connect.
    pub(crate) fn connect(&mut self, now: Time, clients: Vec<(Identity, Role)>) {
        self.waiting.extend(clients);
        self.begin(now);
    }

    /// What has happened since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Hellos and keyings that were sent again.
    pub(crate) fn retries(&self) -> u64 {
        self.many.retries()
    }

    /// Clients that are connected, by role.
    pub(crate) fn connected(&self, wanted: fn(&Role) -> bool) -> Vec<usize> {
        let all = self.clients.iter();
        let found = all.filter(|(_, it)| it.stage == Stage::Connected && wanted(&it.role));
        let mut found: Vec<_> = found.map(|(&index, _)| index).collect();
        found.sort_unstable();
        found
    }

    pub(crate) fn peer_id(&mut self, index: usize) -> Option<Fingerprint> {
        self.many.get_mut(index).map(|node| node.peer_id())
    }

    /// Has a client ask the server for another one, and play its stream.
    pub(crate) fn introduce(&mut self, now: Time, index: usize, peer: Fingerprint) {
        let played =
            self.many.call(now, index, |node| node.play_from_peer(now, peer, OFFERED, &[]));
        match (played, self.clients.get_mut(&index)) {
            (Some(Ok(handle)), Some(client)) => {
                client.streams.insert(handle, Use::Introduction(now));
            }
            (Some(Err(error)), _) => self.tally.fail(error.to_string()),
            _ => {}
        }
    }

    /// Has a client call another one by way of the server.
    pub(crate) fn relay(&mut self, now: Time, index: usize, peer: Fingerprint) {
        let sent = Value::from(now.as_micros() as f64);
        let args = vec![Value::from(peer.to_string()), sent];
        let called = self.many.call(now, index, |node| node.notify(now, "relay", args));
        if let Some(Err(error)) = called {
            self.tally.fail(error.to_string());
        }
    }

    /// Has lives follow each other from now on, or no more.
    pub(crate) fn live(&mut self, now: Time, lives: Option<Lives>) {
        self.lives = lives;
        self.begin(now);
    }

    /// All clients are gone without a word.
    pub(crate) fn crash(&mut self) {
        self.lives = None;
        self.waiting.clear();
        for index in self.many.indices() {
            self.many.remove(index);
        }
        self.tally.ended += self.clients.len() as u64;
        self.clients.clear();
        self.due.clear();
        self.opening = 0;
    }

    /// An identity as Flash Player has one: MonaServer 1.x crashes at others with static keys.
    pub(crate) fn identity(group: DhGroup) -> Identity {
        let mut config = IdentityConfig::like_a_player();
        config.groups = vec![group];
        Identity::generate(&config, &mut *os_random())
    }

    /// Begins attempts, as many as are wanted at a time.
    fn begin(&mut self, now: Time) {
        while self.opening < self.concurrency && !self.stopping {
            if let Some((identity, role)) = self.waiting.pop_front() {
                self.begin_one(now, identity, role);
                continue;
            }
            let Some(lives) = &self.lives else { return };
            if self.clients.len() >= lives.population {
                return;
            }
            let longest = lives.longest;
            let role = self.some_role();
            let identity = Self::identity(self.group);
            let index = self.begin_one(now, identity, role);
            let end = match self.random.below(10) {
                0..5 => End::Leave,
                5..8 => End::Crash,
                _ => End::Move,
            };
            let after = longest.mul_f64(0.1 + 0.9 * self.random.unit());
            if let Some(client) = self.clients.get_mut(&index) {
                client.end = Some((now + after, end));
            }
            self.set_due(index);
        }
    }

    /// What somebody who lives for a while does: 16 streams, of which each has a publisher now and then.
    fn some_role(&mut self) -> Role {
        let name = format!("live{}", self.random.below(16));
        match self.random.below(10) {
            0 => Role::Publish(name, 100),
            1..4 => Role::Play(name),
            _ => Role::Stay,
        }
    }

    fn begin_one(&mut self, now: Time, identity: Identity, role: Role) -> usize {
        let index = self.next;
        self.next += 1;
        self.opening += 1;
        let mut config = NodeConfig::default();
        config.transport.negotiation =
            Negotiation { groups: vec![self.group], ..Negotiation::default() };
        config.client.methods = Methods::named([RELAYED]);
        let mut node = Node::new(config, identity, os_random(), os_random());
        let interface = Interface((index % self.addresses.len().max(1)) as u16);
        let own = self.addresses.get(usize::from(interface.0)).copied();
        node.set_addresses(now, own.into_iter().filter(|own| !own.ip().is_unspecified()).collect());
        let joined = self.lives.as_ref().filter(|lives| !lives.groups.is_empty()).map(|lives| {
            let group = self.random.below(lives.groups.len() as u64) as usize;
            lives.groups[group].clone()
        });
        let peer = Some(node.peer_id());
        self.many.add(index, node, interface, peer);
        let client = Client {
            since: now,
            role,
            stage: Stage::Opening,
            streams: BTreeMap::new(),
            end: None,
            due: None,
        };
        self.clients.insert(index, client);
        let (uri, server) = (self.uri.clone(), self.server);
        self.many.call(now, index, |node| {
            joined.map(|spec| node.join(now, spec));
            node.connect(now, &uri, &[server]);
        });
        index
    }

    /// Sees to what has come of calls.
    fn settle(&mut self, now: Time) {
        while let Some(index) = self.many.poll_touched() {
            while let Some(event) = self.many.get_mut(index).and_then(Node::poll_event) {
                self.on_event(now, index, event);
            }
        }
        self.begin(now);
    }

    fn on_event(&mut self, now: Time, index: usize, event: NodeEvent) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        match event {
            NodeEvent::Connected { .. } if client.stage == Stage::Opening => {
                client.stage = Stage::Connected;
                self.opening -= 1;
                self.tally.connected.push(now.since(client.since).as_micros() as u64);
                self.play_role(now, index);
            }
            NodeEvent::ConnectFailed(error) => {
                self.tally.fail(error.to_string());
                self.opening -= usize::from(client.stage == Stage::Opening);
                client.stage = Stage::Leaving;
                self.many.call(now, index, |node| node.shut_down(now));
            }
            NodeEvent::Disconnected if client.stage == Stage::Connected => {
                self.tally.lost += 1;
            }
            NodeEvent::Stream(handle, event) => self.on_stream_event(now, index, handle, event),
            NodeEvent::Call(call) => {
                // The peer ID of the caller, and what it has sent.
                let sent = call.args.get(1).and_then(Value::as_f64).map(|at| at as u64);
                let taken = sent.map(|at| now.since(Time::from_micros(at)).as_micros() as u64);
                self.tally.relayed.extend(taken);
            }
            _ => {}
        }
    }

    fn play_role(&mut self, now: Time, index: usize) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        let role = client.role.clone();
        let stream = self.many.call(now, index, |node| match &role {
            Role::Leave => {
                node.shut_down(now);
                None
            }
            Role::Stay => None,
            Role::Visit(peer) => {
                let played = node.play_from_peer(now, *peer, OFFERED, &[]);
                Some(played.map(|it| (it, Use::Introduction(now))))
            }
            Role::Offer => {
                let mut options = PublishToPeers::default();
                options.max_peers = usize::MAX;
                Some(node.publish_to_peers(now, OFFERED, options).map(|it| (it, Use::Offered)))
            }
            Role::Publish(name, kbit) => {
                let values = vec![Value::from(name.as_str()), Value::from("live")];
                let source = || Use::Source(Source::new(now, *kbit));
                let handle = node.stream_of_server(now, Request::Publish(values));
                Some(handle.map(|it| (it, source())))
            }
            Role::Play(name) => {
                let request = Request::Play(vec![Value::from(name.as_str())]);
                Some(node.stream_of_server(now, request).map(|it| (it, Use::Played(None))))
            }
        });
        match stream.flatten() {
            Some(Ok((handle, used))) => drop(client.streams.insert(handle, used)),
            Some(Err(error)) => self.tally.fail(error.to_string()),
            None => {}
        }
        if matches!(role, Role::Leave) {
            client.stage = Stage::Leaving;
        }
        self.set_due(index);
    }

    fn on_stream_event(
        &mut self,
        now: Time,
        index: usize,
        handle: StreamHandle,
        event: NetStreamEvent,
    ) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        let Some(used) = client.streams.get_mut(&handle) else { return };
        match (event, used) {
            (NetStreamEvent::Message(message), Use::Played(last)) => {
                let Some(seen) = media::read(&message) else { return };
                if seen.number == 0 {
                    return;
                }
                self.tally.played.note(seen.bytes);
                if let Some(last) = last.replace(seen.number) {
                    self.tally.played.missing += seen.number.saturating_sub(last + 1);
                }
                self.tally.latencies.push(now.since(seen.sent).as_micros() as u64);
            }
            (NetStreamEvent::Reset | NetStreamEvent::Ended, Use::Played(last)) => *last = None,
            (NetStreamEvent::Status(_) | NetStreamEvent::Reset, Use::Introduction(since)) => {
                self.tally.introduced.push(now.since(*since).as_micros() as u64);
                client.streams.remove(&handle);
                let has_seen = matches!(client.role, Role::Visit(_));
                self.many.call(now, index, |node| node.close_stream(now, handle));
                if has_seen {
                    self.leave(now, index);
                }
            }
            (NetStreamEvent::Failed(error), _) => {
                self.tally.fail(error.to_string());
                client.streams.remove(&handle);
                if matches!(client.role, Role::Visit(_)) {
                    self.leave(now, index);
                }
            }
            _ => {}
        }
    }

    /// Sets the time at which a client has something to do by itself.
    fn set_due(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        let connected = client.stage == Stage::Connected;
        let sources = client.streams.values().filter_map(|used| match used {
            Use::Source(source) if connected => Some(source.due()),
            _ => None,
        });
        let due = sources.chain(client.end.map(|(at, _)| at)).min();
        if let Some(old) = std::mem::replace(&mut client.due, due) {
            self.due.remove(&(old, index));
        }
        self.due.extend(due.map(|at| (at, index)));
    }

    fn act(&mut self, now: Time, index: usize) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        client.due = None;
        for (&handle, used) in &mut client.streams {
            let Use::Source(source) = used else { continue };
            while source.due() <= now && client.stage == Stage::Connected {
                let message = source.next(now);
                let size = message.encode().into_bytes().len();
                let written =
                    self.many.call(now, index, |node| node.write_to_stream(now, handle, &message));
                if written == Some(true) {
                    self.tally.published.note(size);
                }
            }
        }
        match client.end.take_if(|(at, _)| *at <= now) {
            Some((_, End::Leave)) => self.leave(now, index),
            Some((_, End::Crash)) => {
                self.opening -= usize::from(client.stage == Stage::Opening);
                self.many.remove(index);
                self.clients.remove(&index);
                self.tally.ended += 1;
            }
            Some((_, End::Move)) => {
                client.end = Some((now + now.since(client.since), End::Leave));
                let other = (index + 1) % self.addresses.len().max(1);
                self.many.move_to(index, Interface(other as u16));
            }
            None => {}
        }
        self.set_due(index);
    }

    fn leave(&mut self, now: Time, index: usize) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        self.opening -= usize::from(client.stage == Stage::Opening);
        client.stage = Stage::Leaving;
        client.streams.clear();
        client.end = Some((now + LEAVING, End::Crash));
        self.many.call(now, index, |node| node.shut_down(now));
        self.set_due(index);
    }

    /// Drops a client that has left.
    fn rest(&mut self, index: usize) {
        let leaving = self.clients.get(&index).is_some_and(|it| it.stage == Stage::Leaving);
        if leaving && self.many.get_mut(index).is_some_and(|node| node.is_idle()) {
            self.many.remove(index);
            if let Some(due) = self.clients.remove(&index).and_then(|client| client.due) {
                self.due.remove(&(due, index));
            }
            self.tally.ended += 1;
        }
    }
}

impl Machine for Crowd {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        self.many.handle_datagrams(now, path, arrived);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.many.handle_timeout(now);
        while let Some(&(at, index)) = self.due.first().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, index));
            self.act(now, index);
        }
        self.settle(now);
    }

    fn handle_computed(&mut self, _: Time, _: Computed) {}

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        let transmit = self.many.poll_transmit(now, buf);
        while let Some(index) = self.many.poll_rested() {
            self.rest(index);
        }
        transmit
    }

    fn poll_timeout(&self) -> Option<Time> {
        let due = self.due.first().map(|&(at, _)| at);
        self.many.poll_timeout().into_iter().chain(due).min()
    }

    fn poll_job(&mut self) -> Option<Job> {
        None
    }
}

impl Service for Crowd {
    type Command = Command;
    type Event = ();

    fn handle_command(&mut self, now: Time, command: Command) {
        command(self, now);
        self.settle(now);
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping = true;
        self.waiting.clear();
        for index in self.many.indices() {
            self.leave(now, index);
        }
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.clients.is_empty()
    }
}
