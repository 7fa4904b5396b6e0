//! Key logs: the secrets of sessions, appended to a file for those who decode captures.

use super::output::OutputPath;
use crate::transport::{Endpoint, SessionId};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;
use tracing::warn;
use zeroize::Zeroizing;

/// A file that gets a line for each opened session, by which everybody who has it can read and
/// forge the packets of these sessions.
///
/// Lines are those that [`SessionRef::key_log_line`](crate::transport::SessionRef::key_log_line)
/// describes. Each is appended whole, so that several processes may share a file. Clones are cheap
/// and mean the same file. An endpoint must keep its secrets
/// ([`Config::keep_secrets`](crate::transport::Config::keep_secrets)); servers, connections, shares
/// and fetches that are given a key log see to that.
#[derive(Clone)]
pub struct KeyLogFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: File,
    /// Set once a line could not be written, which is logged once.
    has_failed: AtomicBool,
}

/// A key log that cannot be written to.
#[derive(Debug, Error)]
#[error("cannot write the key log {}", path.display())]
#[non_exhaustive]
pub struct KeyLogFileError {
    /// The file.
    pub path: PathBuf,
    /// The operating system's error.
    pub source: io::Error,
}

impl KeyLogFile {
    /// Opens a file to append to, and makes it if it does not exist. On Unix only its owner may
    /// read and write it from then on, also if it existed. A device, a pipe or an open descriptor
    /// (`/dev/stderr`) is written to as it is.
    ///
    /// # Errors
    ///
    /// [`KeyLogFileError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KeyLogFileError> {
        let path = path.as_ref().to_owned();
        match append(&path) {
            Ok(file) => {
                Ok(Self(Arc::new(Inner { path, file, has_failed: AtomicBool::new(false) })))
            }
            Err(source) => Err(KeyLogFileError { path, source }),
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Adds the secret of an open session. Nothing is added if the session is gone or its endpoint
    /// keeps no secrets. A write failure is logged once, and stops
    /// nothing.
    pub fn add(&self, endpoint: &Endpoint, session: SessionId) {
        let line = endpoint.session(session).and_then(|session| session.key_log_line());
        let Some(line) = line else { return };
        let outcome = self.add_line(line.as_ref());
        if let Err(error) = outcome
            && !self.0.has_failed.swap(true, Ordering::Relaxed)
        {
            warn!("cannot write the key log {}: {error}", self.0.path.display());
        }
    }

    /// One write, so that lines of others do not come between.
    fn add_line(&self, line: &str) -> io::Result<()> {
        let mut whole = Zeroizing::new(Vec::with_capacity(line.len() + 1));
        whole.extend_from_slice(line.as_bytes());
        whole.push(b'\n');
        (&self.0.file).write_all(&whole)
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLogFile").field("path", &self.0.path).finish_non_exhaustive()
    }
}

fn append(path: &Path) -> io::Result<File> {
    if let OutputPath::InOrder(place) = OutputPath::locate(path)? {
        let unread = "it is a pipe that no process reads; start the reader first";
        return place.open()?.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, unread));
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_to_a_file_that_becomes_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, "# before\n").unwrap();
        let (one, other) = (KeyLogFile::open(&path).unwrap(), KeyLogFile::open(&path).unwrap());
        one.add_line("a").unwrap();
        other.add_line("b").unwrap();
        one.clone().add_line("c").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# before\na\nb\nc\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let error = KeyLogFile::open(directory.path()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write the key log "), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_that_nobody_reads_is_reported_and_stays() {
        use std::os::unix::fs::FileTypeExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        crate::driver::output::make_pipe(&path);
        let error = KeyLogFile::open(&path).unwrap_err();
        assert!(error.source.to_string().contains("no process reads"), "{error:?}");
        assert!(path.metadata().unwrap().file_type().is_fifo());
        KeyLogFile::open("/dev/null").unwrap().add_line("a").unwrap();
    }
}
