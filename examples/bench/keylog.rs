//! The secrets of the measured sessions, so that their packets can be captured and decrypted.

use rtmfp::driver::KeyLogFile;
use rtmfp::proto::transport::{Endpoint, SessionId};
use std::path::Path;

/// A key log that is being written, or none.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyLog(Option<KeyLogFile>);

impl KeyLog {
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = KeyLogFile::open(path)?;
        eprintln!(
            "bench: WARNING: the secrets of every session of this run go to {}; \
             whoever has them can read the recorded packets",
            path.display()
        );
        Ok(Self(Some(file)))
    }

    /// True if there is a file.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The file, for what writes into it by itself.
    pub(crate) fn file(&self) -> Option<KeyLogFile> {
        self.0.clone()
    }

    /// Adds the secret of an open session.
    pub(crate) fn add(&self, endpoint: &Endpoint, session: SessionId) {
        if let Some(file) = &self.0 {
            file.add(endpoint, session);
        }
    }
}
