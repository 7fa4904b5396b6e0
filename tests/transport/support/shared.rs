//! Bulk transfers of several kinds through one link.

use super::tcp::{Tcp, TcpReceiver, TcpSender};
use bytes::Bytes;
use rtmfp::proto::crypto::{DhGroup, Epd, Identity, IdentityConfig, Negotiation};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{
    Arrived, Computed, Config, Controller, Endpoint, Event, FlowId, FlowOptions, Job, Machine,
    MessageOptions, Path, SessionId, Time, Transmit, TransmitBuf,
};
use std::fmt;
use std::time::Duration;

const MESSAGE: usize = 16 << 10;
/// What a sender keeps queued.
const QUEUED: u64 = 1 << 20;
/// The shared link.
const SHARED: u32 = 0;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rtmfp(Controller),
    Tcp(Tcp),
}

/// The way there; the way back has the same delay and no other limit.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Bytes of UDP payload per second.
    pub rate: u64,
    pub round_trip: Duration,
    pub queue: Duration,
    pub loss: f64,
}

impl Route {
    fn there(self) -> Link {
        let link = Link::lan().with_delay(self.round_trip / 2).with_loss(self.loss);
        link.with_rate(self.rate).with_queue(self.queue).through(SHARED)
    }

    fn back(self) -> Link {
        Link::lan().with_delay(self.round_trip / 2)
    }
}

/// An endpoint that keeps its flows full and counts what it receives.
#[derive(Debug)]
pub struct Bulk {
    pub endpoint: Endpoint,
    flows: Vec<(SessionId, FlowId)>,
    message: Bytes,
    received: u64,
    /// Its clock is ahead of everybody's.
    ahead: Duration,
}

impl Bulk {
    fn new(network: &mut Network<Host>, controller: Controller) -> Self {
        let groups = vec![DhGroup::Modp2];
        let mut config = Config::default();
        config.controller = controller;
        config.negotiation = Negotiation { groups, ..Negotiation::checksum_only() };
        config.max_probed_datagram = 0;
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let endpoint = Endpoint::new(config, identity.into(), Box::new(random));
        let message = vec![7; MESSAGE].into();
        let ahead = Duration::ZERO;
        Self { endpoint, flows: Vec::new(), message, received: 0, ahead }
    }

    fn react(&mut self, now: Time) -> bool {
        let now = now + self.ahead;
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Message { message, .. } = event {
                self.received += message.len() as u64;
            }
        }
        let mut sent = false;
        for &(session, flow) in &self.flows {
            while self.endpoint.queued(session, flow) < QUEUED {
                let (message, options) = (self.message.clone(), MessageOptions::RELIABLE);
                if self.endpoint.send(now, session, flow, message, options).is_err() {
                    break;
                }
                sent = true;
            }
        }
        sent
    }
}

/// A machine at either end.
#[derive(Debug)]
pub enum Host {
    Rtmfp(Box<Bulk>),
    Sender(TcpSender),
    Receiver(TcpReceiver),
}

impl Host {
    fn bulk(&mut self) -> &mut Bulk {
        match self {
            Self::Rtmfp(bulk) => bulk,
            _ => panic!("not an endpoint"),
        }
    }

    pub fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Rtmfp(bulk) => &bulk.endpoint,
            _ => panic!("not an endpoint"),
        }
    }

    fn received(&self) -> u64 {
        match self {
            Self::Rtmfp(bulk) => bulk.received,
            Self::Receiver(receiver) => receiver.received,
            Self::Sender(_) => 0,
        }
    }
}

impl Machine for Host {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        match self {
            Self::Rtmfp(bulk) => bulk.endpoint.handle_datagrams(now + bulk.ahead, path, arrived),
            Self::Sender(sender) => arrived.each().for_each(|d| sender.on_datagram(now, d)),
            Self::Receiver(receiver) => arrived.each().for_each(|d| receiver.on_datagram(path, d)),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        match self {
            Self::Rtmfp(bulk) => bulk.endpoint.handle_timeout(now + bulk.ahead),
            Self::Sender(sender) => sender.on_timeout(now),
            Self::Receiver(_) => {}
        }
    }

    fn handle_computed(&mut self, now: Time, computed: Computed) {
        let bulk = self.bulk();
        bulk.endpoint.handle_computed(now + bulk.ahead, computed);
    }

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        match self {
            Self::Rtmfp(bulk) => bulk.endpoint.poll_transmit(now + bulk.ahead, buf),
            Self::Sender(sender) => sender.poll(now, buf),
            Self::Receiver(receiver) => receiver.poll(buf),
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Rtmfp(bulk) => {
                let at = bulk.endpoint.poll_timeout()?;
                Some(Time::from_micros(at.since(Time::ZERO + bulk.ahead).as_micros() as u64))
            }
            Self::Sender(sender) => sender.due(),
            Self::Receiver(_) => None,
        }
    }

    fn poll_job(&mut self) -> Option<Job> {
        match self {
            Self::Rtmfp(bulk) => bulk.endpoint.poll_job(),
            _ => None,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        match self {
            Self::Rtmfp(bulk) => bulk.react(now),
            _ => false,
        }
    }
}

/// What happened in a while.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Bytes per second of each transfer.
    pub rates: Vec<f64>,
    /// Time that datagrams waited: mean and 95th percentile, in milliseconds.
    pub wait: (f64, f64),
    /// Share of datagrams that were lost.
    pub loss: f64,
}

