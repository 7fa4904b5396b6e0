//! Our server and our peer against the recorded Flash Player 10.3: what the player sent in the
//! `flash-*` captures is sent again, under new keys, and everything that ours answer is judged by
//! the rules that the player was observed to follow and to demand (`protocol-notes/`).
//!
//! | file | what |
//! | --- | --- |
//! | `capture.rs` | what the player sent, from a capture |
//! | `player.rs`, `player/` | the player as a machine of the simulator: startup at either end |
//! | `session.rs`, `session/`, `flows.rs` | a session under new keys: saying, taking, judging |
//! | `client.rs`, `member.rs` | what it waits for, and the rules of servers and neighbors |
//! | `rules.rs` | the rules, counted |
//! | `world.rs` | our machines where the recorded far ends were |
//! | `startup.rs` | startup and negotiation in all forms |
mod capture;
mod client;
mod flows;
mod member;
mod player;
mod rules;
mod session;
mod startup;
mod world;

use capture::{Move, Recording, What};
use player::Calling;
use rtmfp::proto::crypto::DhGroup;
use rtmfp::proto::group::message::ReplicationMessage;
use rules::Judge;
use session::With;
use world::{Setup, World, object, players};

/// Every player of a capture, each in a world of its own. `edit` may change its calls.
fn replay_with(name: &'static str, edit: impl Fn(&mut [Calling])) -> (Judge, Vec<World>) {
    let recording = Recording::open(name);
    let (mut judge, mut worlds) = (Judge::default(), Vec::new());
    for (number, (address, calls)) in players(&recording).into_iter().enumerate() {
        if !calls.iter().any(|call| call.keying.is_some()) {
            continue;
        }
        let mut world = World::new(number as u64, calls);
        let player = world.player();
        edit(&mut world.network[player].player_mut().calls);
        let mut seen = world.run();
        seen.violations.iter_mut().for_each(|text| *text = format!("{address}: {text}"));
        judge.add(seen);
        worlds.push(world);
    }
    goodbyes_are_understood(&worlds);
    (judge, worlds)
}

fn replay(name: &'static str) -> (Judge, Vec<World>) {
    replay_with(name, |_| {})
}

/// A session that was closed is gone and any other is open, at our servers and our peers.
fn goodbyes_are_understood(worlds: &[World]) {
    for world in worlds {
        let clients: usize =
            world.servers.values().map(|&id| world.network[id].server().stats().clients).sum();
        assert_eq!(clients, world.connected_to_servers() + world.peers.len());
        for (address, &id) in &world.peers {
            let player = world.network[world.player()].player().fingerprint();
            let endpoint = world.network[id].peer().node.endpoint();
            let sessions = endpoint.sessions().filter(|(_, info)| info.far() == player).count();
            assert_eq!(sessions, world.open_with_peer(*address), "at {address}");
        }
    }
}

const SERVER_RULES: [&str; 7] = [
    "the answer to connect comes on a flow TC 04 00 associated with the player's control flow",
    "connect is answered first, by _result 1 in type 14 or 11",
    "objectEncoding in the result of connect equals the client's",
    "set keepalive comes right after _result, with periods of five seconds or more",
    "a responder keying has the initiator's session ID",
    "the certificate takes ancillary data (0A) if a URL was asked for, and has keys in group 2",
    "session packets have the mode of the sender's role",
];

const NEIGHBOR_RULES: [&str; 8] = [
    "a GC flow brings 0B and a fingerprint only",
    "a redirect has the tag of the hello, and addresses",
    "a hello of 137 bytes with the right proof comes first",
    "02 comes once, after the player's hello and before the mode",
    "0E or 0F comes after 02",
    "a report that asks is answered at once",
    "a report that nobody asked for is the first one",
    "GR 1C is associated with nothing, others with the player's; no other options",
];

#[test]
fn connect_calls_and_streams_at_our_server() {
    let (judge, worlds) = replay("flash-nc-stream");
    assert_eq!((worlds.len(), judge.count("connect")), (18, 18));
    assert!(judge.count("other commands") >= 20 && judge.count("setPeerInfo") >= 3);
    judge.verdict("flash-nc-stream", &SERVER_RULES);
    let rules = [
        "every answer belongs to a call and is the only one",
        "a stream begins on a flow of its own",
        "of data, a player who waits for a stream gets |RtmpSampleAccess only",
    ];
    judge.verdict("flash-nc-stream", &rules);
    // The flow of a NetStream that the player closes is finished before the player rejects it.
    assert_eq!(judge.count("exceptions"), 0);
    assert!(judge.left_out["exceptions repeated for want of an end of the flow"] > 0);
}

#[test]
fn pings_and_closes_at_our_server() {
    let (judge, _) = replay("flash-keepalive-close");
    assert!(judge.count("pings") >= 250 && judge.count("closes by a single 4C") >= 4);
    assert!(judge.count("closes by 0C") >= 5 && judge.count("setPeerInfo") >= 17);
    judge.verdict("flash-keepalive-close", &SERVER_RULES);
    let rules = [
        "a ping is answered at once with the same bytes",
        "a close request is confirmed at once",
        "no ping is left without answer",
    ];
    judge.verdict("flash-keepalive-close", &rules);
}

