//! [`Bandwidth`]: bytes per second, as people write them.

use crate::text::{self, Parsed, SyntaxError, fail};
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag_no_case;
use nom::character::complete::{char, digit1, multispace0, one_of};
use nom::combinator::{opt, recognize, value};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// A rate, in bytes of UDP payload per second; at least [`MIN`](Self::MIN).
///
/// It is written `500KB/s`, `1.5MB/s`, `4Mbit/s`, `512KiB/s`. A unit without `bit` or `B` counts
/// bytes: `4M` is 4 MB/s. K, M and G are powers of 1,000, Ki, Mi and Gi powers of 1,024; `/s` may be
/// left out, and `kbps`, `Mbps`, `Gbps` count bits.
///
/// ```
/// use rtmfp::proto::transport::Bandwidth;
///
/// let rate: Bandwidth = "4Mbit/s".parse()?;
/// assert_eq!(rate, Bandwidth::bytes_per_second(500_000));
/// assert_eq!(rate.to_string(), "500KB/s");
/// # Ok::<(), rtmfp::proto::transport::BandwidthError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// The smallest: 1 KB/s. With less, a packet takes longer than the far end waits.
    pub const MIN: Self = Self(1000);

    /// So many bytes per second; less than [`MIN`](Self::MIN) become that.
    pub const fn bytes_per_second(bytes: u64) -> Self {
        if bytes < Self::MIN.0 { Self::MIN } else { Self(bytes) }
    }

    /// Bytes per second.
    pub const fn as_bytes_per_second(self) -> u64 {
        self.0
    }

    /// Bytes in so much time, rounded down.
    pub fn worth(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0) * time.as_micros() / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// As it is parsed, without loss.
impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            1_000_000_000.. => (1_000_000_000, "GB/s"),
            1_000_000.. => (1_000_000, "MB/s"),
            _ => (1000, "KB/s"),
        };
        let digits = format!("{:0width$}", self.0 % unit, width = unit.ilog10() as usize);
        match digits.trim_end_matches('0') {
            "" => write!(f, "{}{name}", self.0 / unit),
            digits => write!(f, "{}.{digits}{name}", self.0 / unit),
        }
    }
}

/// The reason why a text is not a rate, and the character at which it is.
pub type BandwidthError = SyntaxError<BandwidthProblem>;

/// The reason why a text is not a rate, with what is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BandwidthProblem {
    /// No number, or another unit.
    #[error(
        "a rate is a number and a unit: 500KB/s, 1.5MB/s or 512KiB/s in bytes, 4Mbit/s or 4Mbps in \
         bits; 4M alone is 4 MB/s"
    )]
    Form,
    /// `b`, which is used for both.
    #[error("`b` may mean bits or bytes: write `bit` (4Mbit/s) or a capital `B` (500KB/s)")]
    Ambiguous,
    /// Less than [`Bandwidth::MIN`].
    #[error("the smallest limit is 1KB/s; without the option there is none")]
    TooSmall,
    /// More than a number holds.
    #[error("the rate is too large")]
    TooLarge,
}

impl FromStr for Bandwidth {
    type Err = BandwidthError;

    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        let text = text.trim();
        let (amount, unit) = text::parse(text, (amount, unit), BandwidthProblem::Form)?;
        let bytes = amount * unit;
        match bytes {
            _ if bytes >= u64::MAX as f64 => Err(BandwidthProblem::TooLarge.into()),
            _ if bytes < Self::MIN.0 as f64 => Err(BandwidthProblem::TooSmall.into()),
            _ => Ok(Self(bytes.round() as u64)),
        }
    }
}

/// `4`, `1.5`.
fn amount(input: &str) -> Parsed<'_, f64, BandwidthProblem> {
    let mut number = recognize((digit1, opt((char('.'), digit1))));
    let (rest, digits) = number.parse(input)?;
    // Digits, and a point at most: only their number could be wrong, which gives infinity.
    Ok((rest, digits.parse().unwrap_or(f64::INFINITY)))
}

