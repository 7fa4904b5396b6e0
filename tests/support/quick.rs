//! Settings that save time.

use rtmfp::proto::crypto::{DhGroup, Negotiation};
use rtmfp::proto::transport::Config;

/// The smallest Diffie-Hellman group first: these tests are not about the keys. Nor about larger
/// datagrams and congestion marks.
pub fn quick() -> Config {
    let groups = vec![DhGroup::Modp2];
    let negotiation = Negotiation { groups, only_on_request: false, ..Negotiation::default() };
    let mut config = Config::default();
    config.negotiation = negotiation;
    config.max_probed_datagram = 0;
    config.ecn = false;
    config
}
