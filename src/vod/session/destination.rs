//! [`Destination`]: where a fetched file goes.

use crate::vod::file_name::safe_file_name;
use crate::vod::store::Overwrite;
use crate::vod::{Descriptor, Digest256, Target};
use std::path::PathBuf;

/// Where a fetched file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To this file; until it is complete it is called `NAME.part`.
    File(PathBuf),
    /// Into this directory, under the name that the provider gave it, made harmless.
    Directory(PathBuf),
    /// Nowhere: only the [descriptor](crate::vod::Fetch::descriptor) is fetched.
    Nowhere,
    /// Into memory, from where [`Fetch::read_chunk`](crate::vod::Fetch::read_chunk) gets it.
    Memory,
}

/// How the store of a fetched file is opened once its descriptor is known.
#[derive(Debug, Clone)]
pub(in crate::vod) struct StoreConfig {
    pub(in crate::vod) destination: Destination,
    pub(in crate::vod) overwrite: Overwrite,
    /// The identity of this download.
    pub(in crate::vod) identity: Digest256,
    /// The name that the link gives, for a descriptor without one.
    pub(in crate::vod) name: Option<String>,
}

impl StoreConfig {
    /// The file to write; `None` if the chunks stay in memory.
    pub(super) fn target(self, descriptor: &Descriptor) -> Option<Target> {
        let path = match self.destination {
            Destination::File(path) => path,
            Destination::Directory(directory) => {
                let name = descriptor.name.as_deref().or(self.name.as_deref()).unwrap_or_default();
                directory.join(safe_file_name(name))
            }
            Destination::Memory | Destination::Nowhere => return None,
        };
        Some(Target { overwrite: self.overwrite, ..Target::new(path, self.identity) })
    }
}
