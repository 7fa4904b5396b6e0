//! One server with several workers, each of which has some of the clients: what clients see is what a
//! lone server would do.

use crate::support::meeting::{Host, Lazy, Meeting, SERVER, spec};
use crate::support::{for_seeds, millis, quick, secs};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::{Epd, Fingerprint, Identity, IdentityConfig, KeyStyle};
use rtmfp::proto::flash::ObjectEncoding;
use rtmfp::proto::rendezvous::{RendezvousConfig, RendezvousEvent};
use rtmfp::proto::sim::{Link, NodeId};
use rtmfp::proto::transport::Endpoint;
use std::collections::BTreeSet;

fn meeting(seed: u64, workers: usize) -> Meeting {
    Meeting::with_workers(seed, Link::lan(), RendezvousConfig::default(), workers)
}

fn peer(meeting: &Meeting, client: NodeId) -> Fingerprint {
    match &meeting.network[client] {
        Host::Lazy(lazy) => lazy.endpoint.fingerprint(),
        Host::Member(member) => member.node.endpoint().fingerprint(),
        _ => panic!("no client"),
    }
}

/// The number of the worker that gets what comes from a client.
fn worker(meeting: &Meeting, client: NodeId) -> usize {
    meeting.network[meeting.server].crew().worker_of(meeting.network.address(client))
}

fn introduced(meeting: &Meeting, client: NodeId) -> Vec<Fingerprint> {
    meeting.network[client].lazy().introduced.iter().map(|&(_, peer)| peer).collect()
}

fn identity(meeting: &mut Meeting, keys: KeyStyle) -> Identity {
    let mut config = IdentityConfig::default();
    config.keys = keys;
    config.groups = quick().negotiation.groups;
    Identity::generate(&config, &mut meeting.network.random())
}

/// A client of this identity at this address.
fn client_at(meeting: &mut Meeting, identity: Identity, address: &str) -> NodeId {
    let random = Box::new(meeting.network.random());
    let endpoint = Endpoint::new(quick(), identity.into(), random);
    let mut lazy = Lazy::new(endpoint, ObjectEncoding::Amf3, false);
    lazy.connect(meeting.network.now(), SERVER.parse().unwrap());
    meeting.network.add(address, Host::Lazy(Box::new(lazy)))
}

#[test]
fn clients_of_two_workers_are_introduced() {
    for_seeds(4, |seed| {
        let mut meeting = meeting(seed, 3);
        let a = meeting.add_client(ObjectEncoding::Amf3, false);
        let b = meeting.add_client(ObjectEncoding::Amf3, false);
        meeting.network.run_for(secs(2));
        assert_ne!(worker(&meeting, a), worker(&meeting, b));
        let (peer_a, peer_b) = (peer(&meeting, a), peer(&meeting, b));
        meeting.network.act(a, |host, now| {
            let epd = Epd::for_fingerprint(peer_b);
            host.lazy_mut().endpoint.open(now, epd, &[SERVER.parse().unwrap()]);
        });
        meeting.network.run_for(secs(2));
        assert!(meeting.network[a].lazy().endpoint.session_with(peer_b).is_some());
        assert!(meeting.network[b].lazy().endpoint.session_with(peer_a).is_some());
        let stats = meeting.network[meeting.server].crew().stats();
        assert_eq!((stats.clients, stats.introductions, stats.forwarded), (2, 1, 1));
        assert_eq!((stats.unknown_peers, stats.commands_lost), (0, 0));
        let events = &meeting.network[meeting.server].crew().events;
        let found = |event: &&RendezvousEvent| matches!(event, RendezvousEvent::Introduced { to, .. } if *to == peer_b);
        assert_eq!(events.iter().filter(found).count(), 1);
        // A peer that nobody has.
        meeting.network.act(a, |host, now| {
            let epd = Epd::for_fingerprint(Fingerprint([7; 32]));
            host.lazy_mut().endpoint.open(now, epd, &[SERVER.parse().unwrap()]);
        });
        meeting.network.run_for(millis(500));
        assert_eq!(meeting.network[meeting.server].crew().stats().unknown_peers, 1);
    });
}

