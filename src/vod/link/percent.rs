//! Percent-encoding, as links have it.

use std::fmt::Write as _;

use crate::text::hex_bytes;

/// Percent-encoded text, as far as it is that.
pub(in crate::vod) fn decoded_lossy(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%');
        let escaped = hex.and_then(|hex| hex_bytes(std::str::from_utf8(hex).ok()?).ok());
        let (byte, used) = match escaped.as_deref() {
            Some(&[byte]) => (byte, 2),
            _ => (first, 0),
        };
        bytes.push(byte);
        rest = after.get(used..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text, percent-encoded outside of letters, digits and what no shell needs quoted.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
