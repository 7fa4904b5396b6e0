//! One neighbor in one stream.

use super::message::Map;
use crate::transport::{FlowId, Time};
use std::collections::BTreeSet;

/// Requests to one neighbor whose answers are recognized as such. Beyond this, an answer to the oldest
/// counts as pushed.
const MAX_PULLS: usize = 4096;

/// One of this end's flows to a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Near {
    #[default]
    Closed,
    Open,
    /// Full: nothing is sent in advance, and no request is answered.
    Blocked,
    /// The neighbor does not want it.
    Rejected,
}

#[derive(Debug, Default)]
pub(super) struct Link {
    /// This end's control flow.
    pub(super) control: Near,
    /// This end's data flow.
    pub(super) data: Near,
    pub(super) far_control: Option<FlowId>,
    pub(super) far_data: Option<FlowId>,
    /// The classes of fragments that the neighbor wants pushed: a bit for each number modulo 8.
    pub(super) mask: u8,
    /// Since when it wants each of them.
    pub(super) subscribed: [Time; 8],
    /// The classes that this member wants it to push.
    pub(super) asked: u8,
    /// Those that it was ever asked for.
    pub(super) ever_asked: u8,
    /// Those that it was asked for in vain, as far as known.
    pub(super) tried: u8,
    /// When it last pushed a fragment of each class, or was asked for it.
    pub(super) pushed_at: [Time; 8],
    /// The latest fragments of each class in a row that another neighbor had pushed before it did.
    pub(super) late: [u8; 8],
    /// What it has.
    pub(super) map: Option<Map>,
    pub(super) map_at: Time,
    /// The version of what is held here as of the last map sent to it.
    pub(super) announced: u64,
    /// Requests to it without an answer, at most [`MAX_PULLS`].
    pulls: BTreeSet<u64>,
    /// The end of the stream, as it announced it.
    pub(super) end: Option<u64>,
    /// It announced an end that was none, or several: further ones are taken only if requested.
    pub(super) forged_end: bool,
}

impl Link {
    pub(super) fn has(&self, number: u64) -> bool {
        self.map.as_ref().is_some_and(|map| map.has(number))
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.map.as_ref().map(Map::newest)
    }

    /// A fragment is requested from it.
    pub(super) fn on_pull(&mut self, number: u64) {
        if self.pulls.len() >= MAX_PULLS {
            self.pulls.pop_first();
        }
        self.pulls.insert(number);
    }

    /// True if a fragment that it sends was requested from it.
    pub(super) fn is_answer(&mut self, number: u64) -> bool {
        self.pulls.remove(&number)
    }

    /// It announces an end of the stream. False if that is not believed.
    pub(super) fn on_end(&mut self, number: u64) -> bool {
        self.forged_end |= self.end.is_some_and(|end| end != number);
        self.end = Some(number);
        !self.forged_end
    }

    /// True if it can be asked for fragments.
    pub(super) fn is_askable(&self) -> bool {
        matches!(self.control, Near::Open | Near::Blocked)
    }

    /// True if fragments can be sent to it now.
    pub(super) fn takes_data(&self) -> bool {
        self.far_control.is_some() && matches!(self.data, Near::Closed | Near::Open)
    }
}
