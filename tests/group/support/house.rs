//! A server that lets in whom it wants, and clients that see what it says.

use super::{quick, secs};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::stream::{NetStreamError, NetStreamEvent, Request};
use rtmfp::proto::flash::{CallId, Message};
use rtmfp::proto::node::{NetConnectionError, Node, NodeConfig, NodeEvent, StreamHandle};
use rtmfp::proto::rendezvous::{
    Decision, Query, QueryId, Rendezvous, RendezvousConfig, RendezvousEvent,
};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{Layer, Machine, Time};

const SERVER: &str = "10.0.0.1:1935";

pub enum Host {
    Server(Box<Rendezvous>, Vec<RendezvousEvent>, Vec<Query>),
    Client(Box<Node>, Vec<NodeEvent>),
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server, ..) => &**server,
            Self::Client(node, _) => &**node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server, ..) => &mut **server,
            Self::Client(node, _) => &mut **node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, _now: Time) -> bool {
        match self {
            Self::Server(server, seen, queries) => {
                seen.extend(std::iter::from_fn(|| server.poll_event()));
                queries.extend(std::iter::from_fn(|| server.poll_query()));
            }
            Self::Client(node, seen) => seen.extend(std::iter::from_fn(|| node.poll_event())),
        }
        false
    }
}

impl Host {
    pub fn node(&mut self) -> &mut Node {
        let Self::Client(node, _) = self else { panic!("not a client") };
        node
    }
}

pub struct House {
    pub network: Network<Host>,
    server: NodeId,
    clients: u8,
}

impl House {
    pub fn new(seed: u64, mut config: RendezvousConfig) -> Self {
        let mut network = Network::new(seed, Link::lan());
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let choices = Box::new(network.random());
        config.transport.negotiation = quick().negotiation;
        let server = Rendezvous::new(config, identity, Box::new(random), choices);
        let server = network.add(SERVER, Host::Server(Box::new(server), Vec::new(), Vec::new()));
        Self { network, server, clients: 0 }
    }

    /// A client that connects to an application, with these arguments.
    pub fn client(&mut self, app: &str, args: Vec<Value>) -> NodeId {
        let client = self.client_of(app, args, &[SERVER]);
        self.network.run_for(secs(6));
        client
    }

    /// A client that has just begun to connect to a server of these addresses.
    pub fn client_of(&mut self, app: &str, args: Vec<Value>, servers: &[&str]) -> NodeId {
        self.clients += 1;
        let mut random = self.network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let seed = Box::new(self.network.random());
        let mut config = NodeConfig::default();
        config.connect_arguments = args;
        config.transport.negotiation = quick().negotiation;
        let mut node = Node::new(config, identity, Box::new(random), seed);
        let uri = format!("rtmfp://10.0.0.1/{app}").parse().unwrap();
        let servers: Vec<_> = servers.iter().map(|address| address.parse().unwrap()).collect();
        node.connect(self.network.now(), &uri, &servers);
        let address = format!("10.0.1.{}:1", self.clients);
        self.network.add(&address, Host::Client(Box::new(node), Vec::new()))
    }

    pub fn server(&self) -> &Rendezvous {
        let Host::Server(server, ..) = &self.network[self.server] else { unreachable!() };
        server
    }

    pub fn reconfigure(&mut self, config: RendezvousConfig) {
        let Host::Server(server, ..) = &mut self.network[self.server] else { unreachable!() };
        server.reconfigure(config);
    }

    /// The events of the server, printed.
    pub fn events(&self) -> String {
        let Host::Server(_, seen, _) = &self.network[self.server] else { unreachable!() };
        format!("{seen:?}")
    }

    fn seen(&self, at: NodeId) -> &[NodeEvent] {
        let Host::Client(_, seen) = &self.network[at] else { panic!("not a client") };
        seen
    }

    /// What has become of a client's `connect`: empty if it was accepted, else the reason.
    pub fn refusal(&self, at: NodeId) -> Option<String> {
        self.seen(at).iter().find_map(|event| match event {
            NodeEvent::Connected { .. } => Some(String::new()),
            NodeEvent::ConnectFailed(NetConnectionError::Refused(why)) => Some(why.clone()),
            _ => None,
        })
    }

