//! [`SessionError`].

use crate::driver::BindError;
use crate::flash::UriError;
use crate::group::GroupSpecError;
use crate::peer::{ConnectError, NetGroupError, Unreachable};
use crate::vod::origin::OriginError;
use crate::vod::replica::ReplicaError;
use crate::vod::{LinkError, StoreError};
use std::sync::Arc;
use thiserror::Error;

/// Why a share or fetch could not start, or ended.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A socket could not be opened.
    #[error(transparent)]
    Bind(Arc<BindError>),
    /// No rendezvous server could be reached.
    #[error("{}", Unreachable::list(.0))]
    Unreachable(Vec<Unreachable>),
    /// The server's URL is not valid.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// No server was named, and the group is not on the local network.
    #[error("no rendezvous server was named")]
    NoServer,
    /// Members of the group do not announce themselves on the local network.
    #[error(
        "members of this group do not announce themselves on the local network: the file must be \
         shared with that in mind (rtmfp share … --lan)"
    )]
    NotOnLan,
    /// The groupspec is not valid.
    #[error(transparent)]
    GroupSpec(#[from] GroupSpecError),
    /// The group does not allow object replication.
    #[error("the group of this link does not allow object replication: it is not meant for files")]
    NotForFiles,
    /// The Number form of the descriptor cannot list files.
    #[error("several files need the object form of the descriptor: leave out --descriptor number")]
    FilesInNumberForm,
    /// The link could not be made, or is not valid.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The file could not be read or written.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The file cannot be fetched, or can no longer be shared.
    #[error(transparent)]
    Replica(Arc<ReplicaError>),
    /// The file cannot be read from its origin.
    #[error(transparent)]
    Origin(Arc<OriginError>),
    /// The session was stopped.
    #[error("stopped before the file was complete")]
    Stopped,
    /// Another error of the connection.
    #[error(transparent)]
    Connection(Arc<ConnectError>),
}

impl From<BindError> for SessionError {
    fn from(error: BindError) -> Self {
        Self::Bind(Arc::new(error))
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<OriginError> for SessionError {
    fn from(error: OriginError) -> Self {
        Self::Origin(Arc::new(error))
    }
}

impl From<ConnectError> for SessionError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Listen(error) => error.into(),
            ConnectError::Unreachable(servers) => Self::Unreachable(servers),
            ConnectError::Uri(error) => Self::Uri(error),
            ConnectError::Closed => Self::Stopped,
            other => Self::Connection(Arc::new(other)),
        }
    }
}

/// Joining fails only if the connection is closed.
impl From<NetGroupError> for SessionError {
    fn from(_: NetGroupError) -> Self {
        Self::Stopped
    }
}
