//! A server dies without a word and is back soon after: its clients notice and come again.

use crate::support::meeting::{Host, Meeting, SERVER};
use crate::support::{for_seeds, millis, secs};
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::sim::{Link, Network, NodeId};
use std::time::Duration;

fn neighbors(network: &Network<Host>, id: NodeId) -> usize {
    let member = network[id].member();
    member.node.group(member.group).unwrap().neighbors().len()
}

fn run_until(meeting: &mut Meeting, wanted: impl Fn(&Network<Host>) -> bool) -> Duration {
    let start = meeting.network.now();
    assert!(meeting.network.run_until(wanted));
    meeting.network.now() - start
}

#[test]
fn a_newcomer_meets_the_members_within_seconds() {
    for_seeds(20, |seed| {
        let (link, patience) = match seed % 2 {
            0 => (Link::lan().with_delay(millis(20)), secs(8)),
            _ => (Link::bad(), secs(12)),
        };
        let mut meeting = Meeting::new(seed, link);
        let old = [meeting.add_member(), meeting.add_member()];
        run_until(&mut meeting, |n| old.iter().all(|&id| neighbors(n, id) == 1));
        meeting.network.run_for(millis(1000 + 531 * seed));
        meeting.restart_server(millis(500));
        let newcomer = meeting.add_member();
        let took = run_until(&mut meeting, |n| neighbors(n, newcomer) > 0);
        assert!(took <= patience, "{took:?}");
        // And everybody is together again.
        run_until(&mut meeting, |n| {
            [old[0], old[1], newcomer].iter().all(|&id| neighbors(n, id) == 2)
        });
        let server = meeting.server;
        assert_eq!(meeting.network[server].server().stats().clients, 3);
        for id in old {
            assert_eq!(meeting.network[id].member().disconnected, 1);
        }
    });
}

/// A provider that brings its own server is restarted, and is there first. The others are
/// introduced to somebody with whom they have a session, as far as they know.
#[test]
fn a_member_that_is_restarted_with_the_server_is_met_again_within_seconds() {
    for_seeds(20, |seed| {
        let (link, patience) = match seed % 2 {
            0 => (Link::lan().with_delay(millis(20)), secs(12)),
            _ => (Link::bad(), secs(20)),
        };
        let mut meeting = Meeting::new(seed, link);
        let (provider, other) = (meeting.add_member(), meeting.add_member());
        run_until(&mut meeting, |n| neighbors(n, other) == 1);
        meeting.network.run_for(millis(1000 + 531 * seed));
        let provider = meeting.restart_with_server(provider, millis(500));
        let took = run_until(&mut meeting, |n| neighbors(n, provider) == 1);
        assert!(took <= patience, "{took:?}");
        assert_eq!(neighbors(&meeting.network, other), 1);
    });
}

/// Without a server there is nothing to notice but silence, and whoever is silent is not at once
/// taken for dead. When the server is back, clients are back within seconds.
#[test]
fn a_server_that_takes_longer_is_found_again() {
    for_seeds(5, |seed| {
        let mut meeting = Meeting::new(seed, Link::lan().with_delay(millis(20)));
        let member = meeting.add_member();
        meeting.network.run_for(secs(10));
        meeting.restart_server(secs(40));
        let server = meeting.server;
        let took = run_until(&mut meeting, |n| n[server].server().stats().clients == 1);
        assert!(took <= secs(9), "{took:?}");
        assert_eq!(meeting.network[member].member().disconnected, 1);
    });
}

/// Losses alone do not end a session, nor does an outage.
#[test]
fn a_living_server_is_not_taken_for_a_restarted_one() {
    for_seeds(5, |seed| {
        let mut meeting = Meeting::new(seed, Link::lan().with_delay(millis(50)).with_loss(0.1));
        let member = meeting.add_member();
        meeting.network.run_for(secs(2000));
        for outage in [2, 10, 20] {
            meeting.network.set_default_link(Link::cut());
            meeting.network.run_for(secs(outage));
            meeting.network.set_default_link(Link::lan().with_delay(millis(50)));
            meeting.network.run_for(secs(60));
        }
        assert_eq!(meeting.network[member].member().disconnected, 0);
    });
}

