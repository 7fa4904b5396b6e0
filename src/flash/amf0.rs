//! Values for clients with object encoding 0.

use crate::amf::{Encoding, Reader, Value, Writer};
use bytes::Bytes;

/// The values of a message in AMF0 alone, which is all that clients with object encoding 0 read:
/// undefined in place of what AMF0 lacks. `None` if they are malformed.
pub(super) fn in_amf0(values: &Bytes) -> Option<Bytes> {
    let mut reader = Reader::new(values.clone());
    let mut writer = Writer::new(Encoding::Amf0);
    while !reader.is_empty() {
        let value = match reader.read_value().ok()? {
            Value::ByteArray(_)
            | Value::VectorInt(_)
            | Value::VectorUint(_)
            | Value::VectorDouble(_)
            | Value::VectorObject(_)
            | Value::Dictionary(_) => Value::Undefined,
            value => value,
        };
        writer.write(&value).ok()?;
    }
    Some(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_amf0_lacks_is_undefined() {
        let cases: [(&'static [u8], Option<&'static [u8]>); 3] = [
            (b"\x02\0\x01h\x11\x04\x07", Some(b"\x02\0\x01h\0\x40\x1c\0\0\0\0\0\0")),
            (b"\x11\x0c\x03x\x05", Some(b"\x06\x05")),
            (b"\x02\0\x09", None),
        ];
        for (values, expected) in cases {
            assert_eq!(in_amf0(&Bytes::from_static(values)).as_deref(), expected);
        }
    }
}
