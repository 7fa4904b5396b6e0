//! What a connection and its groups tell the application.

use super::net_group::Membership;
use super::queue::{Kind, Popped, Queue, Queued};
use crate::amf::{self, AmfError, Value};
use crate::crypto::Fingerprint;
use crate::group::{GroupAddress, GroupEvent};
use crate::node::ConnectError;
use std::net::SocketAddr;
use std::sync::Arc;

/// Something happened in a group.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NetGroupEvent {
    /// A neighbour connected.
    NeighborConnect {
        /// Its group address.
        neighbor: GroupAddress,
        /// Its peer ID.
        peer_id: Fingerprint,
    },
    /// A neighbour is gone.
    NeighborDisconnect {
        /// Its group address.
        neighbor: GroupAddress,
        /// Its peer ID.
        peer_id: Fingerprint,
    },
    /// An object is being requested from a neighbour.
    ReplicationFetchSendNotify {
        /// Which object.
        index: u64,
    },
    /// The server keeps no groups: members are not found through it.
    ConnectRejected,
    /// An announced fetch failed or was denied. It is retried while the object is wanted.
    ReplicationFetchFailed {
        /// Which object.
        index: u64,
    },
    /// A wanted object arrived. It is not wanted any more, and not had either: check it, then
    /// [add](super::NetGroup::add_have_objects) it to the Have set, or
    /// [want](super::NetGroup::add_want_objects) it again.
    ReplicationFetchResult {
        /// Which object.
        index: u64,
        /// The object; an error if the neighbour sent what is no AMF value.
        object: Result<Value, AmfError>,
        /// The peer ID of who sent it.
        peer_id: Fingerprint,
    },
    /// A neighbour asks for an object. To be answered by
    /// [`write_requested_object`](super::NetGroup::write_requested_object) or
    /// [`deny_requested_object`](super::NetGroup::deny_requested_object), in any order, at any time.
    ReplicationRequest {
        /// Which object.
        index: u64,
        /// The number by which to answer.
        request_id: u32,
    },
    /// The application was slow, and so many events before this one were dropped: notifications
    /// only, never a fetched object or a request.
    Lagged(u64),
}

impl NetGroupEvent {
    /// The `info.code` of the same event in Flash, which knows no `Lagged`.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NeighborConnect { .. } => "NetGroup.Neighbor.Connect",
            Self::NeighborDisconnect { .. } => "NetGroup.Neighbor.Disconnect",
            Self::ReplicationFetchSendNotify { .. } => "NetGroup.Replication.Fetch.SendNotify",
            Self::ConnectRejected => "NetGroup.Connect.Rejected",
            Self::ReplicationFetchFailed { .. } => "NetGroup.Replication.Fetch.Failed",
            Self::ReplicationFetchResult { .. } => "NetGroup.Replication.Fetch.Result",
            Self::ReplicationRequest { .. } => "NetGroup.Replication.Request",
            Self::Lagged(_) => return None,
        })
    }
}

impl From<GroupEvent> for NetGroupEvent {
    fn from(event: GroupEvent) -> Self {
        match event {
            GroupEvent::NeighborConnect { peer, address } => {
                Self::NeighborConnect { neighbor: address, peer_id: peer }
            }
            GroupEvent::NeighborDisconnect { peer, address } => {
                Self::NeighborDisconnect { neighbor: address, peer_id: peer }
            }
            GroupEvent::ReplicationFetchSendNotify { index } => {
                Self::ReplicationFetchSendNotify { index }
            }
            GroupEvent::ConnectRejected => Self::ConnectRejected,
            GroupEvent::ReplicationFetchFailed { index } => Self::ReplicationFetchFailed { index },
            GroupEvent::ReplicationFetchResult { index, object, from } => {
                let object = amf::from_bytes(object);
                Self::ReplicationFetchResult { index, object, peer_id: from }
            }
            GroupEvent::ReplicationRequest { index, request_id } => {
                Self::ReplicationRequest { index, request_id }
            }
        }
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

/// Something happened to a connection.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The connection is up.
    Connected {
        /// The server.
        server: SocketAddr,
    },
    /// The connection could not be opened.
    Failed(ConnectError),
    /// The connection is gone. Groups and their neighbours stay.
    Closed,
    /// The application was slow, and so many events before this one were dropped.
    Lagged(u64),
}

impl ConnectionEvent {
    /// The `info.code` of the same event in Flash, which knows no `Lagged`.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Connected { .. } => Some("NetConnection.Connect.Success"),
            Self::Failed(ConnectError::Refused(_)) => Some("NetConnection.Connect.Rejected"),
            Self::Failed(_) => Some("NetConnection.Connect.Failed"),
            Self::Closed => Some("NetConnection.Connect.Closed"),
            Self::Lagged(_) => None,
        }
    }
}

impl Queued for ConnectionEvent {
    fn kind(&self) -> Kind {
        Kind::Notice
    }
}

/// The events of a group since it was joined, in order.
///
/// There is one queue for each group: of several readers each gets a part. While this lives, the
/// group is not left.
#[derive(Debug, Clone)]
pub struct NetGroupEvents(pub(super) Arc<Membership>);

impl NetGroupEvents {
    /// The next event; `None` when the group is closed and all were read. May be cancelled.
    pub async fn recv(&mut self) -> Option<NetGroupEvent> {
        self.0.resume_if_caught_up().await;
        self.0.queue.wait_pop().await.map(NetGroupEvent::from)
    }

    /// The next event, if one waits.
    ///
    /// Who reads by this alone never lets a group go on that has stopped fetching because the
    /// application was slow: call [`recv`](Self::recv) when there is nothing.
    pub fn try_recv(&mut self) -> Option<NetGroupEvent> {
        self.0.queue.pop().ok().flatten().map(NetGroupEvent::from)
    }
}

impl From<Popped<GroupEvent>> for NetGroupEvent {
    fn from(popped: Popped<GroupEvent>) -> Self {
        match popped {
            Popped::Event(event) => event.into(),
            Popped::Lagged(count) => Self::Lagged(count),
        }
    }
}

/// The events of a connection since it was made, in order. There is one queue for each connection:
/// of several readers each gets a part.
#[derive(Debug, Clone)]
pub struct ConnectionEvents(pub(super) Arc<Queue<ConnectionEvent>>);

impl ConnectionEvents {
    /// The next event; `None` when the connection is closed for good and all were read. May be
    /// cancelled.
    pub async fn recv(&mut self) -> Option<ConnectionEvent> {
        self.0.wait_pop().await.map(ConnectionEvent::from)
    }

    /// The next event, if one waits.
    pub fn try_recv(&mut self) -> Option<ConnectionEvent> {
        self.0.pop().ok().flatten().map(ConnectionEvent::from)
    }
}

impl From<Popped<ConnectionEvent>> for ConnectionEvent {
    fn from(popped: Popped<ConnectionEvent>) -> Self {
        match popped {
            Popped::Event(event) => event,
            Popped::Lagged(count) => Self::Lagged(count),
        }
    }
}
