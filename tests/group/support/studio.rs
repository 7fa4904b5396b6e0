//! A server with streams, and clients that publish and play them.

use super::crew::Crew;
use super::{quick, secs};
use bytes::Bytes;
use rtmfp::amf::Value;
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::stream::{NetStreamError, NetStreamEvent, Request};
use rtmfp::proto::flash::{Body, Format, Message, Uri};
use rtmfp::proto::node::{Node, NodeConfig, NodeEvent, StreamHandle};
use rtmfp::proto::rendezvous::{
    Decision, Query, QueryId, Rendezvous, RendezvousConfig, StreamInfo, StreamLimits,
};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{Layer, Machine, Random, Time};

const SERVER: &str = "10.0.0.1:1935";

pub enum Host {
    Server(Box<Crew>),
    Client(Box<Node>, Vec<(StreamHandle, NetStreamEvent)>),
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Client(node, _) => &**node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Client(node, _) => &mut **node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        match self {
            Self::Server(server) => return server.react(now),
            Self::Client(node, seen) => {
                while let Some(event) = node.poll_event() {
                    if let NodeEvent::Stream(handle, event) = event {
                        seen.push((handle, event));
                    }
                }
            }
        }
        false
    }
}

impl Host {
    pub fn node(&mut self) -> &mut Node {
        let Self::Client(node, _) = self else { panic!("not a client") };
        node
    }

    pub fn crew(&mut self) -> &mut Crew {
        let Self::Server(crew) = self else { panic!("not a server") };
        crew
    }
}

/// A server, and clients with streams.
pub struct Studio {
    pub network: Network<Host>,
    pub server: NodeId,
    clients: u8,
}

impl Studio {
    /// A server with so many workers. The clients get to these in turn.
    pub fn new(seed: u64, workers: usize, link: Link, streams: Option<StreamLimits>) -> Self {
        let mut config = RendezvousConfig::default();
        config.streams = streams;
        Self::with_config(seed, workers, link, config)
    }

    pub fn with_config(
        seed: u64,
        workers: usize,
        link: Link,
        mut config: RendezvousConfig,
    ) -> Self {
        let mut network = Network::new(seed, link);
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        config.transport.negotiation = quick().negotiation;
        let random = || -> Random { Box::new(network.random()) };
        let crew = Crew::new(Rendezvous::crew(&config, identity, workers, random));
        let server = network.add(SERVER, Host::Server(Box::new(crew)));
        Self { network, server, clients: 0 }
    }

    /// Servers on several machines that share an address. The clients get to these in turn.
    pub fn apart(seed: u64, servers: usize) -> Self {
        let mut network = Network::new(seed, Link::lan());
        let crew = Crew::machines(servers, 0.0, || network.random());
        let server = network.add(SERVER, Host::Server(Box::new(crew)));
        Self { network, server, clients: 0 }
    }

    pub fn usual(seed: u64, workers: usize, link: Link) -> Self {
        Self::new(seed, workers, link, Some(StreamLimits::default()))
    }

    /// A client that is connected to an application.
    pub fn client(&mut self, app: &str) -> NodeId {
        self.clients += 1;
        let mut random = self.network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let seed = Box::new(self.network.random());
        let mut config = NodeConfig::default();
        config.transport.negotiation = quick().negotiation;
        let mut node = Node::new(config, identity, Box::new(random), seed);
        let uri: Uri = format!("rtmfp://10.0.0.1/{app}").parse().unwrap();
        node.connect(self.network.now(), &uri, &[SERVER.parse().unwrap()]);
        let address = format!("10.0.1.{}:1", self.clients);
        let client = self.network.add(&address, Host::Client(Box::new(node), Vec::new()));
        self.network.run_for(secs(6));
        client
    }

    pub fn open(&mut self, at: NodeId, request: Request) -> StreamHandle {
        self.network.act(at, |it, now| it.node().stream_of_server(now, request)).unwrap()
    }

