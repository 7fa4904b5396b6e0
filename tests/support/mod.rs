//! Two endpoints on a virtual network, for the transport's behaviour tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use bytes::Bytes;
use rtmfp::crypto::{Epd, Identity, IdentityConfig};
use rtmfp::sim::{Bare, Link, Network, NodeId};
use rtmfp::transport::{
    Config, Endpoint, Event, FlowId, FlowOptions, MessageOptions, SessionId, Time,
};
use std::time::Duration;

/// Runs `test` for many seeds and names the seed of the first failure.
pub fn for_seeds(count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in 0..count {
        let outcome = std::panic::catch_unwind(|| test(seed));
        if outcome.is_err() {
            panic!("failed with seed {seed}");
        }
    }
}

/// Two endpoints, `a` and `b`.
pub struct Pair {
    pub network: Network<Bare>,
    pub a: NodeId,
    pub b: NodeId,
}

impl Pair {
    pub fn new(seed: u64, link: Link) -> Self {
        Self::with_configs(seed, link, Config::default(), Config::default())
    }

    pub fn with_configs(seed: u64, link: Link, a: Config, b: Config) -> Self {
        let mut network = Network::new(seed, link);
        let a = endpoint(&mut network, a);
        let b = endpoint(&mut network, b);
        let a = network.add("10.0.0.1:1001", a);
        let b = network.add("10.0.0.2:1002", b);
        Self { network, a, b }
    }

    /// Opens a session from `a` to `b` and returns it as each end names it.
    pub fn open(&mut self) -> (SessionId, SessionId) {
        let epd = Epd::for_fingerprint(self.network[self.b].0.fingerprint());
        let address = self.network.address(self.b);
        self.network.act(self.a, |e, now| e.0.open(now, epd, &[address]));
        let (a, b) = (self.a, self.b);
        let both =
            |n: &Network<Bare>| n[a].0.sessions().count() == 1 && n[b].0.sessions().count() == 1;
        // The responder announces a session when the initiator has used it.
        assert!(self.network.run_until(|n| n[a].0.sessions().count() == 1), "no session");
        let session = self.network[a].0.sessions().next().unwrap().0;
        let flow = self.open_flow(a, session, b"hello");
        self.send(a, session, flow, b"hello");
        self.network.act(a, |e, _| e.0.close_flow(session, flow).unwrap());
        assert!(self.network.run_until(both), "not confirmed");
        assert!(self.network.run_until(|n| n[a].0.session(session).unwrap().flow_counts().0 == 0));
        let far = self.network[b].0.sessions().next().unwrap().0;
        self.events(a);
        self.events(b);
        (session, far)
    }

    pub fn open_flow(&mut self, node: NodeId, session: SessionId, metadata: &[u8]) -> FlowId {
        let options = FlowOptions::default();
        self.network.act(node, |e, _| e.0.open_flow(session, metadata, options).unwrap())
    }

    pub fn send(&mut self, node: NodeId, session: SessionId, flow: FlowId, message: &[u8]) {
        let message = Bytes::copy_from_slice(message);
        self.network.act(node, |e, now| {
            e.0.send(now, session, flow, message, MessageOptions::RELIABLE).unwrap();
        });
    }

    /// Every event of `node` so far.
    pub fn events(&mut self, node: NodeId) -> Vec<Event> {
        std::iter::from_fn(|| self.network[node].0.poll_event()).collect()
    }

    /// The messages among the events of `node` so far.
    pub fn messages(&mut self, node: NodeId) -> Vec<Bytes> {
        let message = |event| match event {
            Event::Message { message, .. } => Some(message),
            _ => None,
        };
        self.events(node).into_iter().filter_map(message).collect()
    }

    /// Closes `session` at `node` and checks that nothing is left at either end afterwards.
    pub fn close_and_check(mut self, node: NodeId, session: SessionId) {
        self.network.act(node, |e, now| e.0.close(now, session));
        self.network.run_for(Duration::from_secs(200));
        for node in [self.a, self.b] {
            let endpoint = &self.network[node].0;
            assert_eq!(endpoint.load(), (0, 0, 0), "sessions, attempts, keyings left");
            use rtmfp::transport::Machine;
            assert_eq!(endpoint.poll_timeout(), None, "a timer is left");
        }
    }

    pub fn now(&self) -> Time {
        self.network.now()
    }
}

pub fn endpoint(network: &mut Network<Bare>, config: Config) -> Bare {
    endpoint_with(network, config, &IdentityConfig::default())
}

pub fn endpoint_with(
    network: &mut Network<Bare>,
    config: Config,
    identity: &IdentityConfig,
) -> Bare {
    let mut random = network.random();
    let identity = Identity::generate(identity, &mut random);
    Bare(Endpoint::new(config, identity.into(), Box::new(random)))
}
