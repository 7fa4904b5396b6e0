//! Startup in all recorded forms: our initiator and the recorded player as responder, redirects,
//! a changed cookie, and the negotiation of HMACs and sequence numbers at either end.

use super::capture::{Call, Recording, What};
use super::player::{self, Player, Terms, answer};
use super::rules::Judge;
use super::session::State;
use super::world::{Host, World, players};
use rtmfp::proto::crypto::{
    Epd, HmacPolicy, Identity, IdentityConfig, Negotiation, Opener, Sealer, SendPolicy, SseqPolicy,
};
use rtmfp::proto::sim::{Link, Network, NodeId, Tapped};
use rtmfp::proto::transport::{Config, Endpoint, SessionId};
use rtmfp::trace::Sender;
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, Mode, PacketHeader, multiplex};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const OURS: &str = "10.0.0.1:1000";
const PLAYER: &str = "10.0.0.2:2000";
const REDIRECTOR: &str = "10.0.0.3:3000";
/// There and back on the virtual network, and a little.
const AT_ONCE: Duration = Duration::from_millis(3);

/// A player that calls nobody, and an endpoint of ours.
struct Pair {
    network: Network<Host>,
    ours: NodeId,
    player: NodeId,
}

impl Pair {
    fn new(seed: u64, negotiation: Negotiation) -> Self {
        let mut network = Network::new(seed, Link::lan());
        network.tap();
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let mut config = Config::default();
        config.negotiation = negotiation;
        let endpoint = Endpoint::new(config, identity.into(), Box::new(random));
        let ours = network.add(OURS, Host::End(Box::new(endpoint)));
        let mut random = network.random();
        let identity = player::identity(&mut random);
        let (now, address) = (network.now(), PLAYER.parse().unwrap());
        let player = Player::new(now, address, Vec::new(), identity, random);
        let player = network.add(PLAYER, Host::Player(Box::new(player)));
        Self { network, ours, player }
    }

    /// Our endpoint asks `address` for the player.
    fn open(&mut self, address: &str) {
        let far = self.network[self.player].player().fingerprint();
        let address = address.parse().unwrap();
        self.network.act(self.ours, |host, now| {
            let Host::End(endpoint) = host else { panic!() };
            endpoint.open(now, Epd::for_fingerprint(far), &[address]);
        });
    }

    fn sessions(&self) -> Vec<SessionId> {
        let Host::End(endpoint) = &self.network[self.ours] else { panic!() };
        endpoint.sessions().map(|(id, _)| id).collect()
    }

    /// Packets go both ways: the player is pinged, and pings.
    fn talk(&mut self) -> Judge {
        self.network.run_for(Duration::from_secs(1));
        let now = self.network.now();
        self.network.act(self.player, |host, now| {
            let player = host.player_mut();
            player.sessions.iter_mut().for_each(|session| session.append(What::Ping(b"?".into())));
            rtmfp::proto::transport::Machine::handle_timeout(player, now);
        });
        self.network.run_for(Duration::from_secs(30));
        let player = self.network[self.player].player_mut();
        assert_eq!(player.sessions.len(), 1, "one session");
        let received = player.sessions[0].received;
        player.judge.rule(now, "our packets are read", received >= 3, || received.to_string());
        player.finish(now);
        let judge = std::mem::take(&mut player.judge);
        assert_eq!(self.sessions().len(), 1);
        judge
    }
}

