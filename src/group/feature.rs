//! The interface that the capabilities of a group share: the kinds of flows between two members,
//! the form of the messages on them, and the calls that [`Group`](super::Group) makes.

use super::GroupEvent;
use crate::crypto::Fingerprint;
use crate::transport::{FlowId, Priority, QueueOrder, SessionId, Time};
use crate::wire::{Reason, WireError};
use bytes::Bytes;

/// A capability besides membership that exchanges messages with neighbors on its own flows.
///
/// Sans-IO like the group itself: the group calls an input, then drains
/// [`poll_output`](Self::poll_output).
pub(super) trait Feature {
    /// True if flows of this kind belong to this capability.
    fn carries(&self, kind: FlowKind) -> bool;

    /// A neighbor has connected: flows to it may be opened.
    fn on_neighbor_connected(&mut self, now: Time, session: SessionId, peer: Fingerprint);

    /// A neighbor is gone, and the flows with it.
    fn on_neighbor_gone(&mut self, now: Time, session: SessionId);

    /// A message on a neighbor's flow of this kind.
    fn on_message(&mut self, now: Time, session: SessionId, kind: FlowKind, message: Bytes);

    /// This end's flow of this kind is full, so that nothing should be sent on it, or is writable
    /// again.
    fn on_flow_blocked(&mut self, now: Time, session: SessionId, kind: FlowKind, is_blocked: bool);

    /// Handles whatever is due.
    fn handle_timeout(&mut self, now: Time);

    /// When [`handle_timeout`](Self::handle_timeout) is next due.
    fn poll_timeout(&self) -> Option<Time>;

    /// The next output, in order.
    fn poll_output(&mut self) -> Option<Output>;

    /// A neighbor has opened one of several flows of this kind, in return to this end's `lane`. True
    /// to accept it. The neighbor may not be connected yet.
    fn on_flow_opened(
        &mut self,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        lane: Lane,
    ) -> bool {
        let _ = (session, flow, kind, lane);
        false
    }

    /// A message on a neighbor's flow, for a capability with several flows of a kind.
    fn on_message_of(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        message: Bytes,
    ) {
        let _ = flow;
        self.on_message(now, session, kind, message);
    }

    /// A neighbor has finished a flow of this kind, and remains a neighbor.
    fn on_flow_finished(&mut self, now: Time, session: SessionId, flow: FlowId) {
        let _ = (now, session, flow);
    }

    /// A neighbor has rejected one of this end's flows, and remains a neighbor.
    fn on_lane_rejected(&mut self, now: Time, session: SessionId, lane: Lane) {
        let _ = (now, session, lane);
    }

    /// As [`on_flow_blocked`](Self::on_flow_blocked), for a capability with several flows of a kind.
    fn on_lane_blocked(&mut self, now: Time, session: SessionId, lane: Lane, is_blocked: bool) {
        self.on_flow_blocked(now, session, lane.kind, is_blocked);
    }
}

/// One of this end's flows to a neighbor: its kind, and which of several of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    /// The kind.
    pub(super) kind: FlowKind,
    /// The number of the stream; 0 for a kind with one flow.
    pub(super) stream: u32,
}

impl From<FlowKind> for Lane {
    fn from(kind: FlowKind) -> Self {
        Self { kind, stream: 0 }
    }
}

/// An output of a capability.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Open this end's flow of this kind, associated with the neighbor's membership flow.
    OpenFlow(SessionId, FlowKind),
    /// Send a message on this end's flow of this kind.
    Send(SessionId, FlowKind, Bytes),
    /// The same, in another than the order in which messages are sent.
    SendInOrder(SessionId, FlowKind, Bytes, QueueOrder),
    /// Open this end's flow, associated with the neighbor's flow `to`, or with its membership flow.
    OpenLane { session: SessionId, lane: Lane, to: Option<FlowId> },
    /// Send a message on this end's flow.
    SendOn(SessionId, Lane, Bytes),
    /// Finish this end's flow.
    FinishLane(SessionId, Lane),
    /// Reject a neighbor's flow that was accepted before.
    Reject(SessionId, FlowId),
    /// Deliver an event to the application.
    Event(GroupEvent),
}

