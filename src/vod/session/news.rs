//! [`News`]: what happens to a share or fetch.

use crate::crypto::Fingerprint;
use crate::node::ConnectError;
use crate::vod::replica::{Fault, ReplicaError};
use crate::vod::{Descriptor, Digest256};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// News that wait for a slow reader. Of more, the oldest are dropped, and the reader is told how
/// many ([`RecvError::Lagged`](tokio::sync::broadcast::error::RecvError)); how a fetch ended is
/// told apart from them and is never lost.
pub const NEWS_QUEUE: usize = 256;

/// Something that a person may want to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum News {
    /// The connection to a rendezvous server is up.
    Connected {
        /// The server.
        server: SocketAddr,
        /// There was a connection before. Only such news reach a subscriber: the first connection
        /// is up when the share or fetch has started.
        again: bool,
    },
    /// The connection to the rendezvous server could not be opened. It is tried again.
    ConnectFailed(ConnectError),
    /// The connection to the rendezvous server was lost. It is tried again.
    Disconnected,
    /// A neighbour came.
    NeighborConnect(Fingerprint),
    /// A neighbour went.
    NeighborDisconnect(Fingerprint),
    /// The descriptor has come and is what the link promised.
    DescriptorKnown(Arc<Descriptor>),
    /// An object was refused and is wanted again.
    BadObject {
        /// Who sent it.
        from: Fingerprint,
        /// The object.
        index: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// All chunks were there, but the whole was not the promised file; everything is fetched anew.
    FileRejected {
        /// SHA-256 of what was fetched.
        actual: Digest256,
    },
    /// The file is complete and verified. Sharing goes on.
    Complete(Completed),
    /// The file cannot be fetched, or not be shared any more.
    Failed(Arc<ReplicaError>),
}

/// A file that has been fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// SHA-256 of the file.
    pub sha256: Digest256,
    /// Where it is, unless it is in memory.
    pub path: Option<PathBuf>,
    /// Where a damaged copy is kept that had the file's name.
    pub kept: Option<PathBuf>,
}
