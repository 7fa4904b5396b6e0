//! Forwarded hellos (RFC 7016 §3.5.1.5): two peers meet through a third endpoint.

mod support;

use rtmfp::crypto::Epd;
use rtmfp::sim::{Link, Network, NodeId};
use rtmfp::transport::{Config, Event, SessionId};
use rtmfp::wire::chunk::ForwardedHello;
use rtmfp::wire::{Address, Chunk, Origin};
use std::net::SocketAddr;
use support::puppet::{ELSEWHERE, Puppet};
use support::{Pair, Tapped, endpoint, for_seeds, millis, quick, secs};

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
    let epd = puppet.lone.own_epd();
    puppet.send(&[forwarded(&epd, &[3; 16])]);
    let answers = puppet.lone.take_startup();
    assert_eq!((answers.len(), answers[0].to, answers[0].session), (1, elsewhere(), 0));
    let Chunk::ResponderHello(hello) = answers[0].chunks()[0] else { panic!() };
    assert_eq!(hello.tag_echo, [3; 16]);
    // For somebody else, or with an address that is none: silence.
    puppet.send(&[forwarded(&Epd::for_uri("rtmfp://x"), &[3; 100])]);
    let own = puppet.lone.own_epd();
    puppet.send(&[Chunk::ForwardedHello(ForwardedHello {
        epd: own.as_bytes(),
        reply_address: Address::new("10.0.0.1:0".parse().unwrap(), Origin::Local),
        tag: &[3; 16],
    })]);
    assert!(puppet.lone.take_startup().is_empty());
}

#[test]
fn hostile_forwarded_hellos_are_limited_and_do_not_multiply() {
    let mut puppet = Puppet::initiator(2, quick());
    let epd = puppet.lone.own_epd();
    let limit = quick().forwarded_hellos_per_second as usize;
    for _ in 0..3 {
        let mut received = 0;
        for i in 0..1000u32 {
            // A hundred addresses of ten hosts.
            let ip = [198, 51, 100, (i % 10) as u8];
            let reply = SocketAddr::from((ip, 1000 + (i % 100) as u16));
            let packet = puppet.packet(&[forwarded_to(reply, &epd, &i.to_be_bytes())]);
            received += packet.len();
            let address = puppet.address;
            puppet.lone.deliver(address, packet);
        }
        let answers = puppet.lone.take_startup();
        assert_eq!(answers.len(), limit);
        assert!(answers.iter().map(|a| a.len).sum::<usize>() <= 3 * received / 1000 * limit);
        puppet.lone.run_for(secs(1));
        puppet.take();
    }
}

/// Nothing was received from the reply address, which may be anybody's.
#[test]
fn hostile_forwarded_hellos_do_not_flood_an_address() {
    let mut puppet = Puppet::initiator(3, quick());
    let epd = puppet.lone.own_epd();
    let say = |host: u8, port: u16, puppet: &mut Puppet| {
        let reply = SocketAddr::from(([198, 51, 100, host], port));
        puppet.send(&[forwarded_to(reply, &epd, &[3; 16])]);
        puppet.lone.take_startup().len()
    };
    let answers: usize = (0..20).map(|_| say(1, 1, &mut puppet)).sum();
    assert_eq!(answers, 2, "to one address");
    let answers: usize = (0..20).map(|port| say(2, port, &mut puppet)).sum();
    assert_eq!(answers, 16, "to one host");
    assert_eq!(say(3, 1, &mut puppet), 1);
    puppet.lone.run_for(secs(1));
    assert_eq!(say(1, 1, &mut puppet), 1);
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
        let server = endpoint(&mut pair.network, Config { introduce: true, ..quick() });
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
    let datagram = support::puppet::startup(0, &Chunk::InitiatorHello(hello));
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
