//! The secrets of the measured sessions, so that their packets can be captured and decrypted.

use anyhow::Context;
use rtmfp::transport::{Endpoint, SessionId};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A key log that is being written, or none.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyLog(Option<Arc<Mutex<File>>>);

impl KeyLog {
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = append(path).with_context(|| format!("can't write {}", path.display()))?;
        eprintln!(
            "bench: WARNING: the secrets of every session of this run go to {}; \
             whoever has them can read the recorded packets",
            path.display()
        );
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Whether there is a file.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds the secret of an open session. An error is reported once per session and does not stop
    /// the measurement.
    pub(crate) fn add(&self, endpoint: &Endpoint, session: SessionId) {
        let Some(file) = &self.0 else { return };
        let Some(session) = endpoint.session(session) else { return };
        let Some(line) = session.key_log_line() else { return };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{}", line.as_ref().trim_end()) {
            eprintln!("bench: the key log can't be written: {error}");
        }
    }
}

/// Only the owner may read it, also if it was there before.
fn append(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}
