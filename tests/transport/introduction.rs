//! Forwarded hellos (RFC 7016 §3.5.1.5): two peers meet through a third endpoint.

use crate::support::puppet::{ELSEWHERE, Puppet, Solo};
use crate::support::wiretap::Seen;
use crate::support::{Pair, Tapped, endpoint, for_seeds, millis, quick, quick_with, secs};
use rtmfp::proto::crypto::{
    Certificate, Epd, Identity, IdentityConfig, Initiate, KeyStyle, KeyingRandom,
};
use rtmfp::proto::sim::{Link, Network, NodeId};
use rtmfp::proto::transport::{Config, Event, SessionId};
use rtmfp::wire::chunk::{ForwardedHello, InitiatorKeying};
use rtmfp::wire::{Address, Chunk, Origin};
use std::net::SocketAddr;
use std::sync::Arc;

fn elsewhere() -> SocketAddr {
    ELSEWHERE.parse().unwrap()
}

fn forwarded<'a>(epd: &'a Epd, tag: &'a [u8]) -> Chunk<'a> {
    forwarded_to(elsewhere(), epd, tag)
}

fn forwarded_to<'a>(reply: SocketAddr, epd: &'a Epd, tag: &'a [u8]) -> Chunk<'a> {
    Chunk::ForwardedHello(ForwardedHello {
        epd: epd.as_bytes(),
        reply_address: Address::new(reply, Origin::Reflexive),
        tag,
    })
}

#[test]
fn a_forwarded_hello_is_answered_to_its_reply_address() {
    let mut puppet = Puppet::initiator(1, quick());
    let epd = puppet.solo.own_epd();
    puppet.send(&[forwarded(&epd, &[3; 16])]);
    let answers = puppet.solo.take_startup();
    assert_eq!((answers.len(), answers[0].to, answers[0].session), (1, elsewhere(), 0));
    let Chunk::ResponderHello(hello) = answers[0].chunks()[0] else { panic!() };
    assert_eq!(hello.tag_echo, [3; 16]);
    // For somebody else, or with an address that is none: silence.
    puppet.send(&[forwarded(&Epd::for_uri("rtmfp://x"), &[3; 100])]);
    let own = puppet.solo.own_epd();
    puppet.send(&[Chunk::ForwardedHello(ForwardedHello {
        epd: own.as_bytes(),
        reply_address: Address::new("10.0.0.1:0".parse().unwrap(), Origin::Local),
        tag: &[3; 16],
    })]);
    assert!(puppet.solo.take_startup().is_empty());
}

/// Forwards a hello in the puppet's session and returns what the packet cost, and the answers.
fn forward(puppet: &mut Puppet, reply: SocketAddr, tag: &[u8]) -> (usize, Vec<Seen>) {
    let epd = puppet.solo.own_epd();
    let packet = puppet.packet(&[forwarded_to(reply, &epd, tag)]);
    let (received, address) = (packet.len(), puppet.address);
    puppet.solo.deliver(address, packet);
    (received, puppet.solo.take_startup())
}

fn bytes(answers: &[Seen]) -> usize {
    answers.iter().map(|answer| answer.len).sum()
}

/// The answers go to anybody whom the forwarder names: it pays for each byte.
#[test]
fn hostile_forwarded_hellos_bring_no_more_than_they_cost() {
    // The second certificate has static keys of 2,048 bits, and answers are long.
    let mut large = IdentityConfig::default();
    large.keys = KeyStyle::Static;
    for (seed, identity) in [(2, IdentityConfig::default()), (3, large)] {
        // The puppet does not pad its own hello.
        let mut config = quick();
        config.max_amplification = 20;
        let solo = Solo::new(seed, config, &identity);
        let mut puppet =
            Puppet::initiator_to(solo, &IdentityConfig::default(), quick().negotiation);
        let stats = |puppet: &Puppet| {
            puppet.solo.endpoint.session(puppet.session).unwrap().stats().bytes_received as usize
        };
        let (mut sent, mut count) = (0, 0);
        for i in 0..3000u32 {
            // Three thousand addresses of as many hosts.
            let reply = SocketAddr::from(([198, 51, (i >> 8) as u8, i as u8], 1000));
            let (_, answers) = forward(&mut puppet, reply, &i.to_be_bytes());
            sent += bytes(&answers);
            count += answers.len();
            assert!(sent <= 256 + stats(&puppet), "seed {seed}: {sent}");
            puppet.solo.run_for(millis(20));
        }
        assert!(count > 400, "seed {seed}: {count}");
    }
}

