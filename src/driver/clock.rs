//! The clock of the machines.

use crate::transport::Time;
use std::time::{Duration, SystemTime};
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

    /// Waits until this clock shows `time`; for ever, if there is none.
    pub async fn sleep_until(&self, time: Option<Time>) {
        match time.and_then(|time| self.instant(time)) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }

    /// When this clock shows `time`; `None` if that lies beyond the operating system's clock.
    pub(super) fn instant(&self, time: Time) -> Option<Instant> {
        self.origin.checked_add(Duration::from_micros(time.as_micros()))
    }
}

/// Milliseconds since 1970 by the operating system's calendar, which may be set back.
#[expect(clippy::disallowed_methods, reason = "this is the driver's calendar")]
pub fn calendar_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The only place where the operating system's clock is read.
#[expect(clippy::disallowed_methods, reason = "this is the driver's clock")]
pub(super) fn instant_now() -> Instant {
    Instant::now()
}
