//! Lines on standard input that change the limits of a running `share`, `fetch` or `join`.
//!
//! | file | what |
//! | --- | --- |
//! | `order` | the lines, as words and as JSON |
//! | `input` | reading them, and when not to |
//! | `editor` | editing them on a terminal, with a history |

#[cfg(unix)]
mod editor;
mod input;
mod order;

use super::in_force::InForce;
use super::screen;
use order::{Order, parse, parse_json};
use rtmfp::peer::{Connection, Limits};
use std::path::PathBuf;
use tokio::sync::mpsc;

pub(crate) use order::Change;

/// The form of lines and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Words, as a person types them.
    Words,
    /// Words after a slash.
    Slash,
    /// An object a line.
    Json,
}

/// What a line asks for.
pub(crate) enum Asked {
    Change(Change),
    /// The limits are to be shown.
    Limits,
    /// It was answered, or there is nothing to do.
    Nothing,
    /// It was wrong, for this reason.
    Wrong(String),
}

/// The lines on standard input.
pub(crate) struct Console {
    lines: Lines,
    form: Form,
}

/// Where lines come from.
enum Lines {
    /// There is no further one.
    Ended,
    Read(mpsc::Receiver<String>),
    #[cfg(unix)]
    Edited(editor::Editor),
}

impl Console {
    /// Reads standard input, in the words of a person only if it is a terminal. Without
    /// permission, nothing is read.
    pub(crate) fn open(form: Form, is_allowed: bool) -> Self {
        let lines = is_allowed.then(|| input::lines(form == Form::Json)).flatten();
        Self { lines: lines.map_or(Lines::Ended, Lines::Read), form }
    }

    /// Lets a person edit lines, and find the earlier ones of the file `history` again. What is
    /// printed meanwhile goes above the line. As [`open`](Self::open) where that is not possible.
    #[cfg(unix)]
    pub(crate) fn edit(form: Form, history: Option<PathBuf>) -> Self {
        match editor::Editor::start(history) {
            Some(editor) => Self { lines: Lines::Edited(editor), form },
            None => Self::open(form, true),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn edit(form: Form, _: Option<PathBuf>) -> Self {
        Self::open(form, true)
    }

    /// What the next line asks for. Never, when there is no further one.
    pub(crate) async fn next(&mut self) -> Asked {
        let line = self.line().await;
        self.form.understand(&line)
    }

    /// The next line. Never, when there is no further one.
    pub(crate) async fn line(&mut self) -> String {
        let line = match &mut self.lines {
            Lines::Ended => None,
            Lines::Read(lines) => lines.recv().await,
            #[cfg(unix)]
            Lines::Edited(editor) => editor.line().await,
        };
        match line {
            Some(line) => line,
            None => {
                self.lines = Lines::Ended;
                std::future::pending().await
            }
        }
    }
}

impl Form {
    /// What a line asks for.
    pub(crate) fn understand(self, line: &str) -> Asked {
        let order = match self {
            Self::Json => parse_json(line),
            Self::Words | Self::Slash => parse(line, self == Self::Slash),
        };
        match order {
            Ok(Order::Change(change)) => Asked::Change(change),
            Ok(Order::Limits) => Asked::Limits,
            Ok(Order::Help) => {
                order::help(self == Self::Slash).iter().for_each(|line| screen::line(line));
                Asked::Nothing
            }
            Ok(Order::Nothing) => Asked::Nothing,
            Err(reason) => Asked::Wrong(reason),
        }
    }
}

/// Applies the part of a change that concerns a connection. One that is closed has no limits.
pub(crate) async fn change_limits(
    connection: &Connection,
    change: &Change,
    in_force: &mut InForce,
) {
    let limits = Limits::default()
        .with_up(change.up.unwrap_or(in_force.limits.up))
        .with_down(change.down.unwrap_or(in_force.limits.down));
    if limits != in_force.limits && connection.set_limits(limits).await.is_ok() {
        in_force.limits = limits;
    }
}
