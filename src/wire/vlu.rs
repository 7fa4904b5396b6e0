//! Variable length unsigned integers (RFC 7016 §2.1.2): seven bits a byte, most significant first,
//! the high bit set in all but the last byte.

use super::{Reason, WireError};

/// The longest encoding that is accepted: ten bytes hold any `u64`.
pub const MAX_LEN: usize = 10;

/// Reads a VLU from the front of `input` and returns it with the rest.
///
/// Leading zero digits (`80 80 05`) are accepted as long as the encoding stays within
/// [`MAX_LEN`] bytes. A value above `u64::MAX` is [`Reason::TooLarge`].
pub fn parse<'a>(field: &'static str, input: &'a [u8]) -> Result<(u64, &'a [u8]), WireError> {
    let mut value: u64 = 0;
    for (i, &byte) in input.iter().enumerate().take(MAX_LEN) {
        if value > u64::MAX >> 7 {
            return Err(WireError::new(field, 0, Reason::TooLarge));
        }
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok((value, &input[i + 1..]));
        }
    }
    let reason = if input.len() >= MAX_LEN { Reason::TooLarge } else { Reason::Truncated };
    Err(WireError::new(field, 0, reason))
}

/// Number of bytes that [`encode`] appends for `value` (1 to 10).
pub const fn encoded_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value` in its shortest encoding.
pub fn encode(value: u64, out: &mut Vec<u8>) {
    let len = encoded_len(value);
    for i in (0..len).rev() {
        let more = if i > 0 { 0x80 } else { 0 };
        out.push(((value >> (7 * i)) & 0x7f) as u8 | more);
    }
}

/// Reads a VLU length and that many bytes (the `vlu_t` length-prefixed field of RFC 7016).
pub fn parse_prefixed<'a>(
    field: &'static str,
    input: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), WireError> {
    let (len, rest) = parse(field, input)?;
    let len = usize::try_from(len).map_err(|_| WireError::new(field, 0, Reason::TooLarge))?;
    rest.split_at_checked(len).ok_or(WireError::new(field, 0, Reason::Truncated))
}

/// Appends `bytes` behind their length as a VLU.
pub fn encode_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    encode(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Number of bytes that [`encode_prefixed`] appends for `len` bytes.
pub const fn prefixed_len(len: usize) -> usize {
    encoded_len(len as u64) + len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    #[test]
    fn literal_bytes() {
        for (value, bytes) in [
            (0u64, &[0u8][..]),
            (127, &[0x7f]),
            (128, &[0x81, 0x00]),
            (16383, &[0xff, 0x7f]),
            (999_999, &[0xbd, 0x84, 0x3f]),
            (300_000, &[0x92, 0xa7, 0x60]),
            (1 << 53, &[0x90, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
            (u64::MAX, &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ] {
            assert_eq!(encoded(value), bytes);
            assert_eq!(parse("x", bytes), Ok((value, &[][..])));
        }
    }

    #[test]
    fn leading_zero_digits_are_accepted() {
        assert_eq!(parse("x", &[0x80, 0x80, 0x05, 9]), Ok((5, &[9u8][..])));
    }

    #[test]
    fn hostile_endless_and_overflowing() {
        assert_eq!(parse("x", &[]).unwrap_err().reason, Reason::Truncated);
        assert_eq!(parse("x", &[0x80; 9]).unwrap_err().reason, Reason::Truncated);
        assert_eq!(parse("x", &[0x80; 4000]).unwrap_err().reason, Reason::TooLarge);
        let over = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(parse("x", &over).unwrap_err().reason, Reason::TooLarge);
        assert_eq!(parse_prefixed("x", &encoded(u64::MAX)).unwrap_err().reason, Reason::Truncated);
    }

    proptest! {
        #[test]
        fn round_trip(value: u64, tail: Vec<u8>) {
            let mut bytes = encoded(value);
            prop_assert_eq!(bytes.len(), encoded_len(value));
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(parse("x", &bytes), Ok((value, &tail[..])));
        }
    }
}
