//! The parts that both ends of a connection share: the decision on a flow, and the event queue.

use std::collections::VecDeque;

/// The most events that wait for a consumer. Beyond this, the oldest is dropped and counted.
pub const MAX_EVENTS: usize = 256;

/// The decision on a flow that the far end opened.
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
