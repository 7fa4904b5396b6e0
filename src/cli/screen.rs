//! Progress on a terminal, lines elsewhere; both on standard error, so that standard output is for
//! results.

use super::fit::{Size, fit, map};
use super::format;
use super::limits;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rtmfp::driver::{Clock, Rate};
use rtmfp::peer::Limits;
use rtmfp::proto::transport::Time;
use rtmfp::vod::replica::Stage;
use rtmfp::vod::session::Progress;
use std::io::{IsTerminal, Write};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Interval at which a terminal is redrawn.
pub(crate) const REDRAW: Duration = Duration::from_millis(200);

/// Time without progress after which it is shown. Shorter pauses are usual.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// The longest silence elsewhere while something changes.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);

static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Prints while a line is being typed, below which nothing may be written.
pub(crate) type Printer = Box<dyn Fn(String) + Send>;

static PRINTER: Mutex<Option<Printer>> = Mutex::new(None);

/// From now on `printer` prints what goes to the terminal; with `None` it is written there again.
pub(crate) fn print_by(printer: Option<Printer>) {
    *PRINTER.lock().unwrap_or_else(PoisonError::into_inner) = printer;
}

/// Gives `text` to the printer. False if there is none.
fn is_printed(text: &str) -> bool {
    let printer = PRINTER.lock().unwrap_or_else(PoisonError::into_inner);
    printer.as_ref().inspect(|print| print(text.to_owned())).is_some()
}

/// True if progress is drawn instead of printed line by line.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Writes text of whole lines to standard error, with the progress hidden meanwhile.
pub(crate) fn write(text: &str) -> std::io::Result<()> {
    match is_printed(text) {
        true => Ok(()),
        false => BARS.suspend(|| std::io::stderr().write_all(text.as_bytes())),
    }
}

/// Prints a line on standard error.
pub(crate) fn line(text: &str) {
    // An error of standard error cannot be reported anywhere.
    let _ = write(&format!("{text}\n"));
}

/// Puts the cursor at the start of the last line of the picture. At its end, where the picture is
/// as wide as the screen, the `^C` that a terminal echoes would go to the next line, and as many
/// lines would stay behind when the picture is taken away.
fn return_cursor() {
    let mut err = std::io::stderr().lock();
    // The same as with lines: nothing to do about an error.
    let _ = err.write_all(b"\r").and_then(|()| err.flush());
}

/// Prints an error.
pub(crate) fn error(text: &str) {
    line(&format!("error: {text}"));
}

/// Prints a line of a result on standard output.
pub(crate) fn result(text: &str) -> std::io::Result<()> {
    if std::io::stdout().is_terminal() && is_printed(&format!("{text}\n")) {
        return Ok(());
    }
    BARS.suspend(|| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush())
    })
}

/// One or several lines that change, or a line now and then where there is no terminal.
pub(crate) struct Live {
    bar: ProgressBar,
    clock: Clock,
    /// Time of the last line, and the tenth of the whole that it reported.
    printed: Option<(Time, u64)>,
    last_line: String,
}

impl Live {
    pub(crate) fn new() -> Self {
        let bar =
            if is_terminal() { BARS.add(ProgressBar::no_length()) } else { ProgressBar::hidden() };
        // The template is a constant and valid.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { bar, clock: Clock::start(), printed: None, last_line: String::new() }
    }

    /// Shows `text` on a terminal, as much of it as there is space for.
    pub(crate) fn draw(&self, text: &str) {
        if is_terminal() {
            self.bar.set_message(fit(text, Size::of_screen()));
            self.bar.tick();
            return_cursor();
        }
    }

    /// Writes `text` where there is no terminal if it differs from the last, and it is time or
    /// another tenth of the whole is done.
    pub(crate) fn report(&mut self, fraction: f64, text: String) {
        if is_terminal() || text == self.last_line {
            return;
        }
        let (now, tenth) = (self.clock.now(), (fraction * 10.0) as u64);
        let is_due = self
            .printed
            .is_none_or(|(then, before)| tenth > before || now.since(then) >= PLAIN_INTERVAL);
        if is_due {
            self.printed = Some((now, tenth));
            line(&text);
            self.last_line = text;
        }
    }

    /// Takes the lines away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A fetch or share in words and as a picture.
pub(crate) struct Picture {
    down: Rate,
    up: Rate,
    limits: Limits,
    /// No server is wanted.
    is_serverless: bool,
}

impl Picture {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    /// The same for a connection with these limits.
    pub(crate) fn with(limits: Limits) -> Self {
        let of = |limit| Rate::of_steps(limits::chunk_time(limit));
        Self { down: of(limits.down), up: of(limits.up), limits, is_serverless: false }
    }

