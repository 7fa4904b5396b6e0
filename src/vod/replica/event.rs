//! [`FileEvent`]: events of a file in a group.

use super::fault::{Fault, ReplicaError};
use crate::crypto::Fingerprint;
use crate::node::NetConnectionError;
use crate::vod::descriptor::Descriptor;
use crate::vod::hash::Digest256;
use crate::vod::origin::OriginError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// An event of a file that is shared or fetched. `P` names a peer.
///
/// Events of the file come from its [`Replica`](super::Replica), those of the group and of the
/// connection from the [`FileExchange`](crate::vod::FileExchange).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FileEvent<P = Fingerprint> {
    /// The connection to a rendezvous server is up.
    Connected {
        /// The server's address.
        server: SocketAddr,
        /// True if there was a connection before. A subscriber of a share or fetch receives only
        /// such events: the first connection is up when the share or fetch has started.
        again: bool,
    },
    /// The connection to the rendezvous server could not be opened. The attempt is repeated.
    ConnectFailed(NetConnectionError),
    /// The connection to the rendezvous server was lost. It is opened again.
    Disconnected,
    /// A neighbor connected.
    NeighborConnect(P),
    /// A neighbor disconnected.
    NeighborDisconnect(P),
    /// The descriptor has arrived and matches the link; data of the link was filled in. Answer by
    /// [`Replica::store_opened`](super::Replica::store_opened).
    DescriptorKnown(Arc<Descriptor>),
    /// An object was refused and is wanted again.
    BadObject {
        /// The sender.
        from: P,
        /// The index.
        index: u64,
        /// The reason.
        fault: Fault,
    },
    /// All chunks have arrived, but the file is not the shared one, and there are no hashes to tell
    /// which chunk is wrong: everything is fetched again.
    FileRejected {
        /// SHA-256 of the fetched file.
        actual: Digest256,
    },
    /// The file is complete, verified as far as possible, and has its name. It is shared on.
    Complete(Completed),
    /// All of a shared file has been read from its origin, and is on disk.
    OriginRead {
        /// SHA-256 of the file.
        sha256: Digest256,
    },
    /// Nobody has sent the hashes that the link vouches for: all of the file is read from its origin, and
    /// compared with the link at the end. The descriptor is known without hashes until then.
    OriginAlone,
    /// What was read from the origin alone is the file of the link: this is the descriptor.
    OriginProven(Arc<Descriptor>),
    /// The origin does not answer as it should. It is tried again.
    OriginFailed(Arc<OriginError>),
    /// The origin has another file than the one that is fetched, and is not used any more.
    OriginGone(Arc<OriginError>),
    /// The file cannot be fetched, or can no longer be shared.
    Failed(Arc<ReplicaError>),
}

/// A file that has been fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// SHA-256 of the file. If every chunk was compared with its own hash, it is the one that the
    /// descriptor states, and the file was not hashed again.
    pub sha256: Digest256,
    /// The path, unless it is in memory.
    pub path: Option<PathBuf>,
    /// The path to which a damaged copy with the file's name was moved.
    pub kept: Option<PathBuf>,
}
