//! What can go wrong for a peer.

use crate::amf::AmfError;
use crate::driver::{BindError, Stopped};
use crate::flash::UriError;
use crate::group::GroupError;
use crate::node;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
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
        /// The error of the resolver.
        source: Arc<io::Error>,
    },
    /// No socket.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The server can't be reached, or refused.
    #[error(transparent)]
    Server(#[from] node::ConnectError),
    /// None of several servers can be reached.
    #[error("{}", Unreachable::list(.0))]
    Unreachable(Vec<Unreachable>),
    /// The connection was closed meanwhile, or another attempt took the place of this one.
    #[error("the connection was closed meanwhile")]
    Closed,
}

/// A rendezvous server that could not be reached, and why.
#[derive(Debug, Clone)]
pub struct Unreachable {
    /// The server, `HOST:PORT`.
    pub server: String,
    /// What was tried.
    pub problem: Problem,
}

/// What stood in the way to a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Problem {
    /// The name has no address.
    Name(Arc<io::Error>),
    /// The connection failed.
    Connect {
        /// The addresses tried.
        addresses: Vec<SocketAddr>,
        /// What is wrong.
        error: node::ConnectError,
    },
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Name(error) => write!(
                f,
                "the rendezvous server {} has no address: {error}; is the name right, and is there a network?",
                self.server
            ),
            Problem::Connect { error, .. } => {
                write!(f, "the rendezvous server {} cannot be reached: {error}", self.server)?;
                match error {
                    node::ConnectError::Unreachable(_) => {
                        write!(f, "; is it running, and does a firewall let UDP through?")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Unreachable {
    /// A line for each of them.
    pub(crate) fn list(servers: &[Self]) -> String {
        servers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
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
