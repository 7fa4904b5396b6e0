//! What a group asks of its owner, and what it tells the application.

use super::GroupAddress;
use crate::crypto::Fingerprint;
use crate::transport::{FarAddress, FlowAction, SessionId};
use bytes::Bytes;

/// What the owner of a [`Group`](super::Group) has to do, in this order.
///
/// The group's own sending flows go by tokens, each of which is used once, in whatever session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupAction {
    /// Open a session to this member. Report back by `on_session_opened` or `on_connect_failed`.
    Connect {
        /// The member.
        peer: Fingerprint,
        /// Where it may be reached directly. Empty: only through the server. Otherwise the server may
        /// still be asked as well.
        addresses: Vec<FarAddress>,
        /// The session in which it was reported, if that is all that is known of it.
        reported_by: Option<SessionId>,
    },
    /// Carry this out in a session, and return what happens to its flows by
    /// [`Group::on_flow_input`](super::Group::on_flow_input).
    Flow {
        /// The session.
        session: SessionId,
        /// What to do; never [`FlowAction::Close`].
        action: FlowAction,
    },
    /// This group has no more use for the session. Others may have.
    ReleaseSession {
        /// The session.
        session: SessionId,
    },
}

/// What the application is told. [`code`](Self::code) is the `info.code` of Flash's
/// `NetStatusEvent`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupEvent {
    /// The server keeps no groups: members are not found through it. Others than those that are
    /// known otherwise (bootstrap peers, [`on_introduced`](super::Group::on_introduced)) are met only
    /// after another server was connected to.
    ConnectRejected,
    /// A neighbour connected.
    NeighborConnect {
        /// Its fingerprint: the peer ID.
        peer: Fingerprint,
        /// Its group address.
        address: GroupAddress,
    },
    /// A neighbour is gone.
    NeighborDisconnect {
        /// Its fingerprint: the peer ID.
        peer: Fingerprint,
        /// Its group address.
        address: GroupAddress,
    },
    /// An object is being requested from a neighbour.
    ReplicationFetchSendNotify {
        /// Which object.
        index: u64,
    },
    /// An announced fetch failed or was denied. It is retried while the object is wanted.
    ReplicationFetchFailed {
        /// Which object.
        index: u64,
    },
    /// An object arrived and is not wanted any more. It is not had either: the application checks
    /// it, then adds it to the Have set, or wants it again.
    ReplicationFetchResult {
        /// Which object.
        index: u64,
        /// Its AMF value, encoded.
        object: Bytes,
        /// Who sent it.
        from: Fingerprint,
    },
    /// A neighbour asks for an object. To be answered by
    /// [`write_requested`](super::ReplicationMut::write_requested) or
    /// [`deny_requested`](super::ReplicationMut::deny_requested), in any order, at any time,
    /// even if the neighbour is gone by then.
    ReplicationRequest {
        /// Which object.
        index: u64,
        /// The number by which to answer; used again for another request after the answer.
        request_id: u32,
    },
}

impl GroupEvent {
    /// The code of the same event in Flash.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ConnectRejected => "NetGroup.Connect.Rejected",
            Self::NeighborConnect { .. } => "NetGroup.Neighbor.Connect",
            Self::NeighborDisconnect { .. } => "NetGroup.Neighbor.Disconnect",
            Self::ReplicationFetchSendNotify { .. } => "NetGroup.Replication.Fetch.SendNotify",
            Self::ReplicationFetchFailed { .. } => "NetGroup.Replication.Fetch.Failed",
            Self::ReplicationFetchResult { .. } => "NetGroup.Replication.Fetch.Result",
            Self::ReplicationRequest { .. } => "NetGroup.Replication.Request",
        }
    }
}
