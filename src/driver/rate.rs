//! [`Rate`]: how fast a counter grows.

use super::Clock;
use crate::transport::Time;
use std::time::Duration;

/// The rate at which a counter grows, smoothed over some seconds.
#[derive(Debug)]
pub struct Rate {
    clock: Clock,
    last: Option<(Time, u64)>,
    /// The weighted sum of the rates so far, and that of their weights.
    sum: f64,
    weight: f64,
    /// Seconds after which an old rate has lost most of its weight.
    memory: f64,
}

impl Rate {
    const MEMORY: Duration = Duration::from_secs(2);

    /// The rate of a counter that grows in steps of about this length.
    pub fn of_steps(step: Duration) -> Self {
        let memory = Self::MEMORY.max(4 * step).as_secs_f64();
        Self { clock: Clock::start(), last: None, sum: 0.0, weight: 0.0, memory }
    }

    /// Notes the counter's value and returns its growth per second.
    pub fn update(&mut self, value: u64) -> f64 {
        self.update_at(self.clock.now(), value)
    }

    fn update_at(&mut self, now: Time, value: u64) -> f64 {
        let Some((then, before)) = self.last.replace((now, value)) else { return 0.0 };
        let seconds = now.since(then).as_secs_f64();
        let keep = (-seconds / self.memory).exp();
        let grown = value.saturating_sub(before) as f64;
        // The longer the step, the more it counts.
        self.sum = self.sum * keep + grown * (1.0 - keep) / seconds.max(1e-6);
        self.weight = self.weight * keep + (1.0 - keep);
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_shown_at_once_and_an_old_one_fades() {
        let mut rate = Rate::of_steps(Duration::ZERO);
        let mut shown = 0.0;
        for tenth in 0..100 {
            shown = rate.update_at(Time::from_micros(tenth * 100_000), tenth * 50);
            assert!(tenth == 0 || (shown - 500.0).abs() < 1.0, "{shown}");
        }
        for tenth in 100..200 {
            shown = rate.update_at(Time::from_micros(tenth * 100_000), 5_000);
        }
        assert!(shown < 10.0, "{shown}");
    }
}
