//! Messages out of fragments, in order.

use super::message::Fragment;
use crate::flash::message::HEADER_LEN;
use bytes::Bytes;

/// The place of a stream up to which everything was delivered or given up, and the message that is
/// being put together there.
#[derive(Debug)]
pub(super) struct Order {
    next: Option<u64>,
    parts: Vec<u8>,
    state: State,
    max_message: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The fragment before completed a message.
    Between,
    /// In a message that is wanted, and complete up to here.
    Within,
    /// In a message of which something is missing, or that nobody wants.
    Without,
}

impl Order {
    pub(super) fn new(max_message: usize) -> Self {
        Self { next: None, parts: Vec::new(), state: State::Without, max_message }
    }

    /// The next fragment; `None` before the start.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Goes on at a number, whatever is missing before it.
    pub(super) fn skip_to(&mut self, number: u64) {
        self.next = Some(number);
        self.parts = Vec::new();
        self.state = State::Without;
    }

    /// Adds the next fragment. Returns the message, with type and timestamp, that it completes; none
    /// if messages are not wanted, or too long.
    pub(super) fn push(&mut self, fragment: &Fragment, is_wanted: bool) -> Option<Bytes> {
        self.next = fragment.number().checked_add(1);
        let payload = fragment.payload();
        match (fragment.begins(), fragment.has_more()) {
            (true, false) => {
                self.end(State::Between);
                is_wanted.then(|| fragment.as_bytes().slice_ref(payload))
            }
            (true, true) => {
                self.end(if is_wanted { State::Within } else { State::Without });
                self.add(payload);
                None
            }
            (false, true) => {
                if self.state == State::Between {
                    self.state = State::Without;
                }
                self.add(payload);
                None
            }
            (false, false) => self.complete(fragment, is_wanted),
        }
    }

    fn complete(&mut self, fragment: &Fragment, is_wanted: bool) -> Option<Bytes> {
        let payload = fragment.payload();
        match self.state {
            State::Within => {
                self.add(payload);
                let is_whole = self.state == State::Within;
                let message = std::mem::take(&mut self.parts);
                self.state = State::Between;
                is_whole.then(|| message.into())
            }
            // Flash was seen to send a last fragment alone, as a message.
            State::Between if is_wanted && payload.len() >= HEADER_LEN => {
                Some(fragment.as_bytes().slice_ref(payload))
            }
            State::Between | State::Without => {
                self.state = State::Between;
                None
            }
        }
    }

    fn add(&mut self, payload: &[u8]) {
        if self.state != State::Within {
            return;
        }
        if self.parts.len() + payload.len() > self.max_message {
            return self.end(State::Without);
        }
        self.parts.extend_from_slice(payload);
    }

    fn end(&mut self, state: State) {
        self.parts = Vec::new();
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{MulticastData, cut};
    use super::*;

    fn fragments(message: &[u8], first: u64) -> Vec<Fragment> {
        let parse = |bytes| match MulticastData::parse(&bytes) {
            Ok(MulticastData::Fragment(fragment)) => fragment,
            other => panic!("{other:?}"),
        };
        cut(message, first).map(parse).collect()
    }

    #[test]
    fn messages_are_put_together() {
        let long: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        let mut order = Order::new(10_000);
        order.skip_to(1);
        let messages: Vec<_> = fragments(&long, 1).iter().map(|f| order.push(f, true)).collect();
        assert_eq!(messages[..4], [None, None, None, None]);
        assert_eq!(messages[4].as_deref(), Some(&long[..]));
        assert_eq!(order.next(), Some(6));
        let short = fragments(b"\x09\0\0\0\0abc", 6);
        assert_eq!(order.push(&short[0], true).as_deref(), Some(&b"\x09\0\0\0\0abc"[..]));
        assert_eq!(order.push(&short[0], false), None);
    }

    #[test]
    fn what_lacks_a_part_is_not_delivered_and_the_next_is() {
        let long = fragments(&[8; 3000], 1);
        let mut order = Order::new(10_000);
        order.skip_to(1);
        assert_eq!(order.push(&long[0], true), None);
        order.skip_to(3);
        assert_eq!(order.push(&long[2], true), None);
        assert!(order.push(&fragments(b"\x08\0\0\0\0x", 4)[0], true).is_some());
    }

    #[test]
    fn a_last_fragment_alone_is_a_message() {
        let alone = |number: u8| {
            let bytes = [&[0, number][..], b"\x08\0\0\0\x01ab"].concat();
            match MulticastData::parse(&bytes.into()) {
                Ok(MulticastData::Fragment(fragment)) => fragment,
                other => panic!("{other:?}"),
            }
        };
        let mut order = Order::new(10_000);
        order.skip_to(1);
        assert_eq!(order.push(&alone(1), true), None, "its beginning may be missing");
        assert!(order.push(&alone(2), true).is_some());
    }

    #[test]
    fn hostile_long_messages_are_dropped() {
        let mut order = Order::new(2000);
        order.skip_to(1);
        let parts: Vec<_> = fragments(&[9; 9000], 1).iter().map(|f| order.push(f, true)).collect();
        assert!(parts.iter().all(Option::is_none));
        assert!(order.parts.is_empty());
        assert!(order.push(&fragments(b"\x09\0\0\0\0x", 10)[0], true).is_some());
    }
}