#[test]
fn members_at_every_worker_meet_each_other() {
    for_seeds(3, |seed| {
        let mut meeting = meeting(seed, 4);
        let members: Vec<NodeId> = (0..9)
            .map(|_| {
                let member = meeting.add_member();
                meeting.network.run_for(millis(700));
                member
            })
            .collect();
        meeting.network.run_for(secs(20));
        let workers: BTreeSet<usize> = members.iter().map(|&it| worker(&meeting, it)).collect();
        assert_eq!(workers.len(), 4);
        for &member in &members {
            assert!(meeting.network[member].member().neighbors >= 3);
        }
        let crew = meeting.network[meeting.server].crew();
        assert_eq!((crew.stats().clients, crew.stats().groups), (9, 1));
        let counts = crew.events.iter().filter_map(|event| match event {
            RendezvousEvent::Joined { members, .. } => Some(*members),
            _ => None,
        });
        assert_eq!(counts.max(), Some(9));
    });
}

/// As by a lone server: half of them the newest of all, the others from all over the group.
#[test]
fn a_newcomer_gets_the_newest_of_all_workers_and_others() {
    for_seeds(3, |seed| {
        let mut meeting = meeting(seed, 4);
        let mut members = Vec::new();
        for _ in 0..40 {
            members.push(meeting.add_lazy());
            meeting.network.run_for(millis(100));
        }
        let newcomer = meeting.add_lazy();
        meeting.network.run_for(millis(400));
        let met = introduced(&meeting, newcomer);
        assert_eq!(met.len(), 12, "{met:?}");
        assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), 12, "each once");
        let newest = members[34..].iter().rev().map(|&it| peer(&meeting, it));
        assert!(newest.eq(met[..6].iter().copied()), "the newest first");
        let of = |it: &Fingerprint| members.iter().position(|&m| peer(&meeting, m) == *it).unwrap();
        let others: Vec<usize> = met[6..].iter().map(of).collect();
        assert!(others.iter().any(|&it| it < 20), "from all over the group: {others:?}");
    });
}

/// Members at every worker lose their power. A newcomer that was introduced to them is introduced to
/// others, until it has met those that are there.
#[test]
fn members_that_are_gone_are_replaced() {
    for_seeds(4, |seed| {
        let mut meeting = meeting(seed, 4);
        let mut members = Vec::new();
        for _ in 0..14 {
            members.push(meeting.add_lazy());
            meeting.network.run_for(millis(300));
        }
        meeting.network.run_for(secs(3));
        let gone: BTreeSet<Fingerprint> =
            members[8..].iter().map(|&it| peer(&meeting, it)).collect();
        let left: BTreeSet<Fingerprint> =
            members[..8].iter().map(|&it| peer(&meeting, it)).collect();
        for &member in &members[8..] {
            meeting.network.remove(member);
        }
        let newcomer = meeting.add_lazy();
        meeting.network.run_for(millis(500));
        let at_once: BTreeSet<_> = introduced(&meeting, newcomer).into_iter().collect();
        assert!(at_once.is_superset(&gone), "they are the newest, and nobody knows yet");
        meeting.network.run_for(secs(8));
        let met: BTreeSet<_> = introduced(&meeting, newcomer).into_iter().collect();
        assert!(met.is_superset(&left), "{} of {} in the end", met.len(), left.len());
        // When the server has noticed it, the group is as large as it is.
        meeting.network.run_for(secs(60));
        let one_more = meeting.add_lazy();
        meeting.network.run_for(secs(1));
        let crew = meeting.network[meeting.server].crew();
        let last = crew.events.iter().rev().find_map(|event| match event {
            RendezvousEvent::Joined { peer, members, .. } => Some((*peer, *members)),
            _ => None,
        });
        let spread = crew.workers.iter().map(|worker| worker.members(spec().group_id()).len());
        assert_eq!(spread.sum::<usize>(), 10);
        assert_eq!(last.unwrap().0, peer(&meeting, one_more));
        assert!((7..=10).contains(&last.unwrap().1), "{last:?}");
    });
}

