//! Responder Redirect (RFC 7016 §3.5.1.4): other addresses to ask.

use crate::support::puppet::{ELSEWHERE, HERE, Solo, startup_with};
use crate::support::{Pair, Tapped, endpoint, millis, quick, quick_with, secs};
use rtmfp::proto::crypto::{Epd, Fingerprint, IdentityConfig};
use rtmfp::proto::sim::{Link, NodeId};
use rtmfp::proto::transport::Event;
use rtmfp::wire::chunk::Redirect;
use rtmfp::wire::{Address, Chunk, Origin};
use std::net::SocketAddr;

fn here() -> SocketAddr {
    HERE.parse().unwrap()
}

/// An endpoint that asks one address for a session, and its tag.
fn asking(seed: u64) -> (Solo, Vec<u8>) {
    let mut solo = Solo::new(seed, quick(), &IdentityConfig::default());
    solo.act(|e, now| e.open(now, Epd::for_fingerprint(Fingerprint([9; 32])), &[here()]));
    let hello = solo.take_startup().pop().unwrap();
    let Chunk::InitiatorHello(hello) = hello.chunks()[0] else { panic!() };
    let tag = hello.tag.to_vec();
    (solo, tag)
}

fn addresses(texts: impl IntoIterator<Item = String>) -> Vec<Address> {
    texts.into_iter().map(|t| Address::new(t.parse().unwrap(), Origin::Reflexive)).collect()
}

fn redirect(solo: &mut Solo, from: SocketAddr, tag: &[u8], to: &[Address]) {
    let mut scratch = Vec::new();
    solo.say(from, 0, &Chunk::Redirect(Redirect::new(tag, to, &mut scratch)));
    solo.run_for(millis(1));
}

fn asked(solo: &mut Solo) -> Vec<SocketAddr> {
    solo.take_startup().iter().map(|p| p.to).collect()
}

#[test]
fn every_listed_address_is_asked_at_once() {
    let (mut solo, tag) = asking(1);
    let to = addresses(["10.0.0.1:1", "[2001:db8::1]:2", "10.0.0.1:1"].map(String::from));
    redirect(&mut solo, here(), &tag, &to);
    assert_eq!(asked(&mut solo), [to[0].socket, to[1].socket]);
    // A redirect of a redirector leads further.
    let further = addresses(["10.0.0.3:3".to_string()]);
    redirect(&mut solo, to[1].socket, &tag, &further);
    assert_eq!(asked(&mut solo), [further[0].socket]);
    // The first address is asked on, and the learnt ones whenever a redirect names them again.
    solo.run_for(millis(1500));
    assert_eq!(asked(&mut solo), [here()]);
    redirect(&mut solo, here(), &tag, &to);
    assert_eq!(asked(&mut solo), [to[0].socket, to[1].socket]);
}

/// What a redirect makes this end send is at most three times as long as the redirect.
#[test]
fn hostile_redirects_bring_no_more_than_three_times_their_length() {
    let (mut solo, tag) = asking(7);
    let (mut received, mut sent) = (0, 0);
    for round in 0..100u8 {
        for count in 1..=8u8 {
            let to = addresses((0..count).map(|i| format!("203.0.113.{}:{}", i % 3, 1 + round)));
            let mut scratch = Vec::new();
            let chunk = Chunk::Redirect(Redirect::new(&tag, &to, &mut scratch));
            // The chunk twice in a packet counts once.
            let datagram = startup_with(0, &[chunk, chunk]);
            received += datagram.len();
            solo.deliver(here(), datagram);
            solo.run_for(millis(1));
            let hellos = solo.take_startup();
            sent += hellos.iter().filter(|h| h.to != here()).map(|h| h.len).sum::<usize>();
            assert!(sent <= 3 * received, "{sent} for {received}");
        }
    }
    assert!(sent > 1000, "{sent}");
}

#[test]
fn a_wrong_tag_and_unusable_addresses_are_ignored() {
    let (mut solo, tag) = asking(2);
    let to = addresses(["10.0.0.1:1".to_string()]);
    redirect(&mut solo, here(), &[0; 16], &to);
    redirect(&mut solo, here(), &tag[..15], &to);
    redirect(&mut solo, here(), &tag, &addresses(["10.0.0.1:0", "0.0.0.0:5"].map(String::from)));
    assert!(asked(&mut solo).is_empty());
}

