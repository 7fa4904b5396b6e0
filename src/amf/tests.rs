//! Literal bytes, hostile input, and round trips.

mod display;
mod flash;
mod hostile;
mod literal;
mod round_trip;
mod sharing;

use super::Value;

/// Bytes from hex with blanks.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    assert_eq!(digits.len() % 2, 0, "{text}");
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// A member by path, or a panic that shows the value.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| {
        value.property(name).unwrap_or_else(|| panic!("no {name} in {value:?}"))
    })
}