    /// The same; the lack of a server is not worth a word if `is_serverless`.
    pub(crate) fn serverless(self, is_serverless: bool) -> Self {
        Self { is_serverless, ..self }
    }

    /// The limits are others from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        *self = Self { is_serverless: self.is_serverless, ..Self::with(limits) };
    }

    /// `3 neighbors, up 1.2 MB/s, 34.5 MB uploaded`.
    pub(crate) fn sharing(&mut self, progress: &Progress) -> String {
        let up = self.up.update(progress.bytes_uploaded);
        let server = match progress.connected || self.is_serverless {
            true => "",
            false => ", no connection to the server",
        };
        let read = match progress.stage {
            Stage::Chunks => {
                format!(", {} read from the web server", format::percent(progress.fraction()))
            }
            _ => String::new(),
        };
        format!(
            "{}, up {}{}, {} uploaded{read}{server}",
            format::neighbors(progress.neighbors),
            format::rate(up),
            limits::note(self.limits.up),
            format::bytes(progress.bytes_uploaded),
        )
    }

    /// One line on a fetch.
    pub(crate) fn fetching(&mut self, progress: &Progress) -> String {
        self.fetching_after(progress, Duration::ZERO)
    }

    /// The same when nothing has come for `idle`.
    fn fetching_after(&mut self, progress: &Progress, idle: Duration) -> String {
        let fetched = fetched(progress);
        let limit = self.limits.down.map(|limit| limit.as_bytes_per_second() as f64);
        // Chunks come faster one by one than on average.
        let down = self.down.update(fetched).min(limit.unwrap_or(f64::INFINITY));
        match progress.stage {
            Stage::Descriptor if progress.neighbors == 0 => format!(
                "looking for members of the group: {} known, {} met",
                progress.members, progress.met
            ),
            Stage::Descriptor => format!(
                "asking {} for the description of the file",
                format::neighbors(progress.neighbors)
            ),
            Stage::Opening => {
                format!("checking what is there: {}", format::bytes(progress.checked_bytes))
            }
            Stage::Finishing => "finishing".into(),
            Stage::Complete => format!("complete, {}", self.sharing(progress)),
            Stage::Chunks => chunks(progress, down, self.limits, idle),
            // The end is reported by the caller.
            _ => String::new(),
        }
    }

    /// The same for a terminal: with a map of the file above.
    pub(crate) fn fetching_drawn(&mut self, progress: &Progress, idle: Duration) -> String {
        let text = self.fetching_after(progress, idle);
        match progress.stage {
            Stage::Chunks | Stage::Finishing => {
                format!("{}\n{text}", map(&progress.map, Size::of_screen().columns))
            }
            _ => text,
        }
    }
}

fn chunks(progress: &Progress, down: f64, limits: Limits, idle: Duration) -> String {
    let all = (progress.size.unwrap_or(progress.held_bytes), progress.held_bytes);
    let (size, held) = progress.selected_bytes.unwrap_or(all);
    let left = size.saturating_sub(held);
    let eta = time_left(left, down, idle)
        .map_or(String::new(), |time| format!(", {} left", format::duration(time)));
    format!(
        "{} of {}, {}{}, {}{}{eta}",
        format::percent(progress.fraction()),
        format::bytes(size),
        format::rate(down),
        limits::note(limits.down),
        format::neighbors(progress.neighbors),
        from_peers(progress),
    )
}

/// The time for `left` bytes at the rate `down`, in bytes a second. It is unknown while nothing
/// arrives.
fn time_left(left: u64, down: f64, idle: Duration) -> Option<Duration> {
    let is_known = left > 0 && down >= 1.0 && idle < SILENCE;
    is_known.then(|| Duration::from_secs_f64(left as f64 / down))
}

/// Bytes that have come from anywhere.
pub(crate) fn fetched(progress: &Progress) -> u64 {
    progress.bytes_from_provider + progress.bytes_from_peers + progress.bytes_from_origin
}

fn from_peers(progress: &Progress) -> String {
    match fetched(progress) {
        0 => String::new(),
        all => {
            let share = progress.bytes_from_peers as f64 / all as f64;
            format!(", {} from peers", format::percent(share))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_unknown_while_nothing_comes() {
        let second = Duration::from_secs(1);
        assert_eq!(time_left(1_000, 100.0, second), Some(10 * second));
        assert_eq!(time_left(1_000, 0.5, Duration::ZERO), None);
        assert_eq!(time_left(0, 100.0, Duration::ZERO), None);
        // The average rate falls slowly, and the time would grow to thousands of hours.
        assert_eq!(time_left(237_000_000, 5_900.0, 14 * second), None);
    }
}
