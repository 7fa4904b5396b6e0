//! Values for clients with object encoding 0.

use crate::amf::{Encoding, Reader, Writer};
use bytes::Bytes;

/// What the values of one message may grow to: AMF0 has no references to strings and names, so that a
/// short value of AMF3 can be a long one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes beyond 16 times their length.
    growth: u64,
    /// Bytes in all. A server closes clients for which 2 MiB wait.
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { growth: 1 << 20, bytes: 3 << 19 }
    }
}

/// The values of a message in AMF0 alone, which is all that clients with object encoding 0 read:
/// undefined in place of what AMF0 lacks. `None` if they are malformed, or would grow beyond the room
/// that there is, of which they take their part.
pub(super) fn in_amf0(values: &Bytes, room: &mut Room) -> Option<Bytes> {
    let mut reader = Reader::new(values.clone()).with_growth(room.growth);
    let mut writer = Writer::new(Encoding::Amf0Only).with_limit(room.bytes);
    while !reader.is_empty() {
        writer.write(&reader.read_value().ok()?).ok()?;
    }
    room.growth = room.growth.saturating_sub(reader.grown());
    room.bytes = room.bytes.checked_sub(writer.as_bytes().len())?;
    Some(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_amf0_lacks_is_undefined() {
        let cases: [(&'static [u8], Option<&'static [u8]>); 5] = [
            (b"\x02\0\x01h\x11\x04\x07", Some(b"\x02\0\x01h\0\x40\x1c\0\0\0\0\0\0")),
            (b"\x11\x0c\x03x\x05", Some(b"\x06\x05")),
            // An object with a ByteArray, and XML.
            (
                b"\x11\x0a\x0b\x01\x03b\x0c\x03x\x03n\x04\x07\x01",
                Some(b"\x03\0\x01b\x06\0\x01n\0\x40\x1c\0\0\0\0\0\0\0\0\x09"),
            ),
            (b"\x11\x0b\x09<a/>\x05", Some(b"\x0f\0\0\0\x04<a/>\x05")),
            (b"\x02\0\x09", None),
        ];
        for (values, expected) in cases {
            let converted = in_amf0(&Bytes::from_static(values), &mut Room::default());
            assert_eq!(converted.as_deref(), expected);
        }
    }

    /// An array of a string, and as many references to it as it has bytes.
    fn references(len: usize) -> Bytes {
        let vlu = |value: usize| [0x80 | (value >> 6) as u8, ((value << 1) & 0x7f) as u8 | 1];
        let mut value = [&[0x11, 0x09][..], &vlu(len + 1), &[0x01, 0x06], &vlu(len)].concat();
        value.extend(vec![b'a'; len]);
        value.extend([0x06, 0x00].repeat(len));
        value.into()
    }

    #[test]
    fn hostile_references_to_strings_are_not_written_out() {
        let mut room = Room::default();
        let short = in_amf0(&references(10), &mut room);
        assert_eq!((short.map(|it| it.len()), room.growth), (Some(5 + 11 * 13), 1 << 20));
        // Each grows to a million bytes. What one message may grow by is shared by its values.
        assert!(in_amf0(&references(1000), &mut room).is_some());
        assert!(room.growth < 1 << 17);
        assert_eq!(in_amf0(&references(1000), &mut room), None);
        assert!(in_amf0(&references(10), &mut room).is_some());
    }

    /// Numbers of AMF3 take nine bytes each in AMF0, whatever the growth.
    #[test]
    fn hostile_values_are_not_longer_than_clients_can_take() {
        let mut room = Room::default();
        let numbers: Bytes = [4, 7].repeat(100_000).into();
        let array = |len: u32| {
            let count = len << 1 | 1;
            let count = [0x80 | (count >> 14) as u8, 0x80 | (count >> 7) as u8, count as u8 & 0x7f];
            let head = [&[0x11, 9][..], &count, &[1]].concat();
            Bytes::from([&head[..], &numbers[..2 * len as usize]].concat())
        };
        assert_eq!(in_amf0(&array(100_000), &mut room).map(|it| it.len()), Some(5 + 900_000));
        assert_eq!(in_amf0(&array(100_000), &mut room), None);
        assert!(in_amf0(&array(50_000), &mut room).is_some());
    }

    /// An array that contains itself, and is behind more containers than references can name.
    #[test]
    fn hostile_cycles_beyond_all_references_end() {
        // 65,536 empty arrays, and an array of a string and itself.
        let mut input = vec![0x11, 9, 0x88, 0x80, 3, 1];
        for _ in 0..65_536 {
            input.extend([9, 1, 1]);
        }
        input.extend([9, 5, 1, 6, 3, b'a']);
        // The reference to the last array, which is number 65,537.
        input.extend([9, 0x88, 0x80, 2]);
        let plain = in_amf0(&input.into(), &mut Room::default()).unwrap();
        assert!(plain.ends_with(b"\x0a\0\0\0\x02\x02\0\x01a\x05"));
    }
}
