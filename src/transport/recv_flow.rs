//! One receiving flow (RFC 7016 §3.6.3): reassembly, reordering, acknowledgement, window.

use super::held::HeldFragments;
use super::sequence_set::{Insert, SequenceSet};
use super::{Event, FlowId, SessionId, Time};
use crate::wire::chunk::{FragmentControl, encode_ack, encode_range_ack, kind};
use crate::wire::vlu;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// Time for which a complete flow still answers repetitions (§3.6.3.8).
pub const COMPLETE_LINGER: Duration = Duration::from_secs(120);
/// First and longest time after which an exception is sent again, as the observed player does.
const EXCEPTION_REPEAT: Duration = Duration::from_millis(500);
const EXCEPTION_REPEAT_MAX: Duration = Duration::from_secs(10);
/// Bytes of a message that is too long which are reported to the user.
const HEAD: usize = 512;
/// Most bytes that are set aside for a message of several fragments before more than its first has
/// arrived: a chunk of a file, 64 KiB, with what is before it in its message.
const MAX_EXPECTED: usize = 65_536 + 256;
/// Fragments beyond the advertised window that are still taken, in bytes.
const WINDOW_SLACK: u64 = 65_536;
/// Bytes that a fragment which waits for earlier ones may cost beside its data: a run of sequence
/// numbers, and a block of [`HeldFragments`] of its own.
const HELD_OVERHEAD: u64 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Rejected { exception: u64 },
    Linger { until: Time },
}

/// One received fragment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) sequence: u64,
    pub(crate) forward: u64,
    pub(crate) control: FragmentControl,
    pub(crate) abandon: bool,
    pub(crate) last: bool,
    pub(crate) data: &'a [u8],
}

/// A delivery to the user of a flow, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    Message(Bytes),
    /// At least one message is missing here (§3.6.1.2). Emitted as soon as it is known, once
    /// between two messages.
    Gap,
    /// A message is longer than the bound, and is skipped; these are its first bytes.
    TooLong(Bytes),
}

impl Delivery {
    pub(crate) fn into_event(self, session: SessionId, flow: FlowId) -> Event {
        match self {
            Self::Message(message) => Event::Message { session, flow, message },
            Self::Gap => Event::Gap { session, flow },
            Self::TooLong(head) => Event::MessageTooLong { session, flow, head },
        }
    }
}

/// Result of receiving a fragment.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Every message was delivered and no more will come.
    pub(crate) finished: bool,
    /// An acknowledgement should leave at once.
    pub(crate) ack_now: bool,
    /// The fragment exceeds a memory bound: it was not taken, and is not acknowledged.
    pub(crate) refused: bool,
}

#[derive(Debug)]
pub(crate) struct RecvFlow {
    pub(crate) id: FlowId,
    state: State,
    seen: SequenceSet,
    final_sequence: Option<u64>,
    /// Fragments that wait for earlier ones.
    held: HeldFragments,
    /// The message that is being put together, if its beginning has been seen.
    assembling: Option<BytesMut>,
    /// The rest of a message that was too long is skipped.
    skipping: bool,
    /// Length of the last message of several fragments: the next is likely to be alike.
    expected: usize,
    /// Every fragment up to this one was delivered or dropped.
    delivered: u64,
    /// The last delivery was a gap.
    gap_reported: bool,
    capacity: u64,
    max_message: usize,
    advertised: Option<u64>,
    paused: bool,
    pub(crate) should_ack: bool,
    /// Waits in the session's queue of acknowledgements.
    pub(crate) ack_queued: bool,
    /// When an exception is sent again, and the interval.
    repeat: Option<(Time, Duration)>,
}

impl RecvFlow {
    pub(crate) fn new(id: FlowId, capacity: u64, max_message: usize) -> Self {
        Self {
            id,
            state: State::Open,
            seen: SequenceSet::default(),
            final_sequence: None,
            held: HeldFragments::default(),
            assembling: None,
            skipping: false,
            expected: 0,
            delivered: 0,
            gap_reported: false,
            capacity,
            max_message,
            advertised: None,
            paused: false,
            should_ack: false,
            ack_queued: false,
            repeat: None,
        }
    }

