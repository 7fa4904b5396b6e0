//! Events as JSON on standard output: one object a line. `docs/json.md` describes their members.

use super::screen;
use rtmfp::driver::Clock;
use serde::Serialize;

/// The output of the lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonLines {
    clock: Clock,
}

#[derive(Serialize)]
struct Line<'a, E> {
    seconds: f64,
    #[serde(flatten)]
    event: &'a E,
}

impl JsonLines {
    /// Seconds count from now.
    pub(crate) fn new() -> Self {
        Self { clock: Clock::start() }
    }

    /// Writes a line. An output that nobody reads is no error.
    pub(crate) fn emit(&self, event: &impl Serialize) {
        let seconds = (self.clock.now().as_secs_f64() * 1e6).round() / 1e6;
        // What is emitted has no maps with other keys than text, which is what could fail.
        if let Ok(line) = serde_json::to_string(&Line { seconds, event }) {
            let _ = screen::result(&line);
        }
    }
}
