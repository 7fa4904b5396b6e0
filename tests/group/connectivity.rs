//! Connectivity checks: what a server finds out about address translators of all kinds.

use crate::support::{for_seeds, millis, quick, secs};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::connectivity::{CODE, METHOD};
use rtmfp::proto::flash::{CallId, Connectivity, Dependence, Uri};
use rtmfp::proto::node::{Node, NodeConfig, NodeEvent};
use rtmfp::proto::rendezvous::{
    ConnectivityLimits, ProbePurpose, ProbeSocket, Prober, Rendezvous, RendezvousConfig,
};
use rtmfp::proto::sim::{Actor, Link, Nat, NatKind, Network, NodeId};
use rtmfp::proto::transport::{Layer, Machine, Rate, Time};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const SERVER: &str = "198.51.100.1:1935";
const PUBLIC: [u8; 4] = [203, 0, 113, 7];
/// Of the server's address, and of two others.
const SOCKETS: [(ProbePurpose, &str); 4] = [
    (ProbePurpose::HelloFromPort, "198.51.100.1:2001"),
    (ProbePurpose::ReplyToPort, "198.51.100.1:2002"),
    (ProbePurpose::HelloFromAddress, "198.51.100.2:2001"),
    (ProbePurpose::ReplyToAddress, "198.51.100.3:2002"),
];

enum Host {
    Server(Box<Rendezvous>),
    Socket(Box<Prober>),
    Client(Box<Client>),
}

struct Client {
    node: Node,
    statuses: Vec<Value>,
    answers: Vec<(CallId, Result<Value, Value>)>,
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Socket(prober) => &**prober,
            Self::Client(client) => &client.node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Socket(prober) => &mut **prober,
            Self::Client(client) => &mut client.node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, _now: Time) -> bool {
        let Self::Client(client) = self else { return false };
        let mut busy = false;
        while let Some(event) = client.node.poll_event() {
            busy = true;
            match event {
                NodeEvent::Status(info) => client.statuses.push(info),
                NodeEvent::Answered(call, outcome) => client.answers.push((call, outcome)),
                _ => {}
            }
        }
        busy
    }
}

impl Host {
    fn client(&mut self) -> &mut Client {
        let Self::Client(client) = self else { panic!("not a client") };
        client
    }

    fn server(&mut self) -> &mut Rendezvous {
        let Self::Server(server) = self else { panic!("not a server") };
        server
    }

    fn prober(&mut self) -> &mut Prober {
        let Self::Socket(prober) = self else { panic!("not a socket") };
        prober
    }
}

struct World {
    network: Network<Host>,
    server: NodeId,
    sockets: Vec<NodeId>,
    /// Hellos that left from other ports.
    probes: usize,
    came: u8,
}

impl World {
    /// A server whose first so many sockets it has.
    fn new(seed: u64, sockets: usize, limits: ConnectivityLimits, link: Link) -> Self {
        let mut network = Network::new(seed, link);
        let mut random = network.random();
        let mut config = RendezvousConfig::default();
        config.transport.negotiation = quick().negotiation;
        config.connectivity = Some(limits);
        config.probe_sockets = SOCKETS[..sockets]
            .iter()
            .map(|&(purpose, at)| ProbeSocket::new(purpose, vec![at.parse().unwrap()]))
            .collect();
        let choices = Box::new(network.random());
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let server = Rendezvous::new(config, identity, Box::new(random), choices);
        let server = network.add(SERVER, Host::Server(Box::new(server)));
        let sockets = SOCKETS[..sockets].iter().map(|(_, at)| {
            let mut random = network.random();
            let identity = Identity::generate(&IdentityConfig::default(), &mut random);
            let prober = Prober::new(Arc::new(identity), Box::new(random));
            network.add(at, Host::Socket(Box::new(prober)))
        });
        let sockets = sockets.collect();
        Self { network, server, sockets, probes: 0, came: 0 }
    }

