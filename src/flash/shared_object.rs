//! Remote shared objects (RTMP message types 16 and 19), which this server does not keep.
//!
//! A message has the object's name, its version, eight bytes of flags, and events, each with a type,
//! a length and data (`protocol-notes/flash-profile.md`, subject "shared objects").

use bytes::Bytes;

use super::Body;

/// Events in AMF3, behind a format selector, and in AMF0.
const EXTENDED: u8 = 0x10;
const PLAIN: u8 = 0x13;

/// The client wants to use the object.
const USE: u8 = 1;
/// Code and level of a status.
const STATUS: u8 = 7;

/// The longest name that is answered, in bytes, and how many events are looked at.
const MAX_NAME: usize = 256;
const MAX_EVENTS: usize = 16;

const CODE: &str = "SharedObject.ObjectCreationFailed";
const LEVEL: &str = "error";

/// The answer to a message of type `kind`: a status that ends the use of the object. `None` if the
/// message does not ask for one.
pub(super) fn refusal(kind: u8, payload: &[u8]) -> Option<Body> {
    let mut rest = match (kind, payload) {
        (PLAIN, rest) | (EXTENDED, [0, rest @ ..]) => rest,
        _ => return None,
    };
    let len = u16::from_be_bytes(take(&mut rest)?) as usize;
    let name = rest.get(..len).filter(|name| name.len() <= MAX_NAME)?;
    rest = &rest[len..];
    let [_version, flags @ ..]: [[u8; 4]; 3] =
        [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
    let uses = std::iter::from_fn(|| event(&mut rest)).take(MAX_EVENTS).any(|kind| kind == USE);
    if !uses {
        return None;
    }
    let mut out = Vec::new();
    if kind == EXTENDED {
        out.push(0);
    }
    push_text(&mut out, name);
    out.extend([0; 4]);
    out.extend(flags.as_flattened());
    out.push(STATUS);
    let len = (2 + CODE.len() + 2 + LEVEL.len()) as u32;
    out.extend(len.to_be_bytes());
    push_text(&mut out, CODE.as_bytes());
    push_text(&mut out, LEVEL.as_bytes());
    Some(Body::Other { kind, payload: Bytes::from(out) })
}

/// The type of the next event.
fn event(rest: &mut &[u8]) -> Option<u8> {
    let [kind] = take(rest)?;
    let len = u32::from_be_bytes(take(rest)?) as usize;
    *rest = rest.get(len..)?;
    Some(kind)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// A text of less than 64 KiB.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `SharedObject.getRemote("chat", uri).connect(nc)`: version 0, not persistent, one USE event.
    const CONNECT: &[u8] = b"\0\x04chat\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0";
    const ANSWER: &[u8] = b"\0\x04chat\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x2a\
        \0\x21SharedObject.ObjectCreationFailed\0\x05error";

    fn payload(kind: u8, payload: &[u8]) -> Option<Bytes> {
        match refusal(kind, payload)? {
            Body::Other { kind: answered, payload } if answered == kind => Some(payload),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_wants_to_use_an_object_is_refused() {
        assert_eq!(payload(PLAIN, CONNECT).unwrap(), ANSWER);
        let selected = |bytes: &[u8]| [&[0], bytes].concat();
        assert_eq!(payload(EXTENDED, &selected(CONNECT)).unwrap(), selected(ANSWER));
    }

    #[test]
    fn a_persistent_object_keeps_its_flags() {
        let mut persistent = CONNECT.to_vec();
        persistent[13] = 2;
        assert_eq!(payload(PLAIN, &persistent).unwrap()[10..18], persistent[10..18]);
    }

    #[test]
    fn other_events_and_types_get_no_answer() {
        let mut release = CONNECT.to_vec();
        release[18] = 2;
        assert_eq!(payload(PLAIN, &release), None);
        assert_eq!(payload(EXTENDED, CONNECT), None, "without a format selector");
        assert_eq!(payload(0x12, CONNECT), None);
    }

    #[test]
    fn hostile_messages_get_no_answer() {
        for len in 0..CONNECT.len() {
            assert_eq!(payload(PLAIN, &CONNECT[..len]), None, "{len}");
        }
        let long = [&[0x40, 0][..], &[b'a'; 0x4000], &CONNECT[6..]].concat();
        assert_eq!(payload(PLAIN, &long), None);
        let mut beyond = CONNECT.to_vec();
        beyond[19] = 0xff;
        assert_eq!(payload(PLAIN, &beyond), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(kind in 0x0fu8..0x15, bytes: Vec<u8>) {
            let _ = refusal(kind, &bytes);
        }
    }
}
