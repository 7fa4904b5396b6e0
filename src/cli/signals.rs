//! Requests to end the process.

/// Ctrl-C and the request to terminate, from the creation of this value on.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    #[cfg(not(unix))]
    pub(crate) async fn recv(&mut self) {
        // Without a handler the system ends the process by itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Finishes `work`, unless a signal ends the wait.
    pub(crate) async fn or_at_once(&mut self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = work => {}
            () = self.recv() => {}
        }
    }
}

/// Requests to read the configuration again, from the creation of this value on.
pub(crate) struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
    #[cfg(unix)]
    had_terminal: bool,
}

/// The meaning of a hangup.
pub(crate) enum Hangup {
    /// Somebody wants the configuration to be read again.
    Reload,
    /// The terminal of this process is gone.
    TerminalGone,
}

impl Hangups {
    #[cfg(unix)]
    pub(crate) fn new() -> std::io::Result<Self> {
        use std::io::IsTerminal;
        use tokio::signal::unix::{SignalKind, signal};
        let had_terminal = std::io::stdin().is_terminal();
        Ok(Self { signal: signal(SignalKind::hangup())?, had_terminal })
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub(crate) async fn recv(&mut self) -> Hangup {
        use std::io::IsTerminal;
        let _ = self.signal.recv().await;
        match self.had_terminal && !std::io::stdin().is_terminal() {
            true => Hangup::TerminalGone,
            false => Hangup::Reload,
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits forever: there is no such signal.
    #[cfg(not(unix))]
    pub(crate) async fn recv(&mut self) -> Hangup {
        std::future::pending().await
    }
}
