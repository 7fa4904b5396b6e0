//! Key logs, which may grow while a capture does.

use anyhow::Context;
use rtmfp::trace::KeyLog;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Open key logs.
pub(super) struct Keys {
    files: Vec<KeyFile>,
}

struct KeyFile {
    path: PathBuf,
    /// At the end of what was read.
    file: File,
    len: u64,
}

impl Keys {
    /// Opens these files and reads them.
    pub(super) fn open(paths: impl Iterator<Item = PathBuf>) -> anyhow::Result<(Self, KeyLog)> {
        let mut log = KeyLog::default();
        let mut files = Vec::new();
        for path in paths {
            let file = File::open(&path).with_context(|| cannot_read(&path))?;
            let mut file = KeyFile { path, file, len: 0 };
            file.read(&mut log)?;
            files.push(file);
        }
        Ok((Self { files }, log))
    }

    /// Reads what was appended since.
    pub(super) fn read_on(&mut self, log: &mut KeyLog) -> anyhow::Result<()> {
        self.files.iter_mut().filter(|file| file.has_grown()).try_for_each(|file| file.read(log))
    }
}

impl KeyFile {
    fn read(&mut self, log: &mut KeyLog) -> anyhow::Result<()> {
        // Before it is read: what comes meanwhile is found the next time.
        self.len = self.file.metadata().map_or(0, |metadata| metadata.len());
        log.read(&self.file).with_context(|| cannot_read(&self.path))?;
        Ok(())
    }

    fn has_grown(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() > self.len)
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the key log {}", path.display())
}
