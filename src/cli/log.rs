//! Log lines on standard error, between the lines of the progress.

use super::screen;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// `verbosity` counts from 0, errors only, of a server warnings too, to 3, everything; `RUST_LOG`
/// overrules it.
pub(crate) fn init(verbosity: u8, is_server: bool) {
    let level = match verbosity {
        0 if is_server => "warn",
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,rtmfp={level}")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(|| Lines)
        .init();
}

/// The time in UTC: of day for somebody who watches, with the date for who reads it later.
pub(crate) fn time(is_watched: bool) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    let range = if is_watched { 11..19 } else { 0..19 };
    let time = text.get(range).unwrap_or_default();
    if is_watched { time.to_owned() } else { format!("{time}Z") }
}

/// Standard error, with the progress hidden while writing.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        screen::write(&String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
