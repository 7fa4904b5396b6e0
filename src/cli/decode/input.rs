//! Where captures come from: files, standard input, files that grow.

use crate::cli::decode::print_note;
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Files from this length on get a progress bar, in bytes.
const LARGE: u64 = 64 << 20;

/// How often a file that grows is looked at.
const POLL: Duration = Duration::from_millis(200);

/// A capture file being read.
pub(super) struct Input {
    name: String,
    reader: Box<dyn Read + Send>,
    progress: Option<ProgressBar>,
    /// Set if the end of the file is not the end.
    follow: Option<Arc<AtomicBool>>,
    is_live: bool,
}

impl Input {
    pub(super) fn open(path: &Path, follow: bool, stop: &Arc<AtomicBool>) -> anyhow::Result<Self> {
        if Self::is_standard(path) {
            let (reader, progress) = (Box::new(io::stdin()), None);
            let name = "standard input".to_owned();
            return Ok(Self { name, reader, progress, follow: None, is_live: true });
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        let follow = follow.then(|| stop.clone());
        let progress = (len >= LARGE && follow.is_none()).then(|| bar(len)).flatten();
        if follow.is_some() && io::stderr().is_terminal() {
            print_note(&format!("following {name}; Ctrl-C ends it"));
        }
        let is_live = follow.is_some();
        Ok(Self { name, reader: Box::new(file), progress, follow, is_live })
    }

    /// Whether `path` stands for standard input.
    pub(super) fn is_standard(path: &Path) -> bool {
        path.as_os_str() == "-"
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn progress(&self) -> Option<ProgressBar> {
        self.progress.clone()
    }

    /// Whether somebody may be waiting for the next packet.
    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }
}

/// A bar, where there is a terminal that shows nothing else.
fn bar(len: u64) -> Option<ProgressBar> {
    if io::stdout().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let template = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}";
    let style = ProgressStyle::with_template(template).ok()?;
    Some(ProgressBar::new(len).with_style(style))
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.reader.read(buffer)?;
            if let Some(progress) = &self.progress {
                progress.inc(read as u64);
            }
            let Some(stop) = &self.follow else { return Ok(read) };
            if read > 0 || stop.load(Ordering::Relaxed) {
                return Ok(read);
            }
            // Nobody sends: this waits.
            let (_sender, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(POLL);
        }
    }
}
