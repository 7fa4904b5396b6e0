//! Counters of a driver.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
/// Counters of a driver since its start. They only grow.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct NetworkStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl NetworkStats {
            /// The sums of both.
            pub fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }
        }

        /// The counters behind [`NetworkStats`], shared by task and handles.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> NetworkStats {
                NetworkStats { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Datagrams handed to the operating system.
    datagrams_sent,
    /// Their bytes of UDP payload.
    bytes_sent,
    /// Calls that sent them; less than datagrams with segmentation offload.
    send_calls,
    /// Datagrams that the operating system refused (no route, too long for the path, firewall).
    datagrams_refused,
    /// Datagrams to an address family without a socket, dropped.
    datagrams_unroutable,
/// Number of times that a socket's send buffer was full.
    send_blocked,
    /// Datagrams received.
    datagrams_received,
    /// Their bytes of UDP payload.
    bytes_received,
    /// Calls that received them.
    receive_calls,
    /// Startup packets that the sockets dropped in a flood of these: an estimate, by those that came and
    /// the part that was taken.
    startups_dropped,
/// Number of times that the event queue was full; see [`Service::handle_stall`](super::Service).
    stalls,
    /// Jobs that ran.
    jobs_done,
    /// Jobs dropped because too many waited, or because they panicked.
    jobs_dropped,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }
}