/// Somebody who does not see the packets of the client forges answers to hellos, from the server's
/// address, while the path to the server is cut. The session outlives it.
#[test]
fn hostile_answers_to_hellos_do_not_end_a_session() {
    let mut meeting = Meeting::new(1, Link::lan());
    let member = meeting.add_member();
    meeting.network.run_for(secs(10));
    let (server, to) = (SERVER.parse().unwrap(), meeting.network.address(member));
    let rendezvous = meeting.server;
    meeting.network.set_link(member, rendezvous, Link::cut());
    let certificate = {
        let server = meeting.network[meeting.server].server();
        server.endpoint().identity().certificate().as_bytes().to_vec()
    };
    for round in 0..300u32 {
        for guess in 0..10u32 {
            let mut tag = [0; 16];
            tag[..4].copy_from_slice(&(round * 10 + guess).to_be_bytes());
            let hello = rtmfp::wire::chunk::ResponderHello {
                tag_echo: &tag,
                cookie: &[7; 64],
                certificate: &certificate,
            };
            let chunk = rtmfp::wire::Chunk::ResponderHello(hello);
            let datagram = crate::support::startup(0, &chunk);
            meeting.network.inject(server, to, datagram);
        }
        meeting.network.run_for(millis(50));
    }
    meeting.network.set_link(member, rendezvous, Link::lan());
    meeting.network.run_for(secs(30));
    assert_eq!(meeting.network[member].member().disconnected, 0);
}

/// What a client sends to a server that is down, and what an idle one sends to a living server.
#[test]
fn watching_costs_little() {
    let mut meeting = Meeting::new(1, Link::lan());
    let member = meeting.add_member();
    meeting.network.run_for(secs(10));
    let sent = |meeting: &mut Meeting, from: &str, time: Duration| {
        let from = from.parse().unwrap();
        meeting.network.tap();
        meeting.network.run_for(time);
        let tapped = meeting.network.take_tapped();
        let to_server = tapped.iter().filter(|t| t.from == from).map(|t| t.bytes.len());
        (to_server.clone().count(), to_server.sum::<usize>())
    };
    let idle = sent(&mut meeting, "10.0.1.1:1000", secs(100));
    assert!((20..=22).contains(&idle.0), "{idle:?}");
    meeting.network.remove(meeting.server);
    let down = sent(&mut meeting, "10.0.1.1:1000", secs(45));
    assert!(down.0 <= 45 && down.1 <= 45 * 100, "{down:?}");
    assert_eq!(meeting.network[member].member().disconnected, 0);
}

/// Few clients are advised of short periods, many of longer ones.
#[test]
fn the_advice_follows_the_number_of_clients() {
    let mut config = RendezvousConfig::default();
    config.pings_per_second = 1;
    let mut meeting = Meeting::with_config(1, Link::lan(), config);
    let members: Vec<NodeId> = (0..30)
        .map(|_| {
            let member = meeting.add_member();
            meeting.network.run_for(millis(200));
            member
        })
        .collect();
    meeting.network.run_for(secs(10));
    meeting.network.tap();
    meeting.network.run_for(secs(200));
    let tapped = meeting.network.take_tapped();
    let server = SERVER.parse().unwrap();
    // Hellos for members are longer than pings.
    const PING: usize = 40;
    let count = |id: NodeId| {
        let from = meeting.network.address(id);
        let sent = tapped.iter().filter(|t| t.from == from && t.to == server);
        sent.filter(|t| t.bytes.len() < PING).count()
    };
    let (first, tenth, last) = (count(members[0]), count(members[9]), count(members[29]));
    assert!((36..43).contains(&first), "{first}");
    assert!((18..24).contains(&tenth), "{tenth}");
    assert!((8..13).contains(&last), "{last}");
}
