//! Options of sending flows and of messages.

use crate::transport::FlowId;
use std::time::Duration;

/// Options of a new sending flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FlowOptions {
    /// The receiving flow of this session to which the new flow is an answer.
    pub association: Option<FlowId>,
    /// Which flow goes first when several have something to send.
    pub priority: Priority,
    /// The data is real-time: packets carry the time critical flag.
    pub time_critical: bool,
}

impl FlowOptions {
    /// For messages that others wait for, such as commands.
    pub const fn immediate(association: Option<FlowId>) -> Self {
        Self { association, priority: Priority::Immediate, time_critical: false }
    }

    /// Another priority.
    pub const fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Whether the data is real-time.
    pub const fn with_time_critical(self, time_critical: bool) -> Self {
        Self { time_critical, ..self }
    }
}

/// Sending order among the flows of a session; flows of equal priority take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// After everything else.
    Background,
    /// Objects and other bulk data.
    Bulk,
    /// The default.
    #[default]
    Routine,
    /// Control messages that others wait for.
    Immediate,
}

/// Options of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageOptions {
    /// Abandon the message if its first fragment has not left within this time.
    pub start_within: Option<Duration>,
    /// Abandon the message if it was not acknowledged within this time.
    pub finish_within: Option<Duration>,
    /// Send lost fragments again; otherwise a loss abandons the message.
    pub retransmit: bool,
    /// Its place among those that wait in the flow.
    pub order: QueueOrder,
}

/// The place of a message among those of its flow that wait. The far end gets the messages in the
/// order in which they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueOrder {
    /// After all that were queued before it.
    #[default]
    Queued,
    /// The same, but messages that overtake may leave before it. For bulk data.
    Yields,
    /// Before those at the end of the queue that yield, unless a part of them has left, or messages
    /// of the flow expire.
    Overtakes,
}

impl MessageOptions {
    /// Delivered for certain, while the session lives.
    pub const RELIABLE: Self = Self {
        start_within: None,
        finish_within: None,
        retransmit: true,
        order: QueueOrder::Queued,
    };
    /// Sent once.
    pub const ONCE: Self = Self { retransmit: false, ..Self::RELIABLE };

    /// Abandoned if its first fragment has not left within this time.
    pub const fn with_start_within(self, time: Duration) -> Self {
        Self { start_within: Some(time), ..self }
    }

    /// Abandoned if it was not acknowledged within this time.
    pub const fn with_finish_within(self, time: Duration) -> Self {
        Self { finish_within: Some(time), ..self }
    }

    /// Another place among those that wait.
    pub const fn with_order(self, order: QueueOrder) -> Self {
        Self { order, ..self }
    }

    /// True if the message is delivered for certain.
    pub const fn is_reliable(&self) -> bool {
        self.retransmit && self.start_within.is_none() && self.finish_within.is_none()
    }
}

impl Default for MessageOptions {
    fn default() -> Self {
        Self::RELIABLE
    }
}
