//! Actions and inputs of flows: one vocabulary for a NetConnection, a
//! group, and whatever else speaks over flows of a session.
//!
//! A user opens sending flows by tokens of its own, before there is a [`FlowId`]. Whoever holds the
//! endpoint carries [`FlowAction`]s out in their order with a [`FlowTable`](super::FlowTable) and
//! returns [`FlowInput`]s.

use super::{FlowId, FlowOptions, MessageOptions};
use bytes::Bytes;

/// A sending flow of one user: a name that the user chooses. Unique among the flows that one user
/// has in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowToken(pub u32);

/// Something to do in one session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowAction {
    /// Open a sending flow.
    Open {
        /// Its name from now on.
        token: FlowToken,
        /// Its user metadata.
        metadata: Bytes,
        /// Association, priority, time criticality.
        options: FlowOptions,
    },
    /// Send a message, in order.
    Send {
        /// On this flow.
        token: FlowToken,
        /// The message.
        message: Bytes,
        /// The time after which it may be abandoned, if any.
        options: MessageOptions,
    },
    /// Finish a sending flow once everything on it is delivered; it may be finished or rejected
    /// already. If the final fragment is empty, it must be abandoned: to Flash Player an empty
    /// fragment with the final flag alone is an empty message, of which it dies.
    Finish {
        /// This flow.
        token: FlowToken,
    },
    /// Reject a receiving flow (RFC 7016 §3.6.3.7).
    Reject {
        /// This flow.
        flow: FlowId,
        /// The exception code; RFC 7425 defines none but 0.
        code: u64,
    },
    /// Close the session. Nothing follows.
    Close,
}

/// Something that happened to a flow of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowInput {
    /// The flow's queue is full. Reliable messages are kept beyond it, up to a bound at which the
    /// session is closed; the user should not cause more of them until
    /// [`Writable`](Self::Writable).
    Blocked {
        /// The sending flow.
        token: FlowToken,
    },
    /// The flow has space again, and everything that was kept is queued.
    Writable {
        /// The sending flow.
        token: FlowToken,
    },
    /// The flow's queue is full, and this message, which may be given up, was not queued.
    /// [`Writable`](Self::Writable) follows.
    Refused {
        /// The sending flow.
        token: FlowToken,
        /// The message.
        message: Bytes,
    },
    /// The far end rejected the flow, which is closed now.
    Rejected {
        /// The sending flow.
        token: FlowToken,
        /// The exception code.
        code: u64,
    },
    /// Everything on the flow, which the user has finished, was acknowledged or given up.
    Done {
        /// The sending flow.
        token: FlowToken,
    },
    /// The far end gave up messages of this flow: the next does not follow the last.
    Gap {
        /// The receiving flow.
        flow: FlowId,
    },
}
