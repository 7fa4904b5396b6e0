//! Fragments of a stream.

use crate::wire::{Reason, WireError, vlu};
use bytes::Bytes;

/// The longest message that is one fragment, with its type and timestamp; a longer one is cut.
pub const FRAGMENT_SIZE: usize = 1024;

/// The fragment begins a message: its type and timestamp follow.
const BEGINS: u8 = 0x20;
/// Fragments of the same message follow: their number is given.
const MORE: u8 = 0x10;

/// A fragment, as the bytes of its message. It is passed on as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    bytes: Bytes,
    number: u64,
    remaining: Option<u64>,
    payload: usize,
}

impl Fragment {
    /// True for the type bytes of fragments.
    pub(super) const fn is_kind(kind: u8) -> bool {
        kind & !(BEGINS | MORE) == 0
    }

    pub(super) fn parse(bytes: &Bytes) -> Result<Self, WireError> {
        let at = |rest: &[u8]| bytes.len() - rest.len();
        let body = bytes.get(1..).unwrap_or_default();
        let (number, rest) = vlu::parse("multicast.fragment", body).map_err(|e| e.within(1))?;
        let mut fragment =
            Self { bytes: bytes.clone(), number, remaining: None, payload: at(rest) };
        if fragment.has_more() && !fragment.lacks_remaining(rest) {
            let (remaining, rest) =
                vlu::parse("multicast.remaining", rest).map_err(|e| e.within(at(rest)))?;
            (fragment.remaining, fragment.payload) = (Some(remaining), at(rest));
        }
        if fragment.begins() && bytes.len() - fragment.payload < crate::flash::message::HEADER_LEN {
            return Err(WireError::new("multicast.message", fragment.payload, Reason::Truncated));
        }
        Ok(fragment)
    }

    /// Flash was seen to leave out the number of fragments that follow: what stands in its place is
    /// the type of an audio or video message, and what follows that is none.
    fn lacks_remaining(&self, rest: &[u8]) -> bool {
        let is_media = |kind: Option<&u8>| matches!(kind, Some(0x08 | 0x09));
        let is_message = |kind: Option<&u8>| {
            matches!(kind, Some(0x01..=0x06 | 0x08 | 0x09 | 0x0f..=0x12 | 0x14 | 0x16))
        };
        self.begins() && is_media(rest.first()) && !is_message(rest.get(1))
    }

    /// The message of the flow.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its number in the stream.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// True if it begins a message.
    pub fn begins(&self) -> bool {
        self.bytes.first().is_some_and(|kind| kind & BEGINS != 0)
    }

    /// True if further fragments of the message follow.
    pub fn has_more(&self) -> bool {
        self.bytes.first().is_some_and(|kind| kind & MORE != 0)
    }

    /// The number of further fragments of the message, if given.
    pub fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// Its part of the message; the first begins with type and timestamp.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload..).unwrap_or_default()
    }
}

/// Cuts a message, with its type and timestamp, into fragments from number `first` on, of equal size
/// as Flash does.
pub fn cut(message: &[u8], first: u64) -> impl Iterator<Item = Bytes> + '_ {
    let count = message.len().div_ceil(FRAGMENT_SIZE).max(1);
    (0..count).map(move |place| {
        let part = &message[place * message.len() / count..(place + 1) * message.len() / count];
        let remaining = (count - 1 - place) as u64;
        let mut kind = if place == 0 { BEGINS } else { 0 };
        kind |= if remaining > 0 { MORE } else { 0 };
        let mut out = Vec::with_capacity(1 + 2 * vlu::MAX_LEN + part.len());
        out.push(kind);
        vlu::encode(first + place as u64, &mut out);
        if remaining > 0 {
            vlu::encode(remaining, &mut out);
        }
        out.extend_from_slice(part);
        out.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &'static [u8]) -> Fragment {
        Fragment::parse(&Bytes::from_static(bytes)).unwrap()
    }

    #[test]
    fn literal_bytes_of_the_player() {
        let whole = parse(b"\x20\x01\x0f\x00\x00\x0f\x9b\x00\x02\x00\x05hello");
        assert_eq!((whole.number(), whole.begins(), whole.has_more()), (1, true, false));
        assert_eq!(&whole.payload()[..5], b"\x0f\x00\x00\x0f\x9b");
        let first = parse(b"\x30\x35\x81\x43\x0f\x00\x00\x23\x22\x00\x02");
        assert_eq!((first.number(), first.remaining()), (0x35, Some(195)));
        let middle = parse(b"\x10\x07\x03567");
        assert_eq!((middle.number(), middle.remaining()), (7, Some(3)));
        assert_eq!(middle.payload(), b"567");
        let last = parse(b"\x00\x0a5678");
        assert_eq!((last.number(), last.begins(), last.has_more()), (10, false, false));
        assert_eq!((last.remaining(), last.payload()), (None, &b"5678"[..]));
    }

    #[test]
    fn a_first_fragment_may_lack_the_number_of_others() {
        let odd = parse(b"\x30\x05\x09\x00\x00\x01\x02\x17\x01");
        assert_eq!((odd.remaining(), &odd.payload()[..2]), (None, &b"\x09\x00"[..]));
        let even = parse(b"\x30\x05\x09\x09\x00\x00\x01\x02\x17\x01");
        assert_eq!((even.remaining(), &even.payload()[..2]), (Some(9), &b"\x09\x00"[..]));
    }

    #[test]
    fn messages_are_cut_as_the_player_does() {
        let sizes = |len: usize| -> Vec<usize> {
            let message = vec![7; len];
            let fragments: Vec<_> = cut(&message, 6).collect();
            let parsed = fragments.iter().map(|bytes| Fragment::parse(bytes).unwrap());
            parsed.map(|fragment| fragment.payload().len()).collect()
        };
        assert_eq!(sizes(1024), [1024]);
        assert_eq!(sizes(1027), [513, 514]);
        assert_eq!(sizes(5017), [1003, 1003, 1004, 1003, 1004]);
        let message: Vec<u8> = (0..5017u32).map(|n| n as u8).collect();
        let fragments: Vec<_> = cut(&message, 6).collect();
        let kinds: Vec<_> = fragments.iter().map(|f| (f[0], f[1])).collect();
        assert_eq!(kinds, [(0x30, 6), (0x10, 7), (0x10, 8), (0x10, 9), (0, 10)]);
        let parsed = fragments.iter().map(|bytes| Fragment::parse(bytes).unwrap());
        let joined: Vec<u8> = parsed.flat_map(|f| f.payload().to_vec()).collect();
        assert_eq!(joined, message);
    }

    #[test]
    fn hostile_fragments() {
        let reason =
            |bytes: &'static [u8]| Fragment::parse(&Bytes::from_static(bytes)).unwrap_err().reason;
        assert_eq!(reason(b"\x20"), Reason::Truncated);
        assert_eq!(reason(b"\x20\x01\x0f\x00\x00"), Reason::Truncated);
        assert_eq!(reason(b"\x10\x01"), Reason::Truncated);
        assert_eq!(reason(b"\x10\x01\xff"), Reason::Truncated);
        assert_eq!(parse(b"\x00\x01").payload(), b"");
    }
}
