//! A new member meets the members that are there, whatever has become of the others.

use crate::support::meeting::{Host, Meeting};
use crate::support::{for_seeds, millis, secs};
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::sim::{Link, Network, NodeId};

/// One member that stays and 25 whose power fails at five seconds, in an order determined by the seed.
fn one_of_many(seed: u64, config: RendezvousConfig) -> (Meeting, NodeId) {
    let mut meeting = Meeting::with_config(seed, Link::lan().with_delay(millis(10)), config);
    let mut living = None;
    let mut others = Vec::new();
    for number in 0..26 {
        let member = meeting.add_member();
        match number == seed % 26 {
            true => living = Some(member),
            false => others.push(member),
        }
        meeting.network.run_for(millis(50));
    }
    meeting.network.run_for(millis(5000 - 26 * 50));
    for member in others {
        meeting.network.remove(member);
    }
    (meeting, living.unwrap())
}

fn run_to(meeting: &mut Meeting, seconds: u64) {
    let now = meeting.network.now().as_millis();
    meeting.network.run_for(millis(seconds * 1000 - now));
}

#[test]
fn a_newcomer_meets_the_one_that_is_left() {
    for_seeds(4, |seed| {
        let (mut meeting, living) = one_of_many(8 * seed, RendezvousConfig::default());
        run_to(&mut meeting, 40);
        let newcomer = meeting.add_member();
        meeting.network.run_for(secs(2));
        let newcomer = meeting.network[newcomer].member();
        let living = meeting.network[living].member().node.peer_id();
        let neighbors = newcomer.node.group(newcomer.group).unwrap().neighbors();
        assert!(neighbors.iter().any(|neighbor| neighbor.peer == living));
    });
}

#[test]
fn a_newcomer_that_tries_everybody_once_meets_the_one_that_is_left() {
    for_seeds(4, |seed| {
        let (mut meeting, living) = one_of_many(7 * seed + 1, RendezvousConfig::default());
        run_to(&mut meeting, 40);
        let newcomer = meeting.add_lazy();
        meeting.network.run_for(secs(2));
        let living = meeting.network[living].member().node.peer_id();
        let lazy = meeting.network[newcomer].lazy();
        assert!(lazy.endpoint.session_with(living).is_some());
        assert_eq!(lazy.introduced.len(), 1, "only the living are named");
    });
}

/// The others fall silent just before: nobody can know it yet, and all seem to be there.
#[test]
fn those_that_do_not_answer_are_replaced() {
    for_seeds(4, |seed| {
        let (mut meeting, living) = one_of_many(5 * seed, RendezvousConfig::default());
        run_to(&mut meeting, 8);
        let newcomer = meeting.add_lazy();
        meeting.network.run_for(secs(3));
        let living = meeting.network[living].member().node.peer_id();
        assert!(meeting.network[newcomer].lazy().endpoint.session_with(living).is_some());
    });
}

/// Two members that the newcomer cannot reach, though the server can: the second hello for them
/// shows it, and the newcomer is introduced to the third.
#[test]
fn a_member_that_is_asked_for_again_is_replaced() {
    for_seeds(5, |seed| {
        let mut config = RendezvousConfig::default();
        config.introduce_members = 2;
        let mut meeting = Meeting::with_config(seed, Link::lan().with_delay(millis(10)), config);
        let reachable = meeting.add_member();
        meeting.network.run_for(secs(1));
        let others = [meeting.add_member(), meeting.add_member()];
        meeting.network.run_for(secs(1));
        let newcomer = meeting.add_member();
        for other in others {
            meeting.network.set_link(other, newcomer, Link::cut());
            meeting.network.set_link(newcomer, other, Link::cut());
        }
        let reachable = meeting.network[reachable].member().node.peer_id();
        let met = |network: &Network<Host>| {
            let member = network[newcomer].member();
            let neighbors = member.node.group(member.group).unwrap().neighbors();
            neighbors.iter().any(|neighbor| neighbor.peer == reachable)
        };
        assert!(meeting.network.run_until(met));
        assert!(meeting.network.now().as_millis() < 2000 + 2500, "{:?}", meeting.network.now());
    });
}

#[test]
fn a_silent_client_is_given_up_after_47_seconds() {
    let mut meeting = Meeting::new(1, Link::lan());
    let members = [meeting.add_member(), meeting.add_member()];
    meeting.network.run_for(secs(10));
    meeting.network.remove(members[0]);
    let gone = meeting.network.now();
    let server = meeting.server;
    assert!(meeting.network.run_until(|n| n[server].server().stats().clients == 1));
    let after = (meeting.network.now() - gone).as_secs();
    assert!((40..=48).contains(&after), "{after} s");
    meeting.network.run_for(secs(600));
    assert_eq!(meeting.network[server].server().stats().clients, 1, "the other stays");
}

/// Every watched member is dropped in the end.
#[test]
fn nothing_is_left_of_newcomers() {
    let (mut meeting, _) = one_of_many(3, RendezvousConfig::default());
    for _ in 0..5 {
        let newcomer = meeting.add_lazy();
        meeting.network.run_for(millis(300));
        meeting.network.remove(newcomer);
    }
    let server = meeting.server;
    meeting.network.run_for(secs(100));
    meeting.network.act(server, |host, now| host.server_mut().shut_down(now));
    meeting.network.run_for(secs(100));
    let server = meeting.network[server].server();
    assert_eq!(server.endpoint().load(), (0, 0, 0));
    assert_eq!(rtmfp::proto::transport::Machine::poll_timeout(server), None);
}

#[test]
fn a_server_that_keeps_no_groups_is_reported() {
    let mut config = RendezvousConfig::default();
    config.max_groups_per_client = 0;
    let mut meeting = Meeting::with_config(1, Link::lan(), config);
    let member = meeting.add_member();
    meeting.network.run_for(secs(1));
    let member = meeting.network[member].member();
    assert!(member.node.is_connected() && member.rejected);
}
