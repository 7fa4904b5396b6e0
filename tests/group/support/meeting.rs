//! A rendezvous server and members of a group on a virtual network.

use super::crew::Crew;
use super::{quick, secs};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::{Epd, Fingerprint, Identity, IdentityConfig};
use rtmfp::proto::flash::group_channel::ServerMessage;
use rtmfp::proto::flash::{
    CallId, ClientConfig, ClientConnection, ClientEvent, FlowDecision, Methods, ObjectEncoding, Uri,
};
use rtmfp::proto::group::{GroupEvent, GroupSpec, GroupSpecBuilder};
use rtmfp::proto::node::{GroupHandle, Node, NodeConfig, NodeEvent};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig, RendezvousEvent};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{
    Config, Endpoint, Event, FlowAction, FlowId, FlowOptions, FlowToken, Layer, Machine,
    MessageOptions, OpenId, Random, Time,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

pub const SERVER: &str = "10.0.0.1:1935";

/// The URI of the server.
pub fn uri() -> Uri {
    "rtmfp://10.0.0.1/app".parse().unwrap()
}

/// The group of these tests.
pub fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("meeting").unwrap();
    builder.object_replication(true).server_channel(true).build().unwrap()
}

/// A member with what it has seen.
pub struct Member {
    pub node: Node,
    pub group: GroupHandle,
    /// True if it meets members, by the events so far.
    pub neighbors: usize,
    /// The server keeps no groups.
    pub rejected: bool,
    /// Connections to the server that were lost.
    pub disconnected: usize,
    /// Connects again when a connection is lost or was not made, after this time.
    pub retry: Option<Duration>,
    retry_at: Option<Time>,
}

/// A client that is as lazy as a protocol allows: it connects, joins, and tries once to reach each
/// member that it is introduced to. It never sends a hello for the same member again.
pub struct Lazy {
    pub endpoint: Endpoint,
    connection: Option<(rtmfp::proto::transport::SessionId, ClientConnection)>,
    flows: HashMap<FlowToken, FlowId>,
    tokens: HashMap<FlowId, FlowToken>,
    control: Option<FlowId>,
    attempts: Vec<(OpenId, Time)>,
    /// The members it was introduced to, and when.
    pub introduced: Vec<(Time, Fingerprint)>,
    /// What happened to its connection.
    pub events: Vec<ClientEvent>,
    encoding: ObjectEncoding,
    joins: bool,
    /// Its session with the server was closed.
    pub closed: bool,
    /// The messages on the server's control flow.
    pub raw: Vec<bytes::Bytes>,
}

pub enum Host {
    /// With its events, if somebody wants to see them.
    Server(Box<Rendezvous>, Option<Vec<RendezvousEvent>>),
    /// A server with several workers.
    Crew(Box<Crew>),
    Member(Box<Member>),
    Lazy(Box<Lazy>),
}

impl Host {
    pub fn server(&self) -> &Rendezvous {
        let Self::Server(server, _) = self else { panic!("not a server") };
        server
    }

    pub fn server_mut(&mut self) -> &mut Rendezvous {
        let Self::Server(server, _) = self else { panic!("not a server") };
        server
    }

    pub fn crew(&self) -> &Crew {
        let Self::Crew(crew) = self else { panic!("no workers") };
        crew
    }

    pub fn crew_mut(&mut self) -> &mut Crew {
        let Self::Crew(crew) = self else { panic!("no workers") };
        crew
    }

    pub fn member_mut(&mut self) -> &mut Member {
        let Self::Member(member) = self else { panic!("not a member") };
        member
    }

    pub fn member(&self) -> &Member {
        let Self::Member(member) = self else { panic!("not a member") };
        member
    }

    pub fn lazy_mut(&mut self) -> &mut Lazy {
        let Self::Lazy(lazy) = self else { panic!("not a lazy client") };
        lazy
    }

