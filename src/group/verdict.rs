//! Decisions on the flows that peers open to a group.

/// The decision on a `GR 1C` flow that began with a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloVerdict {
    /// Accept the flow; its further messages go to [`Group::on_message`](super::Group::on_message).
    Accept,
    /// Reject the flow with this exception code; keep the session.
    Reject(u64),
}

/// The decision on another flow, associated with one of the group's flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenVerdict {
    /// Accept the flow; its messages go to [`Group::on_message`](super::Group::on_message).
    Accept,
    /// Reject the flow with this exception code.
    Reject(u64),
}