#[test]
fn a_call_for_a_client_of_another_worker_is_relayed() {
    for_seeds(3, |seed| {
        let mut meeting = meeting(seed, 3);
        let a = meeting.add_client(ObjectEncoding::Amf0, false);
        let b = meeting.add_client(ObjectEncoding::Amf3, false);
        meeting.network.run_for(secs(1));
        assert_ne!(worker(&meeting, a), worker(&meeting, b));
        let name = |peer: Fingerprint| Value::from(peer.to_string().as_str());
        let details = Value::object([("name", Value::from("Ann"))]);
        let args = vec![name(peer(&meeting, b)), Value::from("invite"), details.clone()];
        let stranger = vec![name(Fingerprint([9; 32])), Value::Null];
        let long = vec![name(peer(&meeting, b)), Value::from("x".repeat(9000).as_str())];
        let call = |meeting: &mut Meeting, args| {
            meeting.network.act(a, |host, now| host.lazy_mut().call(now, "relay", args))
        };
        let calls = [args, stranger, long].map(|args| call(&mut meeting, args));
        meeting.network.run_for(millis(200));
        let expected = vec![name(peer(&meeting, a)), Value::from("invite"), details];
        let called = meeting.network[b].lazy().called();
        assert_eq!(called, [("onRelay".to_owned(), expected)]);
        let outcome = |meeting: &Meeting, call: usize| {
            meeting.network[a].lazy().outcome(calls[call]).map(Result::is_ok)
        };
        let outcomes = [0, 1, 2].map(|call| outcome(&meeting, call));
        assert_eq!(outcomes, [Some(true), None, Some(false)]);
        meeting.network.run_for(secs(1));
        assert_eq!(outcome(&meeting, 1), Some(false), "nobody has that peer");
        let stats = meeting.network[meeting.server].crew().stats();
        assert_eq!((stats.relayed, stats.relays_refused), (1, 2));
    });
}

#[test]
fn a_certificate_has_one_session_at_all_workers() {
    for_seeds(4, |seed| {
        let mut meeting = meeting(seed, 4);
        for (keys, address, falls) in [
            (KeyStyle::Static, "10.0.7.2:1001", true),
            (KeyStyle::Ephemeral, "10.0.7.1:1001", true),
            // Nobody has proved that it is the same peer.
            (KeyStyle::Ephemeral, "10.0.7.2:1001", false),
        ] {
            let identity = identity(&mut meeting, keys);
            let again = Identity::restore(&identity.save()).unwrap();
            let older = client_at(&mut meeting, identity, "10.0.7.1:1000");
            meeting.network.run_for(secs(1));
            let newer = client_at(&mut meeting, again, address);
            meeting.network.run_for(secs(1));
            assert_ne!(worker(&meeting, older), worker(&meeting, newer));
            assert_eq!(meeting.network[older].lazy().closed, falls, "{keys:?} {address}");
            assert!(!meeting.network[newer].lazy().closed);
            let sessions =
                meeting.network[meeting.server].crew().sessions_with(peer(&meeting, newer)).len();
            assert_eq!(sessions, if falls { 1 } else { 2 });
            for client in [older, newer] {
                meeting.network.remove(client);
            }
        }
    });
}

/// Both open a session in the same moment: one of them stays.
#[test]
fn of_two_sessions_at_once_one_stays() {
    for_seeds(8, |seed| {
        let mut meeting = meeting(seed, 2);
        let identity = identity(&mut meeting, KeyStyle::Static);
        let again = Identity::restore(&identity.save()).unwrap();
        let a = client_at(&mut meeting, identity, "10.0.7.1:1000");
        let b = client_at(&mut meeting, again, "10.0.7.2:1000");
        meeting.network.run_for(secs(2));
        let closed = [a, b].map(|it| meeting.network[it].lazy().closed);
        assert_eq!(closed.iter().filter(|closed| **closed).count(), 1, "{closed:?}");
        let crew = meeting.network[meeting.server].crew();
        assert_eq!(crew.sessions_with(peer(&meeting, a)).len(), 1);
    });
}

