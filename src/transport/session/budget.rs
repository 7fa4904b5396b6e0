//! Bounds on what the far end can make this endpoint send to others.

use super::Session;
use crate::transport::Time;
use std::time::Duration;

/// Bytes that opening a session takes of the far end, at least: they count as received.
const OPENING_CREDIT: u64 = 256;
/// Period over which forwarded hellos are counted.
const HELLO_PERIOD: Duration = Duration::from_secs(1);

/// Spent part of the far end's budgets.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes that the far end has made this endpoint send elsewhere.
    spent: u64,
    /// Forwarded hellos since `hellos_since`.
    hellos: u32,
    hellos_since: Time,
}

impl Budget {
    pub(super) const fn new(now: Time) -> Self {
        Self { spent: 0, hellos: 0, hellos_since: now }
    }

    /// Counts a forwarded hello. False if there were `max` within a second already.
    pub(super) fn take_hello(&mut self, now: Time, max: u32) -> bool {
        if now.since(self.hellos_since) >= HELLO_PERIOD {
            (self.hellos_since, self.hellos) = (now, 0);
        }
        let taken = self.hellos < max;
        self.hellos += u32::from(taken);
        taken
    }
}

impl Session {
    /// Bytes that the far end may still make this endpoint send elsewhere, to addresses that it
    /// names and that have not answered: not more than were received from it.
    pub(crate) const fn credit(&self) -> u64 {
        (OPENING_CREDIT + self.stats.bytes_received).saturating_sub(self.budget.spent)
    }

    /// Takes `bytes` of the [`credit`](Self::credit).
    pub(crate) const fn spend_credit(&mut self, bytes: u64) {
        self.budget.spent = self.budget.spent.saturating_add(bytes);
    }

    /// Gives back what was spent for an address that has answered.
    pub(crate) const fn return_credit(&mut self, bytes: u64) {
        self.budget.spent = self.budget.spent.saturating_sub(bytes);
    }
}
