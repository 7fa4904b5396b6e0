//! Requests that are sent one by one, when the owner permits.

use crate::support::net::Net;
use std::time::Duration;

/// A member with 20 objects, and one that wants them and may ask only with permits.
fn paced() -> Net {
    let mut net = Net::new(2);
    net.nodes[0].object_size = 1000;
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=19)).unwrap();
    net.with(1, |g, now| g.replication_mut(now).set_paced(true));
    net.introduce_all();
    net.with(1, |g, now| g.replication_mut(now).add_want(0..=19)).unwrap();
    net.run_for(Duration::from_secs(1));
    net
}

fn requests(net: &Net) -> u64 {
    net.nodes[1].group.stats().replication.requests_sent
}

#[test]
fn a_permit_is_good_for_one_request() {
    let mut net = paced();
    assert_eq!(requests(&net), 0);
    for request in 1..=20 {
        assert!(net.nodes[1].group.replication().wants_permit(), "{request}");
        assert!(net.with(1, |g, now| g.replication_mut(now).permit_request()));
        assert_eq!(requests(&net), request);
        let replication = net.nodes[1].group.replication();
        assert_eq!(replication.expected_bytes(), replication.expected_object());
        net.run_for(Duration::from_secs(1));
        assert_eq!(net.fetched(1).len() as u64, request);
        let expected = net.nodes[1].group.replication().expected_object();
        // Few small objects do not show that the others are small.
        assert_eq!(expected > 60_000, request < 8, "{request}: {expected}");
    }
    let replication = net.nodes[1].group.replication();
    assert!(!replication.wants_permit(), "nothing is wanted");
    assert_eq!(replication.expected_bytes(), 0);
    assert!(!net.with(1, |g, now| g.replication_mut(now).permit_request()));
}

#[test]
fn without_pacing_requests_go_out_at_once() {
    let mut net = paced();
    net.with(1, |g, now| g.replication_mut(now).set_paced(false));
    assert!(requests(&net) > 1);
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.fetched(1).len(), 20);
    assert!(!net.nodes[1].group.replication().wants_permit());
}

/// What is overdue is asked for again elsewhere with a permit of its own.
#[test]
fn a_request_that_fails_needs_another_permit() {
    let mut net = paced();
    net.nodes[0].answer = crate::support::net::Answer::Deny;
    net.with(1, |g, now| g.replication_mut(now).permit_request());
    net.run_for(Duration::from_secs(5));
    assert_eq!((requests(&net), net.failed(1).len()), (1, 1));
    assert!(net.nodes[1].group.replication().wants_permit());
}