    pub fn lazy(&self) -> &Lazy {
        let Self::Lazy(lazy) = self else { panic!("not a lazy client") };
        lazy
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server, _) => &**server,
            Self::Crew(crew) => &**crew,
            Self::Member(member) => &member.node,
            Self::Lazy(lazy) => &lazy.endpoint,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server, _) => &mut **server,
            Self::Crew(crew) => &mut **crew,
            Self::Member(member) => &mut member.node,
            Self::Lazy(lazy) => &mut lazy.endpoint,
        }
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        match self {
            Self::Server(..) | Self::Crew(_) => None,
            Self::Member(member) => member.retry_at,
            Self::Lazy(lazy) => lazy.attempts.iter().map(|&(_, until)| until).min(),
        }
    }

    fn handle_own_timeout(&mut self, now: Time) {
        match self {
            Self::Member(member) if member.retry_at.is_some_and(|at| at <= now) => {
                member.retry_at = None;
                member.node.connect(now, &uri(), &[SERVER.parse().unwrap()]);
            }
            Self::Lazy(lazy) => lazy.give_up(now),
            _ => {}
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        match self {
            Self::Server(server, seen) => {
                let events = std::iter::from_fn(|| server.poll_event());
                match seen {
                    Some(seen) => seen.extend(events),
                    None => events.for_each(drop),
                }
                false
            }
            Self::Crew(crew) => crew.react(now),
            Self::Member(member) => member.react(now),
            Self::Lazy(lazy) => lazy.react(now),
        }
    }
}

impl Member {
    fn react(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(event) = self.node.poll_event() {
            busy = true;
            match event {
                NodeEvent::Disconnected | NodeEvent::ConnectFailed(_) => {
                    self.disconnected += usize::from(matches!(event, NodeEvent::Disconnected));
                    self.retry_at = self.retry.map(|pause| now + pause);
                }
                NodeEvent::Connected { .. } => self.retry_at = None,
                NodeEvent::Group(_, GroupEvent::ConnectRejected) => self.rejected = true,
                NodeEvent::Group(_, GroupEvent::NeighborConnect { .. }) => self.neighbors += 1,
                NodeEvent::Group(_, GroupEvent::NeighborDisconnect { .. }) => self.neighbors -= 1,
                _ => {}
            }
        }
        busy
    }
}

impl Lazy {
    /// Longer than a way there and back takes, and shorter than the pause before a second hello.
    const PATIENCE: Duration = Duration::from_millis(1400);

    /// A client that is connected to nothing.
    pub fn new(endpoint: Endpoint, encoding: ObjectEncoding, joins: bool) -> Self {
        Self {
            endpoint,
            connection: None,
            flows: HashMap::new(),
            tokens: HashMap::new(),
            control: None,
            attempts: Vec::new(),
            introduced: Vec::new(),
            events: Vec::new(),
            encoding,
            joins,
            closed: false,
            raw: Vec::new(),
        }
    }

    pub fn connect(&mut self, now: Time, server: SocketAddr) {
        self.endpoint.open(now, Epd::for_uri(uri().as_str()), &[server]);
    }

    /// Does what its events ask for, and reaches out for everybody named to it.
    pub fn react(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(event) = self.endpoint.poll_event() {
            busy = true;
            self.on_event(now, event);
            self.carry_out(now);
        }
        busy
    }

    fn on_event(&mut self, now: Time, event: Event) {
        match event {
            Event::SessionOpened { session, opens, .. } => {
                if self.connection.is_none() {
                    let methods = Methods::All;
                    let encoding = self.encoding;
                    let mut config = ClientConfig::default();
                    config.methods = methods;
                    config.encoding = encoding;
                    let connection = ClientConnection::connect(now, config, &uri(), Vec::new());
                    self.connection = Some((session, connection.unwrap()));
                }
                self.attempts.retain(|(open, _)| !opens.contains(open));
            }
            Event::FlowOpened { session, flow, metadata, association } => {
                let token = association.and_then(|to| self.tokens.get(&to).copied());
                if let Some((at, connection)) = &mut self.connection
                    && *at == session
                    && metadata != b"GC"[..]
                    && connection.on_flow_opened(now, flow, &metadata, token)
                        == FlowDecision::Accept
                {
                    self.control = Some(flow);
                }
            }
            Event::Message { session, flow, message } => {
                let Some((at, connection)) = &mut self.connection else { return };
                if *at != session {
                    return;
                }
                if self.control == Some(flow) {
                    connection.on_message(now, flow, &message);
                    self.raw.push(message);
                    let events: Vec<_> = std::iter::from_fn(|| connection.poll_event()).collect();
                    let association = connection.server_flow();
                    let connected =
                        events.iter().any(|event| matches!(event, ClientEvent::Connected { .. }));
                    if connected && self.joins {
                        self.join(now, session, association);
                    }
                    self.events.extend(events);
                } else if let Ok(ServerMessage::Connect(peer)) = ServerMessage::parse(&message) {
                    self.introduced.push((now, peer));
                    let epd = Epd::for_fingerprint(peer);
                    let open = self.endpoint.open(now, epd, &[SERVER.parse().unwrap()]);
                    self.attempts.push((open, now + Self::PATIENCE));
                }
            }
            Event::SessionClosed { session, .. } => {
                self.closed |= self.connection.as_ref().is_some_and(|(at, _)| *at == session);
            }
            _ => {}
        }
    }

