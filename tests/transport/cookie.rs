//! A responder keeps nothing of an initiator that has not proven its address, and does not serve
//! to flood others (RFC 7016 §3.5.1.1.2, §3.5.1.2).

use crate::support::puppet::{self, ELSEWHERE, HERE, Solo, startup};
use crate::support::{millis, quick, secs};
use rtmfp::proto::crypto::{
    Certificate, DhGroup, Epd, Fingerprint, Identity, IdentityConfig, Initiate, KeyStyle,
    KeyingRandom,
};
use rtmfp::proto::transport::{Endpoint, Event, Machine};
use rtmfp::wire::chunk::{CookieChange, InitiatorHello, InitiatorKeying, ResponderHello};
use rtmfp::wire::{Address, Chunk, Origin};
use std::net::SocketAddr;
use std::sync::Arc;

fn here() -> SocketAddr {
    HERE.parse().unwrap()
}

fn elsewhere() -> SocketAddr {
    ELSEWHERE.parse().unwrap()
}

fn solo(seed: u64) -> Solo {
    Solo::new(seed, quick(), &IdentityConfig::default())
}

/// What an initiator has after the hello of the endpoint.
struct Initiator {
    identity: Arc<Identity>,
    cookie: Vec<u8>,
    component: Vec<u8>,
}

impl Initiator {
    fn greeted(solo: &mut Solo, from: SocketAddr) -> Self {
        let identity = Arc::new(Identity::generate(&IdentityConfig::default(), &mut solo.random));
        let epd = solo.own_epd();
        solo.hello(from, &epd, &[1; 16]);
        let hello = solo.take_startup().pop().expect("a hello");
        let Chunk::ResponderHello(hello) = hello.chunks()[0] else { panic!() };
        let far = Certificate::parse(hello.certificate).unwrap();
        let random = KeyingRandom::from_rng(&mut solo.random);
        let offer = quick().negotiation;
        let work = Initiate { identity: identity.clone(), far, offer, ours: false, random };
        let component = work.run().unwrap().component().to_vec();
        Self { identity, cookie: hello.cookie.to_vec(), component }
    }

    fn keying<'a>(&'a self, cookie: &'a [u8]) -> Chunk<'a> {
        Chunk::InitiatorKeying(InitiatorKeying {
            session_id: 5,
            cookie,
            certificate: self.identity.certificate().as_bytes(),
            component: &self.component,
            signature: b"X",
        })
    }
}

#[test]
fn hostile_hellos_and_forged_keyings_leave_nothing() {
    let mut solo = solo(1);
    let initiator = Initiator::greeted(&mut solo, here());
    let epd = solo.own_epd();
    for i in 0..10_000u32 {
        let from = SocketAddr::from((i.to_be_bytes(), 1 + (i % 60_000) as u16));
        solo.hello(from, &epd, &i.to_be_bytes());
        let mut cookie = initiator.cookie.clone();
        cookie[i as usize % 32] ^= 1 + (i / 32 % 255) as u8;
        solo.say(here(), 0, &initiator.keying(&cookie));
    }
    assert_eq!(solo.endpoint.load(), (0, 0, 0));
    assert!(solo.endpoint.poll_job().is_none() && solo.events().is_empty());
    solo.say(here(), 0, &initiator.keying(&initiator.cookie));
    assert_eq!(solo.endpoint.load(), (1, 0, 0));
}

#[test]
fn a_cookie_of_another_address_is_changed() {
    let mut solo = solo(2);
    let initiator = Initiator::greeted(&mut solo, here());
    let other_port: SocketAddr = "192.0.2.1:1936".parse().unwrap();
    solo.say(other_port, 0, &initiator.keying(&initiator.cookie));
    assert_eq!(solo.endpoint.load(), (0, 0, 0));
    let answers = solo.take_startup();
    assert_eq!((answers.len(), answers[0].session, answers[0].to), (1, 5, other_port));
    let Chunk::CookieChange(change) = answers[0].chunks()[0] else { panic!() };
    assert_eq!(change.old_cookie, initiator.cookie);
    solo.say(other_port, 0, &initiator.keying(change.new_cookie));
    assert_eq!(solo.endpoint.load(), (1, 0, 0));
}

#[test]
fn a_stale_cookie_is_ignored() {
    let mut solo = solo(3);
    let initiator = Initiator::greeted(&mut solo, here());
    solo.run_for(secs(95));
    solo.say(here(), 0, &initiator.keying(&initiator.cookie));
    assert_eq!(solo.endpoint.load().0, 1, "good for 95 s");
    let initiator = Initiator::greeted(&mut solo, elsewhere());
    solo.run_for(millis(95_001));
    solo.sent.clear();
    solo.say(elsewhere(), 0, &initiator.keying(&initiator.cookie));
    solo.say(here(), 0, &initiator.keying(&initiator.cookie));
    assert!(solo.sent.is_empty());
}

