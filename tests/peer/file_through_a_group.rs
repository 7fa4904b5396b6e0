//! A file travels through a group: rendezvous server, one provider, receivers, all on a virtual
//! network.

use crate::seeds::for_seeds;
use crate::support::swarm::Swarm;
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::sim::Link;
use rtmfp::vod::CHUNK_SIZE;
use std::time::Duration;

#[test]
fn four_receivers_fetch_from_one_another() {
    let mut swarm =
        Swarm::new(1, Link::lan().with_delay(Duration::from_millis(5)), 4 << 20, CHUNK_SIZE);
    for _ in 0..4 {
        swarm.add_receiver();
    }
    let start = swarm.network.now();
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
    let uploaded = swarm.uploaded(swarm.provider) as f64 / swarm.file.len() as f64;
    eprintln!("{:?}, provider uploaded {uploaded:.2} x", swarm.network.now() - start);
    // They meet the provider first, whose link has no limit here: 2.3 files.
    assert!(uploaded <= 2.6, "{uploaded}");
    swarm.check_nothing_leaks();
}

/// The link names the provider, and every server introduces those that are connected to it.
#[test]
fn a_server_that_keeps_no_groups_introduces_the_provider() {
    for_seeds(10, |seed| {
        let mut config = RendezvousConfig::default();
        config.max_groups_per_client = 0;
        let link = if seed % 2 == 0 { Link::lan() } else { Link::bad() };
        let mut swarm = Swarm::with_server(seed, link, (55_000, 20_000), config);
        swarm.add_receiver();
        let start = swarm.network.now();
        assert!(swarm.run(), "not complete");
        let took = swarm.network.now() - start;
        assert!(took < Duration::from_secs(60), "{took:?}");
        swarm.check_copies();
        swarm.check_nothing_leaks();
    });
}

/// Three receivers over a network that loses, delays, doubles and reorders.
fn copies_over_a_bad_network(seed: u64) {
    // Three chunks, the last one shorter. They are small because two hundred runs take their time.
    let mut swarm = Swarm::new(seed, Link::bad(), 55_000, 20_000);
    for _ in 0..3 {
        swarm.add_receiver();
    }
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
    swarm.check_nothing_leaks();
}

// Two hundred seeds, in two tests that run side by side.

#[test]
fn every_copy_is_identical_over_a_bad_network() {
    for_seeds(100, copies_over_a_bad_network);
}

#[test]
fn every_copy_is_identical_over_a_bad_network_again() {
    for_seeds(100, |seed| copies_over_a_bad_network(100 + seed));
}

#[test]
fn a_slow_receiver_does_not_hold_up_the_others() {
    let mut swarm = Swarm::new(3, Link::lan(), 2 << 20, CHUNK_SIZE);
    let quick = [swarm.add_receiver(), swarm.add_receiver()];
    let slow = swarm.add_receiver();
    for other in [swarm.provider, quick[0], quick[1]] {
        let narrow = Link::lan().with_rate(50_000);
        swarm.network.set_link(other, slow, narrow.clone());
        swarm.network.set_link(slow, other, narrow);
    }
    let start = swarm.network.now();
    assert!(swarm.network.run_until(|n| quick.iter().all(|&r| n[r].is_complete())));
    let took = swarm.network.now() - start;
    // The slow one needs at least 14 seconds for its own copy.
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(swarm.run());
    swarm.check_copies();
}