impl Measured {
    /// Share of the first transfer in what all have got.
    pub fn share(&self) -> f64 {
        self.rates[0] / self.total()
    }

    pub fn total(&self) -> f64 {
        self.rates.iter().sum()
    }

    /// Jain's index: 1 if all got the same.
    pub fn fairness(&self) -> f64 {
        let squares: f64 = self.rates.iter().map(|rate| rate * rate).sum();
        self.total().powi(2) / (self.rates.len() as f64 * squares)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mean, high) = self.wait;
        let (share, total, fairness) = (self.share(), self.total() / 1e3, self.fairness());
        write!(f, "{share:.2} of {total:.0} kB/s (fairness {fairness:.2}), ")?;
        write!(f, "wait {mean:.0} ms ({high:.0}), loss {:.2} %", self.loss * 100.0)
    }
}

/// Transfers through one link.
pub struct Shared {
    pub network: Network<Host>,
    route: Route,
    hosts: u8,
    receivers: Vec<NodeId>,
}

impl Shared {
    pub fn new(seed: u64, route: Route) -> Self {
        let network = Network::new(seed, route.back());
        Self { network, route, hosts: 0, receivers: Vec::new() }
    }

    /// Begins a transfer from a machine of its own.
    pub fn start(&mut self, kind: Kind) {
        match kind {
            Kind::Rtmfp(controller) => {
                let sender = self.rtmfp(controller);
                self.start_from(sender, controller);
            }
            Kind::Tcp(tcp) => {
                let receiver = self.add(Host::Receiver(TcpReceiver::default()));
                let to = self.network.address(receiver);
                let sender = self.add(Host::Sender(TcpSender::new(tcp, to)));
                self.network.set_link(sender, receiver, self.route.there());
                self.receivers.push(receiver);
            }
        }
    }

    /// An endpoint that sends nothing yet.
    pub fn rtmfp(&mut self, controller: Controller) -> NodeId {
        let bulk = Bulk::new(&mut self.network, controller);
        self.add(Host::Rtmfp(Box::new(bulk)))
    }

    fn add(&mut self, host: Host) -> NodeId {
        self.hosts += 1;
        self.network.add(&format!("10.0.0.{}:1000", self.hosts), host)
    }

    /// Begins a transfer from this endpoint to a new one.
    pub fn start_from(&mut self, sender: NodeId, controller: Controller) -> NodeId {
        let receiver = self.rtmfp(controller);
        let epd = Epd::for_fingerprint(self.network[receiver].endpoint().fingerprint());
        let to = self.network.address(receiver);
        let before = self.network[sender].endpoint().sessions().count();
        self.network.act(sender, |host, now| host.bulk().endpoint.open(now, epd, &[to]));
        let is_open = |n: &Network<Host>| n[receiver].endpoint().sessions().count() == 1;
        assert!(self.network.run_until(is_open), "no session");
        self.network.set_link(sender, receiver, self.route.there());
        self.network.act(sender, |host, _| {
            let bulk = host.bulk();
            assert!(bulk.endpoint.sessions().count() > before);
            let used: Vec<SessionId> = bulk.flows.iter().map(|(session, _)| *session).collect();
            let session = bulk.endpoint.sessions().map(|(id, _)| id).find(|id| !used.contains(id));
            let session = session.expect("a session");
            let options = FlowOptions::default();
            let flow = bulk.endpoint.open_flow(session, b"bulk", options).expect("a flow");
            bulk.flows.push((session, flow));
        });
        self.receivers.push(receiver);
        receiver
    }

    /// Begins a transfer from a receiver to its sender, at a rate of its own.
    pub fn start_back(&mut self, receiver: NodeId, sender: NodeId, rate: u64) {
        let link = self.route.back().with_rate(rate).with_queue(self.route.queue);
        self.network.set_link(receiver, sender, link);
        self.network.act(receiver, |host, _| {
            let bulk = host.bulk();
            let (session, _) = bulk.endpoint.sessions().next().expect("a session");
            let options = FlowOptions::default();
            let flow = bulk.endpoint.open_flow(session, b"back", options).expect("a flow");
            bulk.flows.push((session, flow));
        });
    }

    /// From now on the timestamps of this endpoint claim that packets take so much longer to it.
    pub fn claim_delay(&mut self, node: NodeId, delay: Duration) {
        self.network.act(node, |host, _| host.bulk().ahead += delay);
    }

    pub fn run(&mut self, time: Duration) {
        self.network.run_for(time);
    }

    /// Lets time pass and looks.
    pub fn measure(&mut self, time: Duration) -> Measured {
        const STEP: Duration = Duration::from_millis(5);
        let received = |s: &Self| -> Vec<u64> {
            s.receivers.iter().map(|&node| s.network[node].received()).collect()
        };
        let (before, stats) = (received(self), self.network.stats());
        let mut waits = Vec::new();
        let end = self.network.now() + time;
        while self.network.now() < end {
            self.run(STEP);
            waits.push(self.network.waiting_time(SHARED).as_secs_f64() * 1e3);
        }
        waits.sort_by(f64::total_cmp);
        let after = self.network.stats();
        let rates = received(self).into_iter().zip(&before).map(|(after, before)| after - before);
        Measured {
            rates: rates.map(|bytes| bytes as f64 / time.as_secs_f64()).collect(),
            wait: (waits.iter().sum::<f64>() / waits.len() as f64, waits[waits.len() * 95 / 100]),
            loss: (after.lost - stats.lost) as f64 / (after.sent - stats.sent) as f64,
        }
    }
}
