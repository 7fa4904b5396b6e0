//! A member that waits: for its first neighbor, or for the objects that it wants.

use super::output::Out;
use crate::cli::outcome::TimedOut;
use crate::cli::patience::Patience;
use crate::cli::situation::Situation;
use crate::cli::{format, screen};
use rtmfp::peer::Search;
use std::time::Duration;

/// The condition that a member waits for, and its time limit.
#[derive(Debug)]
pub(super) struct Waiting {
    patience: Patience,
    wants_objects: bool,
}

impl Waiting {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { patience: Patience::new(timeout), wants_objects: false }
    }

    /// Notes how things are: whether objects are wanted, how many have come, and the neighbors.
    pub(super) fn note(&mut self, wants_objects: bool, fetched: u64, neighbors: usize) {
        self.wants_objects = wants_objects;
        match (wants_objects, neighbors) {
            (true, _) => self.patience.note(fetched),
            (false, 0) => {}
            (false, _) => self.patience.renew(),
        }
    }

    /// True if it is time to give up, or to explain why nothing arrives.
    pub(super) fn is_news_due(&mut self) -> bool {
        self.patience.is_over() || self.patience.is_explanation_due()
    }

    /// Explains why nothing comes.
    ///
    /// # Errors
    ///
    /// The explanation, when the time is over.
    pub(super) fn explain(&self, search: Search, out: Out) -> anyhow::Result<()> {
        let idle = self.patience.idle();
        let time = format::duration(idle);
        let situation = Situation { search, provider: None };
        let lines = situation.lines();
        out.waiting(idle, &situation)?;
        if self.patience.is_over() {
            let what = if self.wants_objects { "no object came" } else { "no neighbor came" };
            return Err(
                TimedOut(format!("gave up: {what} for {time}\n{}", lines.join("\n"))).into()
            );
        }
        let what = if self.wants_objects { "no object has come" } else { "no neighbor" };
        screen::line(&format!("{what} for {time}:"));
        lines.iter().for_each(|line| screen::line(line));
        Ok(())
    }
}
