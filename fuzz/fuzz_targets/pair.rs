//! Arbitrary lists of operations on a pair of endpoints that keep to the protocol, on a bad
//! network: flows opened, closed, rejected, held back, messages of every kind, an address that
//! changes, time that passes. Every reliable message arrives once and in order, both ends keep to
//! the rules in every packet, and nothing is left at the end.
//!
//! The first byte of the input is the seed of the network, every two bytes more are a decision.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::sim::Link;
use support::Pair;
use support::operations::{Input, run};

#[path = "../../tests/support/mod.rs"]
mod support;

fuzz_target!(|input: &[u8]| {
    let Some((&seed, decisions)) = input.split_first() else { return };
    run(Pair::new(u64::from(seed), Link::bad()), &mut Input(decisions));
});
