//! A server whose name has several addresses, not all of which lead to it.

use crate::support::house::House;
use crate::support::{for_seeds, secs};
use rtmfp::proto::rendezvous::RendezvousConfig;

const SERVER: &str = "10.0.0.1:1935";
const NOBODY: &str = "10.0.0.99:1935";

#[test]
fn one_address_that_answers_is_enough() {
    for_seeds(4, |seed| {
        for addresses in [[NOBODY, SERVER], [SERVER, NOBODY]] {
            let mut house = House::new(seed, RendezvousConfig::default());
            let client = house.client_of("chat", vec![], &addresses);
            house.network.run_for(secs(2));
            assert_eq!(house.refusal(client).as_deref(), Some(""), "{addresses:?}");
        }
    });
}

#[test]
fn without_one_it_fails_after_a_while() {
    let mut house = House::new(1, RendezvousConfig::default());
    let client = house.client_of("chat", vec![], &[NOBODY, "10.0.0.98:1935"]);
    house.network.run_for(secs(19));
    assert_eq!(house.failure(client), None);
    house.network.run_for(secs(2));
    assert!(house.failure(client).is_some());
}
