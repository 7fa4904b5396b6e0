//! The errors of a peer.

use crate::amf::AmfError;
use crate::driver::{BindError, Stopped};
use crate::flash::UriError;
use crate::flash::stream::NetStreamError;
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
    /// The URI cannot be parsed.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The URI `rtmfp:` names no server, where one is needed.
    #[error("the URI names no server; write rtmfp://host/app")]
    Serverless,
    /// The server's name does not resolve.
    #[error("can't find the address of {host}: {source}")]
    Resolve {
        /// The host name.
        host: String,
        /// The error of the resolver.
        source: Arc<io::Error>,
    },
    /// The sockets could not be opened.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The server can't be reached, or refused the connection.
    #[error(transparent)]
    Server(#[from] node::NetConnectionError),
    /// None of several servers can be reached.
    #[error("{}", Unreachable::list(.0))]
    Unreachable(Vec<Unreachable>),
    /// The connection was closed meanwhile, or another attempt replaced this one.
    #[error("the connection was closed meanwhile")]
    Closed,
}

/// A rendezvous server that could not be reached, and why.
#[derive(Debug, Clone)]
pub struct Unreachable {
    /// The server, `HOST:PORT`.
    pub server: String,
    /// What failed.
    pub problem: Problem,
}

/// Why a server could not be reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Problem {
    /// The name does not resolve.
    Name(Arc<io::Error>),
    /// The connection failed.
    Connect {
        /// The addresses that were tried.
        addresses: Vec<SocketAddr>,
        /// The last error.
        error: node::NetConnectionError,
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
                    node::NetConnectionError::Unreachable(_) => {
                        write!(f, "; is it running, and does a firewall let UDP through?")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Unreachable {
    /// One line for each server.
    pub(crate) fn list(servers: &[Self]) -> String {
        servers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// Why a call of a group was refused. The call had no effect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetGroupError {
    /// The group was left, or its connection closed.
    #[error("the group is closed")]
    Closed,
    /// The group refused the call.
    #[error(transparent)]
    Group(GroupError),
    /// The object cannot be encoded.
    #[error("the object can't be sent: {0}")]
    Object(#[from] AmfError),
}

/// Why a call of a stream was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream is over, or the group or connection closed.
    #[error("the stream is closed")]
    Closed,
    /// The group refused the call.
    #[error(transparent)]
    Group(GroupError),
    /// The stream cannot be opened.
    #[error(transparent)]
    NetStream(#[from] NetStreamError),
    /// A value cannot be encoded.
    #[error("the values can't be sent: {0}")]
    Value(#[from] AmfError),
}

/// Why [`recv`](super::NetGroupEvents::recv) returned no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecvError {
    /// The application was too slow, so this many events before the next one were dropped:
    /// notifications only, never a fetched object or a request.
    #[error("{0} events skipped: the application is too slow")]
    Lagged(u64),
    /// The group or connection is closed, and all its events were received.
    #[error("closed")]
    Closed,
}

/// The application was too slow, so this many events before the next one were dropped:
/// notifications only, never a fetched object or a request. An item of an event stream, which goes
/// on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} events skipped: the application is too slow")]
pub struct Lagged(pub u64);

impl From<Lagged> for RecvError {
    fn from(Lagged(skipped): Lagged) -> Self {
        Self::Lagged(skipped)
    }
}

impl From<GroupError> for NetGroupError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Closed => Self::Closed,
            error => Self::Group(error),
        }
    }
}

impl From<NetGroupError> for StreamError {
    fn from(error: NetGroupError) -> Self {
        match error {
            NetGroupError::Closed => Self::Closed,
            NetGroupError::Group(error) => error.into(),
            NetGroupError::Object(error) => Self::Value(error),
        }
    }
}

impl From<GroupError> for StreamError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Closed => Self::Closed,
            error => Self::Group(error),
        }
    }
}

impl From<Stopped> for StreamError {
    fn from(_: Stopped) -> Self {
        Self::Closed
    }
}

impl From<Stopped> for NetGroupError {
    fn from(_: Stopped) -> Self {
        Self::Closed
    }
}
