//! What a connection asks of the session that carries it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::MessageBytes;
use crate::transport::FlowId;

/// The most events that wait for a consumer. Of more, the oldest is dropped and counted.
pub const MAX_EVENTS: usize = 256;

/// A sending flow of one connection: a name that the connection gives, before there is a
/// [`FlowId`]. Unique within the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowToken(pub u32);

/// Something to do on the session, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a sending flow.
    OpenFlow {
        /// Its name from now on.
        token: FlowToken,
        /// Its user metadata.
        metadata: Bytes,
        /// The receiving flow that it is the return flow of (RFC 7016 §2.3.11.1.2).
        association: Option<FlowId>,
    },
    /// Send a message, reliably and in order.
    Send {
        /// On this flow.
        flow: FlowToken,
        /// The message.
        message: MessageBytes,
    },
    /// Finish a sending flow; it may be finished or rejected already. If the final fragment is
    /// empty, it must be abandoned: to Flash Player an empty fragment with the final flag alone is
    /// an empty message, of which it dies.
    FinishFlow {
        /// This flow.
        token: FlowToken,
    },
    /// Reject a receiving flow (RFC 7016 §3.6.3.7).
    RejectFlow {
        /// This flow.
        flow: FlowId,
        /// The exception code; RFC 7425 defines none but 0.
        code: u64,
    },
    /// Close the session. Nothing follows.
    CloseSession,
}

/// What to do with a flow that the far end opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum FlowDecision {
    /// Take it, and hand over its messages.
    Accept,
    /// Reject it with this exception code.
    Reject(u64),
}

impl FlowDecision {
    /// Reject, with the only code there is.
    pub(super) const REJECT: Self = Self::Reject(0);
}

/// Events that wait for their consumer, at most [`MAX_EVENTS`].
#[derive(Debug)]
pub(super) struct EventQueue<E> {
    waiting: VecDeque<E>,
    dropped: u64,
}

impl<E> EventQueue<E> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), dropped: 0 }
    }

    pub(super) fn push(&mut self, event: E) {
        if self.waiting.len() >= MAX_EVENTS {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<E> {
        self.waiting.pop_front()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_consumer_loses_the_oldest() {
        let mut queue = EventQueue::new();
        (0..MAX_EVENTS + 2).for_each(|event| queue.push(event));
        assert_eq!((queue.dropped(), queue.pop()), (2, Some(2)));
        assert_eq!(std::iter::from_fn(|| queue.pop()).last(), Some(MAX_EVENTS + 1));
    }
}
