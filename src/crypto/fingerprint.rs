//! Fingerprints of certificates, which are the peer IDs of the Flash API (RFC 7425 §4.3.2).

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// SHA-256 of the canonical section of a certificate; the "peer ID".
///
/// Text form: 64 hexadecimal digits, lower case when written, either case when read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

/// A peer ID that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a peer ID has 64 hexadecimal digits")]
pub struct ParseFingerprintError;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return Err(ParseFingerprintError);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or(ParseFingerprintError)?;
            let low = char::from(pair[1]).to_digit(16).ok_or(ParseFingerprintError)?;
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_in_either_case() {
        let text = "00FFa1".to_owned() + &"7b".repeat(29);
        let fingerprint: Fingerprint = text.parse().unwrap();
        assert_eq!(fingerprint.0[..3], [0, 0xff, 0xa1]);
        assert_eq!(fingerprint.to_string(), text.to_lowercase());
    }

    #[test]
    fn wrong_text_is_refused() {
        assert!("".parse::<Fingerprint>().is_err());
        assert!("g".repeat(64).parse::<Fingerprint>().is_err());
        assert!("é".repeat(32).parse::<Fingerprint>().is_err());
    }
}