#[test]
fn a_client_that_moves_keeps_its_session() {
    for_seeds(4, |seed| {
        let mut meeting = meeting(seed, 3);
        let (a, b) = (
            meeting.add_client(ObjectEncoding::Amf3, false),
            meeting.add_client(ObjectEncoding::Amf3, false),
        );
        meeting.network.run_for(secs(2));
        let before = worker(&meeting, a);
        meeting.network.relocate(a, "10.0.9.9:5001");
        assert_ne!(worker(&meeting, a), before);
        let to = Value::from(peer(&meeting, b).to_string().as_str());
        for number in 0..20 {
            let args = vec![to.clone(), Value::from(f64::from(number))];
            meeting.network.act(a, |host, now| host.lazy_mut().notify(now, "relay", args));
            meeting.network.run_for(secs(5));
        }
        assert_eq!(meeting.network[b].lazy().called().len(), 20);
        assert!(!meeting.network[a].lazy().closed);
        let crew = meeting.network[meeting.server].crew();
        let sessions = crew.sessions_with(peer(&meeting, a));
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].0, before, "at its worker");
        assert_eq!(sessions[0].1.path().remote, meeting.network.address(a));
        assert!(crew.strays > 20, "by way of another: {}", crew.strays);
        assert_eq!((crew.stats().clients, crew.stats().connected), (2, 2));
    });
}

#[test]
fn a_worker_that_lags_blocks_nobody_else() {
    for_seeds(3, |seed| {
        let mut meeting = meeting(seed, 3);
        meeting.network[meeting.server].crew_mut().lags[2] = secs(30);
        let clients: Vec<NodeId> = (0..6)
            .map(|_| {
                let client = meeting.add_lazy();
                meeting.network.run_for(millis(300));
                client
            })
            .collect();
        let fast: Vec<NodeId> =
            clients.iter().copied().filter(|&it| worker(&meeting, it) != 2).collect();
        assert_eq!(fast.len(), 4);
        let last = *fast.last().unwrap();
        let met = introduced(&meeting, last);
        for &other in &fast[..3] {
            assert!(met.contains(&peer(&meeting, other)), "introduced within 300 ms");
            let endpoint = &meeting.network[other].lazy().endpoint;
            assert!(endpoint.session_with(peer(&meeting, last)).is_some());
        }
        let slow = *clients.iter().find(|&&it| worker(&meeting, it) == 2).unwrap();
        let args = vec![Value::from(peer(&meeting, slow).to_string().as_str())];
        let call = meeting.network.act(last, |host, now| host.lazy_mut().call(now, "relay", args));
        meeting.network.run_for(millis(1100));
        assert!(matches!(meeting.network[last].lazy().outcome(call), Some(Err(_))));
    });
}

#[test]
fn hostile_host_has_its_sessions_at_all_workers_together() {
    for_seeds(2, |seed| {
        let mut config = RendezvousConfig::default();
        config.transport.max_sessions_per_ip = 5;
        let mut meeting = Meeting::with_workers(seed, Link::lan(), config, 4);
        for port in 1000..1012 {
            let identity = identity(&mut meeting, KeyStyle::Ephemeral);
            client_at(&mut meeting, identity, &format!("10.0.8.8:{port}"));
            meeting.network.run_for(millis(200));
        }
        let identity = identity(&mut meeting, KeyStyle::Ephemeral);
        let other = client_at(&mut meeting, identity, "10.0.8.9:1000");
        meeting.network.run_for(secs(3));
        let crew = meeting.network[meeting.server].crew();
        let sessions = crew.workers.iter().flat_map(|worker| worker.endpoint().sessions());
        let ips: Vec<_> = sessions.map(|(_, session)| session.path().remote.ip()).collect();
        let of_host = ips.iter().filter(|ip| ip.to_string() == "10.0.8.8").count();
        assert_eq!((of_host, ips.len()), (5, 6));
        assert_eq!(crew.sessions_with(peer(&meeting, other)).len(), 1);
    });
}