/// The startup chunks in what was sent, each with where it went.
fn startup<R>(tapped: &[Tapped], read: impl Fn(&Tapped, Chunk<'_>) -> Option<R>) -> Vec<R> {
    let mut found = Vec::new();
    for datagram in tapped {
        let mut encrypted = datagram.bytes[multiplex::SESSION_ID_LEN..].to_vec();
        let Ok(plain) = Opener::default_key().open(&mut encrypted) else { continue };
        let Ok((_, rest)) = PacketHeader::parse(plain) else { continue };
        found.extend(chunks(rest).filter_map(|chunk| read(datagram, chunk)));
    }
    found
}

/// Where hellos went.
fn hellos(tapped: &[Tapped]) -> Vec<SocketAddr> {
    startup(tapped, |datagram, chunk| match chunk {
        Chunk::InitiatorHello(_) => Some(datagram.to),
        _ => None,
    })
}

fn sealed(chunk: &Chunk<'_>) -> Vec<u8> {
    let (mut sealer, mut datagram) = (Sealer::default_key(), Vec::new());
    let start = sealer.begin(&mut datagram);
    PacketHeader::new(Mode::Startup).encode(&mut datagram);
    chunk.encode(&mut datagram).unwrap();
    let range = sealer.finish(&mut datagram, start);
    sealer.seal(0, &mut datagram, &[range]);
    datagram
}

#[test]
fn our_initiator_opens_a_session_with_a_player() {
    let mut pair = Pair::new(1, Negotiation::default());
    pair.open(PLAYER);
    let judge = pair.talk();
    judge
        .verdict("player as responder", &["the initiator keys in group 2", "our packets are read"]);
}

/// The player's cookie belongs to an address: the same keying comes again with the new one.
#[test]
fn a_changed_cookie_brings_the_same_keying_again() {
    let mut pair = Pair::new(2, Negotiation::default());
    pair.network[pair.player].player_mut().change_cookie = true;
    pair.open(PLAYER);
    let judge = pair.talk();
    assert_eq!(judge.replayed.get("cookie changes"), Some(&1));
    judge.verdict("cookie change", &["the cookie is echoed", "our packets are read"]);
    let keyings = startup(&pair.network.take_tapped(), |datagram, chunk| match chunk {
        Chunk::InitiatorKeying(k) => {
            let rest = (k.session_id, k.certificate.to_vec(), k.component.to_vec());
            Some((datagram.at, k.cookie.to_vec(), rest))
        }
        _ => None,
    });
    let [(first_at, first_cookie, first), (again_at, new_cookie, again)] = &keyings[..] else {
        panic!("{} keyings", keyings.len());
    };
    assert_ne!(first_cookie, new_cookie);
    assert_eq!(first, again);
    assert!(again_at.since(*first_at) <= AT_ONCE);
}

/// The recorded redirects, with their lists of addresses, to our initiator: it asks all of them, as
/// the player did, each as soon as the redirects that it got pay for it.
#[test]
fn recorded_redirects_send_our_initiator_where_they_sent_the_player() {
    let recording = Recording::open("flash-startup");
    let mut lists: BTreeSet<Vec<Vec<u8>>> = BTreeSet::new();
    let mut forms = Vec::new();
    for chunk in recording.lines.iter().flat_map(|line| line.chunks()) {
        let Chunk::Redirect(redirect) = chunk else { continue };
        let addresses: Vec<_> = redirect.addresses().collect();
        let encoded = addresses.iter().map(|address| {
            let mut bytes = Vec::new();
            address.encode(&mut bytes);
            bytes
        });
        if lists.insert(encoded.collect()) {
            forms.push(addresses);
        }
    }
    let lengths: BTreeSet<usize> = forms.iter().map(Vec::len).collect();
    assert!(lengths.is_superset(&[0, 1, 2, 3, 7].into()), "{lengths:?}");
    for (seed, form) in forms.iter().enumerate() {
        let mut pair = Pair::new(seed as u64, Negotiation::default());
        pair.open(REDIRECTOR);
        let tags = startup(&pair.network.take_tapped(), |_, chunk| match chunk {
            Chunk::InitiatorHello(hello) => Some(hello.tag.to_vec()),
            _ => None,
        });
        let [tag] = &tags[..] else { panic!("one hello") };
        let redirector: SocketAddr = REDIRECTOR.parse().unwrap();
        let mut redirect = |tag: &[u8]| {
            let mut scratch = Vec::new();
            let chunk = rtmfp::wire::chunk::Redirect::new(tag, form, &mut scratch);
            pair.network.inject(redirector, OURS.parse().unwrap(), sealed(&Chunk::Redirect(chunk)));
            pair.network.run_for(AT_ONCE);
            hellos(&pair.network.take_tapped())
        };
        assert_eq!(redirect(&[0; 16]), [], "a wrong tag is ignored");
        let wanted: BTreeSet<_> = form.iter().map(|address| address.socket).collect();
        let mut asked: BTreeSet<SocketAddr> = BTreeSet::new();
        for round in 0..3 {
            let now = redirect(tag);
            let distinct: BTreeSet<_> = now.iter().copied().collect();
            assert_eq!(distinct.len(), now.len(), "each once");
            assert!(round > 0 || now.len() >= wanted.len().min(2), "two at least: {now:?}");
            asked.extend(distinct);
        }
        assert_eq!(asked, wanted);
        pair.network.run_for(Duration::from_secs(4));
        let again: BTreeSet<_> = hellos(&pair.network.take_tapped()).into_iter().collect();
        assert!(again.contains(&redirector), "the original address is asked again");
    }
    println!("{} recorded redirects with {lengths:?} addresses", forms.len());
}

/// A redirect of the recorded length to the player itself leads to a session.
#[test]
fn a_redirect_leads_to_the_player() {
    let mut pair = Pair::new(3, Negotiation::default());
    pair.open(REDIRECTOR);
    let tags = startup(&pair.network.take_tapped(), |_, chunk| match chunk {
        Chunk::InitiatorHello(hello) => Some(hello.tag.to_vec()),
        _ => None,
    });
    let origin = rtmfp::wire::Origin::Reflexive;
    let addresses = ["10.0.9.9:9", PLAYER, "10.0.9.9:9"]
        .map(|address| rtmfp::wire::Address::new(address.parse().unwrap(), origin));
    let mut scratch = Vec::new();
    let redirect = rtmfp::wire::chunk::Redirect::new(&tags[0], &addresses, &mut scratch);
    let bytes = sealed(&Chunk::Redirect(redirect));
    pair.network.inject(REDIRECTOR.parse().unwrap(), OURS.parse().unwrap(), bytes);
    pair.talk().verdict("redirect to the player", &["our packets are read"]);
}

/// Every wish that an end of ours can have.
fn policies() -> Vec<Negotiation> {
    let sends = [SendPolicy::Never, SendPolicy::OnRequest, SendPolicy::Always];
    let wishes: Vec<_> = sends.into_iter().flat_map(|send| [(send, false), (send, true)]).collect();
    let mut policies = Vec::new();
    for &(send, request) in &wishes {
        for length in if send == SendPolicy::Never { vec![16] } else { vec![4, 10, 16, 32] } {
            let hmac = HmacPolicy { send, request, require: false, length };
            let sseqs =
                wishes.iter().map(|&(send, request)| SseqPolicy { send, request, require: false });
            policies.extend(sseqs.flat_map(|sseq| {
                [true, false].map(|only_on_request| Negotiation {
                    hmac,
                    sseq,
                    only_on_request,
                    ..Negotiation::default()
                })
            }));
        }
    }
    policies
}

/// What the initiator and the responder sent in the recorded keyings of players, or of others with
/// players. A player does not answer what it does not accept; whether it accepted an answer shows
/// in the packets of both ends.
fn recorded_terms(by_players: bool) -> BTreeSet<(Terms, Terms)> {
    let recording = Recording::open("flash-hmac-matrix");
    let mut pending = Vec::new();
    let (mut keyed, mut present) = (Vec::new(), BTreeSet::new());
    for line in &recording.lines {
        for chunk in line.chunks() {
            match chunk {
                Chunk::InitiatorKeying(k) => pending.push((
                    (line.source, k.session_id),
                    Terms::of(k.component),
                    is_player(k.certificate) == by_players,
                )),
                Chunk::ResponderKeying(k) => {
                    let Some((session, id)) = line.keyed else { continue };
                    let asked =
                        |p: &&((SocketAddr, u32), Terms, bool)| p.0 == (line.destination, id);
                    let (_, offer, wanted) = pending.iter().rev().find(asked).unwrap();
                    if *wanted {
                        keyed.push((session, *offer, Terms::of(k.component)));
                    }
                }
                _ => {}
            }
        }
        match line.sender {
            Sender::Initiator(session) => drop(present.insert((session, true))),
            Sender::Responder(session) => drop(present.insert((session, false))),
            Sender::Startup => {}
        }
    }
    let works = |session| {
        !by_players || [true, false].map(|end| present.contains(&(session, end))) == [true; 2]
    };
    keyed.into_iter().filter(|(session, ..)| works(*session)).map(|(_, a, b)| (a, b)).collect()
}

fn is_player(certificate: &[u8]) -> bool {
    certificate.starts_with(&[0x81, 0x02, 0x1d, 0x02])
}

/// What our responder answers to a player, for every policy: the session works, and the default is
/// an answer that was recorded and accepted.
#[test]
fn whatever_our_servers_policy_a_player_understands_its_answers() {
    let accepted: BTreeSet<Terms> =
        recorded_terms(true).into_iter().map(|(_, answer)| answer).collect();
    assert!(accepted.len() >= 18, "{}", accepted.len());
    let recording = Recording::open("flash-hmac-matrix");
    let mut calls = players(&recording).into_values().next().unwrap();
    calls.truncate(1);
    let (mut judge, mut answers) = (Judge::default(), BTreeSet::new());
    for (seed, policy) in policies().into_iter().enumerate() {
        let is_default = policy == Negotiation::default();
        let mut world = World::with_negotiation(seed as u64, calls.clone(), policy);
        judge.add(world.run());
        let terms = world.network[world.player()].player().terms[0];
        answers.insert(terms);
        assert!(!is_default || accepted.contains(&terms), "{terms:x?}");
    }
    let known = answers.intersection(&accepted).count();
    println!("{} answers, {known} of them recorded, of {}", answers.len(), accepted.len());
    assert!(known >= 12, "{known}");
    judge.verdict(
        "answers of our responder",
        &["the HMAC answer has never SOR without SND, and a length of 4 to 32 if and only if SND"],
    );
}

/// What our initiator offers, for every policy, to a player that answers by the recorded table.
#[test]
fn whatever_our_peers_policy_it_can_talk_with_a_player() {
    let recorded = recorded_terms(false);
    assert!(recorded.len() >= 24, "{}", recorded.len());
    for (offer, theirs) in &recorded {
        let rule = answer(offer);
        let expected = |request: bool, requested: u8| {
            u8::from(request) | if requested & Terms::REQUEST != 0 { Terms::SEND } else { 0 }
        };
        assert_eq!(theirs.hmac, expected(rule.hmac.request, offer.hmac), "{offer:x?}");
        assert_eq!(theirs.sseq, expected(rule.sseq.request, offer.sseq), "{offer:x?}");
    }
    let offers: BTreeSet<Terms> = recorded.into_iter().map(|(offer, _)| offer).collect();
    let mut judge = Judge::default();
    for (seed, policy) in policies().into_iter().enumerate() {
        let is_default = policy == Negotiation::default();
        let mut pair = Pair::new(seed as u64, policy);
        pair.open(PLAYER);
        judge.add(pair.talk());
        let terms = pair.network[pair.player].player().terms[0];
        assert!(!is_default || offers.contains(&terms), "{terms:x?} {offers:x?}");
    }
    judge.verdict("offers of our initiator", &["packets are verified as was agreed"]);
}

/// The player comes again with the same certificate from another address: the old session ends.
#[test]
fn a_second_session_with_the_same_certificate_overrides_the_first() {
    let recording = Recording::open("flash-nc-stream");
    let calls = players(&recording).into_values().next().unwrap();
    let short = |call: &Call| {
        let mut call = call.clone();
        let script = &mut call.keying.as_mut().unwrap().script;
        script.moves.retain(|step| !matches!(step.what, What::CloseAck | What::Close));
        call
    };
    let mut world = World::new(7, calls.iter().map(short).collect());
    world.run().verdict("the first session", &[]);
    assert_eq!(world.connected_to_servers(), 1);
    let second = world.add_twin("127.0.0.2:4000");
    let done = world.network.run_until(|network| network[second].player().is_done());
    assert!(done);
    world.network.run_for(Duration::from_secs(1));
    let now = world.network.now();
    let twin = world.network[second].player_mut();
    twin.finish(now);
    std::mem::take(&mut twin.judge).verdict("the second session", &[]);
    assert!(twin.sessions[0].is_open());
    let first = &world.network[world.player()].player().sessions[0];
    assert!(matches!(first.state, State::Closed(_)), "{:?}", first.state);
    let clients: usize =
        world.servers.values().map(|&id| world.network[id].server().stats().clients).sum();
    assert_eq!(clients, 1);
}
