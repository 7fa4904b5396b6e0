//! Decisions on the flows that peers open to a group.

/// The decision on a flow that a neighbor, or a peer that wants to become one, has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowVerdict {
    /// Accept the flow; its further messages go to [`Group::on_message`](super::Group::on_message).
    Accept,
    /// Reject the flow with this exception code; keep the session.
    Reject(u64),
}