    /// Calls a method of the server.
    pub fn call(&mut self, now: Time, name: &str, args: Vec<Value>) -> CallId {
        let (_, connection) = self.connection.as_mut().unwrap();
        let call = connection.call(now, name, args).unwrap();
        self.carry_out(now);
        call
    }

    /// Calls a method of the server and wants no answer.
    pub fn notify(&mut self, now: Time, name: &str, args: Vec<Value>) {
        let (_, connection) = self.connection.as_mut().unwrap();
        connection.notify(now, name, args).unwrap();
        self.carry_out(now);
    }

    /// Sends bytes on the control flow.
    pub fn send_raw(&mut self, now: Time, message: Vec<u8>) {
        let (session, connection) = self.connection.as_ref().unwrap();
        let flow = self.flows[&connection.control_flow().unwrap()];
        let reliable = MessageOptions::RELIABLE;
        self.endpoint.send(now, *session, flow, message.into(), reliable).unwrap();
    }

    /// What came of a call.
    pub fn outcome(&self, of: CallId) -> Option<&Result<Value, Value>> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::Answered { call, outcome } if *call == of => Some(outcome),
            _ => None,
        })
    }

    /// The calls by the server so far: method and arguments.
    pub fn called(&self) -> Vec<(String, Vec<Value>)> {
        let calls = self.events.iter().filter_map(|event| match event {
            ClientEvent::Call(call) => Some((call.name.to_string(), call.args.clone())),
            _ => None,
        });
        calls.collect()
    }

    fn join(
        &mut self,
        now: Time,
        session: rtmfp::proto::transport::SessionId,
        association: Option<FlowId>,
    ) {
        let mut options = FlowOptions::default();
        options.association = association;
        let flow = self.endpoint.open_flow(session, b"GC", options).unwrap();
        let key = rtmfp::proto::flash::group_channel::JoinKey::GroupId(spec().group_id());
        let join = ServerMessage::Join(key).to_bytes();
        self.endpoint.send(now, session, flow, join, MessageOptions::RELIABLE).unwrap();
    }

    fn carry_out(&mut self, now: Time) {
        let Some((session, connection)) = &mut self.connection else { return };
        while let Some(action) = connection.poll_action() {
            match action {
                FlowAction::Open {
                    token,
                    metadata,
                    options: FlowOptions { association, .. },
                    ..
                } => {
                    let mut options = FlowOptions::default();
                    options.association = association;
                    let flow = self.endpoint.open_flow(*session, &metadata, options).unwrap();
                    self.flows.insert(token, flow);
                    self.tokens.insert(flow, token);
                }
                FlowAction::Send { token: flow, message, .. } => {
                    let (flow, bytes) = (self.flows[&flow], message);
                    let reliable = MessageOptions::RELIABLE;
                    self.endpoint.send(now, *session, flow, bytes, reliable).unwrap();
                }
                other => panic!("not expected: {other:?}"),
            }
        }
    }

    fn give_up(&mut self, now: Time) {
        let (late, left) =
            std::mem::take(&mut self.attempts).into_iter().partition(|&(_, until)| until <= now);
        self.attempts = left;
        let late: Vec<(OpenId, Time)> = late;
        for (open, _) in late {
            self.endpoint.give_up(now, open);
        }
    }
}

/// Server and members.
pub struct Meeting {
    pub network: Network<Host>,
    pub server: NodeId,
    members: u8,
}

impl Meeting {
    pub fn new(seed: u64, link: Link) -> Self {
        Self::with_config(seed, link, RendezvousConfig::default())
    }

    pub fn with_config(seed: u64, link: Link, config: RendezvousConfig) -> Self {
        let mut network = Network::new(seed, link);
        let server = start_server(&mut network, config);
        Self { network, server, members: 0 }
    }

