//! The file of the keys that sign tokens: one a line, its ID and its secret.

use super::{Key, TokenKeys};
use crate::driver::{Access, OutputPath, calendar_ms, os_random, write_whole};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// The shortest secret in bytes: as long as a hash (RFC 7518 §3.2).
pub const MIN_SECRET: usize = 32;
/// The most keys in a file: a token without a key's ID is tried with each.
pub const MAX_KEYS: usize = 16;
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Random bytes of a new secret.
const NEW_SECRET: usize = 32;

/// A file of keys can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// It can't be read.
    #[error("can't read the secret file {}: {source}; `rtmfp token --secret-file` makes one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// It does not exist and can't be created.
    #[error("can't write the secret file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// There is no key.
    #[error("there is no secret; write a line such as: k1 SECRET")]
    Empty,
    /// More than [`MAX_KEYS`].
    #[error("there are more than {MAX_KEYS} secrets; remove those that no valid token needs")]
    TooMany,
    /// A line is no key.
    #[error("line {line} is no secret: write ID SECRET, or SECRET alone, without blanks in them")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// A secret can be guessed.
    #[error(
        "the secret in line {line} is shorter than {MIN_SECRET} characters; `openssl rand -hex 32` \
         prints a good one"
    )]
    Short {
        /// The line, from 1.
        line: usize,
    },
    /// Two keys have one ID.
    #[error("the ID in line {line} is that of another secret, too")]
    Twice {
        /// The line, from 1.
        line: usize,
    },
    /// An error in this file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        source: Box<Self>,
    },
}

pub(super) fn parse(text: &str) -> Result<Vec<Key>, SecretFileError> {
    let mut keys: Vec<Key> = Vec::new();
    for (at, content) in text.lines().enumerate() {
        let line = at + 1;
        let mut words = content.split_whitespace();
        let (id, secret) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(word), ..) if word.starts_with('#') => continue,
            (Some(secret), None, _) => ("", secret),
            (Some(id), Some(secret), None) => (id, secret),
            _ => return Err(SecretFileError::Line { line }),
        };
        if secret.len() < MIN_SECRET {
            return Err(SecretFileError::Short { line });
        }
        if !id.is_empty() && keys.iter().any(|key| key.id == id) {
            return Err(SecretFileError::Twice { line });
        }
        if keys.len() >= MAX_KEYS {
            return Err(SecretFileError::TooMany);
        }
        keys.push(Key { id: id.to_owned(), secret: Zeroizing::new(secret.to_owned()) });
    }
    if keys.is_empty() { Err(SecretFileError::Empty) } else { Ok(keys) }
}

pub(super) fn read(path: &Path) -> Result<TokenKeys, SecretFileError> {
    let text =
        text_of(path).map_err(|source| SecretFileError::Read { path: path.to_owned(), source })?;
    of_file(path, &text)
}

pub(super) fn read_or_create(path: &Path) -> Result<(TokenKeys, bool), SecretFileError> {
    match text_of(path) {
        Ok(text) => Ok((of_file(path, &text)?, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = new_secret();
            create(path, text.as_bytes())
                .map_err(|source| SecretFileError::Write { path: path.to_owned(), source })?;
            Ok((of_file(path, &text)?, true))
        }
        Err(source) => Err(SecretFileError::Read { path: path.to_owned(), source }),
    }
}

fn of_file(path: &Path, text: &str) -> Result<TokenKeys, SecretFileError> {
    TokenKeys::parse(text)
        .map_err(|error| SecretFileError::File { path: path.to_owned(), source: Box::new(error) })
}

fn text_of(path: &Path) -> io::Result<Zeroizing<String>> {
    // Of this size from the start, so that no copy is left behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// A line with a new key, whose ID is the time of its making.
fn new_secret() -> Zeroizing<String> {
    let mut secret = Zeroizing::new([0; NEW_SECRET]);
    os_random().fill_bytes(&mut *secret);
    let mut line = Zeroizing::new(format!("{} ", calendar_ms() / 1000));
    line.reserve_exact(2 * NEW_SECRET + 1);
    // Writing to a `String` cannot fail.
    for byte in secret.iter() {
        let _ = write!(line, "{byte:02x}");
    }
    line.push('\n');
    line
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match OutputPath::locate(path)? {
        OutputPath::Missing(path) => write_whole(&path, bytes, Access::Private, false),
        _ => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn lines_with_and_without_id() {
        let keys = parse(&format!("# ours\n\n k2\t{A}2 \n{A}1\r\n")).unwrap();
        let keys: Vec<_> = keys.iter().map(|key| (&*key.id, &**key.secret)).collect();
        assert_eq!(keys, [("k2", &*format!("{A}2")), ("", &*format!("{A}1"))]);
    }

    #[test]
    fn mistakes_name_the_line_and_not_the_secret() {
        for (text, expected) in [
            (String::new(), "there is no secret;"),
            ("#x\n".into(), "there is no secret;"),
            (format!("\nk1 {}\n", &A[1..]), "the secret in line 2 is shorter than 32"),
            (format!("k1 {A} more"), "line 1 is no secret"),
            (format!("k1 {A}\nk1 {A}x"), "the ID in line 2"),
            (format!("{A}\n").repeat(17), "there are more than 16"),
        ] {
            let error = parse(&text).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains(&A[1..]), "{error}");
        }
    }

    #[test]
    fn a_file_is_made_once_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let error = TokenKeys::read(&path).unwrap_err().to_string();
        assert!(error.contains("`rtmfp token --secret-file` makes one"), "{error}");
        let (first, is_new) = TokenKeys::read_or_create(&path).unwrap();
        assert!(is_new);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let (second, is_new) = TokenKeys::read_or_create(&path).unwrap();
        assert!(!is_new && !first.keys[0].id.is_empty());
        assert_eq!(first.keys[0].secret, second.keys[0].secret);
        std::fs::write(&path, "k1 short\n").unwrap();
        let error = TokenKeys::read(&path).unwrap_err().to_string();
        assert!(error.contains("secret: the secret in line 1 is shorter"), "{error}");
    }
}