/// Who has brought much may name many, but none of them gets much.
#[test]
fn hostile_forwarded_hellos_do_not_flood_an_address() {
    let mut puppet = Puppet::initiator(4, quick());
    for _ in 0..1000 {
        puppet.send(&[Chunk::PingReply(&[0; 1000])]);
    }
    let flood = |puppet: &mut Puppet, host: u8, ports: std::ops::Range<u16>| {
        let mut sent = 0;
        for i in 0..400u16 {
            let port = ports.start + i % ports.len() as u16;
            let reply = SocketAddr::from(([198, 51, 100, host], port));
            sent += bytes(&forward(puppet, reply, &[3; 16]).1);
            puppet.solo.run_for(millis(20));
        }
        sent
    };
    let one = flood(&mut puppet, 1, 1..2);
    assert!((1000..=1200 + 8 * 8).contains(&one), "to one address in 8 s: {one}");
    let host = flood(&mut puppet, 2, 1..401);
    assert!((4000..=4800 + 32 * 8).contains(&host), "to one host in 8 s: {host}");
    let other = forward(&mut puppet, SocketAddr::from(([198, 51, 100, 3], 1)), &[3; 16]).1;
    assert_eq!(other.len(), 1, "another host");
}

/// An initiator that goes on costs the forwarder nothing, however many there are.
#[test]
fn initiators_that_answer_are_introduced_without_end() {
    let mut puppet = Puppet::initiator(5, quick());
    let mut random = puppet.solo.random.fork();
    let identity = Arc::new(Identity::generate(&IdentityConfig::default(), &mut random));
    for i in 0..100u32 {
        let reply = SocketAddr::from(([198, 51, 100, 1], 1000 + i as u16));
        let (_, answers) = forward(&mut puppet, reply, &i.to_be_bytes());
        assert_eq!(answers.len(), 1, "introduction {i}");
        let Chunk::ResponderHello(hello) = answers[0].chunks()[0] else { panic!() };
        let far = Certificate::parse(hello.certificate).unwrap();
        let random = KeyingRandom::from_rng(&mut puppet.solo.random);
        let offer = quick().negotiation;
        let initiated =
            Initiate { identity: identity.clone(), far, offer, ours: false, random }.run().unwrap();
        let keying = InitiatorKeying {
            session_id: 1 + i,
            cookie: hello.cookie,
            certificate: identity.certificate().as_bytes(),
            component: initiated.component(),
            signature: b"X",
        };
        puppet.solo.say(reply, 0, &Chunk::InitiatorKeying(keying));
        assert_eq!(puppet.solo.take_startup().len(), 1, "the answer to the keying");
        puppet.solo.run_for(millis(20));
    }
}

#[test]
fn a_server_answers_no_forwarded_hellos() {
    let mut config = Config::server();
    config.negotiation = quick().negotiation;
    let mut puppet = Puppet::initiator(6, config);
    let epd = puppet.solo.own_epd();
    puppet.solo.hello(elsewhere(), &epd, &[3; 16]);
    assert_eq!(puppet.solo.take_startup().len(), 1, "a hello of its own is answered");
    assert!(forward(&mut puppet, elsewhere(), &[3; 16]).1.is_empty());
}

/// Two peers and a third endpoint with which both have sessions.
struct Triangle {
    pair: Pair,
    server: NodeId,
    /// The server's session with `b`.
    far: SessionId,
}