#[test]
fn an_empty_list_means_where_it_came_from() {
    let (mut solo, tag) = asking(3);
    redirect(&mut solo, here(), &tag, &[]);
    assert!(asked(&mut solo).is_empty(), "asked already");
    let elsewhere = ELSEWHERE.parse().unwrap();
    redirect(&mut solo, elsewhere, &tag, &[]);
    assert_eq!(asked(&mut solo), [elsewhere]);
}

#[test]
fn hostile_lists_end_at_24_addresses() {
    let (mut solo, tag) = asking(4);
    let list = |net: u8| addresses((1..150).map(|i| format!("10.0.{net}.{i}:1")));
    redirect(&mut solo, here(), &tag, &list(0));
    assert_eq!(asked(&mut solo).len(), 23);
    redirect(&mut solo, here(), &tag, &list(1));
    assert!(asked(&mut solo).is_empty());
    solo.run_for(secs(100));
    assert_eq!(solo.take_startup().len(), 10, "only the first address is asked again");
    assert_eq!(solo.endpoint.load(), (0, 0, 0));
}

/// A redirector that knows where `far` is.
fn answer_introductions(
    network: &mut rtmfp::proto::sim::Network<Tapped>,
    redirector: rtmfp::proto::sim::NodeId,
    far: &[Address],
) -> usize {
    let mut count = 0;
    while let Some(event) = network[redirector].0.poll_event() {
        let Event::IntroductionWanted(introduction) = event else { continue };
        network.act(redirector, |e, _| e.0.redirect(&introduction, far));
        count += 1;
    }
    count
}

#[test]
fn a_chain_of_redirectors_leads_to_the_peer() {
    let mut pair = Pair::new(5, Link::lan());
    let (a, b) = (pair.a, pair.b);
    let introduce = || quick_with(|c| c.introduce = true);
    let redirectors = ["10.0.0.3:1", "10.0.0.4:1"].map(|address| {
        let machine = endpoint(&mut pair.network, introduce());
        pair.network.add(address, machine)
    });
    let epd = Epd::for_fingerprint(pair.network[b].0.fingerprint());
    let first = pair.network.address(redirectors[0]);
    pair.network.act(a, |e, now| e.0.open(now, epd, &[first]));
    let to = [pair.network.address(redirectors[1]), pair.network.address(b)]
        .map(|socket| Address::new(socket, Origin::Reflexive));
    pair.network.run_for(millis(10));
    assert_eq!(answer_introductions(&mut pair.network, redirectors[0], &to[..1]), 1);
    pair.network.run_for(millis(10));
    assert_eq!(answer_introductions(&mut pair.network, redirectors[1], &to[1..]), 1);
    pair.network.run_for(millis(100));
    let session = pair.session(a);
    assert_eq!(pair.network[a].0.session(session).unwrap().path().remote, to[1].socket);
    pair.close_and_check(a, session);
}

#[test]
fn hostile_waiting_introductions_are_bounded() {
    let mut config = quick();
    config.introduce = true;
    config.accept = false;
    let mut solo = Solo::new(6, config, &IdentityConfig::default());
    for i in 0..5000u32 {
        solo.hello(here(), &Epd::for_fingerprint(Fingerprint([9; 32])), &i.to_be_bytes());
    }
    assert_eq!(solo.events().len(), 1024);
    let own = solo.own_epd();
    solo.hello(here(), &own, b"tag");
    assert!(solo.sent.is_empty(), "it does not accept sessions");
    assert_eq!(solo.events().len(), 1, "and has space for introductions again");
}

/// Redirectors that send one on to another in a circle: each is asked once at a time, and the
/// attempt ends when its time is over.
#[test]
fn hostile_circles_of_redirectors_end() {
    let mut pair = Pair::new(9, Link::lan());
    let wanted = rtmfp::proto::crypto::Epd::for_fingerprint(pair.network[pair.b].0.fingerprint());
    let config = || quick_with(|c| c.introduce = true);
    let redirectors: Vec<NodeId> = (0..3)
        .map(|i| {
            let machine = endpoint(&mut pair.network, config());
            pair.network.add(&format!("10.0.1.{i}:1"), machine)
        })
        .collect();
    let addresses: Vec<SocketAddr> = redirectors.iter().map(|&r| pair.network.address(r)).collect();
    let a = pair.a;
    pair.network.act(a, |e, now| e.0.open(now, wanted, &addresses[..1]));
    for _ in 0..1000 {
        pair.network.run_for(crate::support::millis(100));
        for (i, &redirector) in redirectors.iter().enumerate() {
            let next = [Address::new(addresses[(i + 1) % 3], Origin::Local)];
            for event in pair.events(redirector) {
                if let Event::IntroductionWanted(introduction) = event {
                    pair.network.act(redirector, |e, _| e.0.redirect(&introduction, &next));
                }
            }
        }
    }
    let failed = |e: &Event| matches!(e, Event::OpenFailed { .. });
    assert!(pair.events(a).iter().any(failed));
    let hellos = pair.network[a].1.sent.len();
    assert!((30..=33).contains(&hellos), "{hellos}: eleven to each of three");
}