    /// A client that has connected.
    fn add(&mut self, nat: Option<NatKind>, url: &str) -> NodeId {
        self.came += 1;
        let mut random = self.network.random();
        let identity = Identity::generate(&IdentityConfig::like_a_player(), &mut random);
        let mut config = NodeConfig::default();
        config.transport.negotiation = quick().negotiation;
        let choices = Box::new(self.network.random());
        let mut node = Node::new(config, identity, Box::new(random), choices);
        let address = match nat {
            None => format!("203.0.113.{}:1000", 100 + self.came),
            Some(_) => format!("192.168.{}.2:1000", self.came),
        };
        let now = self.network.now();
        node.set_addresses(now, vec![address.parse().unwrap()]);
        let client = Client { node, statuses: Vec::new(), answers: Vec::new() };
        let id = self.network.add(&address, Host::Client(Box::new(client)));
        if let Some(kind) = nat {
            self.network.set_nat(id, Nat::new(kind, IpAddr::from(PUBLIC)));
        }
        let url: Uri = url.parse().unwrap();
        self.network.act(id, |host, now| {
            host.client().node.connect(now, &url, &[SERVER.parse().unwrap()]);
        });
        self.run(5000);
        id
    }

    /// Runs for so many milliseconds, and carries what the server and its sockets tell each other.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.network.run_for(millis(1));
            while let Some(probe) =
                self.network.act(self.server, |host, _| host.server().poll_probe())
            {
                self.probes += 1;
                let socket = self.sockets[usize::from(probe.socket)];
                self.network.act(socket, |host, now| host.prober().handle_request(now, &probe));
            }
            for &socket in &self.sockets {
                while let Some(answer) =
                    self.network.act(socket, |host, _| host.prober().poll_answer())
                {
                    assert_eq!(answer.worker(), 0);
                    self.network.act(self.server, |host, now| {
                        host.server().handle_probe_answer(now, answer);
                    });
                }
            }
        }
    }

    fn call(&mut self, client: NodeId) -> CallId {
        self.network
            .act(client, |host, now| host.client().node.call(now, METHOD, Vec::new()))
            .expect("connected")
    }

    fn outcome(&mut self, client: NodeId, call: CallId) -> Option<Result<Value, Value>> {
        let of = |host: &mut Host, _| {
            let answers = &host.client().answers;
            answers.iter().find(|(id, _)| *id == call).map(|(_, outcome)| outcome.clone())
        };
        self.network.act(client, of)
    }

    fn statuses(&mut self, client: NodeId) -> Vec<Value> {
        self.network.act(client, |host, _| host.client().statuses.clone())
    }

    fn check(&mut self, client: NodeId) -> Connectivity {
        let before = self.statuses(client).len();
        let call = self.call(client);
        self.run(6000);
        let answer = self.outcome(client, call).expect("an answer").expect("results");
        let statuses = self.statuses(client);
        assert_eq!(statuses[before..], *std::slice::from_ref(&answer), "the same as an event");
        assert_eq!(answer.property("code").and_then(Value::as_str), Some(CODE));
        Connectivity::from_info(&answer)
    }
}

use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent, PortIndependent};

const KINDS: [(Option<NatKind>, Dependence, Dependence); 5] = [
    (None, EndpointIndependent, EndpointIndependent),
    (Some(NatKind::FullCone), EndpointIndependent, EndpointIndependent),
    (Some(NatKind::AddressRestricted), EndpointIndependent, AddressDependent),
    (Some(NatKind::PortRestricted), EndpointIndependent, AddressAndPortDependent),
    (Some(NatKind::Symmetric), AddressAndPortDependent, AddressAndPortDependent),
];

