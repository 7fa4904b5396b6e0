//! [`Destination`]: the destination of a fetched file.

use crate::vod::file_name::safe_file_name;
use crate::vod::store::Overwrite;
use crate::vod::{Descriptor, Digest256, FileDestination};
use std::path::PathBuf;

/// The destination of a fetched file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// This file, or a folder for several; until it is complete, its name is `NAME.part`.
    File(PathBuf),
    /// A file or a folder in this directory, named by the provider; the name is made safe.
    Directory(PathBuf),
    /// None: only the [descriptor](crate::vod::Fetch::descriptor) is fetched.
    Nowhere,
    /// Memory, read by [`Fetch::read_chunk`](crate::vod::Fetch::read_chunk).
    Memory,
}

/// How the store of a fetched file is opened once its descriptor is known.
#[derive(Debug, Clone)]
pub(in crate::vod) struct StoreConfig {
    pub(in crate::vod) destination: Destination,
    pub(in crate::vod) overwrite: Overwrite,
    /// The identity of this download.
    pub(in crate::vod) identity: Digest256,
    /// The name in the link, for a descriptor without one.
    pub(in crate::vod) name: Option<String>,
}

impl StoreConfig {
    /// The file to write; `None` if the chunks stay in memory.
    pub(super) fn file_destination(self, descriptor: &Descriptor) -> Option<FileDestination> {
        let path = match self.destination {
            Destination::File(path) => path,
            Destination::Directory(directory) => {
                let name = descriptor.name.as_deref().or(self.name.as_deref()).unwrap_or_default();
                directory.join(safe_file_name(name))
            }
            Destination::Memory | Destination::Nowhere => return None,
        };
        Some(FileDestination {
            overwrite: self.overwrite,
            ..FileDestination::new(path, self.identity)
        })
    }
}
