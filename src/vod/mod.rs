//! Files through groups by object replication: video on demand among Flash players.
//!
//! A file is cut into chunks of 64 KB. Object 0 of the group is a [`descriptor`], the
//! objects 1 to N are the chunks. The provider adds 0 to N to what it has; a receiver wants object 0,
//! reads from it how many chunks there are, wants all of them, and offers each chunk to the others
//! as soon as it holds it (`protocol-notes/object-replication.md`).
//!
//! | part | subject |
//! | --- | --- |
//! | [`chunker`] | bytes in, chunks out |
//! | [`layout`] | where each chunk lies in the file |
//! | [`hash`] | hashes of files and chunks |
//! | [`descriptor`] | object 0, in the two forms that Flash applications use, and how integrity hangs together |
//! | [`link`] | the line that `share` prints and `fetch` takes |
//! | [`file_name`] | names from the network made harmless |
//! | [`store`] | where chunks live: a shared file, a file on its way in, memory |
//! | [`replica`] | the state machine that ties them together, for provider and receiver alike |
//! | [`guest`] | a replica in a group on a node |
//! | [`session`] | the guest on a connection, with its store on other threads |
//! | [`Share`], [`Fetch`] | for most users |
//! | [`FetchReader`] | a fetched file in order, for a player or a pipe, while it arrives |
//!
//! But for the last two these parts know neither sockets nor clocks nor an async runtime; files are
//! used by [`store`] only, in blocking calls.

pub mod chunker;
pub mod descriptor;
mod fetch;
pub mod file_name;
pub mod guest;
pub mod hash;
pub mod layout;
pub mod link;
mod reader;
pub mod replica;
pub mod session;
mod share;
pub mod store;

pub use chunker::{CHUNK_SIZE, Chunker};
pub use descriptor::{Descriptor, DescriptorForm};
pub use fetch::{Fetch, FetchConfig};
pub use guest::{FileExchange, Request};
pub use hash::Digest256;
pub use layout::Layout;
pub use link::{Integrity, LinkError, LinkProblem, ServerAddress, ShareLink};
pub use reader::FetchReader;
pub use replica::{Completed, FileEvent, Replica};
pub use session::{Destination, Progress, SessionError};
pub use share::{Share, ShareConfig};
pub use store::{ChunkStore, MemoryStore, PartialFile, SourceFile, StoreError, Target};
