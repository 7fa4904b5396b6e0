//! Settings of a stream that is published to peers.

use crate::crypto::Fingerprint;
use std::fmt;
use std::sync::Arc;

/// Peers that may play one stream, unless set otherwise: Flash's default of `maxPeerConnections`.
pub const DEFAULT_MAX_PEERS: usize = 8;

/// Decides whether a peer may play: Flash's `onPeerConnect`.
pub type Admission = Arc<dyn Fn(Fingerprint) -> bool + Send + Sync>;

/// Settings of a stream that is published to peers.
#[derive(Clone)]
#[non_exhaustive]
pub struct PublishToPeers {
    /// Peers that may play at a time, [`DEFAULT_MAX_PEERS`] by default. Further ones are refused.
    pub max_peers: usize,
    /// Decides on each peer; `None` admits all.
    pub admission: Option<Admission>,
}

impl Default for PublishToPeers {
    fn default() -> Self {
        Self { max_peers: DEFAULT_MAX_PEERS, admission: None }
    }
}

impl fmt::Debug for PublishToPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admission = self.admission.as_ref().map(|_| "…");
        f.debug_struct("PublishToPeers")
            .field("max_peers", &self.max_peers)
            .field("admission", &admission)
            .finish()
    }
}
