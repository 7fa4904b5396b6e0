//! A file on a connection and on disk: the implementation of [`Share`](super::Share) and
//! [`Fetch`](super::Fetch).
//!
//! ```text
//! Share, Fetch ─────calls────▶ connection's task: Node, Group, FileMember (FileExchange: Replica)
//!     ▲                            │        │ work             ▲
//!     └─progress, events, outcome──┘        ▼                  │ replies
//!                              a strand of the connection's pool: the store
//! ```
//!
//! The `FileMember` is a guest of the connection: any number of files share its sockets, its task
//! and its pool of threads. Store commands go directly to the pool, and each reply returns as a
//! call of the guest. When the last handle of a share or fetch is dropped or stopped, the group is
//! left, and everything received until then is written, to be resumed.
//!
//! | file | subject |
//! | --- | --- |
//! | `member` | the guest: a [`FileExchange`](super::FileExchange) with its store and the channels to its handle |
//! | `worker` | store commands, carried out in order on threads that may block |
//! | `handle` | the handle in [`Share`](super::Share) and [`Fetch`](super::Fetch) |
//! | `origin` | what is read from the file's origin |
//! | `readers` | the places at which the file is read while it is fetched |
//! | `destination` | [`Destination`]: the destination of a fetched file |
//! | `progress` | [`Progress`] and [`ChunkMap`]: the state, several times a second |
//! | `error` | [`SessionError`] |

mod destination;
mod error;
mod handle;
mod member;
mod origin;
mod progress;
mod readers;
mod recent;
#[cfg(test)]
mod tests;
mod worker;

pub use destination::Destination;
pub use error::SessionError;
pub use handle::FILE_EVENT_QUEUE;
pub use progress::{ChunkMap, MAP_COLUMNS, PROGRESS_INTERVAL, Progress};

pub(super) use destination::StoreConfig;
pub(super) use handle::{Session, Start};
pub(super) use origin::OriginStart;
pub(super) use readers::ReaderToken;
