//! A thread of its own for a driver, so that several drivers use several processors.

use super::handle::make;
use super::{Clock, Events, Handle, JobThreads, Service, Sockets};
use std::io;
use std::thread::Builder;
use tokio::runtime::{self, Runtime};

/// A driver that runs: the way to its machine, and back.
type Driver<S> = (Handle<<S as Service>::Command>, Events<<S as Service>::Event>);

/// A thread for one driver, which does not run yet.
///
/// Sockets belong to the thread whose [`enter`](Self::enter) they were made in: it waits for them
/// itself.
#[derive(Debug)]
pub struct DriverThread {
    /// Empty when the thread has it.
    runtime: Option<Runtime>,
}

impl DriverThread {
    /// A thread that does nothing yet.
    ///
    /// # Errors
    ///
    /// What the operating system refuses.
    pub fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Makes something, sockets for example, that belongs to this thread.
    pub fn enter<R>(&self, make: impl FnOnce() -> R) -> R {
        let _guard = self.runtime.as_ref().map(Runtime::enter);
        make()
    }

    /// Starts a driver on this thread, as [`spawn`](super::spawn) starts one in a task; the thread ends
    /// with it.
    ///
    /// # Errors
    ///
    /// If the operating system gives no thread.
    pub fn spawn<S: Service>(
        mut self,
        name: String,
        service: S,
        sockets: Sockets,
        (clock, threads): (Clock, JobThreads),
    ) -> io::Result<Driver<S>> {
        let (task, handle, events) = self.enter(|| make(service, sockets, clock, threads));
        let runtime = self.runtime.take();
        Builder::new().name(name).spawn(move || {
            let Some(runtime) = runtime else { return };
            runtime.block_on(task.run());
            // Jobs that still run are of no use to anybody.
            runtime.shutdown_background();
        })?;
        Ok((handle, events))
    }
}

impl Drop for DriverThread {
    fn drop(&mut self) {
        // To wait for it is not allowed in an async context, and there is nothing to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
