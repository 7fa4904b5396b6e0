//! A file in a group on real sockets and real disks: what runs under [`Share`](super::Share) and
//! [`Fetch`](super::Fetch).
//!
//! ```text
//! Share, Fetch ──requests──▶ session task ──work──▶ store thread (files, blocking)
//!      ▲  ▲                   │        ▲               │
//!      │  └─news, outcome─────┘        └──replies──────┘
//!      │                      │ commands, events
//!      └──progress── driver task: FileService (FilePeer: Node, Group, Replica)
//! ```
//!
//! The session task owns the driver and the store thread. It ends when it is told to stop, or when
//! the last handle of the share or fetch is dropped; then the group is left and what was received
//! until then is on disk, to be resumed.
//!
//! | file | what |
//! | --- | --- |
//! | `service` | [`FileService`]: a [`FilePeer`](super::FilePeer) as a driver's service |
//! | `store_thread` | the thread on which files are read and written, in order |
//! | `task` | the session task |
//! | `handle` | what [`Share`](super::Share) and [`Fetch`](super::Fetch) hold of it |
//! | `progress` | [`Progress`] and [`ChunkMap`]: a picture of the state, several times a second |
//! | `resolve` | server names to addresses |

mod error;
mod handle;
mod news;
mod progress;
mod resolve;
mod service;
mod store_thread;
mod task;

pub use error::{Problem, SessionError, Unreachable};
pub use handle::STOP_GRACE;
pub use news::{Completed, NEWS_QUEUE, News};
pub use progress::{ChunkMap, MAP_COLUMNS, PROGRESS_INTERVAL, Progress};
pub use resolve::resolve;
pub use service::{FileCommand, FileService};

pub(super) use handle::{Session, Start};
pub(super) use store_thread::Place;

use crate::driver::{BindError, Sockets};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Opens the sockets of a member: those named, or, if none is, one for each version of IP that the
/// host speaks, on ports that the operating system chooses.
pub(super) fn open_sockets(listen: &[SocketAddr]) -> Result<Sockets, BindError> {
    if !listen.is_empty() {
        return Sockets::bind_available(listen);
    }
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Sockets::bind_available(&[v4, v6])
}