    /// A server with several workers.
    pub fn with_workers(
        seed: u64,
        link: Link,
        mut config: RendezvousConfig,
        workers: usize,
    ) -> Self {
        let mut network = Network::new(seed, link);
        config.transport.negotiation = quick().negotiation;
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let random = || -> Random { Box::new(network.random()) };
        let crew = Crew::new(Rendezvous::crew(&config, identity, workers, random));
        let server = network.add(SERVER, Host::Crew(Box::new(crew)));
        Self { network, server, members: 0 }
    }

    /// Servers on several machines that share an address and lose a part of what they send each other.
    pub fn with_servers(seed: u64, servers: usize, loss: f64) -> Self {
        let mut network = Network::new(seed, Link::lan());
        let crew = Crew::machines(servers, loss, || network.random());
        let server = network.add(SERVER, Host::Crew(Box::new(crew)));
        Self { network, server, members: 0 }
    }

    fn next_address(&mut self) -> String {
        self.members += 1;
        format!("10.0.1.{}:1000", self.members)
    }

    /// A member connects and joins.
    pub fn add_member(&mut self) -> NodeId {
        let address = self.next_address();
        let identity = Identity::generate(&IdentityConfig::default(), &mut self.network.random());
        self.add_member_with(&address, identity, |_| {})
    }

    /// The same with other settings of the transport.
    pub fn add_member_configured(&mut self, change: impl FnOnce(&mut Config)) -> NodeId {
        let address = self.next_address();
        let identity = Identity::generate(&IdentityConfig::default(), &mut self.network.random());
        self.add_member_with(&address, identity, change)
    }

    /// The host of a member and the server lose their power together, and are back after `down`:
    /// the member with its identity at its address, the server with another certificate.
    pub fn restart_with_server(&mut self, member: NodeId, down: Duration) -> NodeId {
        let address = self.network.address(member).to_string();
        let saved = self.network[member].member().node.endpoint().identity().save();
        self.network.remove(member);
        self.restart_server(down);
        let identity = Identity::restore(&saved).unwrap();
        self.add_member_with(&address, identity, |_| {})
    }

    fn add_member_with(
        &mut self,
        address: &str,
        identity: Identity,
        change: impl FnOnce(&mut Config),
    ) -> NodeId {
        let network = &mut self.network;
        let random = network.random();
        let mut config = NodeConfig::default();
        config.transport.negotiation = quick().negotiation;
        change(&mut config.transport);
        let mut node = Node::new(config, identity, Box::new(random), Box::new(network.random()));
        let now = network.now();
        let group = node.join(now, spec());
        node.connect(now, &uri(), &[SERVER.parse().unwrap()]);
        let member = Member {
            node,
            group,
            neighbors: 0,
            rejected: false,
            disconnected: 0,
            retry: Some(secs(2)),
            retry_at: None,
        };
        network.add(address, Host::Member(Box::new(member)))
    }

    /// A lazy client connects and joins.
    pub fn add_lazy(&mut self) -> NodeId {
        self.add_client(ObjectEncoding::Amf3, true)
    }

    /// A client connects, and may join.
    pub fn add_client(&mut self, encoding: ObjectEncoding, joins: bool) -> NodeId {
        let address = self.next_address();
        let network = &mut self.network;
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let endpoint = Endpoint::new(quick(), identity.into(), Box::new(random));
        let mut lazy = Lazy::new(endpoint, encoding, joins);
        lazy.connect(network.now(), SERVER.parse().unwrap());
        network.add(&address, Host::Lazy(Box::new(lazy)))
    }

    /// Keeps the events of the server from now on.
    pub fn watch_server(&mut self) {
        let Host::Server(_, seen) = &mut self.network[self.server] else { panic!("no server") };
        seen.get_or_insert_default();
    }

    /// What [`watch_server`](Self::watch_server) has kept.
    pub fn server_events(&self) -> &[RendezvousEvent] {
        let Host::Server(_, seen) = &self.network[self.server] else { panic!("no server") };
        seen.as_deref().unwrap_or_default()
    }

    /// The server loses its power and is back, with another certificate, after `down`.
    pub fn restart_server(&mut self, down: Duration) {
        self.network.remove(self.server);
        self.network.run_for(down);
        self.server = start_server(&mut self.network, RendezvousConfig::default());
    }
}

fn start_server(network: &mut Network<Host>, mut config: RendezvousConfig) -> NodeId {
    config.transport.negotiation = quick().negotiation;
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let choices = Box::new(network.random());
    let server = Rendezvous::new(config, identity, Box::new(random), choices);
    network.add(SERVER, Host::Server(Box::new(server), None))
}