impl Triangle {
    fn new(seed: u64, link: Link) -> Self {
        let mut pair = Pair::new(seed, link);
        let server = endpoint(&mut pair.network, quick_with(|c| c.introduce = true));
        let server = pair.network.add("10.0.0.3:1935", server);
        let (a, b) = (pair.a, pair.b);
        pair.ask(a, server);
        pair.ask(b, server);
        let wanted = |n: &Network<Tapped>| n[server].0.sessions().count() == 2;
        assert!(pair.network.run_until(wanted));
        let fingerprint = pair.network[b].0.fingerprint();
        let far = pair.network[server].0.session_with(fingerprint).unwrap();
        for node in [a, b, server] {
            pair.events(node);
        }
        Self { pair, server, far }
    }

    /// Asks the server for `b` and serves introductions until `a` has the session.
    fn introduce(&mut self, redirect: &[Address], forward: bool) -> bool {
        let (a, b, server, far) = (self.pair.a, self.pair.b, self.server, self.far);
        let network = &mut self.pair.network;
        let wanted = network[b].0.fingerprint();
        let address = network.address(server);
        network.act(a, |e, now| e.0.open(now, Epd::for_fingerprint(wanted), &[address]));
        for _ in 0..9500 {
            network.run_for(millis(10));
            while let Some(event) = network[server].0.poll_event() {
                let Event::IntroductionWanted(introduction) = event else { continue };
                assert_eq!(introduction.wanted, wanted);
                assert_eq!(introduction.from.remote, network.address(a));
                network.act(server, |e, now| {
                    e.0.redirect(&introduction, redirect);
                    if forward {
                        e.0.forward_hello(now, far, &introduction);
                    }
                });
            }
            if network[a].0.session_with(wanted).is_some() {
                return true;
            }
        }
        false
    }
}

#[test]
fn peers_meet_by_redirect_and_forwarded_hello() {
    for_seeds(30, |seed| {
        let mut triangle = Triangle::new(seed, Link::bad());
        let b = Address::new(triangle.pair.network.address(triangle.pair.b), Origin::Reflexive);
        assert!(triangle.introduce(&[b], true));
    });
}

#[test]
fn the_forwarded_hello_alone_is_enough() {
    for_seeds(30, |seed| {
        let mut triangle = Triangle::new(seed, Link::bad().with_loss(0.2));
        let dead = ["10.9.9.9:1", "10.9.9.9:2"]
            .map(|text| Address::new(text.parse().unwrap(), Origin::Local));
        assert!(triangle.introduce(&dead, true));
        let pair = &mut triangle.pair;
        let (a, b) = (pair.a, pair.b);
        pair.network.run_for(secs(20));
        assert_eq!(pair.network[a].0.sessions().count(), 2);
        assert_eq!(pair.network[b].0.sessions().count(), 2);
    });
}

#[test]
fn without_either_there_is_no_meeting() {
    let mut triangle = Triangle::new(1, Link::lan());
    assert!(!triangle.introduce(&[], false));
}

#[test]
fn hostile_hello_too_long_to_forward_is_dropped() {
    let mut triangle = Triangle::new(2, Link { mtu: 9000, ..Link::lan() });
    let wanted = triangle.pair.network[triangle.pair.b].0.fingerprint();
    let mut epd = Epd::for_fingerprint(wanted).as_bytes().to_vec();
    rtmfp::wire::option::encode_option(0x33, &[0; 3000], &mut epd);
    let epd = Epd::parse(&epd).unwrap();
    let (network, server) = (&mut triangle.pair.network, triangle.server);
    let hello = rtmfp::wire::chunk::InitiatorHello { epd: epd.as_bytes(), tag: b"tag" };
    let datagram = crate::support::puppet::startup(0, &Chunk::InitiatorHello(hello));
    let to = network.address(server);
    network.inject(elsewhere(), to, datagram);
    network.run_for(millis(10));
    let Some(Event::IntroductionWanted(introduction)) = network[server].0.poll_event() else {
        panic!()
    };
    let far = triangle.far;
    // The wiretap refuses datagrams beyond the limit.
    network.act(server, |e, now| e.0.forward_hello(now, far, &introduction));
    network.run_for(secs(1));
}
