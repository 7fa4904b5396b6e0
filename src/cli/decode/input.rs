//! Sources of captures: files, standard input, files that grow.

use crate::cli::decode::print_note;
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rtmfp::trace::{Capture, CaptureError};
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Files from this length on get a progress bar, in bytes.
const LARGE: u64 = 64 << 20;

/// Interval at which a growing file is read.
const POLL: Duration = Duration::from_millis(200);

/// Bytes of a file by which its format is recognised: all that is read of a compressed one until its
/// first bytes are there.
const HEAD: u64 = 64 << 10;

/// Bytes of the header of a capture file.
const HEADER: usize = 24;

/// Checks that the capture at `path` can be read, without consuming anything: a pipe is left alone.
/// A file without a header may still grow if it is followed.
///
/// # Errors
///
/// If it cannot be opened or is of no known format. The error suggests what it may be.
pub(super) fn check(path: &Path, follow: bool) -> anyhow::Result<()> {
    if Input::is_standard(path) {
        return Ok(());
    }
    let name = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("cannot open {name}"))?;
    if metadata.is_dir() {
        bail!("{name} is a directory: name the capture files in it");
    }
    if !metadata.is_file() {
        return Ok(());
    }
    let mut file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let mut head = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .with_context(|| format!("cannot read {name}"))?;
    if follow && head.len() < HEADER {
        return Ok(());
    }
    recognize(&head).with_context(|| format!("cannot decode {name}"))
}

fn recognize(head: &[u8]) -> anyhow::Result<()> {
    match Capture::open(io::Cursor::new(head.to_vec())) {
        Ok(_) => Ok(()),
        Err(CaptureError::NotACapture) => bail!(what_else(head)),
        Err(error) => Err(error.into()),
    }
}

/// Other compressions than gzip.
const COMPRESSED: [(&[u8], &str); 3] = [
    (b"\xfd7zXZ\0", "it is compressed with xz: xz -dc FILE | rtmfp decode -"),
    (b"BZh", "it is compressed with bzip2: bzip2 -dc FILE | rtmfp decode -"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: zstd -dc FILE | rtmfp decode -"),
];

/// A guess at the format of a file that is no capture.
fn what_else(head: &[u8]) -> &'static str {
    let is_key_log = head.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"DH_SECRET "));
    if is_key_log {
        return "it is a key log, not a capture file: give it with --keys";
    }
    for (magic, advice) in COMPRESSED {
        if head.starts_with(magic) {
            return advice;
        }
    }
    "not a capture file: neither pcap nor pcapng (Wireshark's editcap converts other formats)"
}

/// A capture file being read.
pub(super) struct Input {
    name: String,
    reader: Box<dyn Read + Send>,
    progress: Option<ProgressBar>,
    /// Set if the file may grow.
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

    /// True if `path` stands for standard input.
    pub(super) fn is_standard(path: &Path) -> bool {
        path.as_os_str() == "-"
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn progress(&self) -> Option<ProgressBar> {
        self.progress.clone()
    }

    /// True if a user may be waiting for the next packet.
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
            // Without a sender this blocks.
            let (_sender, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(POLL);
        }
    }
}
