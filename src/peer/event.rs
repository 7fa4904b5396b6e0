//! The events of a connection and its groups, and their receivers.

use super::net_group::Membership;
use super::queue::{Kind, Queue, Queued};
use crate::group::GroupEvent;
use crate::node::ConnectError;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;

/// Why [`recv`](NetGroupEvents::recv) returned no event.
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

/// An event of a connection.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "event"))]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The connection is up.
    #[cfg_attr(feature = "serde", serde(rename = "connected"))]
    Connected {
        /// The server's address.
        server: SocketAddr,
    },
    /// The connection could not be opened.
    #[cfg_attr(feature = "serde", serde(rename = "connect_failed", serialize_with = "reason"))]
    Failed(ConnectError),
    /// The connection is closed or lost. Groups and their neighbors remain.
    #[cfg_attr(feature = "serde", serde(rename = "disconnected"))]
    Closed,
}

impl ConnectionEvent {
    /// The `info.code` of the same event in Flash.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "NetConnection.Connect.Success",
            Self::Failed(ConnectError::Refused(_)) => "NetConnection.Connect.Rejected",
            Self::Failed(_) => "NetConnection.Connect.Failed",
            Self::Closed => "NetConnection.Connect.Closed",
        }
    }
}

impl Queued for ConnectionEvent {
    fn kind(&self) -> Kind {
        Kind::Notice
    }
}

impl Queued for GroupEvent {
    fn kind(&self) -> Kind {
        match self {
            Self::ReplicationFetchResult { object, .. } => Kind::Object(object.len()),
            Self::ReplicationRequest { .. } => Kind::Request,
            _ => Kind::Notice,
        }
    }
}

/// The events of a group since it was joined, in order.
///
/// There is one queue per group: several receivers share its events. The group is not left while
/// this exists.
#[derive(Debug, Clone)]
pub struct NetGroupEvents(pub(super) Arc<Membership>);

impl NetGroupEvents {
    /// The next event. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if events were dropped before the next one, and [`RecvError::Closed`]
    /// when the group is closed and all its events were received.
    pub async fn recv(&mut self) -> Result<GroupEvent, RecvError> {
        self.0.resume_if_caught_up().await;
        poll_fn(|context| self.0.queue.poll_pop(context)).await
    }

    /// The next event, if there is one.
    ///
    /// A group that stopped fetching because the application was slow resumes only by
    /// [`recv`](Self::recv): call it when there is no event.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<GroupEvent>, RecvError> {
        self.0.queue.pop()
    }
}

/// The events of a connection since it was made, in order. There is one queue per connection:
/// several receivers share its events.
#[derive(Debug, Clone)]
pub struct ConnectionEvents(pub(super) Arc<Queue<ConnectionEvent>>);

impl ConnectionEvents {
    /// The next event. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if events were dropped before the next one, and [`RecvError::Closed`]
    /// when the connection is closed for good and all its events were received.
    pub async fn recv(&mut self) -> Result<ConnectionEvent, RecvError> {
        poll_fn(|context| self.0.poll_pop(context)).await
    }

    /// The next event, if there is one.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<ConnectionEvent>, RecvError> {
        self.0.pop()
    }
}

/// Serializes an error as the text `reason`.
#[cfg(feature = "serde")]
fn reason<S: serde::Serializer>(error: &ConnectError, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct;
    let mut fields = serializer.serialize_struct("Failed", 1)?;
    fields.serialize_field("reason", &error.to_string())?;
    fields.end()
}