#[test]
fn an_initiator_changes_its_cookie_once() {
    let mut solo = solo(4);
    let identity = Arc::new(Identity::generate(&IdentityConfig::default(), &mut solo.random));
    let epd = Epd::for_fingerprint(identity.fingerprint());
    solo.act(|e, now| e.open(now, epd, &[here()]));
    let hello = solo.take_startup().pop().unwrap();
    let Chunk::InitiatorHello(hello) = hello.chunks()[0] else { panic!() };
    let certificate = identity.certificate().as_bytes();
    let answer = ResponderHello { tag_echo: hello.tag, cookie: b"old", certificate };
    solo.say(here(), 0, &Chunk::ResponderHello(answer));
    let first = solo.take_startup().pop().unwrap();
    let Chunk::InitiatorKeying(keying) = first.chunks()[0] else { panic!() };
    let change =
        |old_cookie, new_cookie| Chunk::CookieChange(CookieChange { old_cookie, new_cookie });
    solo.say(here(), 0, &change(b"old", b"new"));
    solo.say(here(), keying.session_id, &change(b"odd", b"new"));
    assert!(solo.sent.is_empty(), "wrong session, wrong cookie");
    solo.say(here(), keying.session_id, &change(b"old", b"new"));
    let second = solo.take_startup().pop().expect("a new keying at once");
    let expected = Chunk::InitiatorKeying(InitiatorKeying { cookie: b"new", ..keying });
    assert_eq!(second.chunks()[0], expected, "otherwise the same bytes");
    solo.say(here(), keying.session_id, &change(b"new", b"newer"));
    assert!(solo.sent.is_empty());
}

/// Bytes by which one answer to a hello may be too long, and all of them in a second.
const EXCESS: usize = 40;
const EXCESS_PER_SECOND: usize = 4096;

/// Sends `question` and returns bytes sent and bytes received.
fn exchange(solo: &mut Solo, question: Vec<u8>, act: impl FnOnce(&mut Solo)) -> (usize, usize) {
    solo.sent.clear();
    let received = question.len();
    solo.deliver(here(), question);
    act(solo);
    let sent = solo.sent.iter().map(|s| s.2.len()).sum();
    assert!(sent <= 3 * received + EXCESS, "{sent} bytes for {received}");
    (sent, received)
}

#[test]
fn hostile_nobody_is_flooded() {
    let styles = [KeyStyle::Ephemeral, KeyStyle::Static];
    let groups = [vec![DhGroup::Modp2], vec![DhGroup::Modp2, DhGroup::Modp14]];
    for (keys, groups) in styles.into_iter().flat_map(|k| groups.clone().map(|g| (k, g))) {
        let mut config = quick();
        config.introduce = true;
        let mut identity = IdentityConfig::default();
        identity.keys = keys;
        identity.groups = groups;
        let mut solo = Solo::new(5, config, &identity);
        let own = solo.own_epd();
        let other = Epd::for_fingerprint(Fingerprint([7; 32]));
        let uri = Epd::for_uri("rtmfp:");
        for epd in [&own, &other, &uri] {
            for tag in [0, 1, 16, 64] {
                let hello = InitiatorHello { epd: epd.as_bytes(), tag: &[1; 64][..tag] };
                let hello = startup(0, &Chunk::InitiatorHello(hello));
                exchange(&mut solo, hello, redirect_to_many);
            }
        }
        // Several hellos in one datagram are counted together.
        let mut plain = vec![rtmfp::wire::PacketHeader::new(rtmfp::wire::Mode::Startup).flags()];
        for _ in 0..30 {
            Chunk::InitiatorHello(InitiatorHello { epd: uri.as_bytes(), tag: b"" })
                .encode(&mut plain)
                .unwrap();
        }
        exchange(&mut solo, puppet::startup_plain(0, &plain), redirect_to_many);
        // A flood of the same hello: what is too long is bounded altogether.
        let shortest = InitiatorHello { epd: own.as_bytes(), tag: &[1; 16] };
        let (mut sent, mut received) = (0, 0);
        for _ in 0..1000 {
            let hello = startup(0, &Chunk::InitiatorHello(shortest));
            let (out, within) = exchange(&mut solo, hello, redirect_to_many);
            (sent, received) = (sent + out, received + within);
        }
        assert!(sent <= 3 * received + EXCESS_PER_SECOND, "{sent} bytes for {received}");
    }
}

/// Answers every introduction that is wanted with as many addresses as possible.
fn redirect_to_many(solo: &mut Solo) {
    let many: Vec<Address> = (1..200)
        .map(|i| Address::new(SocketAddr::from(([10, 0, 0, i], 1935)), Origin::Reflexive))
        .collect();
    for event in solo.events() {
        if let Event::IntroductionWanted(introduction) = event {
            solo.act(|e: &mut Endpoint, _| e.redirect(&introduction, &many));
        }
    }
}

#[test]
fn hostile_a_cookie_change_is_no_longer_than_thrice_the_keying() {
    let mut solo = solo(6);
    let initiator = Initiator::greeted(&mut solo, elsewhere());
    let keying = startup(0, &initiator.keying(&initiator.cookie));
    let (sent, received) = exchange(&mut solo, keying, |_| {});
    assert!(sent > 0 && sent <= 3 * received);
    let short = Chunk::InitiatorKeying(InitiatorKeying {
        session_id: 5,
        cookie: &initiator.cookie,
        certificate: b"",
        component: b"",
        signature: b"",
    });
    exchange(&mut solo, startup(0, &short), |_| {});
}

#[test]
fn a_player_that_asks_for_static_keys_is_answered() {
    let groups = vec![DhGroup::Modp2];
    let mut identity = IdentityConfig::default();
    identity.keys = KeyStyle::Static;
    identity.groups = groups;
    let mut solo = Solo::new(7, quick(), &identity);
    let epd = solo.own_epd();
    let hello = InitiatorHello { epd: epd.as_bytes(), tag: &[1; 16] };
    let (sent, received) = exchange(&mut solo, startup(0, &Chunk::InitiatorHello(hello)), |_| {});
    // With a cookie of 64 bytes, from the budget for answers that are a little too long.
    assert_eq!((sent, received), (228, 68));
}
