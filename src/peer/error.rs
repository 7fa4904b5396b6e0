//! What can go wrong for a peer.

use crate::amf::AmfError;
use crate::driver::{BindError, Stopped};
use crate::flash::UriError;
use crate::group::GroupError;
use crate::node;
use std::io;
use thiserror::Error;

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URI can't be read.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The URI `rtmfp:` names no server, and without one no member of a group is found.
    #[error("the URI names no server; write rtmfp://host/app")]
    Serverless,
    /// The server's name has no address.
    #[error("can't find the address of {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// No socket.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The server can't be reached, or refused.
    #[error(transparent)]
    Server(#[from] node::ConnectError),
    /// The connection was closed meanwhile, or another attempt took the place of this one.
    #[error("the connection was closed meanwhile")]
    Closed,
}

/// Why a call of a group was refused. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetGroupError {
    /// The group was left, or its connection closed.
    #[error("the group is closed")]
    Closed,
    /// The group refuses.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The object has no encoding.
    #[error("the object can't be sent: {0}")]
    Object(#[from] AmfError),
}

impl From<Stopped> for NetGroupError {
    fn from(_: Stopped) -> Self {
        Self::Closed
    }
}
