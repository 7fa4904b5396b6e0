//! Servers on several machines, whose clocks differ and which lose a part of what they send each other:
//! clients of all of them meet.

use crate::support::meeting::{Meeting, SERVER, spec};
use crate::support::{for_seeds, millis, secs};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::{Epd, Fingerprint};
use rtmfp::proto::flash::ObjectEncoding;
use rtmfp::proto::rendezvous::RendezvousEvent;
use rtmfp::proto::sim::NodeId;
use std::collections::BTreeSet;

fn server_of(meeting: &Meeting, client: NodeId) -> usize {
    meeting.network[meeting.server].crew().worker_of(meeting.network.address(client))
}

fn peer(meeting: &Meeting, client: NodeId) -> Fingerprint {
    meeting.network[client].lazy().endpoint.fingerprint()
}

fn introduced(meeting: &Meeting, client: NodeId) -> Vec<Fingerprint> {
    meeting.network[client].lazy().introduced.iter().map(|&(_, peer)| peer).collect()
}

/// Members that join one after the other.
fn members(meeting: &mut Meeting, count: usize) -> Vec<NodeId> {
    let join = |_| {
        let member = meeting.add_lazy();
        meeting.network.run_for(millis(200));
        member
    };
    (0..count).map(join).collect()
}

/// The last number of members that an event has named.
fn counted(meeting: &Meeting) -> Option<usize> {
    let events = meeting.network[meeting.server].crew().events.iter().rev();
    events.into_iter().find_map(|event| match event {
        RendezvousEvent::Joined { members, .. } => Some(*members),
        _ => None,
    })
}

#[test]
fn a_client_is_introduced_to_a_client_of_another_server() {
    for_seeds(4, |seed| {
        let mut meeting = Meeting::with_servers(seed, 3, 0.2);
        let a = meeting.add_client(ObjectEncoding::Amf3, false);
        let b = meeting.add_client(ObjectEncoding::Amf3, false);
        meeting.network.run_for(secs(2));
        assert_ne!(server_of(&meeting, a), server_of(&meeting, b));
        let (peer_a, peer_b) = (peer(&meeting, a), peer(&meeting, b));
        meeting.network.act(a, |host, now| {
            let epd = Epd::for_fingerprint(peer_b);
            host.lazy_mut().endpoint.open(now, epd, &[SERVER.parse().unwrap()]);
        });
        // A hello whose command is lost is repeated.
        meeting.network.run_for(secs(20));
        assert!(meeting.network[a].lazy().endpoint.session_with(peer_b).is_some());
        assert!(meeting.network[b].lazy().endpoint.session_with(peer_a).is_some());
    });
}

/// The clocks differ by many days, and still the newest of all servers' members are found.
#[test]
fn a_newcomer_gets_the_newest_of_all_servers() {
    for_seeds(3, |seed| {
        let mut meeting = Meeting::with_servers(seed, 3, 0.0);
        let members = members(&mut meeting, 30);
        let newcomer = meeting.add_lazy();
        meeting.network.run_for(millis(400));
        let met = introduced(&meeting, newcomer);
        assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), 12, "{met:?}");
        let newest = members[24..].iter().rev().map(|&it| peer(&meeting, it));
        assert!(newest.eq(met[..6].iter().copied()), "the newest first");
        assert_eq!(counted(&meeting), Some(31));
    });
}

/// Members of groups find somebody although a third of the commands are lost.
#[test]
fn members_meet_although_commands_are_lost() {
    for_seeds(3, |seed| {
        let mut meeting = Meeting::with_servers(seed, 3, 0.3);
        let members = members(&mut meeting, 12);
        meeting.network.run_for(secs(10));
        for &member in &members[3..] {
            let own = server_of(&meeting, member);
            let met = introduced(&meeting, member);
            let of_others = members.iter().filter(|&&it| server_of(&meeting, it) != own);
            let of_others: Vec<_> = of_others.map(|&it| peer(&meeting, it)).collect();
            assert!(met.iter().any(|it| of_others.contains(it)), "{met:?}");
        }
    });
}

#[test]
fn a_dead_server_takes_its_clients_with_it() {
    for_seeds(3, |seed| {
        let mut meeting = Meeting::with_servers(seed, 3, 0.0);
        let members = members(&mut meeting, 9);
        let dead = server_of(&meeting, members[0]);
        let gone: BTreeSet<Fingerprint> = members
            .iter()
            .filter(|&&it| server_of(&meeting, it) == dead)
            .map(|&it| peer(&meeting, it))
            .collect();
        assert_eq!(gone.len(), 3);
        let now = meeting.network.now();
        meeting.network[meeting.server].crew_mut().kill(now, dead);
        let newcomer = meeting.add_lazy();
        meeting.network.run_for(millis(400));
        let met = introduced(&meeting, newcomer);
        assert_eq!(met.len(), 6);
        assert!(met.iter().all(|it| !gone.contains(it)));
        let one_more = meeting.add_lazy();
        meeting.network.run_for(millis(400));
        assert_eq!(introduced(&meeting, one_more).len(), 7);
        let crew = meeting.network[meeting.server].crew();
        let alive = (0..3).filter(|&server| server != dead);
        let alive = alive.map(|server| crew.workers[server].members(spec().group_id()).len());
        assert_eq!(alive.sum::<usize>(), 8);
        assert!(counted(&meeting).is_some_and(|members| members <= 8));
    });
}

/// Nobody is asked, and nothing waits for an answer.
#[test]
fn a_server_whose_others_are_dead_serves_alone() {
    for_seeds(2, |seed| {
        let mut meeting = Meeting::with_servers(seed, 2, 0.0);
        let now = meeting.network.now();
        meeting.network[meeting.server].crew_mut().kill(now, 1);
        let a = meeting.add_lazy();
        meeting.network.run_for(secs(1));
        let b = meeting.add_lazy();
        meeting.network.run_for(millis(200));
        assert_eq!(introduced(&meeting, b), [peer(&meeting, a)]);
        let args = vec![Value::from(Fingerprint([9; 32]).to_string().as_str())];
        let call = meeting.network.act(b, |host, now| host.lazy_mut().call(now, "relay", args));
        meeting.network.run_for(millis(100));
        assert!(matches!(meeting.network[b].lazy().outcome(call), Some(Err(_))));
    });
}

#[test]
fn a_call_reaches_a_client_of_another_server() {
    for_seeds(3, |seed| {
        let mut meeting = Meeting::with_servers(seed, 3, 0.0);
        let a = meeting.add_client(ObjectEncoding::Amf0, false);
        let b = meeting.add_client(ObjectEncoding::Amf3, false);
        meeting.network.run_for(secs(1));
        assert_ne!(server_of(&meeting, a), server_of(&meeting, b));
        let name = |peer: Fingerprint| Value::from(peer.to_string().as_str());
        let details = Value::object([("name", Value::from("Ann"))]);
        let args = vec![name(peer(&meeting, b)), details.clone()];
        let call = meeting.network.act(a, |host, now| host.lazy_mut().call(now, "relay", args));
        meeting.network.run_for(millis(200));
        let expected = vec![name(peer(&meeting, a)), details];
        assert_eq!(meeting.network[b].lazy().called(), [("onRelay".to_owned(), expected)]);
        assert!(matches!(meeting.network[a].lazy().outcome(call), Some(Ok(_))));
    });
}
