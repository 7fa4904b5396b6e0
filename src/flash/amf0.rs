//! Values for clients with object encoding 0.

use crate::amf::{Encoding, Reader, Writer};
use bytes::Bytes;

/// Bytes that the values of one message may grow to beyond 16 times their length: AMF0 has no references
/// to strings and names, so that a short value of AMF3 can be a long one. Longer values are left out.
pub(super) const MAX_GROWTH: u64 = 1 << 20;

/// The values of a message in AMF0 alone, which is all that clients with object encoding 0 read:
/// undefined in place of what AMF0 lacks. `None` if they are malformed, or would grow by more than
/// `growth`, of which it takes what they grow.
pub(super) fn in_amf0(values: &Bytes, growth: &mut u64) -> Option<Bytes> {
    let mut reader = Reader::new(values.clone()).with_growth(*growth);
    let mut writer = Writer::new(Encoding::Amf0Only);
    while !reader.is_empty() {
        writer.write(&reader.read_value().ok()?).ok()?;
    }
    *growth = growth.saturating_sub(reader.grown());
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
            let converted = in_amf0(&Bytes::from_static(values), &mut 100);
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
        let mut growth = MAX_GROWTH;
        let short = in_amf0(&references(10), &mut growth);
        assert_eq!((short.map(|it| it.len()), growth), (Some(5 + 11 * 13), MAX_GROWTH));
        // Each grows to a million bytes. What one message may grow by is shared by its values.
        assert!(in_amf0(&references(1000), &mut growth).is_some());
        assert!(growth < MAX_GROWTH / 8);
        assert_eq!(in_amf0(&references(1000), &mut growth), None);
        assert!(in_amf0(&references(10), &mut growth).is_some());
    }
}
