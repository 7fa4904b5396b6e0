//! The time without progress: it is shown on the screen, explained after a
//! while, and ends the command after `--timeout`.

use super::screen;
use rtmfp::driver::Clock;
use rtmfp::proto::transport::Time;
use std::pin::pin;
use std::time::Duration;

/// Silence of a server before it is shown. A server that runs answers in a fraction of a
/// second, or after the second hello, 1.5 s later.
const SILENCE: Duration = Duration::from_secs(2);

/// Time without progress after which the situation is explained, and again each time that it has become
/// six times as long.
const FIRST_EXPLANATION: Duration = Duration::from_secs(10);
const NEXT_EXPLANATION: u32 = 6;

/// The time without progress.
#[derive(Debug)]
pub(crate) struct Patience {
    clock: Clock,
    since: Time,
    /// The amount at that time.
    amount: u64,
    timeout: Option<Duration>,
    /// Pauses of this length are usual.
    pause: Duration,
    explain_after: Duration,
}

impl Patience {
    /// Counts from now. Without a `timeout` it never ends.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let clock = Clock::start();
        let (since, explain_after) = (clock.now(), FIRST_EXPLANATION);
        Self { since, clock, amount: 0, timeout, pause: Duration::ZERO, explain_after }
    }

    /// Pauses of this length are usual, and do not count.
    pub(crate) fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// The same from now on.
    pub(crate) fn set_pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// Notes how much has come so far.
    pub(crate) fn note(&mut self, amount: u64) {
        self.note_at(self.clock.now(), amount);
    }

    /// Counts from now again.
    pub(crate) fn renew(&mut self) {
        self.since = self.clock.now();
        self.explain_after = FIRST_EXPLANATION;
    }

    /// The time without progress.
    pub(crate) fn idle(&self) -> Duration {
        self.idle_at(self.clock.now())
    }

    fn idle_at(&self, now: Time) -> Duration {
        now.since(self.since).saturating_sub(self.pause)
    }

    /// True if it is time to give up.
    pub(crate) fn is_over(&self) -> bool {
        self.timeout.is_some_and(|timeout| self.idle() >= timeout)
    }

    /// True if the situation is to be explained now: once each time that is due.
    pub(crate) fn is_explanation_due(&mut self) -> bool {
        self.is_explanation_due_at(self.clock.now())
    }

    fn note_at(&mut self, now: Time, amount: u64) {
        if amount != self.amount {
            (self.amount, self.since, self.explain_after) = (amount, now, FIRST_EXPLANATION);
        }
    }

    fn is_explanation_due_at(&mut self, now: Time) -> bool {
        let is_due = self.idle_at(now) >= self.explain_after;
        if is_due {
            self.explain_after *= NEXT_EXPLANATION;
        }
        is_due
    }
}

/// Waits for a connection to one of `servers`, and reports after a while that there is no answer yet.
pub(crate) async fn connecting<T>(servers: &str, attempt: impl Future<Output = T>) -> T {
    let mut attempt = pin!(attempt);
    if let Ok(outcome) = tokio::time::timeout(SILENCE, &mut attempt).await {
        return outcome;
    }
    screen::line(&format!("no answer from {servers} yet; still trying"));
    attempt.await
}

/// Waits for this time, or for ever.
pub(crate) async fn after(time: Option<Duration>) {
    let never = std::future::pending::<()>();
    match time {
        Some(time) => drop(tokio::time::timeout(time, never).await),
        None => never.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(patience: &Patience, seconds: u64) -> Time {
        patience.since + Duration::from_secs(seconds)
    }

    #[test]
    fn the_situation_is_explained_now_and_then() {
        let mut patience = Patience::new(None);
        let mut due = Vec::new();
        for second in 0..1000 {
            let now = at(&patience, second);
            if patience.is_explanation_due_at(now) {
                due.push(second);
            }
        }
        assert_eq!(due, [10, 60, 360]);
        assert!(!patience.is_over());
    }

    #[test]
    fn whatever_comes_renews_patience() {
        let mut patience = Patience::new(Some(Duration::ZERO));
        assert!(patience.is_over());
        let (ninth, eleventh) = (at(&patience, 9), at(&patience, 11));
        patience.note_at(ninth, 1);
        assert!(!patience.is_explanation_due_at(eleventh));
        patience.note_at(eleventh, 1);
        assert_eq!(patience.since, ninth, "the same amount is nothing new");
    }
}