    /// Bytes of memory that the flow costs, with everything that it holds.
    pub(crate) fn memory(&self) -> u64 {
        let assembling = self.assembling.as_ref().map_or(0, BytesMut::capacity);
        (size_of::<Self>() + self.seen.memory() + self.held.memory() + assembling) as u64
    }

    /// Bytes of the receive buffer that are in use.
    fn buffered(&self) -> u64 {
        (self.held.used() + self.assembling.as_ref().map_or(0, BytesMut::len)) as u64
    }

    /// Takes a fragment (§3.6.3.2), and gives `sink` the messages that are complete and in order,
    /// and the gaps between them. A fragment that is not the next in order and would cost more than
    /// `space` bytes of memory is refused as if it had been lost.
    pub(crate) fn receive(
        &mut self,
        now: Time,
        fragment: Received<'_>,
        space: u64,
        sink: &mut impl FnMut(Delivery),
    ) -> Outcome {
        if self.is_next(&fragment) {
            return self.receive_next(&fragment, sink);
        }
        let mut outcome = Outcome::default();
        self.should_ack = true;
        outcome.ack_now = self.state != State::Open
            || self.advertised.is_some_and(|blocks| blocks < 2)
            || fragment.abandon
            || self.seen.has_gaps();
        let new = !self.seen.contains(fragment.sequence);
        let refused = new && self.is_beyond_space(&fragment, space);
        self.seen.insert_through(fragment.forward);
        if refused || self.seen.insert(fragment.sequence) == Insert::Refused {
            outcome.ack_now = true;
            outcome.refused = true;
        } else if new {
            self.take(&fragment, &mut outcome);
        }
        outcome.ack_now |= !new || self.seen.has_gaps() || self.buffered() + 1024 > self.capacity;
        self.deliver(now, &mut outcome, sink);
        outcome
    }

    /// True if the fragment is the next in order, nothing is missing or held, and it
    /// neither abandons a message nor ends the flow.
    fn is_next(&self, fragment: &Received<'_>) -> bool {
        self.state == State::Open
            && !self.paused
            && self.held.is_empty()
            && !self.seen.has_gaps()
            && self.delivered == self.seen.cumulative()
            && self.delivered.checked_add(1) == Some(fragment.sequence)
            && fragment.forward <= self.delivered
            && !(fragment.abandon || fragment.last || self.final_sequence.is_some())
    }

    /// Takes a fragment that [is the next](Self::is_next).
    fn receive_next(
        &mut self,
        fragment: &Received<'_>,
        sink: &mut impl FnMut(Delivery),
    ) -> Outcome {
        self.should_ack = true;
        self.seen.insert_through(fragment.sequence);
        self.delivered = fragment.sequence;
        self.assemble(fragment.control, fragment.data, sink);
        let mut outcome = Outcome::default();
        outcome.ack_now |= self.advertised.is_some_and(|blocks| blocks < 2)
            || self.buffered() + 1024 > self.capacity;
        outcome
    }

    /// True if holding this fragment would exceed the buffer. The next in order is always taken,
    /// since it lets others go, unless the owner holds everything back.
    fn is_beyond_space(&self, fragment: &Received<'_>, space: u64) -> bool {
        let next = self.seen.cumulative().checked_add(1) == Some(fragment.sequence);
        let len = fragment.data.len() as u64;
        (self.paused || !next)
            && (self.buffered() + len > self.capacity + WINDOW_SLACK || len + HELD_OVERHEAD > space)
    }

    fn take(&mut self, fragment: &Received<'_>, outcome: &mut Outcome) {
        if fragment.last && self.final_sequence.is_none() {
            self.final_sequence = Some(fragment.sequence);
            outcome.ack_now = true;
        }
        if self.state != State::Open || fragment.abandon {
            return;
        }
        self.held.insert(fragment.sequence, fragment.control, fragment.data);
    }