/// The kinds of flows between two members of a group. Each kind has one flow in each direction
/// (multicast: one per stream).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowKind {
    /// `GR 1C`: membership. It is associated with nothing; the others are return flows of the far
    /// end's.
    Membership,
    /// `GR 15`: object replication.
    Replication,
    /// `GR 18`: posting, keys.
    PostingKeys,
    /// `GR 19`: posting, values.
    PostingValues,
    /// `GR 1D`: directed routing.
    Routing,
    /// `GR 11`: multicast control of one stream.
    MulticastControl,
    /// `GR 12`: multicast data; return flow of the far end's control flow of that stream.
    MulticastData,
}

impl FlowKind {
    /// The user metadata of such a flow.
    pub const fn metadata(self) -> [u8; 3] {
        let kind = match self {
            Self::Membership => 0x1c,
            Self::Replication => 0x15,
            Self::PostingKeys => 0x18,
            Self::PostingValues => 0x19,
            Self::Routing => 0x1d,
            Self::MulticastControl => 0x11,
            Self::MulticastData => 0x12,
        };
        [b'G', b'R', kind]
    }

    /// The kind of flow that carries this user metadata, if it is one of a group.
    pub const fn from_metadata(metadata: &[u8]) -> Option<Self> {
        match metadata {
            [b'G', b'R', 0x1c] => Some(Self::Membership),
            [b'G', b'R', 0x15] => Some(Self::Replication),
            [b'G', b'R', 0x18] => Some(Self::PostingKeys),
            [b'G', b'R', 0x19] => Some(Self::PostingValues),
            [b'G', b'R', 0x1d] => Some(Self::Routing),
            [b'G', b'R', 0x11] => Some(Self::MulticastControl),
            [b'G', b'R', 0x12] => Some(Self::MulticastData),
            _ => None,
        }
    }

    /// The priority of such a flow within its session.
    pub(super) const fn priority(self) -> Priority {
        match self {
            Self::Replication | Self::MulticastData => Priority::Bulk,
            Self::Membership => Priority::Immediate,
            _ => Priority::Routine,
        }
    }

    /// True if a neighbor has one flow of this kind for each stream.
    pub const fn is_of_stream(self) -> bool {
        matches!(self, Self::MulticastControl | Self::MulticastData)
    }

    /// True if Flash Player drops a neighbor that rejects this flow.
    pub const fn must_be_accepted(self) -> bool {
        !matches!(self, Self::MulticastControl | Self::MulticastData)
    }

    /// True if Flash Player treats the end of this flow as the loss of the neighbor.
    pub const fn ends_neighbor(self) -> bool {
        use FlowKind::{Membership, PostingKeys, PostingValues, Replication};
        matches!(self, Membership | Replication | PostingKeys | PostingValues)
    }
}

/// Splits the type byte off a message.
pub(super) fn split_type<'a>(
    field: &'static str,
    message: &'a [u8],
) -> Result<(u8, &'a [u8]), WireError> {
    let (&kind, body) = message.split_first().ok_or(WireError::new(field, 0, Reason::Truncated))?;
    Ok((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_reversible() {
        for kind in 0..=0xff {
            if let Some(flow) = FlowKind::from_metadata(&[b'G', b'R', kind]) {
                assert_eq!(flow.metadata(), [b'G', b'R', kind]);
            }
        }
        assert_eq!(FlowKind::from_metadata(b"GR\x15"), Some(FlowKind::Replication));
        assert_eq!(FlowKind::from_metadata(b"GR\x16"), None);
        assert_eq!(FlowKind::from_metadata(b"GR"), None);
        assert_eq!(FlowKind::from_metadata(b"GC"), None);
    }
}