    pub fn publish(&mut self, at: NodeId, name: &str) -> StreamHandle {
        self.open(at, Request::Publish(vec![Value::from(name), Value::from("live")]))
    }

    pub fn play(&mut self, at: NodeId, name: &str) -> StreamHandle {
        self.open(at, Request::Play(vec![Value::from(name)]))
    }

    pub fn write(&mut self, at: NodeId, stream: StreamHandle, message: &Message) {
        let written = |it: &mut Host, now| it.node().write_to_stream(now, stream, message);
        assert!(self.network.act(at, written));
    }

    pub fn close(&mut self, at: NodeId, stream: StreamHandle) {
        self.network.act(at, |it, now| it.node().close_stream(now, stream));
    }

    pub fn crew(&self) -> &Crew {
        let Host::Server(crew) = &self.network[self.server] else { panic!("not a server") };
        crew
    }

    pub fn crew_mut(&mut self) -> &mut Crew {
        self.network[self.server].crew()
    }

    /// What the owner was asked since this was last called, each with the number of its worker.
    pub fn queries(&mut self) -> Vec<(usize, Query)> {
        std::mem::take(&mut self.crew_mut().queries)
    }

    /// The owner decides about a question of a worker.
    pub fn decide(&mut self, query: (usize, QueryId), decision: Decision) {
        let server = self.server;
        self.network.act(server, |it, now| it.crew().decide(now, query, decision));
    }

    /// The number of the worker that gets what comes from a client.
    pub fn worker_of(&self, client: NodeId) -> usize {
        self.crew().worker_of(self.network.address(client))
    }

    /// The streams of all workers.
    pub fn streams(&self) -> Vec<StreamInfo> {
        self.crew().workers.iter().flat_map(Rendezvous::streams).collect()
    }

    /// What happened to a stream: the codes, `*` for a message.
    pub fn story(&self, at: NodeId, stream: StreamHandle) -> String {
        let Host::Client(_, seen) = &self.network[at] else { panic!("not a client") };
        let words = seen.iter().filter(|(of, _)| *of == stream).map(|(_, event)| match event {
            NetStreamEvent::Message(_) => "*".to_owned(),
            NetStreamEvent::Status(info) => {
                let code = info.property("code").and_then(Value::as_str).unwrap();
                format!("{} ", code.trim_start_matches("NetStream."))
            }
            other => format!("{} ", other.code().trim_start_matches("NetStream.")),
        });
        words.collect()
    }

    pub fn messages(&self, at: NodeId, stream: StreamHandle) -> Vec<Message> {
        let Host::Client(_, seen) = &self.network[at] else { panic!("not a client") };
        let messages = seen.iter().filter_map(|(of, event)| match event {
            NetStreamEvent::Message(message) if *of == stream => Some(message.clone()),
            _ => None,
        });
        messages.collect()
    }

    pub fn failure(&self, at: NodeId, stream: StreamHandle) -> String {
        let Host::Client(_, seen) = &self.network[at] else { panic!("not a client") };
        let failed = seen.iter().find_map(|(of, event)| match event {
            NetStreamEvent::Failed(NetStreamError::Refused(why)) if *of == stream => Some(why),
            _ => None,
        });
        failed.cloned().unwrap_or_default()
    }
}

pub fn data(at: u32, text: &[u8]) -> Message {
    Message::new(at, Body::Data(Format::Extended, Bytes::copy_from_slice(text)))
}

pub fn video(at: u32, head: &[u8], len: usize) -> Message {
    let mut bytes = head.to_vec();
    bytes.resize(len.max(head.len()), at as u8);
    Message::new(at, Body::Video(bytes.into()))
}

pub const HEADER: &[u8] = b"\x17\0\0\0\0";
pub const KEY: &[u8] = b"\x17\x01\0\0\0";
pub const INTER: &[u8] = b"\x27\x01\0\0\0";