/// Servers, and a client that asks the first of them by its URI.
fn servers(seed: u64) -> (Pair, Vec<NodeId>, Vec<SocketAddr>) {
    let mut pair = Pair::new(seed, Link::lan());
    let servers: Vec<NodeId> = (0..3)
        .map(|number| {
            let machine = endpoint(&mut pair.network, quick());
            pair.network.add(&format!("10.0.2.{number}:1935"), machine)
        })
        .collect();
    let addresses = servers.iter().map(|&server| pair.network.address(server)).collect();
    (pair, servers, addresses)
}

fn server_of(pair: &Pair) -> SocketAddr {
    let session = pair.session(pair.a);
    pair.network[pair.a].0.session(session).unwrap().path().remote
}

#[test]
fn a_newcomer_is_sent_to_another_server() {
    let (mut pair, servers, addresses) = servers(11);
    let a = pair.a;
    let elsewhere = addresses[1..].to_vec();
    pair.network.act(servers[0], |e, _| e.0.redirect_newcomers(elsewhere));
    let epd = Epd::for_uri("rtmfp://server/app");
    pair.network.act(a, |e, now| e.0.open(now, epd, &addresses[..1]));
    pair.network.run_for(secs(2));
    assert!(addresses[1..].contains(&server_of(&pair)));
    let first = &pair.network[servers[0]];
    assert_eq!((first.0.stats().redirected, first.0.load()), (1, (0, 0, 0)), "nothing is kept");
    let (hello, redirect) = (&pair.network[a].1.sent[0].2, &first.1.sent[0].2);
    assert!(redirect.len() <= 3 * hello.len());
}

/// The servers that a redirect names have lost their power.
#[test]
fn a_newcomer_that_asks_again_is_served() {
    let (mut pair, servers, addresses) = servers(12);
    let a = pair.a;
    let elsewhere = addresses[1..].to_vec();
    pair.network.act(servers[0], |e, _| e.0.redirect_newcomers(elsewhere));
    servers[1..].iter().for_each(|&dead| drop(pair.network.remove(dead)));
    let epd = Epd::for_uri("rtmfp://server/app");
    pair.network.act(a, |e, now| e.0.open(now, epd, &addresses[..1]));
    pair.network.run_for(millis(1000));
    assert_eq!(pair.network[servers[0]].0.stats().redirected, 1);
    pair.network.run_for(secs(4));
    assert_eq!(server_of(&pair), addresses[0]);
    assert_eq!(pair.network[servers[0]].0.stats().redirected, 1);
}

/// Each sends newcomers to the next.
#[test]
fn circles_of_servers_serve_a_newcomer() {
    let (mut pair, servers, addresses) = servers(13);
    let a = pair.a;
    for (number, &server) in servers.iter().enumerate() {
        let next = vec![addresses[(number + 1) % 3]];
        pair.network.act(server, |e, _| e.0.redirect_newcomers(next));
    }
    let epd = Epd::for_uri("rtmfp://server/app");
    pair.network.act(a, |e, now| e.0.open(now, epd, &addresses[..1]));
    pair.network.run_for(secs(6));
    assert!(addresses.contains(&server_of(&pair)));
}

#[test]
fn a_hello_for_a_fingerprint_is_never_sent_elsewhere() {
    let (mut pair, servers, addresses) = servers(14);
    let a = pair.a;
    let elsewhere = addresses[1..].to_vec();
    pair.network.act(servers[0], |e, _| e.0.redirect_newcomers(elsewhere));
    let epd = Epd::for_fingerprint(pair.network[servers[0]].0.fingerprint());
    pair.network.act(a, |e, now| e.0.open(now, epd, &addresses[..1]));
    pair.network.run_for(secs(1));
    assert_eq!(server_of(&pair), addresses[0]);
}