/// Bytes per second of one: the prefix and what it counts.
fn unit(input: &str) -> Parsed<'_, f64, BandwidthProblem> {
    let (at, _) = multispace0(input)?;
    let (at, power) = opt(one_of("kKmMgG")).parse(at)?;
    let (at, binary) = opt(char('i')).parse(at)?;
    // `i` alone would be the beginning of nothing.
    if binary.is_some() && power.is_none() {
        return Err(fail(input, BandwidthProblem::Form));
    }
    let step: f64 = if binary.is_some() { 1024.0 } else { 1000.0 };
    let prefix = match power.map(|power| power.to_ascii_uppercase()) {
        Some('K') => step,
        Some('M') => step * step,
        Some('G') => step * step * step,
        _ => 1.0,
    };
    let (rest, counted) = counted(at)?;
    Ok((rest, prefix * counted))
}

/// What is counted, in bytes.
fn counted(input: &str) -> Parsed<'_, f64, BandwidthProblem> {
    let per_second = || opt(tag_no_case("/s"));
    alt((
        value(1.0 / 8.0, (tag_no_case("bit"), opt(one_of("sS")), per_second())),
        value(1.0 / 8.0, (char('b'), tag_no_case("ps"))),
        value(1.0, (char('B'), tag_no_case("ps"))),
        value(1.0, (tag_no_case("byte"), opt(one_of("sS")), per_second())),
        value(1.0, (char('B'), per_second())),
        ambiguous,
        value(1.0, per_second()),
    ))
    .parse(input)
}

/// `b` and nothing that says what it means.
fn ambiguous(input: &str) -> Parsed<'_, f64, BandwidthProblem> {
    let (_, _) = char('b').parse(input)?;
    Err(fail(input, BandwidthProblem::Ambiguous))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> u64 {
        text.parse::<Bandwidth>().unwrap_or_else(|e| panic!("{text}: {e}")).as_bytes_per_second()
    }

    #[test]
    fn every_form_that_people_write() {
        for text in
            ["500KB/s", "500kB/s", "500K", "500k", "500 KB/s", "500000", "0.5M", "4Mbit/s", "4Mbps"]
        {
            assert_eq!(parsed(text), 500_000, "{text}");
        }
        for text in ["4M", "4MB", "4MB/s", "4MBps", "4M/s", "32Mbit", "32 mbit/s", "32000kbps"] {
            assert_eq!(parsed(text), 4_000_000, "{text}");
        }
        assert_eq!(parsed("512KiB/s"), 512 << 10);
        assert_eq!(parsed("1Gi"), 1 << 30);
        assert_eq!(parsed("1Gbit/s"), 125_000_000);
        assert_eq!(parsed("1.5MB/s"), 1_500_000);
        assert_eq!(parsed("8000 bits/s"), 1000);
        assert_eq!(parsed("1000 bytes/s"), 1000);
        assert_eq!(parsed("1000"), 1000);
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |text: &str| text.parse::<Bandwidth>().unwrap_err();
        for text in ["", "fast", "-1M", "4 parsecs", "4Mx", "4M/h", "1,5MB/s", "4i", "M", "4T"] {
            assert_eq!(error(text).problem, BandwidthProblem::Form, "{text}");
            assert!(error(text).to_string().contains("500KB/s"), "{text}");
        }
        for text in ["500kb/s", "4mb", "4b"] {
            assert_eq!(error(text).problem, BandwidthProblem::Ambiguous, "{text}");
        }
        for text in ["0", "0.5", "999", "7Kbit/s"] {
            assert_eq!(error(text).problem, BandwidthProblem::TooSmall, "{text}");
        }
        let long = "9".repeat(400);
        for text in ["99999999999G", &long] {
            assert_eq!(error(text).problem, BandwidthProblem::TooLarge, "{text}");
        }
        assert_eq!(error("4Mx").column, 2);
    }

    #[test]
    fn is_shown_as_it_is_read() {
        for (bytes, text) in [
            (0, "1KB/s"),
            (1234, "1.234KB/s"),
            (500_000, "500KB/s"),
            (1_500_000, "1.5MB/s"),
            (1_000_000_001, "1.000000001GB/s"),
        ] {
            assert_eq!(Bandwidth::bytes_per_second(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn reading_what_is_shown_gives_the_same(bytes in 1000u64..1 << 50) {
            let rate = Bandwidth::bytes_per_second(bytes);
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn hostile_text_does_not_panic(text in ".*") {
            let _ = text.parse::<Bandwidth>();
        }
    }
}
