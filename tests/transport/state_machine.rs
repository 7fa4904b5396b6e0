//! Arbitrary operations on a pair over a bad network: whatever is done, reliable messages arrive
//! once and in order, and nothing is left at the end.

use crate::support::operations::{Seeded, run};
use crate::support::{Pair, for_seeds};
use rtmfp::proto::sim::Link;

#[test]
fn whatever_is_done() {
    for_seeds(64, |seed| run(Pair::new(seed, Link::bad()), &mut Seeded::new(seed, 400)));
}
