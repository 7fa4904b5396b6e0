//! Key logs: the shared secrets of recorded sessions.
//!
//! A line is `DH_SECRET <digest> <secret>`, both in hexadecimal: SHA-256 of the initiator's keying
//! component followed by the responder's, and the Diffie-Hellman shared secret (RFC 7425 §4.6.2).
//! Everything else follows from the secret and the capture. Empty lines, lines that begin with `#`
//! and lines with another label are ignored.

use crate::text::{self, SyntaxError, expect, hex_bytes};
use nom::Parser;
use nom::bytes::complete::{tag, take_till1, take_while};
use nom::combinator::map_opt;
use nom::sequence::{preceded, terminated};
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
    #[error("line {line} of the key log is malformed: {error}")]
    Malformed {
        /// Number of the line, from 1.
        line: usize,
        /// The problem. It does not quote the secret.
        error: SyntaxError<&'static str>,
    },
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
            let malformed = |error| KeyLogError::Malformed { line: number, error };
            let text = str::from_utf8(&line).map_err(|_| malformed("not UTF-8".into()))?;
            if text.split_ascii_whitespace().next() != Some(LABEL) {
                continue;
            }
            let (digest, secret) =
                text::parse(text, secret, "expected the end of the line").map_err(malformed)?;
            self.secrets.insert(digest, secret);
            found += 1;
        }
        Ok(found)
    }

    /// The shared secret of the keying with this digest.
    pub fn secret(&self, digest: &[u8; 32]) -> Option<&[u8]> {
        self.secrets.get(digest).map(|secret| &secret[..])
    }

    /// Number of secrets.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// True if there is no secret.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

type Parsed<'a, T> = text::Parsed<'a, T, &'static str>;

fn secret(line: &str) -> Parsed<'_, ([u8; 32], Zeroizing<Vec<u8>>)> {
    let digest = map_opt(word, |digits| hex_bytes(digits).ok()?.try_into().ok());
    let secret = map_opt(word, |digits| hex_bytes(digits).ok().map(Zeroizing::new));
    let label = terminated(preceded(space, tag(LABEL)), space);
    let digest = expect(digest, "expected a digest of 64 hexadecimal digits");
    let secret = expect(secret, "expected a secret of pairs of hexadecimal digits");
    preceded(label, (digest, secret)).parse(line)
}

/// A word and the space that follows.
fn word(input: &str) -> Parsed<'_, &str> {
    terminated(take_till1(|c: char| c.is_ascii_whitespace()), space).parse(input)
}

fn space(input: &str) -> Parsed<'_, &str> {
    take_while(|c: char| c.is_ascii_whitespace()).parse(input)
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
        for (bad, column) in [
            ("DH_SECRET".to_owned(), 9),
            (format!("DH_SECRET {digest}"), 74),
            (format!("DH_SECRET {digest} 123"), 75),
            (format!("DH_SECRET {digest} xx"), 75),
            (format!("DH_SECRET {digest} 12 34"), 78),
            (format!("DH_SECRET {digest}00 12"), 10),
        ] {
            let file = format!("#\n{bad}");
            let error = KeyLog::default().read(file.as_bytes()).unwrap_err();
            let KeyLogError::Malformed { line: 2, error } = error else { panic!("{bad}: {error}") };
            assert_eq!(error.column, column, "{bad}: {error}");
            let file = format!("#\n{bad}\n");
            let error = KeyLog::default().read(file.as_bytes()).unwrap_err();
            assert!(matches!(error, KeyLogError::Malformed { line: 2, .. }), "{bad}");
        }
        let error = KeyLog::default().read(&b"\xff"[..]).unwrap_err();
        assert_eq!(error.to_string(), "line 1 of the key log is malformed: not UTF-8");
        let long = "#".repeat(MAX_LINE + 1);
        let error = KeyLog::default().read(long.as_bytes()).unwrap_err();
        assert!(matches!(error, KeyLogError::TooLong(1)));
    }
}
