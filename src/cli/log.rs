//! What `tracing` says, on standard error between the lines of the progress.

use super::screen;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// `verbosity` counts from 0, errors only, to 4, everything; `RUST_LOG` overrules it.
pub(crate) fn init(verbosity: u8) {
    let level = match verbosity {
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

/// Standard error, the progress set aside meanwhile.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        screen::aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
