//! A file on a connection and on real disks: what runs under [`Share`](super::Share) and
//! [`Fetch`](super::Fetch).
//!
//! ```text
//! Share, Fetch ─────calls────▶ connection's task: Node, Group, FileMember (FileExchange: Replica)
//!     ▲                            │        │ work             ▲
//!     └─progress, events, outcome──┘        ▼                  │ replies
//!                              a strand of the connection's pool: the store
//! ```
//!
//! The `FileMember` is a guest of the connection: any number of files share its sockets, its
//! task and its pool of threads. Work for the store goes from there straight to the pool, and the
//! reply comes back as a call of the guest. When the last handle of a share or fetch is dropped or
//! stopped, the group is left, and what was received until then is written, to be resumed.
//!
//! | file | what |
//! | --- | --- |
//! | `member` | the guest: a [`FileExchange`](super::FileExchange) with its store and its watchers |
//! | `worker` | the work of the store, in order, on threads that may block |
//! | `handle` | what [`Share`](super::Share) and [`Fetch`](super::Fetch) hold of it |
//! | `destination` | [`Destination`]: where a fetched file goes |
//! | `progress` | [`Progress`] and [`ChunkMap`]: a picture of the state, several times a second |
//! | `error` | [`SessionError`] |

mod destination;
mod error;
mod handle;
mod member;
mod progress;
#[cfg(test)]
mod tests;
mod worker;

pub use destination::Destination;
pub use error::SessionError;
pub use handle::FILE_EVENT_QUEUE;
pub use progress::{ChunkMap, MAP_COLUMNS, PROGRESS_INTERVAL, Progress};

pub(super) use destination::StoreConfig;
pub(super) use handle::{Session, Start};
