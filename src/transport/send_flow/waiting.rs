//! Messages of a sending flow of which not everything has left.
//!
//! They are cut when a packet has space for the next part, so that packets are full however long
//! the messages are, and however much else a packet carries.

use super::QueueOrder;
use super::fragment::Delivery;
use crate::wire::chunk::FragmentControl;
use bytes::Bytes;
use std::collections::VecDeque;

/// Memory that a waiting message costs beside its data.
pub(super) const MESSAGE_OVERHEAD: u64 = size_of::<Message>() as u64;
/// The shortest part that a message is cut to, in bytes. With its chunk header it is within what a
/// packet is padded by to be as long as the one before it.
const SHORTEST_PART: usize = 32;
/// Messages for which memory is kept while none waits.
const KEPT_MESSAGES: usize = 8;

/// A message that waits, or the rest of it.
#[derive(Debug)]
struct Message {
    data: Bytes,
    delivery: Delivery,
    order: QueueOrder,
    /// Parts of it have left.
    begun: bool,
}

/// The messages that wait. Messages of a flow have numbers, from 0.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: VecDeque<Message>,
    /// Number of the front of `messages`.
    first: u64,
}

/// The next part of a message.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) data: Bytes,
    pub(super) control: FragmentControl,
    /// Number of the message.
    pub(super) message: u64,
    pub(super) delivery: Delivery,
}

impl Waiting {
    /// Queues a message, and returns its number. What it overtakes gets the next number each.
    pub(super) fn push(&mut self, data: Bytes, delivery: Delivery, order: QueueOrder) -> u64 {
        let stays = |m: &Message| m.begun || m.order != QueueOrder::Yields;
        let place = match order {
            QueueOrder::Queued | QueueOrder::Yields => self.messages.len(),
            QueueOrder::Overtakes => {
                self.messages.iter().rposition(stays).map_or(0, |last| last + 1)
            }
        };
        self.messages.insert(place, Message { data, delivery, order, begun: false });
        self.first + place as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of memory for messages, their data aside.
    pub(super) fn places(&self) -> u64 {
        self.messages.capacity() as u64 * MESSAGE_OVERHEAD
    }

    /// Number of messages.
    pub(super) fn len(&self) -> u64 {
        self.messages.len() as u64
    }

    /// True if the message waits and nothing of it has left.
    pub(super) fn is_unstarted(&self, number: u64) -> bool {
        self.message(number).is_some_and(|message| !message.begun)
    }

    /// True if the last message has data that will be sent, which may carry the final flag.
    pub(super) fn ends_in_data(&self) -> bool {
        let last = self.messages.back();
        last.is_some_and(|m| m.delivery != Delivery::Abandoned && !m.data.is_empty())
    }

    /// Abandons a message, and drops its data. Returns how many bytes that were.
    pub(super) fn abandon(&mut self, number: u64) -> u64 {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        index.and_then(|index| self.messages.get_mut(index)).map_or(0, Message::abandon)
    }

    /// Abandons all messages, and drops their data. Returns how many bytes that were.
    pub(super) fn abandon_all(&mut self) -> u64 {
        self.messages.iter_mut().map(Message::abandon).sum()
    }

    /// Takes the mark of a message that was abandoned from the front.
    pub(super) fn take_abandoned(&mut self) -> Option<Part> {
        let front = self.messages.front()?;
        (front.delivery == Delivery::Abandoned).then(|| self.take(0)).flatten()
    }

    /// Cuts the next part of the front message: `here` are the bytes of data that the packet has
    /// space for, `alone` those of a packet that carries nothing else. `None` if nothing is to be
    /// cut for this packet.
    pub(super) fn cut(&mut self, here: usize, alone: usize) -> Option<Part> {
        let front = self.messages.front()?;
        let rest = front.data.len();
        let space = here.min(alone);
        if rest <= space {
            return self.take(rest);
        }
        // What is lost of a message that is not sent again is all of it, so that it should be in
        // few packets; and two fragments cost more than a little space that is left over.
        let is_little = rest.min(space) < alone / 4;
        let is_whole = !front.begun && rest <= alone;
        let stays_whole = is_whole && (front.delivery != Delivery::Reliable || is_little);
        (!stays_whole && space >= SHORTEST_PART).then(|| self.take(space)).flatten()
    }

    fn take(&mut self, len: usize) -> Option<Part> {
        let front = self.messages.front_mut()?;
        let data = front.data.split_to(len.min(front.data.len()));
        let is_last = front.data.is_empty();
        let control = match (front.begun, is_last) {
            (false, true) => FragmentControl::Whole,
            (false, false) => FragmentControl::Begin,
            (true, false) => FragmentControl::Middle,
            (true, true) => FragmentControl::End,
        };
        front.begun = true;
        let part = Part { data, control, message: self.first, delivery: front.delivery };
        if is_last {
            self.pop();
        }
        Some(part)
    }

    fn pop(&mut self) {
        self.messages.pop_front();
        self.first += 1;
        if self.messages.is_empty() && self.messages.capacity() > KEPT_MESSAGES {
            self.messages = VecDeque::new();
        }
    }

    fn message(&self, number: u64) -> Option<&Message> {
        self.messages.get(number.checked_sub(self.first)? as usize)
    }
}

impl Message {
    fn abandon(&mut self) -> u64 {
        self.delivery = Delivery::Abandoned;
        std::mem::take(&mut self.data).len() as u64
    }
}
