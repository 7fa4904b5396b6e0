//! A fragment of a message in the queue of a sending flow.

use super::waiting::Part;
use crate::wire::chunk::{FragmentControl, UserDataFlags};
use bytes::Bytes;

/// A queued fragment, with its transmission state.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) data: Bytes,
    pub(super) control: FragmentControl,
    /// Number of the message.
    pub(super) message: u64,
    pub(super) delivery: Delivery,
    pub(super) state: State,
    /// Transmission sequence number of the last transmission.
    pub(super) tsn: u64,
    /// Once acknowledged: everything from here to before this sequence number is, too. Ranges that
    /// are acknowledged again and again are passed over by it.
    pub(super) next: u64,
    /// Bytes of the chunk of the last transmission.
    pub(super) size: u32,
}

// A queue may hold many thousands of fragments, and each is touched for every packet.
const _: () = assert!(size_of::<Fragment>() <= 72);

/// Reliability of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Lost data is sent again.
    Reliable,
    /// A loss abandons the message.
    Once,
    /// The fragment was abandoned: its data is gone, and only a mark of it may still be sent.
    Abandoned,
}

/// Transmission state of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Never sent.
    Unsent,
    /// In flight, with its data.
    DataInFlight,
    /// In flight as the mark of an abandoned fragment, without data.
    MarkInFlight,
    /// Found lost and not sent again since.
    Lost,
    /// Acknowledged.
    Acknowledged,
}

impl Fragment {
    pub(super) fn new(part: Part) -> Self {
        let Part { data, control, message, delivery } = part;
        Self { data, control, message, delivery, state: State::Unsent, tsn: 0, next: 0, size: 0 }
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.state == State::Unsent
    }

    pub(super) const fn is_in_flight(&self) -> bool {
        matches!(self.state, State::DataInFlight | State::MarkInFlight)
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.state == State::Acknowledged
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.delivery == Delivery::Abandoned
    }

    /// True if the fragment waits to be sent, for the first time or again. An abandoned one waits
    /// only if it is the flow's final one.
    pub(super) fn is_waiting(&self, is_final: bool) -> bool {
        matches!(self.state, State::Unsent | State::Lost) && (is_final || !self.is_abandoned())
    }

    /// Flags of a chunk that carries the fragment.
    pub(super) fn flags(&self, is_final: bool) -> UserDataFlags {
        UserDataFlags {
            fragment: self.control,
            abandon: self.is_abandoned(),
            last: is_final,
            reserved: 0,
        }
    }

    /// Notes a transmission as a chunk of `size` bytes.
    pub(super) fn on_sent(&mut self, tsn: u64, size: u64) {
        self.state = if self.is_abandoned() { State::MarkInFlight } else { State::DataInFlight };
        self.tsn = tsn;
        self.size = size as u32;
    }

    /// Abandons the fragment, and drops its data. Returns how many bytes that were.
    pub(super) fn abandon(&mut self) -> u64 {
        self.delivery = Delivery::Abandoned;
        std::mem::take(&mut self.data).len() as u64
    }
}
