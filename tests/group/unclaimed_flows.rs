//! Flows of a group that say for which group they are only in their first message.

use rtmfp::proto::crypto::{DhGroup, Epd, Identity, IdentityConfig, Negotiation};
use rtmfp::proto::group::FlowKind;
use rtmfp::proto::node::{Node, NodeConfig};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{FlowOptions, Layer, MessageOptions, Time};
use std::time::Duration;

/// A node alone.
struct Host(Node);

impl Layer for Host {
    type Inner = Node;

    fn inner(&self) -> &Node {
        &self.0
    }

    fn inner_mut(&mut self) -> &mut Node {
        &mut self.0
    }
}

impl Actor for Host {
    fn react(&mut self, _now: Time) -> bool {
        false
    }
}

fn node(network: &mut Network<Host>, address: &str) -> NodeId {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let negotiation = Negotiation { groups: vec![DhGroup::Modp2], ..Negotiation::default() };
    let mut config = NodeConfig::default();
    config.transport.negotiation = negotiation;
    let seed = Box::new(network.random());
    network.add(address, Host(Node::new(config, identity, Box::new(random), seed)))
}

#[test]
fn hostile_flows_without_a_hello_are_bounded() {
    let mut network = Network::new(1, Link::lan().with_delay(Duration::from_millis(10)));
    let victim = node(&mut network, "10.0.0.1:1");
    let attacker = node(&mut network, "10.0.0.2:2");
    let epd = Epd::for_fingerprint(network[victim].0.peer_id());
    let address = network.address(victim);
    network.act(attacker, |n, now| n.0.inner_mut().open(now, epd, &[address]));
    network.run_for(Duration::from_secs(1));
    let (session, _) = network[attacker].0.endpoint().sessions().next().expect("a session");
    network.act(attacker, |n, now| {
        let endpoint = n.0.inner_mut();
        for _ in 0..100 {
            let metadata = FlowKind::Membership.metadata();
            let flow = endpoint.open_flow(session, &metadata, FlowOptions::default()).unwrap();
            // So long that the first message has not ended when the last flow has begun.
            let message = vec![0; 200_000].into();
            endpoint.send(now, session, flow, message, MessageOptions::RELIABLE).unwrap();
        }
    });
    let flows =
        |n: &Network<Host>| n[victim].0.endpoint().sessions().next().unwrap().1.flow_counts();
    assert!(network.run_until(|n| flows(n).1 == 100), "{:?}", flows(&network));
    // All but 16 are rejected, so that the far end gives them up long before it has sent what they
    // had to say.
    let left =
        |n: &Network<Host>| n[attacker].0.endpoint().session(session).unwrap().flow_counts().0;
    assert!(network.run_until(|n| left(n) <= 16));
    assert_eq!(left(&network), 16);
    let received = network[victim].0.endpoint().sessions().next().unwrap().1.stats().bytes_received;
    assert!(received < 16 * 200_000, "{received}");
}