    /// Why a client could not connect, whatever the reason.
    pub fn failure(&self, at: NodeId) -> Option<String> {
        self.seen(at).iter().find_map(|event| match event {
            NodeEvent::ConnectFailed(error) => Some(error.to_string()),
            _ => None,
        })
    }

    pub fn publish(&mut self, at: NodeId, name: &str) -> StreamHandle {
        self.open(at, Request::Publish(vec![Value::from(name), Value::from("live")]))
    }

    pub fn play(&mut self, at: NodeId, name: &str) -> StreamHandle {
        self.open(at, Request::Play(vec![Value::from(name)]))
    }

    fn open(&mut self, at: NodeId, request: Request) -> StreamHandle {
        self.network.act(at, |it, now| it.node().stream_of_server(now, request)).unwrap()
    }

    /// The last status of a stream: its code, without `NetStream.`, or why it has failed.
    pub fn status(&self, at: NodeId, stream: StreamHandle) -> Option<String> {
        let statuses = self.seen(at).iter().filter_map(|event| match event {
            NodeEvent::Stream(of, NetStreamEvent::Status(info)) if *of == stream => {
                let code = info.property("code").and_then(Value::as_str)?;
                Some(code.trim_start_matches("NetStream.").to_owned())
            }
            NodeEvent::Stream(of, NetStreamEvent::Failed(NetStreamError::Refused(why)))
                if *of == stream =>
            {
                Some(why.clone())
            }
            _ => None,
        });
        statuses.last()
    }
    pub fn call(&mut self, at: NodeId, name: &str, args: Vec<Value>) -> CallId {
        self.network.act(at, |it, now| it.node().call(now, name, args)).unwrap()
    }

    /// The answer to a call.
    pub fn answer(&self, at: NodeId, call: CallId) -> Option<Result<Value, Value>> {
        self.seen(at).iter().find_map(|event| match event {
            NodeEvent::Answered(of, outcome) if *of == call => Some(outcome.clone()),
            _ => None,
        })
    }

    /// Calls a method and waits for no answer.
    pub fn notify(&mut self, at: NodeId, name: &str, args: Vec<Value>) {
        self.network.act(at, |it, now| it.node().notify(now, name, args)).unwrap();
    }

    /// The queries of the server since this was last called.
    pub fn queries(&mut self) -> Vec<Query> {
        let Host::Server(_, _, queries) = &mut self.network[self.server] else { unreachable!() };
        std::mem::take(queries)
    }

    /// The only query since the queries were last taken.
    pub fn query(&mut self) -> Query {
        let mut queries = self.queries();
        assert_eq!(queries.len(), 1, "{queries:?}");
        queries.remove(0)
    }

    /// Answers a query of the server, and waits for a second.
    pub fn decide(&mut self, id: QueryId, decision: Decision) {
        self.network.act(self.server, |it, now| {
            let Host::Server(server, ..) = it else { unreachable!() };
            server.handle_decision(now, id, decision);
        });
        self.network.run_for(secs(1));
    }

    pub fn close(&mut self, at: NodeId, stream: StreamHandle) {
        self.network.act(at, |it, now| it.node().close_stream(now, stream));
        self.network.run_for(secs(1));
    }

    pub fn disconnect(&mut self, at: NodeId) {
        self.network.act(at, |it, now| it.node().disconnect(now));
        self.network.run_for(secs(1));
    }

    pub fn write(&mut self, at: NodeId, stream: StreamHandle, message: &Message) {
        let written = |it: &mut Host, now| it.node().write_to_stream(now, stream, message);
        self.network.act(at, written);
    }

    /// The messages that a client has received of a stream.
    pub fn received(&self, at: NodeId, stream: StreamHandle) -> usize {
        let is_message = |event: &&NodeEvent| match event {
            NodeEvent::Stream(of, NetStreamEvent::Message(_)) => *of == stream,
            _ => false,
        };
        self.seen(at).iter().filter(is_message).count()
    }
}
