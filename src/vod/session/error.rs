//! [`SessionError`].

use crate::driver::BindError;
use crate::flash::UriError;
use crate::group::GroupSpecError;
use crate::node::ConnectError;
use crate::vod::replica::ReplicaError;
use crate::vod::{LinkError, StoreError};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;

/// Why a share or fetch cannot be started, or ended.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A socket could not be opened.
    #[error(transparent)]
    Bind(Arc<BindError>),
    /// No rendezvous server could be reached.
    #[error("{}", unreachable(.0))]
    Unreachable(Vec<Unreachable>),
    /// The server's URL cannot be used.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// No server was named.
    #[error("no rendezvous server was named")]
    NoServer,
    /// The groupspec cannot be used.
    #[error(transparent)]
    GroupSpec(#[from] GroupSpecError),
    /// The group does not allow objects to be replicated.
    #[error("the group of this link does not allow object replication: it is not meant for files")]
    NotForFiles,
    /// The link cannot be made or used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The file cannot be fetched, or not be shared any more.
    #[error(transparent)]
    Replica(Arc<ReplicaError>),
    /// The session was stopped.
    #[error("stopped before the file was complete")]
    Stopped,
    /// The thread for files could not be started.
    #[error("no thread for reading and writing files can be started: {0}")]
    Thread(Arc<io::Error>),
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
        error: ConnectError,
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
                    ConnectError::Unreachable(_) => {
                        write!(f, "; is it running, and does a firewall let UDP through?")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

fn unreachable(servers: &[Unreachable]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
