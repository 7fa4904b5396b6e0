//! Display of values for people.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes in hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Ranges of numbers: `1-5 7 9-10`.
pub(super) struct Ranges<'a>(pub(super) &'a [RangeInclusive<u64>]);

/// Ranges that are shown.
const MAX_RANGES: usize = 32;

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, range) in self.0.iter().take(MAX_RANGES).enumerate() {
            let space = if i == 0 { "" } else { " " };
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{space}{start}")?,
                (start, end) => write!(f, "{space}{start}-{end}")?,
            }
        }
        if self.0.len() > MAX_RANGES { write!(f, " … ({} ranges)", self.0.len()) } else { Ok(()) }
    }
}

/// Seconds with microseconds.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}

/// Milliseconds with two digits behind the point.
pub(super) struct Millis(pub(super) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms", self.0.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(Hex(&[0, 0xab]).to_string(), "00ab");
        assert_eq!(Ranges(&[1..=5, 7..=7]).to_string(), "1-5 7");
        assert_eq!(Ranges(&[]).to_string(), "none");
        assert!(Ranges(&vec![0..=0; 33]).to_string().ends_with(" 0 … (33 ranges)"));
        assert_eq!(Seconds(Duration::from_nanos(1_000_002_999)).to_string(), "1.000002");
        assert_eq!(Millis(Duration::from_micros(1234)).to_string(), "1.23 ms");
    }
}
