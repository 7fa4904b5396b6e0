//! The clock of the machines.

use crate::transport::Time;
use std::time::Duration;
use tokio::time::Instant;

/// A monotonic clock that gives machines their [`Time`].
///
/// Copies agree with each other. A machine and its driver must use the same clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that shows [`Time::ZERO`] now.
    pub fn start() -> Self {
        Self { origin: instant_now() }
    }

    /// The time.
    pub fn now(&self) -> Time {
        Time::ZERO + instant_now().saturating_duration_since(self.origin)
    }

    /// When this clock shows `time`; `None` if that lies beyond the operating system's clock.
    pub(super) fn instant(&self, time: Time) -> Option<Instant> {
        self.origin.checked_add(Duration::from_micros(time.as_micros()))
    }
}

/// The only place where the operating system's clock is read.
#[expect(clippy::disallowed_methods, reason = "this is the driver's clock")]
pub(super) fn instant_now() -> Instant {
    Instant::now()
}
