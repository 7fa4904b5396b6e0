//! Sockets, a clock, randomness and threads under a state machine.
//!
//! This is the lowest module that touches the operating system. It drives any [`Service`]: a
//! [`Machine`] that an application sends commands to and reads events from.
//!
//! ```no_run
//! # use rtmfp::driver::{self, Clock, Service, Sockets};
//! # async fn example<S: Service<Command = &'static str>>(make: fn(rtmfp::proto::transport::Time) -> S)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let sockets = Sockets::bind(&["0.0.0.0:1935".parse()?, "[::]:1935".parse()?])?;
//! let clock = Clock::start();
//! let (handle, mut events) = driver::spawn(make(clock.now()), sockets, clock);
//! handle.send("do something").await?;
//! while let Some(event) = events.recv().await {
//!     // …
//! #   break;
//! }
//! handle.shutdown(std::time::Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! One task owns the machine and its sockets. It waits until something happens, does a bounded
//! amount of work, lets other tasks run, and goes on. After **every** call into the machine it
//! drains the machine as [`Machine`] defines, so that a machine behaves here as in the simulator. What
//! waits in the sockets is given to it before its timer: a process that was kept from running does
//! not take answers that have long arrived for missing. Where sockets are bound to all addresses,
//! those of the host are looked at every few seconds, and the machine learns of changes.
//!
//! Bounds, and what happens at each:
//!
//! | bound | at the bound |
//! | --- | --- |
//! | [`COMMAND_QUEUE`] commands wait | [`Handle::send`] waits |
//! | [`EVENT_QUEUE`] events wait for a slow consumer | the machine's events stay in the machine, which is notified by [`Service::handle_stall`]; datagrams and timers go on; counted in [`NetworkStats::stalls`] |
//! | a job for each processor runs, those of drivers that share [`JobThreads`] together | further jobs wait, oldest first |
//! | [`MAX_WAITING_JOBS`] jobs wait | the newest is dropped, like a lost packet, and counted in [`NetworkStats::jobs_dropped`] |
//! | [`POOL_THREADS`] strands of a [`Pool`] run | further strands wait for their turn |
//! | startup packets in a second that leave a sixth of the time, from 20,000 to 1,000,000 | the system drops a random part of these, so that those of sessions have space in the socket's buffer (Linux) |
//! | a socket's send buffer is full | what the machine wants sent stays in the machine until there is space |
//! | datagrams, commands and batches of a turn | other tasks run before the next turn |
//!
//! | file | what |
//! | --- | --- |
//! | `task` | the loop |
//! | `handle` | the application's handle and event queue |
//! | `shared` | state and channels between the two |
//! | `readiness` | readiness of a socket to receive or send |
//! | `socket`, `sockets` | one UDP socket; all of them by [`Interface`](crate::transport::Interface) |
//! | `flood` | floods of startup packets |
//! | `address` | addresses of this host |
//! | `listen` | addresses to listen on, as people write them |
//! | `interfaces` | interfaces of this host |
//! | `multicast` | IP multicast addresses, to listen on and to send to |
//! | `thread` | a thread of its own for a driver |
//! | `jobs` | the pool for [`Job`](crate::transport::Job)s |
//! | `pool` | threads for an application's work that blocks, files above all |
//! | `key_log` | the file of secrets for those who decode captures |
//! | `output` | destinations of output |
//! | `clock`, `random` | time and randomness of the operating system |
//! | `rate` | how fast a counter grows |

mod address;
mod clock;
mod error;
mod flood;
mod handle;
mod interfaces;
mod jobs;
mod key_log;
mod listen;
mod multicast;
pub(crate) mod output;
mod pool;
mod random;
mod rate;
mod readiness;
mod resolve;
mod shared;
mod socket;
mod sockets;
mod stats;
mod task;
#[cfg(test)]
mod tests;
mod thread;

pub use address::{MAX_HOST_ADDRESSES, host_addresses};
pub use clock::{Clock, calendar_ms};
pub use error::{BindError, ShutdownError, Stopped};
pub use handle::{Events, Handle, WeakHandle, spawn};
pub use jobs::{JobThreads, MAX_WAITING_JOBS};
pub use key_log::{KeyLogFile, KeyLogFileError};
pub use listen::{Listen, ListenError};
pub use output::{Access, InOrder, OutputPath, write_whole};
pub use pool::{POOL_THREADS, Pool, Strand};
pub use random::os_random;
pub use rate::Rate;
pub use resolve::{MAX_ADDRESSES, ascii_host, resolve};
pub use shared::{COMMAND_QUEUE, DROP_GRACE, EVENT_QUEUE};
pub use sockets::{Announced, MAX_SOCKETS, Sockets};
pub use stats::NetworkStats;
pub use thread::DriverThread;

use crate::group::IpMulticastAddress;
use crate::transport::{Machine, Time};
use std::net::SocketAddr;

/// A machine that an application talks to: a node, a rendezvous server.
///
/// The [drain rule](Machine) holds for every method here that takes `now`.
pub trait Service: Machine + Send + 'static {
    /// A request of the application. A command that has an answer carries the way back itself,
    /// for example a oneshot sender.
    type Command: Send + 'static;
    /// An event for the application.
    type Event: Send + 'static;

    /// Does what the application asks for.
    fn handle_command(&mut self, now: Time, command: Self::Command);

    /// The next event for the application.
    #[must_use]
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// The application's event queue is full (`stalled`), or at least half empty again.
    ///
    /// Until then no event is polled, so they pile up in the machine. A machine that can hold the
    /// far end back without harm, by closing the window of a flow for example, should do so here;
    /// the others bound their own queue.
    fn handle_stall(&mut self, now: Time, stalled: bool) {
        let _ = (now, stalled);
    }

    /// The addresses at which other hosts may reach the sockets have changed: see
    /// [`Sockets::peer_addresses`]. Not called for those at the start.
    fn handle_addresses(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        let _ = (now, addresses);
    }

    /// The IP multicast addresses that are to be listened on; asked for after every turn.
    fn multicast_addresses(&self) -> &[IpMulticastAddress] {
        &[]
    }

    /// A datagram has come to the IP multicast address `to`, from the address `from`.
    fn handle_multicast(&mut self, now: Time, to: SocketAddr, from: SocketAddr, datagram: &[u8]) {
        let _ = (now, to, from, datagram);
    }

    /// Begins a graceful stop: sessions are closed, nothing new is begun. May be called again.
    fn begin_shutdown(&mut self, now: Time);

    /// True when a graceful stop is complete and dropping the machine harms nobody.
    fn is_idle(&self) -> bool;
}