#[test]
fn every_start_at_our_server() {
    let (judge, worlds) = replay("flash-startup");
    assert!(worlds.len() >= 18 && judge.count("connect") >= 16, "{}", worlds.len());
    judge.verdict("flash-startup", &SERVER_RULES);
}

#[test]
fn every_recorded_session_with_a_server() {
    for name in ["flash-hmac-matrix", "flash-loss-window", "flash-tc2"] {
        let (judge, _) = replay(name);
        assert!(judge.count("sessions") > 0, "{name}");
        judge.verdict(name, &SERVER_RULES);
    }
}

/// The player as holder and as fetcher. The fetcher asks for one thing more, which our peer does not
/// have, and our peer comes by another object while it serves.
#[test]
fn a_group_with_our_peer() {
    let (judge, worlds) = replay_with("flash-group-full", |calls| ask_for_more(calls, 99));
    assert!(judge.count("object replication") >= 14 && judge.count("posting") >= 12);
    assert!(judge.count("routing") >= 4 && judge.count("hello") == 2);
    judge.verdict("flash-group-full", &SERVER_RULES);
    judge.verdict("flash-group-full", &NEIGHBOR_RULES);
    let rules = [
        "the complete set comes first, with its last zero",
        "a change is one range without a last zero",
        "requests are made while unchoked, for what the player has, once",
        "objects and refusals answer requests",
        "an object is one that was announced",
        "interest is announced when it changes",
        "choking is announced when it changes",
    ];
    judge.verdict("flash-group-full", &rules);

    let (mut given, mut taken) = (0, 0);
    for world in &worlds {
        let player = world.network[world.player()].player();
        for session in &player.sessions {
            let With::Peer(member) = &session.with else { continue };
            given += member.trade.objects.len();
            for (index, value) in &member.trade.objects {
                assert_eq!(*value, object(*index));
            }
            if !member.trade.objects.is_empty() {
                assert_eq!((&member.trade.denied[..], member.trade.deltas), (&[99][..], 1));
            }
        }
        for peer in world.peers.values().map(|&id| world.network[id].peer()) {
            taken += peer.objects.len();
            // What the player sent is what our AMF writes for the same text.
            peer.objects.iter().for_each(|(&index, value)| assert_eq!(*value, object(index)));
            assert!(peer.events.contains(&"NetGroup.Neighbor.Connect"));
        }
    }
    assert_eq!((given, taken), (3, 3));
}

/// Appends a request to those that the player makes.
fn ask_for_more(calls: &mut [Calling], index: u64) {
    for keying in calls.iter_mut().filter_map(|calling| calling.call.keying.as_mut()) {
        let requests = |step: &Move| matches!(&step.what, What::Data(f) if f.data.len() == 2 && f.data[0] == 0x1a);
        let moves = &mut keying.script.moves;
        if let Some(at) = moves.iter().rposition(requests) {
            let mut more = moves[at].clone();
            let What::Data(fragment) = &mut more.what else { continue };
            (fragment.sequence, fragment.next) = (u64::MAX, true);
            fragment.data = ReplicationMessage::Request(index).to_bytes().to_vec();
            moves.insert(at + 1, more);
        }
    }
}

/// Three players that post; they leave and come again in the same session.
#[test]
fn posting_at_our_peer() {
    let (judge, _) = replay("flash-group-post");
    assert!(judge.count("posting") >= 45 && judge.count("hello") >= 8);
    judge.verdict("flash-group-post", &SERVER_RULES);
    judge.verdict("flash-group-post", &NEIGHBOR_RULES);
}

/// The player wants to play from our peer, which rejects the flow; the session is none the worse.
#[test]
fn a_stream_that_our_peer_does_not_publish() {
    let (judge, _) = replay("flash-p2p-direct");
    assert_eq!(judge.count("stream messages"), judge.count("flows finished for being rejected"));
    assert!(judge.count("stream messages") >= 4);
    judge.verdict("flash-p2p-direct", &SERVER_RULES);
    let rules = ["whoever was called is reached, and nobody else answers"];
    judge.verdict("flash-p2p-direct", &rules);
}

/// The judge sees what is wrong: servers that break the rules.
#[test]
fn servers_that_break_the_rules_are_caught() {
    let recording = Recording::open("flash-nc-stream");
    let calls = players(&recording).into_values().next().unwrap();
    let violations = |setup: &Setup| World::with_setup(1, calls.clone(), setup).run().violations;
    assert!(violations(&Setup::default()).is_empty());

    let mut mute = Setup::default();
    mute.server.keepalive = None;
    let seen = violations(&mute);
    assert!(seen.iter().any(|text| text.contains("received keepalive periods")), "{seen:?}");

    let mut foreign = Setup::default();
    foreign.identity.groups = vec![DhGroup::Modp14];
    let seen = violations(&foreign);
    assert!(seen.iter().any(|text| text.contains("has keys in group 2")), "{seen:?}");

    let mut closed = Setup::default();
    closed.identity.accepts_ancillary = false;
    let seen = violations(&closed);
    assert!(seen.iter().any(|text| text.contains("whoever was called is reached")), "{seen:?}");

    let mut large = Setup::default();
    large.server.transport.max_datagram = 150;
    assert!(violations(&large).is_empty(), "smaller datagrams are fine");
}
