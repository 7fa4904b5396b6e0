//! Errors of starting and stopping a server.

use super::ServerStats;
use crate::crypto::CryptoError;
use crate::driver::{BindError, ShutdownError};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The operating system gives no thread for a worker.
    #[error("can't start a thread for a worker of the server: {0}; fewer workers need fewer")]
    Thread(io::Error),
    /// The identity file can't be used.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// The folder of shared objects can't be used.
    #[error(transparent)]
    SharedObjects(#[from] SharedObjectsError),
}

/// A folder of shared objects can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SharedObjectsError {
    /// It can't be made or read.
    #[error("can't use the folder of shared objects {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another server uses it.
    #[error("another server keeps its shared objects in {}; name another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file of it can't be read.
    #[error("can't read the shared object {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file of it has something else, or is damaged.
    #[error("{} is no whole shared object; to start without it, move it to another folder", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The limits leave no space for what it has.
    #[error(
        "there is no space for the shared object {}: raise SharedObjectLimits, or move files that are \
         not needed to another folder",
        path.display()
    )]
    Full {
        /// The file of the first that finds no space.
        path: PathBuf,
    },
}

/// An identity file can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// It exists and can't be read.
    #[error("can't read the identity file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Its content is not an identity.
    #[error("{} is no identity file: {source}; name another file, or remove it for a new identity", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: CryptoError,
    },
    /// It does not exist and can't be created.
    #[error("can't write the identity file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// A stop was not graceful.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StopError {
    /// It had stopped before.
    #[error("the server has stopped already")]
    AlreadyStopped,
    /// Some clients did not confirm in time.
    #[error("{source}")]
    Shutdown {
        /// The part of the shutdown that was not completed.
        source: ShutdownError,
        /// The counters as they were before the stop.
        stats: Box<ServerStats>,
    },
}
