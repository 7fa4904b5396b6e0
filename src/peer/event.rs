//! The events of a connection, and their receiver.

use super::error::{Lagged, RecvError};
use super::queue::{Kind, Queue, Queued, Reader, item};
use crate::amf::Value;
use crate::node::NetConnectionError;
use futures_core::Stream;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
    /// The URI was `rtmfp:`: there is no server, and members are found on the local network.
    #[cfg_attr(feature = "serde", serde(rename = "serverless"))]
    Serverless,
    /// The connection could not be opened.
    #[cfg_attr(feature = "serde", serde(rename = "connect_failed", serialize_with = "reason"))]
    Failed(NetConnectionError),
    /// The connection is closed or lost. Groups and their neighbors remain.
    #[cfg_attr(feature = "serde", serde(rename = "disconnected"))]
    Closed,
    /// The server reports something: it has called `onStatus`.
    #[cfg_attr(feature = "serde", serde(rename = "status"))]
    Status {
        /// `code` of the information object, such as `NetConnection.Connect.AppShutdown`.
        code: String,
        /// `description` of the information object.
        description: String,
        /// The information object.
        #[cfg_attr(feature = "serde", serde(skip))]
        info: Value,
    },
}

impl ConnectionEvent {
    pub(super) fn status(info: Value) -> Self {
        let text =
            |name| info.property(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self::Status { code: text("code"), description: text("description"), info }
    }

    /// The `info.code` of the same event in Flash. Empty for [`Status`](Self::Status), whose field
    /// `code` has it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connected { .. } | Self::Serverless => "NetConnection.Connect.Success",
            Self::Failed(NetConnectionError::Refused(_)) => "NetConnection.Connect.Rejected",
            Self::Failed(_) => "NetConnection.Connect.Failed",
            Self::Closed => "NetConnection.Connect.Closed",
            Self::Status { .. } => "",
        }
    }
}

impl Queued for ConnectionEvent {
    fn kind(&self) -> Kind {
        Kind::Notice
    }
}

/// The events of a connection since it was made, in order.
///
/// As a [`Stream`] it ends when the connection is closed for good and all its events were received;
/// dropped events are an item [`Lagged`], after which it goes on.
///
/// There is one queue per connection: several receivers share its events.
#[derive(Debug, Clone)]
pub struct ConnectionEvents(Reader<ConnectionEvent>);

impl ConnectionEvents {
    pub(super) fn new(queue: Arc<Queue<ConnectionEvent>>) -> Self {
        Self(Reader::new(queue))
    }

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

impl Stream for ConnectionEvents {
    type Item = Result<ConnectionEvent, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_pop(context).map(item)
    }
}

/// Serializes an error as the text `reason`.
#[cfg(feature = "serde")]
fn reason<S: serde::Serializer>(
    error: &NetConnectionError,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct;
    let mut fields = serializer.serialize_struct("Failed", 1)?;
    fields.serialize_field("reason", &error.to_string())?;
    fields.end()
}
