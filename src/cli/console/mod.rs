//! Lines on standard input that change the limits of a running `share`, `fetch` or `join`.
//!
//! | file | what |
//! | --- | --- |
//! | `order` | the lines, as words and as JSON |
//! | `input` | reading them, and when not to |

mod input;
mod order;

use super::in_force::InForce;
use super::screen;
use order::{Order, parse, parse_json};
use rtmfp::peer::{Connection, Limits};
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
    lines: Option<mpsc::Receiver<String>>,
    form: Form,
}

impl Console {
    /// Reads standard input, in the words of a person only if it is a terminal. Without
    /// permission, nothing is read.
    pub(crate) fn open(form: Form, is_allowed: bool) -> Self {
        let lines = is_allowed.then(|| input::lines(form == Form::Json)).flatten();
        Self { lines, form }
    }

    /// What the next line asks for. Never, when there is no further one.
    pub(crate) async fn next(&mut self) -> Asked {
        let line = self.line().await;
        self.form.understand(&line)
    }

    /// The next line. Never, when there is no further one.
    pub(crate) async fn line(&mut self) -> String {
        let Some(lines) = &mut self.lines else { return std::future::pending().await };
        match lines.recv().await {
            Some(line) => line,
            None => {
                self.lines = None;
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
