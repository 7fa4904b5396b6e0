//! Messages to the service manager (systemd), if one runs the server: `sd_notify(3)`.

use rtmfp::server::Server;
#[cfg(target_os = "linux")]
use sd_notify::NotifyState;
#[cfg(target_os = "linux")]
use std::time::Duration;
#[cfg(target_os = "linux")]
use tokio::time::{Interval, interval};

/// The service manager, or nobody.
pub(super) struct Supervisor {
    /// When it is told that the server is alive, if it wants to know.
    #[cfg(target_os = "linux")]
    watchdog: Option<Interval>,
}

#[cfg(target_os = "linux")]
impl Supervisor {
    pub(super) fn new() -> Self {
        // Twice in the time after which the server would be killed.
        let period = sd_notify::watchdog_enabled().map(|time| time / 2);
        let period = period.filter(|period| *period > Duration::ZERO);
        Self { watchdog: period.map(interval) }
    }

    /// Clients can connect.
    pub(super) fn ready(&self, status: &str) {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is read again; [`ready`](Self::ready) says that this is done.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic clock for the service manager"),
        }
    }

    pub(super) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// Says so once the server has answered, when it is time. Cancel safe.
    pub(super) async fn watch(&mut self, server: &Server) {
        let Some(watchdog) = &mut self.watchdog else { return std::future::pending().await };
        watchdog.tick().await;
        if server.stats().await.is_ok() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// A message that does not arrive is no reason to stop.
#[cfg(target_os = "linux")]
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "no message to the service manager");
    }
}

#[cfg(not(target_os = "linux"))]
impl Supervisor {
    pub(super) fn new() -> Self {
        Self {}
    }

    pub(super) fn ready(&self, _: &str) {}

    pub(super) fn reloading(&self) {}

    pub(super) fn stopping(&self) {}

    pub(super) async fn watch(&mut self, _: &Server) {
        std::future::pending().await
    }
}
