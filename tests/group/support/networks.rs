//! Local networks: members that reach each other without their uplinks.

use super::net::Net;
use rtmfp::proto::transport::SessionId;

impl Net {
    /// Puts a node into a local network, before it has sessions. What it sends to others there takes
    /// no time of its uplink.
    pub fn join_network(&mut self, node: usize, network: usize) {
        self.nodes[node].network = Some(network);
    }

    /// True if a session is within a local network.
    pub fn is_local(&self, node: usize, session: SessionId) -> bool {
        let network = self.nodes[node].network;
        let far = self.far_end.get(&(node, session)).map(|(far, _)| &self.nodes[*far]);
        network.is_some() && far.is_some_and(|far| far.network == network)
    }
}
