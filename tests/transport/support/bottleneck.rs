//! Streams of bulk data through one bottleneck in a virtual network.
use super::bulk::Bulk;
use rtmfp::proto::crypto::{DhGroup, Epd, Negotiation};
use rtmfp::proto::sim::{Link, Network, NodeId};
use rtmfp::proto::transport::{Config, Controller, FlowOptions, SessionId};
use std::time::Duration;

/// 50 Mbit/s.
pub const RATE: u64 = 6_250_000;
/// What a sender keeps queued.
const QUEUED: u64 = 8 << 20;

/// A round trip and what happens on the way there.
#[derive(Debug, Clone)]
pub struct Path(Link);

impl Path {
    /// 50 Mbit/s, `rtt` milliseconds, a queue of one round trip.
    pub fn new(rtt: u64) -> Self {
        let rtt = Duration::from_millis(rtt);
        Self(Link::lan().with_delay(rtt / 2).with_rate(RATE).with_queue(rtt).through(0))
    }

    pub fn with_loss(self, loss: f64) -> Self {
        Self(self.0.with_loss(loss))
    }

    /// Another rate and a queue that takes `queue` at that rate.
    pub fn with_rate(self, rate: u64, queue: Duration) -> Self {
        Self(self.0.with_rate(rate).with_queue(queue))
    }

    /// Acknowledgements are few; they have a way of their own.
    fn back(&self) -> Link {
        Link::lan().with_delay(self.0.delay)
    }
}

fn host(network: &mut Network<Bulk>, controller: Controller) -> Bulk {
    let groups = vec![DhGroup::Modp2];
    let negotiation = Negotiation { groups, ..Negotiation::checksum_only() };
    let mut config = Config::default();
    config.controller = controller;
    config.negotiation = negotiation;
    Bulk::new(network, config, QUEUED)
}

/// Its only session.
fn session(host: &Bulk) -> Option<SessionId> {
    host.endpoint.sessions().next().map(|(id, _)| id)
}

/// Senders, each with its receiver, behind one bottleneck.
pub struct Streams {
    pub network: Network<Bulk>,
    pairs: Vec<(NodeId, NodeId)>,
}

impl Streams {
    /// One stream for each controller, opened and at rest.
    pub fn new(seed: u64, path: Path, controllers: &[Controller]) -> Self {
        let mut network = Network::new(seed, path.0.clone());
        let mut pairs = Vec::new();
        for (i, &controller) in controllers.iter().enumerate() {
            let (a, b) = (host(&mut network, controller), host(&mut network, controller));
            let a = network.add(&format!("10.0.0.1:{}", 1000 + i), a);
            let b = network.add(&format!("10.0.0.2:{}", 1000 + i), b);
            network.set_link(b, a, path.back());
            network.set_link(a, b, Link::lan().with_delay(path.0.delay));
            let epd = Epd::for_fingerprint(network[b].endpoint.fingerprint());
            let address = network.address(b);
            network.act(a, |host, now| host.endpoint.open(now, epd, &[address]));
            assert!(network.run_until(|n| session(&n[b]).is_some()), "no session");
            network.set_link(a, b, path.0.clone());
            pairs.push((a, b));
        }
        let mut streams = Self { network, pairs };
        for i in 0..controllers.len() {
            streams.start(i);
        }
        streams
    }

    fn start(&mut self, stream: usize) {
        let (a, _) = self.pairs[stream];
        self.network.act(a, |host, _| {
            let session = session(host).expect("a session");
            let options = FlowOptions::default();
            let flow = host.endpoint.open_flow(session, b"bulk", options).expect("a flow");
            host.flows.push((session, flow));
        });
    }

    /// From now on the way there is this.
    pub fn set_path(&mut self, path: Path) {
        for &(a, b) in &self.pairs {
            self.network.set_link(a, b, path.0.clone());
        }
    }

    pub fn run(&mut self, time: Duration) {
        self.network.run_for(time);
    }

    /// Bytes that the stream has delivered in order.
    pub fn received(&self, stream: usize) -> u64 {
        self.network[self.pairs[stream].1].received
    }

    /// Goodput over the next `time` in MB/s.
    pub fn measure(&mut self, stream: usize, time: Duration) -> f64 {
        let before = self.received(stream);
        self.run(time);
        mb(self.received(stream) - before) / time.as_secs_f64()
    }

    pub fn sender(&self, stream: usize) -> rtmfp::proto::transport::SessionRef<'_> {
        let host = &self.network[self.pairs[stream].0];
        host.endpoint.session(session(host).expect("a session")).expect("open")
    }
}

/// Bytes in MB.
pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
