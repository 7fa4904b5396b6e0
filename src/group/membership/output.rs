//! The outputs of membership for its group.

use crate::crypto::Fingerprint;
use crate::group::{FlowKind, GroupEvent};
use crate::transport::{FarAddress, FlowId, SessionId};
use bytes::Bytes;

/// An output of membership, to be carried out in order.
#[derive(Debug)]
pub(in crate::proto::group) enum Output {
    /// Open a session to a member; the fields are those of
    /// [`GroupAction::Connect`](crate::group::GroupAction::Connect).
    Connect { peer: Fingerprint, addresses: Vec<FarAddress>, reported_by: Option<SessionId> },
    /// Open this end's membership flow.
    OpenFlow(SessionId),
    /// Send a message on this end's membership flow.
    Send(SessionId, Bytes),
    /// Reject a flow that was accepted before.
    RejectFlow { session: SessionId, flow: FlowId, code: u64 },
    /// The group no longer needs the session.
    ReleaseSession(SessionId),
    /// A neighbor has connected. The flows of the capabilities are associated with `flow`.
    Connected { session: SessionId, peer: Fingerprint, flow: FlowId },
    /// A message on a neighbor's flow of a capability.
    Message { session: SessionId, flow: FlowId, kind: FlowKind, message: Bytes },
    /// A neighbor has finished a flow of a capability, and remains a neighbor.
    FlowFinished { session: SessionId, flow: FlowId, kind: FlowKind },
    /// The neighbor in this session does not need this node, and this node does not want it.
    Unneeded(SessionId),
    /// The neighbor in this session, connected or not yet, is gone.
    Gone { session: SessionId, end: End },
    /// Deliver an event to the application.
    Event(GroupEvent),
}

/// Why a neighbor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::group) enum End {
    /// The session remains open: this end's flows in it are to be finished.
    Neighbor,
    /// The session is closed, and the flows with it.
    Session,
}
