//! Errors between a machine and the operating system.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// Reason for which a socket could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// No address was named.
    #[error("no address to listen on was given")]
    NoAddress,
    /// More addresses than [`MAX_SOCKETS`](super::MAX_SOCKETS).
    #[error("{count} addresses to listen on are too many, at most {max} are possible")]
    TooMany {
        /// Number of addresses that were named.
        count: usize,
        /// Number of addresses that are possible.
        max: usize,
    },
    /// Another program, or this one, has the port already.
    #[error(
        "UDP port {} of {} is taken by another program: stop that one (`ss -ulpn` shows it) or choose another port",
        address.port(), address.ip()
    )]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The operating system forbids it.
    #[error(
        "not permitted to listen on UDP {address}: ports below 1024 need a privilege, choose a higher one or grant it"
    )]
    NotPermitted {
        /// The address.
        address: SocketAddr,
    },
    /// The address belongs to another host.
    #[error(
        "can't listen on UDP {address}: this host does not have that address; `0.0.0.0` and `[::]` stand for all it has"
    )]
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// The host does not support this version of IP.
    #[error("can't listen on UDP {address}: {} is switched off on this host", if address.is_ipv6() { "IPv6" } else { "IPv4" })]
    NoSuchFamily {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// Anything else.
    #[error("can't listen on UDP {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken { address },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address },
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { address },
            _ if is_family_missing(&source) => Self::NoSuchFamily { address, source },
            _ => Self::Io { address, source },
        }
    }
}

/// `EAFNOSUPPORT` has no stable [`io::ErrorKind`]; its number differs between systems.
fn is_family_missing(error: &io::Error) -> bool {
    const LINUX: i32 = 97;
    const BSD: i32 = 47;
    const WINDOWS: i32 = 10047;
    let number = if cfg!(windows) {
        WINDOWS
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        LINUX
    } else {
        BSD
    };
    error.raw_os_error() == Some(number)
}

/// The driver has ended, and its machine with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the driver has stopped")]
pub struct Stopped;

/// Reason for which a stop was not graceful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The machine still had something to do when its time was over.
    #[error("not everything was closed within {grace:?}; the rest was dropped")]
    GraceOver {
        /// The time it had.
        grace: Duration,
    },
    /// The task had ended before, by a panic of the machine or the end of its runtime.
    #[error("the driver's task was aborted")]
    Aborted,
}