#[test]
fn a_server_with_three_addresses_knows_every_kind() {
    for_seeds(3, |seed| {
        for (kind, mapping, filtering) in KINDS {
            let link = Link::lan().with_delay(millis(20)).with_loss(0.1);
            let mut world = World::new(seed, 4, ConnectivityLimits::default(), link);
            let client = world.add(kind, "rtmfp://198.51.100.1/app");
            let found = world.check(client);
            assert_eq!(
                (found.mapping(), found.filtering()),
                (Some(mapping), Some(filtering)),
                "{kind:?}: {found:?}"
            );
            assert_eq!(found.send_after_introduction, Some(true));
            let kept = mapping == EndpointIndependent;
            assert_eq!(found.preserves_source_address, Some(kept), "{kind:?}");
            assert_eq!(found.public_address_is_local, Some(kind.is_none()));
            let public = found.public_address.unwrap();
            assert_eq!(kind.is_some(), public.ip() == IpAddr::from(PUBLIC));
        }
    });
}

/// What only another address can tell is not known.
#[test]
fn a_server_with_one_address_knows_what_ports_can_tell() {
    for_seeds(3, |seed| {
        for (kind, mapping, filtering) in KINDS {
            let mut world = World::new(
                seed,
                2,
                ConnectivityLimits::default(),
                Link::lan().with_delay(millis(20)),
            );
            let client = world.add(kind, "rtmfp://198.51.100.1/app");
            let found = world.check(client);
            let by_port = |known| match known {
                EndpointIndependent | AddressDependent => PortIndependent,
                other => other,
            };
            assert_eq!(found.mapping(), Some(by_port(mapping)), "{kind:?}");
            assert_eq!(found.filtering(), Some(by_port(filtering)), "{kind:?}");
            assert_eq!(found.receive_different_address_different_port, None);
            assert_eq!(found.seen_from_other_address, None);
            assert_eq!(found.send_after_introduction, Some(true));
        }
    });
}

/// As applications that connect to Adobe's checker expect.
#[test]
fn a_client_of_adobes_checker_need_not_call() {
    for url in ["rtmfp://cc.rtmfp.net/", "rtmfp://CC.rtmfp.net", "rtmfp://198.51.100.1/cc"] {
        let mut world = World::new(1, 4, ConnectivityLimits::default(), Link::lan());
        let client = world.add(Some(NatKind::Symmetric), url);
        world.run(5000);
        let statuses = world.statuses(client);
        assert_eq!(statuses.len(), 1, "{url}");
        let found = Connectivity::from_info(&statuses[0]);
        assert_eq!(found.mapping(), Some(AddressAndPortDependent));
        assert_eq!(found.preserves_source_port, Some(false));
    }
    let mut world = World::new(1, 4, ConnectivityLimits::default(), Link::lan());
    let client = world.add(None, "rtmfp://198.51.100.1/");
    world.run(5000);
    assert_eq!((world.statuses(client).len(), world.probes), (0, 0));
}

#[test]
fn a_server_without_other_sockets_says_so() {
    let mut world = World::new(1, 0, ConnectivityLimits::default(), Link::lan());
    let client = world.add(None, "rtmfp://198.51.100.1/cc");
    let call = world.call(client);
    world.run(5000);
    let failed = world.outcome(client, call).unwrap().unwrap_err();
    let code = failed.property("code").and_then(Value::as_str);
    assert_eq!(code, Some("NetConnection.Call.Failed"));
    assert_eq!(world.statuses(client).len(), 0);
}

/// Whatever a client calls, the server sends a bounded number of hellos, to the client alone.
#[test]
fn hostile_checks_are_bounded() {
    let mut limits = ConnectivityLimits::default();
    limits.from_host = Rate { burst: 3, per_second: 1 };
    let mut world = World::new(1, 4, limits, Link::lan());
    let client = world.add(Some(NatKind::PortRestricted), "rtmfp://198.51.100.1/app");
    world.network.tap();
    let calls: Vec<_> = (0..40).map(|_| world.call(client)).collect();
    world.run(4000);
    let mut done = 0;
    for call in calls {
        done += u32::from(world.outcome(client, call).expect("an answer").is_ok());
    }
    assert_eq!(done, 1, "one at a time");
    let fresh: Vec<_> = (0..50)
        .map(|_| {
            let call = world.call(client);
            world.run(100);
            call
        })
        .collect();
    world.run(5000);
    for call in fresh {
        done += u32::from(world.outcome(client, call).expect("an answer").is_ok());
    }
    assert!((2..=9).contains(&done), "{done}");
    let stats = world.network.act(world.server, |host, _| host.server().stats());
    assert_eq!(stats.checks, u64::from(done));
    assert!(world.probes <= 8 * done as usize, "{} hellos", world.probes);
    let others: Vec<SocketAddr> = SOCKETS.iter().map(|(_, at)| at.parse().unwrap()).collect();
    let sent = world.network.take_tapped();
    let probes: Vec<_> = sent.iter().filter(|it| others.contains(&it.from)).collect();
    assert!(!probes.is_empty());
    assert!(probes.iter().all(|it| it.to.ip() == IpAddr::from(PUBLIC) && it.bytes.len() <= 160));
}

