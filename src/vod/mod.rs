//! Files through groups by object replication: video on demand among Flash players.
//!
//! A file is cut into chunks of 64 KB. Object 0 of the group is a [`descriptor`], the objects 1 to
//! N are the chunks. The provider adds 0 to N to its Have set. A receiver wants object 0, reads the
//! number of chunks from it, wants all of them, and offers each chunk to the others as soon as it
//! holds it (`protocol-notes/object-replication.md`).
//!
//! | part | subject |
//! | --- | --- |
//! | [`chunker`] | cutting a byte stream into chunks |
//! | [`layout`] | the offsets and lengths of the chunks |
//! | [`hash`] | hashes of files and chunks |
//! | [`tree`] | the hashes of a large file's chunks, in pages |
//! | [`descriptor`] | object 0, in the two forms that Flash applications use, and the chain of integrity |
//! | [`link`] | the link that `share` prints and `fetch` takes |
//! | [`origin`] | files that a web server has |
//! | [`file_name`] | safe file names from network text |
//! | [`files`] | the files of a share of several, and safe paths for them |
//! | [`validators`] | what a web server states about files |
//! | [`playlist`] | what a playlist names |
//! | [`store`] | stores of chunks: a shared file, a file that is being fetched, memory |
//! | [`replica`] | the state machine of one file, for provider and receiver alike |
//! | [`guest`] | a replica in a group on a node |
//! | [`session`] | the guest on a connection, with its store on other threads |
//! | [`Share`], [`Fetch`] | the API for most applications |
//! | [`catalogue`] | a list of shares that a group keeps |
//! | [`FetchReader`] | a file as a stream of bytes while it is fetched, for a player or a pipe |
//!
//! Except for the last four, these parts use neither sockets nor clocks nor an async runtime; only
//! [`store`] uses files, in blocking calls.

pub mod catalogue;
pub mod chunker;
pub mod descriptor;
mod fetch;
pub mod file_name;
pub mod files;
pub mod guest;
pub mod hash;
pub mod layout;
pub mod link;
pub mod origin;
pub mod playlist;
mod reader;
pub mod replica;
pub mod session;
mod share;
pub mod store;
pub mod tree;
pub mod validators;

pub use chunker::{CHUNK_SIZE, Chunker};
pub use descriptor::{Descriptor, DescriptorForm};
pub use fetch::{Fetch, FetchConfig, METERED_NEIGHBORS};
pub use files::{FileList, FileListError, SharedFile};
pub use guest::{FileExchange, Request};
pub use hash::Digest256;
pub use layout::Layout;
pub use link::{
    CatalogueLink, Integrity, LinkError, LinkKey, LinkProblem, LinkSignature, PublicKey,
    ServerAddress, ShareLink,
};
#[cfg(feature = "origin")]
pub use origin::HttpOrigin;
pub use origin::{OriginError, OriginLimit, OriginVersion};
pub use reader::FetchReader;
pub use replica::{Completed, FileEvent, Replica};
pub use session::{Destination, Progress, SessionError};
pub use share::{Share, ShareConfig};
pub use store::{
    ChunkStore, FileDestination, MemoryStore, PartialFile, ScanConfig, SourceFile, StoreError,
};
