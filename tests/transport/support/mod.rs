//! Two endpoints on a virtual network, for the transport's behaviour tests.
pub mod bottleneck;
pub mod bulk;
pub mod operations;
pub mod puppet;
pub mod shared;
pub mod tcp;
pub mod wiretap;

#[path = "../../support/packets.rs"]
mod packets;
#[path = "../../support/quick.rs"]
mod quick;
#[path = "../../support/seeds.rs"]
mod seeds;
#[path = "../../support/startup.rs"]
mod startup;
#[path = "../../support/time.rs"]
mod time;

use bytes::Bytes;
pub use quick::quick;
use rtmfp::proto::crypto::{Epd, Identity, IdentityConfig};
use rtmfp::proto::sim::{Link, Network, NodeId};
use rtmfp::proto::transport::{
    Config, Endpoint, Event, FlowId, FlowOptions, Machine, MessageOptions, OpenId, SessionId, Time,
};
pub use seeds::for_seeds;
pub use time::{millis, secs};
pub use wiretap::{Tapped, Wire};

/// Two endpoints, `a` and `b`. Everything that they send is looked at by [`Wire::check_rules`] at
/// the end of [`close_and_check`](Pair::close_and_check).
pub struct Pair {
    pub network: Network<Tapped>,
    pub a: NodeId,
    pub b: NodeId,
}

impl Pair {
    pub fn new(seed: u64, link: Link) -> Self {
        Self::with_configs(seed, link, quick(), quick())
    }

    pub fn with_configs(seed: u64, link: Link, a: Config, b: Config) -> Self {
        let identity = IdentityConfig::default();
        Self::with_identities(seed, link, (a, &identity), (b, &identity))
    }

    pub fn with_identities(
        seed: u64,
        link: Link,
        a: (Config, &IdentityConfig),
        b: (Config, &IdentityConfig),
    ) -> Self {
        let mut network = Network::new(seed, link);
        if seed % 4 == 3 {
            // What is together in the air is together in the endpoint's hands.
            network.set_reading_interval(millis(5));
        }
        let a = endpoint_with(&mut network, a.0, a.1);
        let b = endpoint_with(&mut network, b.0, b.1);
        let a = network.add("10.0.0.1:1001", a);
        let b = network.add("10.0.0.2:1002", b);
        Self { network, a, b }
    }

    /// Asks for a session from `from` to `to`.
    pub fn ask(&mut self, from: NodeId, to: NodeId) -> OpenId {
        let epd = Epd::for_fingerprint(self.network[to].0.fingerprint());
        let address = self.network.address(to);
        self.network.act(from, |e, now| e.0.open(now, epd, &[address]))
    }

    /// Opens a session from `a` to `b` and returns it as each end names it.
    pub fn open(&mut self) -> (SessionId, SessionId) {
        let (a, b) = (self.a, self.b);
        self.ask(a, b);
        // The responder announces a session when the initiator has used it.
        let both =
            |n: &Network<Tapped>| n[a].0.sessions().count() == 1 && n[b].0.sessions().count() == 1;
        assert!(self.network.run_until(both), "no session");
        let session = self.session(a);
        let far = self.session(b);
        self.events(a);
        self.events(b);
        (session, far)
    }

    /// The first open session of `node`.
    pub fn session(&self, node: NodeId) -> SessionId {
        self.network[node].0.sessions().next().expect("a session").0
    }

    pub fn open_flow(&mut self, node: NodeId, session: SessionId, metadata: &[u8]) -> FlowId {
        self.open_flow_with(node, session, metadata, FlowOptions::default())
    }

    pub fn open_flow_with(
        &mut self,
        node: NodeId,
        session: SessionId,
        metadata: &[u8],
        options: FlowOptions,
    ) -> FlowId {
        self.network.act(node, |e, _| e.0.open_flow(session, metadata, options).unwrap())
    }

    pub fn send(&mut self, node: NodeId, session: SessionId, flow: FlowId, message: &[u8]) {
        self.send_with(node, session, flow, message, MessageOptions::RELIABLE);
    }

    pub fn send_with(
        &mut self,
        node: NodeId,
        session: SessionId,
        flow: FlowId,
        message: &[u8],
        options: MessageOptions,
    ) {
        let message = Bytes::copy_from_slice(message);
        self.network.act(node, |e, now| {
            e.0.send(now, session, flow, message, options).unwrap();
        });
    }

    pub fn close_flow(&mut self, node: NodeId, session: SessionId, flow: FlowId) {
        self.network.act(node, |e, _| e.0.close_flow(session, flow).unwrap());
    }

    /// Goes on until `node` has no sending flow left. False if that never happens.
    pub fn run_until_done(&mut self, node: NodeId, session: SessionId) -> bool {
        self.network
            .run_until(|n| n[node].0.session(session).is_none_or(|s| s.flow_counts().0 == 0))
    }

    /// Every event of `node` so far.
    pub fn events(&mut self, node: NodeId) -> Vec<Event> {
        std::iter::from_fn(|| self.network[node].0.poll_event()).collect()
    }

    /// The messages among the events of `node` so far.
    pub fn messages(&mut self, node: NodeId) -> Vec<Bytes> {
        messages(self.events(node))
    }

    /// Every datagram of both ends so far, decrypted where the keys are known.
    pub fn wire(&self) -> Wire {
        Wire::new(&[&self.network[self.a], &self.network[self.b]])
    }

    /// Closes `session` at `node` and checks that nothing is left at either end afterwards, and
    /// that both have kept to the rules.
    pub fn close_and_check(&mut self, node: NodeId, session: SessionId) {
        self.network.act(node, |e, now| e.0.close(now, session));
        self.check_end();
    }

    /// Checks that after some minutes nothing is left at either end, and that both have kept to
    /// the rules.
    pub fn check_end(&mut self) {
        self.network.run_for(secs(200));
        for node in [self.a, self.b] {
            let endpoint = &self.network[node].0;
            assert_eq!(endpoint.load(), (0, 0, 0), "sessions, attempts, keyings left");
            assert_eq!(endpoint.poll_timeout(), None, "a timer is left");
        }
        self.wire().check_rules();
    }

    pub fn now(&self) -> Time {
        self.network.now()
    }
}

/// The messages among `events`.
pub fn messages(events: Vec<Event>) -> Vec<Bytes> {
    let message = |event| match event {
        Event::Message { message, .. } => Some(message),
        _ => None,
    };
    events.into_iter().filter_map(message).collect()
}

pub fn endpoint(network: &mut Network<Tapped>, config: Config) -> Tapped {
    endpoint_with(network, config, &IdentityConfig::default())
}

pub fn endpoint_with(
    network: &mut Network<Tapped>,
    config: Config,
    identity: &IdentityConfig,
) -> Tapped {
    let mut random = network.random();
    let identity = Identity::generate(identity, &mut random);
    endpoint_as(network, config, identity)
}

/// An endpoint with a certain identity.
pub fn endpoint_as(
    network: &mut Network<Tapped>,
    mut config: Config,
    identity: Identity,
) -> Tapped {
    let random = network.random();
    let max_datagram = config.max_datagram.max(config.max_probed_datagram);
    config.keep_secrets = true;
    Tapped::new(Endpoint::new(config, identity.into(), Box::new(random)), max_datagram)
}

/// The quick settings with a change.
pub fn quick_with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = quick();
    change(&mut config);
    config
}
