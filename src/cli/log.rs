//! Log lines on standard error, between the lines of the progress.

use super::screen;
use rtmfp::server::{LogFormat, LogSettings};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// What is done to the log of a server while it runs.
struct Running {
    is_json: bool,
    /// Lets lines from this level on through. `None` if the level was chosen by other means than the
    /// settings.
    set_level: Option<SetLevel>,
}

type SetLevel = Box<dyn Fn(Level) + Send + Sync>;

static RUNNING: OnceLock<Running> = OnceLock::new();

/// `verbosity` counts from 0, errors only, to 3, everything; `RUST_LOG` overrules it.
pub(crate) fn init(verbosity: u8) {
    let level = chosen(verbosity).unwrap_or(Level::ERROR);
    let filter = from_environment().unwrap_or_else(|| filter(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(|| Lines)
        .init();
}

/// The log of a server. `RUST_LOG` overrules the verbosity, which overrules the level of the settings.
pub(crate) fn init_server(verbosity: u8, settings: LogSettings) {
    let by_settings = from_environment().is_none() && chosen(verbosity).is_none();
    let level = chosen(verbosity).unwrap_or(settings.level);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(from_environment().unwrap_or_else(|| filter(level)))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(|| Lines);
    let is_json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        _ => !io::stderr().is_terminal(),
    };
    let set_level: SetLevel = if is_json {
        let builder =
            builder.json().flatten_event(true).with_span_list(false).with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        // Fails only after the log has ended.
        Box::new(move |level| drop(handle.reload(filter(level))))
    } else {
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Box::new(move |level| drop(handle.reload(filter(level))))
    };
    // It is set once: a command has one log.
    let _ = RUNNING.set(Running { is_json, set_level: by_settings.then_some(set_level) });
}

/// From now on lines from this level on are logged. False if the command line or the environment has
/// chosen the level.
pub(crate) fn set_level(level: Level) -> bool {
    let set = RUNNING.get().and_then(|running| running.set_level.as_ref());
    set.map(|set| set(level)).is_some()
}

/// Warns of something, whatever the level: as a line for people, or in the log if that is for
/// programs.
pub(crate) fn warning(reason: &str) {
    if is_json() && tracing::enabled!(Level::WARN) {
        tracing::warn!("{reason}");
    } else {
        screen::line(&format!("WARNING: {reason}"));
    }
}

fn is_json() -> bool {
    RUNNING.get().is_some_and(|running| running.is_json)
}

/// The level that `-v` chooses.
fn chosen(verbosity: u8) -> Option<Level> {
    match verbosity {
        0 => None,
        1 => Some(Level::INFO),
        2 => Some(Level::DEBUG),
        _ => Some(Level::TRACE),
    }
}

fn from_environment() -> Option<EnvFilter> {
    EnvFilter::try_from_default_env().ok()
}

fn filter(level: Level) -> EnvFilter {
    EnvFilter::new(format!("warn,rtmfp={level}"))
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