/// As many at a time as the setting says; further clients are refused.
#[test]
fn hostile_crowds_are_checked_a_few_at_a_time() {
    let mut limits = ConnectivityLimits::default();
    limits.at_once = 2;
    let mut world = World::new(1, 4, limits, Link::lan());
    let clients: Vec<_> = (0..4)
        .map(|_| world.add(Some(NatKind::PortRestricted), "rtmfp://198.51.100.1/app"))
        .collect();
    let calls: Vec<_> = clients.iter().map(|&client| (client, world.call(client))).collect();
    world.run(5000);
    let mut outcomes: Vec<bool> = Vec::new();
    for (client, call) in calls {
        outcomes.push(world.outcome(client, call).unwrap().is_ok());
    }
    assert_eq!(outcomes.iter().filter(|&&is_ok| is_ok).count(), 2, "{outcomes:?}");
    let stats = world.network.act(world.server, |host, _| host.server().stats());
    assert_eq!((stats.checks, stats.checks_refused), (2, 2));
    // There is space again.
    world.check(clients[3]);
}

/// A client that goes away during its check leaves nothing behind.
#[test]
fn a_client_that_leaves_ends_its_check() {
    let mut world = World::new(1, 4, ConnectivityLimits::default(), Link::lan());
    let client = world.add(Some(NatKind::PortRestricted), "rtmfp://198.51.100.1/app");
    world.call(client);
    world.run(300);
    assert!(world.probes > 0);
    world.network.act(client, |host, now| host.client().node.shut_down(now));
    world.run(200);
    let before = world.probes;
    world.run(secs(10).as_millis() as u64);
    assert_eq!(world.probes, before);
}

/// Whoever sends answers to the sockets of checks, or wants a session with them, changes nothing.
#[test]
fn hostile_answers_at_the_sockets_of_checks_are_nothing() {
    let mut world = World::new(1, 2, ConnectivityLimits::default(), Link::lan());
    let client = world.add(Some(NatKind::PortRestricted), "rtmfp://198.51.100.1/app");
    let call = world.call(client);
    world.network.tap();
    world.run(300);
    // The answers of the client to where it was introduced, once more and from elsewhere.
    let reply: SocketAddr = SOCKETS[1].1.parse().unwrap();
    let answers: Vec<_> =
        world.network.take_tapped().into_iter().filter(|it| it.to == reply).collect();
    assert!(!answers.is_empty());
    let stranger: SocketAddr = "203.0.113.99:7".parse().unwrap();
    for answer in answers {
        let mut noise = answer.bytes.clone();
        noise[20] ^= 1;
        for bytes in [answer.bytes, noise] {
            for (_, to) in &SOCKETS[..2] {
                world.network.inject(stranger, to.parse().unwrap(), bytes.clone());
            }
        }
    }
    world.network.tap();
    world.run(6000);
    let found = Connectivity::from_info(&world.outcome(client, call).unwrap().unwrap());
    assert_eq!(found.seen_from_other_port, found.public_address, "the first counts");
    assert_eq!(found.receive_same_address_different_port, Some(false), "not where it was sent");
    let sent = world.network.take_tapped();
    assert!(sent.iter().all(|it| it.to != stranger));
}
