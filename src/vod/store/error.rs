//! [`StoreError`].

use std::io;
use std::path::{Path, PathBuf};

use super::super::layout::LayoutError;

/// What went wrong with the place where chunks live, and what can be done about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space left on the device, or the quota is used up.
    #[error(
        "the disk is full (writing {}): make room and run the same command again, \
         what has been fetched is kept", path.display()
    )]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
    /// The file does not fit.
    #[error(
        "not enough room in {}: {} are needed and {} are free", directory.display(),
        gigabytes(*needed), gigabytes(*free)
    )]
    NoRoom {
        /// Where the file would be.
        directory: PathBuf,
        /// Bytes that are still to be written.
        needed: u64,
        /// Bytes that can be written.
        free: u64,
    },
    /// What has the name is no regular file and is not to be replaced by one.
    #[error("{} is {what}, which is not replaced by a file: choose another name", path.display())]
    NotReplaceable {
        /// What is there.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The list of what is in the unfinished file is lost, and there are no hashes to find it by.
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
        /// What was tried, as in "cannot … the file".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Not a regular file.
    #[error("{} is not a file: only single files can be shared", path.display())]
    NotAFile {
        /// The path given.
        path: PathBuf,
    },
    /// The shared file is not what it was when sharing began.
    #[error("{} was changed while it is shared: share it again under a new link", path.display())]
    FileChanged {
        /// The shared file.
        path: PathBuf,
    },
    /// A chunk on disk no longer has the hash it was accepted with.
    #[error("chunk {index} in {} is damaged and has to be fetched again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The chunk.
        index: u64,
    },
    /// A different file has the name that the fetched one ought to get.
    #[error(
        "{} exists already and is a different file: move it away or choose another name", path.display()
    )]
    TargetExists {
        /// The existing file.
        path: PathBuf,
    },
    /// The name for the unfinished file belongs to something else.
    #[error(
        "{} exists but does not belong to this download: move it away or choose another name",
        path.display()
    )]
    ForeignPart {
        /// The existing file.
        path: PathBuf,
    },
    /// Another process is fetching into the same file.
    #[error("{} is in use: another download to the same name is running", path.display())]
    InUse {
        /// The unfinished file.
        path: PathBuf,
    },
    /// The chunk is not there.
    #[error("chunk {index} is not held")]
    NotHeld {
        /// The chunk.
        index: u64,
    },
    /// The chunk's place in the file is not known before another chunk has come.
    #[error("the place of chunk {index} is not known yet")]
    NoPlaceYet {
        /// The chunk.
        index: u64,
    },
    /// The store is complete, or is one that is only read.
    #[error("the file is not to be written any more")]
    ReadOnly,
    /// Chunks are missing.
    #[error("{missing} chunks are missing")]
    Incomplete {
        /// How many.
        missing: u64,
    },
    /// The chunk does not fit the file.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl StoreError {
    /// Puts the path to an error of the operating system; to be used with `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { action, path, source },
        }
    }
}

/// A number of bytes for people.
fn gigabytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        1_000_000_000.. => (1e9, "GB"),
        1_000_000.. => (1e6, "MB"),
        _ => return format!("{bytes} bytes"),
    };
    format!("{:.1} {name}", bytes as f64 / unit)
}