    /// Hands out what is complete and in order (§3.6.3.3).
    fn deliver(&mut self, now: Time, outcome: &mut Outcome, sink: &mut impl FnMut(Delivery)) {
        if self.state != State::Open {
            return self.settle_rejected(now, outcome);
        }
        if !self.paused {
            self.deliver_through(self.seen.cumulative(), sink);
        }
        if self.final_sequence == Some(self.delivered) {
            self.complete(now, outcome);
        }
    }

    fn deliver_through(&mut self, cumulative: u64, sink: &mut impl FnMut(Delivery)) {
        let mut held = std::mem::take(&mut self.held);
        while let Some(fragment) = held.first()
            && fragment.sequence <= cumulative
        {
            if fragment.sequence > self.delivered + 1 {
                self.skip_through(fragment.sequence - 1, sink);
            }
            self.delivered = fragment.sequence;
            self.assemble(fragment.control, fragment.data, sink);
            held.drop_first();
        }
        self.held = held;
        if self.delivered < cumulative {
            self.skip_through(cumulative, sink);
        }
    }

    /// Skips fragments that were abandoned. The final one alone, abandoned, is how a sender
    /// finishes that has nothing left to send, and no loss.
    fn skip_through(&mut self, sequence: u64, sink: &mut impl FnMut(Delivery)) {
        let is_single = sequence == self.delivered + 1 && !self.is_in_message();
        if !is_single || self.final_sequence != Some(sequence) {
            self.drop_message();
            self.tell_gap(sink);
        }
        self.delivered = sequence;
    }

    /// True between the first fragment of a message and its last.
    fn is_in_message(&self) -> bool {
        self.assembling.is_some() || self.skipping
    }

    fn drop_message(&mut self) {
        self.assembling = None;
        self.skipping = false;
    }

    fn tell_gap(&mut self, sink: &mut impl FnMut(Delivery)) {
        if !std::mem::replace(&mut self.gap_reported, true) {
            sink(Delivery::Gap);
        }
    }

    fn tell_message(&mut self, message: Bytes, sink: &mut impl FnMut(Delivery)) {
        self.gap_reported = false;
        sink(Delivery::Message(message));
    }

    fn settle_rejected(&mut self, now: Time, outcome: &mut Outcome) {
        let all = self.final_sequence.is_some_and(|last| last <= self.seen.cumulative());
        if all && matches!(self.state, State::Rejected { .. }) {
            self.state = State::Linger { until: now + COMPLETE_LINGER };
            outcome.ack_now = true;
        }
    }

    fn complete(&mut self, now: Time, outcome: &mut Outcome) {
        self.state = State::Linger { until: now + COMPLETE_LINGER };
        self.drop_buffer();
        outcome.finished = true;
        outcome.ack_now = true;
    }

    /// Adds a fragment to the message that is being put together, and gives it to `sink` when it
    /// is complete.
    fn assemble(&mut self, control: FragmentControl, data: &[u8], sink: &mut impl FnMut(Delivery)) {
        let begins = matches!(control, FragmentControl::Whole | FragmentControl::Begin);
        if begins == self.is_in_message() {
            // A message without its end, or an end without its message.
            self.drop_message();
            self.tell_gap(sink);
        }
        match control {
            FragmentControl::Whole => {
                return self.tell_message(Bytes::copy_from_slice(data), sink);
            }
            FragmentControl::Begin => {
                let mut message = BytesMut::with_capacity(self.expected.max(data.len()));
                message.extend_from_slice(data);
                self.assembling = Some(message);
                return;
            }
            FragmentControl::Middle | FragmentControl::End => {}
        }
        let Some(message) = &mut self.assembling else {
            self.skipping &= control != FragmentControl::End;
            return;
        };
        message.extend_from_slice(data);
        if message.len() > self.max_message {
            let head = Bytes::copy_from_slice(&message[..message.len().min(HEAD)]);
            self.assembling = None;
            self.skipping = control != FragmentControl::End;
            return sink(Delivery::TooLong(head));
        }
        if control == FragmentControl::End
            && let Some(message) = self.assembling.take()
        {
            self.expected = message.len().min(MAX_EXPECTED);
            // Its owner may keep it: not with space that it does not fill.
            let spare = message.capacity() > 2 * message.len();
            let message = if spare { Bytes::copy_from_slice(&message) } else { message.freeze() };
            self.tell_message(message, sink);
        }
    }

