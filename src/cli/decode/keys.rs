//! Key logs, which may grow while a capture does.

use super::print_note;
use anyhow::{Context, bail};
use rtmfp::trace::{Capture, KeyLog, KeyLogError};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Key logs, open as far as they are there.
pub(super) struct Keys {
    files: Vec<KeyFile>,
}

struct KeyFile {
    path: PathBuf,
    /// Positioned after the last line read; `None` while there is no such file.
    file: Option<File>,
    len: u64,
}

impl Keys {
    /// Opens these files and reads them. A file that is not there is waited for if the capture
    /// `is_live`: the program that will write it may start later.
    pub(super) fn open(
        paths: impl Iterator<Item = PathBuf>,
        is_live: bool,
    ) -> anyhow::Result<(Self, KeyLog)> {
        let mut log = KeyLog::default();
        let mut files = Vec::new();
        for path in paths {
            let mut file = KeyFile { path, file: None, len: 0 };
            match file.open() {
                Err(error) if error.kind() == ErrorKind::NotFound && is_live => {
                    let path = file.path.display();
                    print_note(&format!("no key log {path} yet: it is read as it is written"));
                }
                opened => opened.with_context(|| cannot_read(&file.path))?,
            }
            let found = file.read(&mut log)?;
            if found == 0 && !is_live {
                print_note(&format!(
                    "no secrets in the key log {}: a line of one is DH_SECRET <digest> <secret>",
                    file.path.display()
                ));
            }
            files.push(file);
        }
        Ok((Self { files }, log))
    }

    /// Reads appended lines.
    pub(super) fn read_on(&mut self, log: &mut KeyLog) -> anyhow::Result<()> {
        for file in &mut self.files {
            if file.has_grown() {
                file.read(log)?;
            }
        }
        Ok(())
    }
}

impl KeyFile {
    fn open(&mut self) -> std::io::Result<()> {
        self.file = Some(File::open(&self.path)?);
        Ok(())
    }

    /// Reads new lines, and returns the number of secrets.
    fn read(&mut self, log: &mut KeyLog) -> anyhow::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        // Before reading: lines appended meanwhile are found the next time.
        self.len = file.metadata().map_or(0, |metadata| metadata.len());
        match log.read(file) {
            Err(_) if is_capture(&self.path) => {
                bail!("{} is a capture file, not a key log", self.path.display())
            }
            Err(KeyLogError::Io(error)) => Err(error).with_context(|| cannot_read(&self.path)),
            read => read.with_context(|| cannot_read(&self.path)),
        }
    }

    fn has_grown(&mut self) -> bool {
        if self.file.is_none() && self.open().is_err() {
            return false;
        }
        let metadata = self.file.as_ref().and_then(|file| file.metadata().ok());
        metadata.is_some_and(|metadata| metadata.len() > self.len)
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the key log {}", path.display())
}

/// True if a regular file is a capture: the two are easily swapped.
fn is_capture(path: &Path) -> bool {
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file && File::open(path).is_ok_and(|file| Capture::open(file).is_ok())
}
