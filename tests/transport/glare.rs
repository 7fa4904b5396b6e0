//! Both ends open a session with each other at once (RFC 7016 §3.5.1.3): one session results.

use crate::support::puppet::{self, HERE, Puppet, Solo};
use crate::support::{Pair, Tapped, endpoint_with, for_seeds, millis, quick, secs};
use rtmfp::proto::crypto::{Epd, Identity, IdentityConfig, KeyStyle};
use rtmfp::proto::sim::{Link, Network, SeededRandom};
use rtmfp::proto::transport::{Event, OpenId};

/// The attempts that `events` fulfil. Nothing failed and nothing was closed.
fn fulfilled(events: &[Event]) -> Vec<OpenId> {
    let mut all = Vec::new();
    for event in events {
        let Event::SessionOpened { opens, .. } = event else { panic!("{events:?}") };
        all.extend(opens);
    }
    all.sort();
    all
}

fn glare(seed: u64, link: Link, gap_ms: u64) {
    let mut pair = Pair::new(seed, link);
    let (a, b) = (pair.a, pair.b);
    let first = pair.ask(a, b);
    pair.network.run_for(millis(gap_ms));
    let second = pair.ask(b, a);
    pair.network.run_for(secs(95));
    for (node, open) in [(a, first), (b, second)] {
        assert_eq!(pair.network[node].0.load(), (1, 0, 0), "one session, nothing else");
        assert_eq!(pair.network[node].0.sessions().count(), 1);
        let events = pair.events(node);
        assert_eq!(fulfilled(&events), [open], "{events:?}");
    }
    // It is the same session: a message passes.
    let session = pair.session(a);
    let flow = pair.open_flow(a, session, b"data");
    pair.send(a, session, flow, b"hello");
    pair.network.run_for(secs(20));
    assert_eq!(pair.messages(b), [&b"hello"[..]]);
    pair.close_and_check(a, session);
}

#[test]
fn at_the_same_time() {
    for_seeds(50, |seed| glare(seed, Link::lan(), 0));
    for_seeds(200, |seed| glare(seed, Link::bad(), 0));
}

#[test]
fn one_a_little_later() {
    for_seeds(200, |seed| glare(seed, Link::bad(), 2 * seed));
    for_seeds(60, |seed| glare(seed, Link::bad().with_loss(0.0), 5 * seed));
}

#[test]
fn with_many_losses() {
    for_seeds(200, |seed| {
        let gap = SeededRandom::new(seed).below(3000);
        glare(seed, Link::bad().with_loss(0.25), gap);
    });
}

#[test]
fn with_static_keys_against_ephemeral_ones() {
    for_seeds(60, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let groups = vec![rtmfp::proto::crypto::DhGroup::Modp2];
        let keys = KeyStyle::Static;
        let mut config = IdentityConfig::default();
        config.keys = keys;
        config.groups = groups;
        let machine = endpoint_with(&mut pair.network, quick(), &config);
        let c = pair.network.add("10.0.0.3:3", machine);
        let b = pair.b;
        let opens = [(b, pair.ask(b, c)), (c, pair.ask(c, b))];
        let both = |n: &Network<Tapped>| [b, c].iter().all(|&x| n[x].0.sessions().count() == 1);
        assert!(pair.network.run_until(both));
        pair.network.run_for(secs(95));
        for (node, open) in opens {
            assert_eq!(pair.network[node].0.load(), (1, 0, 0));
            assert_eq!(fulfilled(&pair.events(node)), [open]);
        }
    });
}

/// An endpoint whose certificate sorts after that of the identity, and which has asked for it.
fn losing(seed: u64) -> (Solo, std::sync::Arc<Identity>, OpenId) {
    for seed in 1000 * seed.. {
        let mut solo = Solo::new(seed, quick(), &IdentityConfig::default());
        let identity = Identity::generate(&IdentityConfig::default(), &mut solo.random);
        if identity.certificate().precedes_or_equals(solo.endpoint.identity().certificate()) {
            let epd = Epd::for_fingerprint(identity.fingerprint());
            let dead = "10.9.9.9:9".parse().unwrap();
            let open = solo.act(|e, now| e.open(now, epd, &[dead]));
            return (solo, identity.into(), open);
        }
    }
    unreachable!()
}

#[test]
fn the_far_ends_keying_is_answered_if_its_certificate_comes_first() {
    let (mut solo, identity, open) = losing(1);
    let here = HERE.parse().unwrap();
    let offer = quick().negotiation;
    let (session, keys) = puppet::initiate(&mut solo, here, 9, &identity, offer);
    let mode = rtmfp::wire::Mode::Initiator;
    let mut puppet = Puppet::new(solo, here, session, mode, keys);
    puppet.send(&[rtmfp::wire::Chunk::Ping(b"")]);
    assert_eq!(fulfilled(&puppet.solo.events()), [open]);
    assert_eq!(puppet.solo.endpoint.load(), (1, 0, 0));
}

#[test]
fn an_attempt_survives_a_keying_that_leads_nowhere() {
    // Whoever knows the certificate can send a keying in its name; it never uses the session.
    let (mut solo, identity, open) = losing(2);
    let here = HERE.parse().unwrap();
    let _ = puppet::initiate(&mut solo, here, 9, &identity, quick().negotiation);
    solo.run_for(secs(49));
    assert!(solo.events().is_empty());
    assert_eq!(solo.endpoint.load(), (1, 1, 0));
    solo.sent.clear();
    solo.run_for(secs(2));
    assert_eq!(solo.endpoint.load(), (0, 1, 0));
    assert!(!solo.sent.is_empty(), "it asks again");
    solo.run_for(secs(95));
    let events = solo.events();
    assert!(matches!(&events[..], [Event::OpenFailed { open: o, .. }] if *o == open), "{events:?}");
}
