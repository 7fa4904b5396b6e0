//! [`StoreError`].

use std::io;
use std::path::{Path, PathBuf};

use super::super::files::FileListError;
use super::super::layout::LayoutError;

/// An error of a [`ChunkStore`](super::ChunkStore), with advice to the user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space left on the device, or the quota is used up.
    #[error(
        "the disk is full (writing {}): free some space and run the same command again, \
         the fetched part is kept", path.display()
    )]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
    /// The file does not fit on the disk.
    #[error(
        "not enough space in {}: {} needed, {} free", directory.display(), gigabytes(*needed),
        gigabytes(*free)
    )]
    NoSpace {
        /// The directory of the file.
        directory: PathBuf,
        /// Bytes that remain to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The name belongs to something other than a regular file, which is not replaced.
    #[error("{} is {what}, which is not replaced: choose another name", path.display())]
    NotReplaceable {
        /// The path with that name.
        path: PathBuf,
        /// A name for its kind.
        what: &'static str,
    },
    /// The list of held chunks of the unfinished file is lost, and there are no hashes to find them
    /// by.
    #[error(
        "the list of what is in {} is lost, and without hashes of the file's parts it cannot be \
         verified: move it away or choose another name", path.display()
    )]
    ListLost {
        /// The unfinished file.
        path: PathBuf,
    },
    /// Another error of the operating system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The action that failed, as in "cannot … the file".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Not a regular file.
    #[error("{} is neither a file nor a folder of files", path.display())]
    NotAFile {
        /// The given path.
        path: PathBuf,
    },
    /// A share of several files is written to a folder.
    #[error("{} is not a folder, which the link's several files need", path.display())]
    NotAFolder {
        /// The given path.
        path: PathBuf,
    },
    /// The files cannot be shared together.
    #[error(transparent)]
    Files(#[from] FileListError),
    /// The shared file has changed since sharing began.
    #[error("{} was changed while it was shared: share it again with a new link", path.display())]
    FileChanged {
        /// The shared file.
        path: PathBuf,
    },
    /// A chunk on disk no longer has the hash it was accepted with.
    #[error("chunk {index} in {} is damaged and must be fetched again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The chunk.
        index: u64,
    },
    /// A different file already has the name of the fetched file.
    #[error(
        "{} exists already and is a different file: move it away or choose another name", path.display()
    )]
    DestinationExists {
        /// The existing file.
        path: PathBuf,
    },
    /// A file of another download has the name of the unfinished file.
    #[error(
        "{} exists but does not belong to this download: move it away or choose another name",
        path.display()
    )]
    ForeignPart {
        /// The existing file.
        path: PathBuf,
    },
    /// Another process is fetching into the same file.
    #[error("{} is in use by another download to the same name", path.display())]
    InUse {
        /// The unfinished file.
        path: PathBuf,
    },
    /// The chunk is not held.
    #[error("chunk {index} is not held")]
    NotHeld {
        /// The chunk.
        index: u64,
    },
    /// The chunk's offset in the file is unknown until another chunk has arrived.
    #[error("the offset of chunk {index} is not known yet")]
    UnknownOffset {
        /// The chunk.
        index: u64,
    },
    /// The store is complete, or is read-only.
    #[error("the file is read-only or already complete")]
    ReadOnly,
    /// Chunks are missing.
    #[error("{missing} chunks are missing")]
    Incomplete {
        /// The number of missing chunks.
        missing: u64,
    },
    /// The chunk does not fit the file.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl StoreError {
    /// Adds the path to an error of the operating system, for `map_err`.
    pub(in crate::vod) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { action, path, source },
        }
    }
}

/// Formats a number of bytes for users.
fn gigabytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        1_000_000_000.. => (1e9, "GB"),
        1_000_000.. => (1e6, "MB"),
        _ => return format!("{bytes} bytes"),
    };
    format!("{:.1} {name}", bytes as f64 / unit)
}
