//! [`FileEvent`]: what happens to a file in a group.

use super::fault::{Fault, ReplicaError};
use crate::crypto::Fingerprint;
use crate::node::ConnectError;
use crate::vod::descriptor::Descriptor;
use crate::vod::hash::Digest256;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Something happened to a file that is shared or fetched. `P` names a peer.
///
/// The events of the file come from its [`Replica`](super::Replica), those of the group and of the
/// connection from the [`FileExchange`](crate::vod::FileExchange).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FileEvent<P = Fingerprint> {
    /// The connection to a rendezvous server is up.
    Connected {
        /// The server.
        server: SocketAddr,
        /// There was a connection before. A subscriber of a share or fetch gets only these: the
        /// first connection is up when it has started.
        again: bool,
    },
    /// The connection to the rendezvous server could not be opened. It is tried again.
    ConnectFailed(ConnectError),
    /// The connection to the rendezvous server was lost. It is tried again.
    Disconnected,
    /// A neighbor connected.
    NeighborConnect(P),
    /// A neighbor disconnected.
    NeighborDisconnect(P),
    /// The descriptor has arrived and is what the link promised; what the link states was filled in.
    /// To be answered by [`Replica::store_opened`](super::Replica::store_opened).
    DescriptorKnown(Arc<Descriptor>),
    /// An object was refused and is wanted again.
    BadObject {
        /// Who sent it.
        from: P,
        /// The object.
        index: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// All chunks are there, but the whole is not the promised file, and nothing tells which chunk is
    /// wrong: everything is fetched again.
    FileRejected {
        /// SHA-256 of what was fetched.
        actual: Digest256,
    },
    /// The file is complete, verified as far as possible, and has its name. Sharing goes on.
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