    fn drop_buffer(&mut self) {
        self.held = HeldFragments::default();
        self.assembling = None;
    }

    /// Refuses the flow from now on (§3.6.3.7). False if it is not open.
    pub(crate) fn reject(&mut self, exception: u64) -> bool {
        if self.state != State::Open {
            return false;
        }
        self.state = State::Rejected { exception };
        self.drop_buffer();
        self.should_ack = true;
        true
    }

    /// Holds messages back, or hands out what was held back.
    pub(crate) fn pause(
        &mut self,
        now: Time,
        paused: bool,
        sink: &mut impl FnMut(Delivery),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        self.paused = paused;
        if !paused {
            self.deliver(now, &mut outcome, sink);
            self.should_ack = true;
            outcome.ack_now = true;
        }
        outcome
    }

    /// Appends what the far end must know of this flow now: an exception report if it is
    /// rejected, and an acknowledgement. False, and nothing appended, if `space` does not suffice;
    /// with `truncate` the acknowledgement is shortened instead, where possible.
    /// `bitmaps` allows the other of the two forms where it is shorter.
    pub(crate) fn assemble_ack(
        &mut self,
        space: usize,
        truncate: bool,
        bitmaps: bool,
        now: Time,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        if let State::Rejected { exception } = self.state {
            let len = vlu::encoded_len(self.id.0) + vlu::encoded_len(exception);
            out.extend_from_slice(&[kind::FLOW_EXCEPTION, 0, len as u8]);
            vlu::encode(self.id.0, out);
            vlu::encode(exception, out);
        }
        let blocks = self.blocks();
        let left = space.saturating_sub(out.len() - start);
        let ranges = self.seen.ranges();
        let (flow, cumulative) = (self.id.0, self.seen.cumulative());
        let whole = if bitmaps {
            encode_ack(flow, blocks, cumulative, ranges, left, out)
        } else {
            encode_range_ack(flow, blocks, cumulative, ranges, left, out)
        };
        if !whole.is_some_and(|whole| whole || truncate) {
            out.truncate(start);
            return false;
        }
        self.should_ack = false;
        self.advertised = Some(blocks);
        if matches!(self.state, State::Rejected { .. }) {
            self.schedule_repetition(now);
        }
        true
    }

    fn schedule_repetition(&mut self, now: Time) {
        let interval = match self.repeat {
            Some((at, last)) if at <= now => {
                last.mul_f64(std::f64::consts::SQRT_2).min(EXCEPTION_REPEAT_MAX)
            }
            Some((_, last)) => last,
            None => EXCEPTION_REPEAT,
        };
        self.repeat = Some((now + interval, interval));
    }

    /// True if the sender of a rejected flow has not finished it and is to be sent the exception
    /// again: the report may have been lost, and an idle sender gives no other occasion.
    pub(crate) fn repetition_due(&mut self, now: Time) -> bool {
        let due = matches!(self.state, State::Rejected { .. })
            && !self.should_ack
            && self.repeat.is_some_and(|(at, _)| at <= now);
        self.should_ack |= due;
        due
    }

    /// Window in blocks of 1,024 bytes (§3.6.3.5).
    fn blocks(&self) -> u64 {
        if matches!(self.state, State::Rejected { .. }) {
            return 0;
        }
        let blocks = self.capacity.saturating_sub(self.buffered()).div_ceil(1024);
        if blocks == 0 && self.capacity > 0 && !self.paused { 1 } else { blocks }
    }

    /// When the flow can be dropped, or an exception is to be sent again.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        match self.state {
            State::Open => None,
            State::Rejected { .. } if self.should_ack => None,
            State::Rejected { .. } => self.repeat.map(|(at, _)| at),
            State::Linger { until } => Some(until),
        }
    }

    /// When the flow can be dropped.
    pub(crate) const fn linger_until(&self) -> Option<Time> {
        match self.state {
            State::Linger { until } => Some(until),
            _ => None,
        }
    }

    #[cfg(test)]
    fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

#[cfg(test)]
mod tests;
