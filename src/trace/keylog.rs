//! Key logs: the shared secrets of recorded sessions.
//!
//! A line is `DH_SECRET <digest> <secret>`, both in hexadecimal: SHA-256 of the initiator's keying
//! component followed by the responder's, and the Diffie-Hellman shared secret (RFC 7425 §4.6.2).
//! Everything else follows from the secret and the capture. Empty lines, lines that begin with `#`
//! and lines with another label are ignored.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use thiserror::Error;
use zeroize::Zeroizing;

const LABEL: &str = "DH_SECRET";

/// The longest line that is accepted, in bytes. A secret in group 16 has 1,024 digits.
const MAX_LINE: usize = 8192;

/// A key log that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyLogError {
    /// The reader failed.
    #[error("cannot read the key log: {0}")]
    Io(#[from] std::io::Error),
    /// A line with the right label has something wrong behind it.
    #[error("line {0} of the key log is malformed")]
    Malformed(usize),
    /// A line is longer than any that makes sense.
    #[error("line {0} of the key log is too long")]
    TooLong(usize),
}

/// Secrets by the digest of their keying. Grows with the files that are read into it.
#[derive(Default, Clone)]
pub struct KeyLog {
    secrets: HashMap<[u8; 32], Zeroizing<Vec<u8>>>,
}

impl KeyLog {
    /// Adds the secrets of a file, and returns how many lines had one. May be called for several
    /// files.
    pub fn read(&mut self, file: impl Read) -> Result<usize, KeyLogError> {
        let mut file = BufReader::new(file);
        let mut line = Zeroizing::new(Vec::new());
        let mut found = 0;
        for number in 1.. {
            line.clear();
            let limit = MAX_LINE as u64;
            let len = file.by_ref().take(limit).read_until(b'\n', &mut line)?;
            if len == 0 {
                break;
            }
            if len == MAX_LINE {
                return Err(KeyLogError::TooLong(number));
            }
            let text = str::from_utf8(&line).map_err(|_| KeyLogError::Malformed(number))?;
            let mut words = text.split_ascii_whitespace();
            if words.next() != Some(LABEL) {
                continue;
            }
            let digest = words.next().and_then(unhex).and_then(|d| d[..].try_into().ok());
            let secret = words.next().and_then(unhex);
            match (digest, secret, words.next()) {
                (Some(digest), Some(secret), None) => self.secrets.insert(digest, secret),
                _ => return Err(KeyLogError::Malformed(number)),
            };
            found += 1;
        }
        Ok(found)
    }

    /// The shared secret of the keying with this digest.
    pub fn secret(&self, digest: &[u8; 32]) -> Option<&[u8]> {
        self.secrets.get(digest).map(|secret| &secret[..])
    }

    /// How many secrets there are.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

fn unhex(digits: &str) -> Option<Zeroizing<Vec<u8>>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?));
    if !rest.is_empty() {
        return None;
    }
    Some(Zeroizing::new(bytes.collect::<Option<_>>()?))
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLog").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files() {
        let digest = "ab".repeat(32);
        let mut log = KeyLog::default();
        let file = format!("# comment\n\nOTHER 1 2\nDH_SECRET {digest} 0aFF\r\n");
        assert_eq!(log.read(file.as_bytes()).unwrap(), 1);
        assert_eq!(log.secret(&[0xab; 32]), Some(&[0x0a, 0xff][..]));
        let other = format!("DH_SECRET {} 00", "cd".repeat(32));
        assert_eq!(log.read(other.as_bytes()).unwrap(), 1);
        assert_eq!(log.len(), 2);
        assert_eq!(format!("{log:?}"), "KeyLog { len: 2, .. }");
    }

    #[test]
    fn malformed_lines_are_named() {
        let digest = "ab".repeat(32);
        for bad in [
            "DH_SECRET".to_owned(),
            format!("DH_SECRET {digest}"),
            format!("DH_SECRET {digest} 123"),
            format!("DH_SECRET {digest} xx"),
            format!("DH_SECRET {digest} 12 34"),
            format!("DH_SECRET {}00 12", digest),
        ] {
            let file = format!("#\n{bad}\n");
            let error = KeyLog::default().read(file.as_bytes()).unwrap_err();
            assert!(matches!(error, KeyLogError::Malformed(2)), "{bad}");
        }
        let long = "#".repeat(MAX_LINE + 1);
        let error = KeyLog::default().read(long.as_bytes()).unwrap_err();
        assert!(matches!(error, KeyLogError::TooLong(1)));
    }
}
