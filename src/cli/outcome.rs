//! The outcome of a command: its exit status, and its error in words.

use super::screen;
use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

/// The exit status when the time given by `--timeout` is over.
const TIMED_OUT: u8 = 3;

/// The time given by `--timeout` was over; with the known reasons.
#[derive(Debug)]
pub(crate) struct TimedOut(pub(crate) String);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TimedOut {}

/// The exit status when the command line was wrong, as clap has it.
const WRONG_USAGE: u8 = 2;

/// The command line was wrong in a way that shows only when its arguments are seen together.
#[derive(Debug)]
pub(crate) struct WrongUsage(pub(crate) String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// Prints the error, if there is one, and returns the exit status.
pub(crate) fn conclude(outcome: &anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_reader_gone(error) => ExitCode::SUCCESS,
        Err(error) => {
            screen::error(&text(error));
            status(error).into()
        }
    }
}

/// The exit status of a command that ended with this error.
pub(crate) fn status(error: &anyhow::Error) -> u8 {
    match error {
        _ if error.is::<TimedOut>() => TIMED_OUT,
        _ if error.is::<WrongUsage>() => WRONG_USAGE,
        _ => 1,
    }
}

/// True if the reader of the output has closed it, as in `rtmfp decode … | head`.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// An error and its causes. A cause that the text before it repeats in full is left out.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match text.is_empty() {
            true => text = cause,
            false if text.contains(&cause) => {}
            false => text = format!("{text}: {cause}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};
    use rtmfp::vod::SourceFile;
    use std::io::Error;
    use std::path::Path;

    #[test]
    fn errors_of_the_operating_system_appear_once() {
        let missing = Path::new("/no/such/file");
        let error = anyhow::Error::from(SourceFile::scan(missing, 65_536, |_| {}).unwrap_err());
        let text = text(&error.context("cannot share it"));
        assert!(text.starts_with("cannot share it: cannot "), "{text}");
        assert_eq!(text.matches("os error 2").count(), 1, "{text}");
    }

    #[test]
    fn causes_that_say_more_are_there() {
        let error = anyhow!("no such thing").context("not done");
        assert_eq!(text(&error), "not done: no such thing");
        assert_eq!(status(&error), 1);
        assert_eq!(status(&TimedOut("late".into()).into()), TIMED_OUT);
        assert_eq!(status(&WrongUsage("not so".into()).into()), WRONG_USAGE);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = || Err::<(), _>(Error::from(ErrorKind::BrokenPipe));
        let error = closed().context("cannot write to standard output").unwrap_err();
        assert!(is_reader_gone(&error));
        assert!(!is_reader_gone(&Error::from(ErrorKind::NotFound).into()));
    }
}
