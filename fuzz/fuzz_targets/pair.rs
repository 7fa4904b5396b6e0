//! Arbitrary lists of operations on a pair of endpoints that keep to the protocol, on a bad
//! network: flows opened, closed, rejected, held back, messages of every kind, an address that
//! changes, time that passes. Every reliable message arrives once and in order, both ends keep to
//! the rules in every packet, and nothing is left at the end.
//!
//! The first byte of the input is the seed of the network, every two bytes more are a decision.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmfp::proto::sim::Link;
use support::Pair;
use support::operations::{Choices, run};

#[allow(dead_code, unused_imports, reason = "the tests use more")]
#[path = "../../tests/transport/support/mod.rs"]
mod support;

/// Decisions of a fuzzer: two bytes each, zero at the end.
struct Input<'a>(&'a [u8]);

impl Choices for Input<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let Some((decision, rest)) = self.0.split_first_chunk::<2>() else {
            self.0 = &[];
            return 0;
        };
        self.0 = rest;
        u64::from(u16::from_be_bytes(*decision)).checked_rem(bound).unwrap_or(0)
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&seed, decisions)) = input.split_first() else { return };
    run(Pair::new(u64::from(seed), Link::bad()), &mut Input(decisions));
});
