//! The option that writes the secrets of sessions to a file.

use super::log;
use rtmfp::driver::{KeyLogFile, KeyLogFileError};
use std::path::PathBuf;

/// Names a key log where no option does: to write in verbs that have sessions, to read in `decode`.
pub(crate) const VARIABLE: &str = "RTMFPKEYLOGFILE";

/// The key log, if secrets are written.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct KeyLogArgs {
    /// Append the secrets of all sessions to this file, for `rtmfp decode`: who has it can read and
    /// forge them [default: the file that $RTMFPKEYLOGFILE names, otherwise none]
    #[arg(long, value_name = "FILE")]
    keylog: Option<PathBuf>,
}

impl KeyLogArgs {
    /// Opens the file, if there is to be one, and warns of it.
    pub(crate) fn open(&self) -> Result<Option<KeyLogFile>, KeyLogFileError> {
        self.open_or(None)
    }

    /// The same, where a configuration file may name the key log, too.
    pub(crate) fn open_or(
        &self,
        configured: Option<PathBuf>,
    ) -> Result<Option<KeyLogFile>, KeyLogFileError> {
        let by_option = self.keylog.clone().map(|path| ("--keylog", path));
        let by_file = || configured.map(|path| ("key_log", path));
        let by_variable = || {
            let path = std::env::var_os(VARIABLE).filter(|name| !name.is_empty())?;
            Some((VARIABLE, PathBuf::from(path)))
        };
        let Some((how, path)) = by_option.or_else(by_file).or_else(by_variable) else {
            return Ok(None);
        };
        let file = KeyLogFile::open(path)?;
        log::warning(&format!(
            "{how}: the secrets of all sessions are written to {}; \
             whoever has this file can read and forge their packets",
            file.path().display()
        ));
        Ok(Some(file))
    }
}
