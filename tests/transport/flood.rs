//! A thousand handshakes at once: all succeed, and none waits for a repetition.

use crate::support::puppet::Solo;
use crate::support::quick;
use rtmfp::proto::crypto::{Epd, Identity, IdentityConfig};
use rtmfp::proto::sim::{Bare, Link, Network, NodeId};
use rtmfp::proto::transport::{Config, Endpoint, Event, Machine, OpenId, Time};
use std::sync::Arc;
use std::time::Duration;

const CLIENTS: usize = 1000;
/// What a keying costs the server's processor.
const KEYING: Duration = Duration::from_micros(300);

fn server() -> Config {
    let mut config = Config::server();
    config.negotiation = quick().negotiation;
    config
}

struct Flood {
    network: Network<Bare>,
    server: NodeId,
    clients: Vec<NodeId>,
}

impl Flood {
    fn new(seed: u64, config: Config, link: Link) -> Self {
        let mut network = Network::new(seed, link);
        let mut identity = IdentityConfig::default();
        identity.groups = quick().negotiation.groups;
        let endpoint = |network: &mut Network<Bare>, config: Config| {
            let mut random = network.random();
            let identity = Arc::new(Identity::generate(&identity, &mut random));
            Bare(Endpoint::new(config, identity, Box::new(random)))
        };
        let machine = endpoint(&mut network, config);
        let server = network.add("10.0.0.1:1935", machine);
        network.set_job_cost(server, KEYING);
        let clients = (0..CLIENTS)
            .map(|i| {
                let machine = endpoint(&mut network, quick());
                network.add(&format!("10.1.{}.{}:1000", i / 250, i % 250), machine)
            })
            .collect();
        Self { network, server, clients }
    }

    fn open_all(&mut self) -> Vec<OpenId> {
        let address = self.network.address(self.server);
        let epd = Epd::for_fingerprint(self.network[self.server].0.fingerprint());
        let open = |e: &mut Bare, now| e.0.open(now, epd.clone(), &[address]);
        let clients = self.clients.clone();
        clients.into_iter().map(|client| self.network.act(client, open)).collect()
    }

    /// How long each client took, until all are open.
    fn run(&mut self) -> Vec<Duration> {
        let start = self.network.now();
        let mut waiting = self.clients.clone();
        let mut took = Vec::new();
        while !waiting.is_empty() && self.network.now() - start < Duration::from_secs(100) {
            self.network.run_for(Duration::from_millis(1));
            let now: Time = self.network.now();
            waiting.retain(|&client| {
                let opened = std::iter::from_fn(|| self.network[client].0.poll_event())
                    .any(|event| matches!(event, Event::SessionOpened { .. }));
                if opened {
                    took.push(now - start);
                }
                !opened
            });
        }
        assert!(waiting.is_empty(), "{} never opened", waiting.len());
        took.sort();
        took
    }
}

#[test]
fn a_thousand_at_once_all_open_within_a_second() {
    let link = Link::lan().with_delay(Duration::from_millis(10));
    let mut flood = Flood::new(1, server(), link);
    flood.network.tap();
    flood.open_all();
    let took = flood.run();
    let p99 = took[CLIENTS * 99 / 100 - 1];
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
    // Hello, keying and the first ping: nothing was sent twice to the server.
    let to_server = flood.network.address(flood.server);
    let datagrams = flood.network.take_tapped().into_iter().filter(|d| d.to == to_server).count();
    assert!(datagrams <= 3 * CLIENTS + CLIENTS / 10, "{datagrams}");
    assert_eq!(flood.network[flood.server].0.load().2, 0, "no keying is left");
}

/// The first to come are served first.
#[test]
fn the_oldest_keying_is_answered_first() {
    let mut flood = Flood::new(2, server(), Link::lan());
    flood.open_all();
    let took = flood.run();
    let span = took[CLIENTS - 1] - took[0];
    assert!(span < KEYING * (CLIENTS as u32) + Duration::from_millis(50), "{span:?}");
}

/// One end opens many sessions: its own work is queued likewise.
#[test]
fn a_peer_without_space_for_all_serves_them_in_the_end() {
    let mut few = server();
    few.max_pending_keyings = 16;
    let mut flood = Flood::new(3, few, Link::lan());
    flood.clients.truncate(100);
    flood.open_all();
    let took = flood.run();
    assert_eq!(took.len(), 100);
}

/// Work that a driver refuses does not leave anything behind.
#[test]
fn refused_work_is_tried_again() {
    let mut solo = Solo::new(4, quick(), &IdentityConfig::default());
    let mut random = solo.random.fork();
    let identity = Arc::new(Identity::generate(&IdentityConfig::default(), &mut random));
    let mut far = Endpoint::new(quick(), identity.clone(), Box::new(random));
    let epd = Epd::for_fingerprint(identity.fingerprint());
    let (here, there) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    solo.endpoint.open(solo.now, epd, &[there]);
    let (mut jobs, mut refused) = (0u64, 0u64);
    let mut buf = rtmfp::proto::transport::TransmitBuf::new();
    // Each end in turn.
    for step in 0..200u64 {
        let now = Time::from_millis(1000 + 500 * step);
        for (end, other, from) in [(0, 1, here), (1, 0, there)] {
            let ends = [&mut solo.endpoint, &mut far];
            ends[end].handle_timeout(now);
            for _ in 0..4 {
                while let Some(job) = ends[end].poll_job() {
                    // Each piece of work is refused when it is asked for the first time.
                    jobs += 1;
                    let refuse = jobs % 2 == 1;
                    refused += u64::from(refuse);
                    let computed = if refuse { job.refuse() } else { job.run() };
                    ends[end].handle_computed(now, computed);
                }
                while ends[end].poll_transmit(now, &mut buf).is_some() {
                    let datagrams: Vec<Vec<u8>> = buf.datagrams().map(<[u8]>::to_vec).collect();
                    for mut datagram in datagrams {
                        let path = rtmfp::proto::transport::Path::to(from);
                        ends[other].handle_datagram(now, path, &mut datagram);
                    }
                }
            }
        }
    }
    assert!(refused >= 3, "{refused}");
    assert_eq!((solo.endpoint.sessions().count(), far.sessions().count()), (1, 1));
    assert_eq!((solo.endpoint.load(), far.load()), ((1, 0, 0), (1, 0, 0)));
}
