//! Files of web servers: a group in front of an ordinary HTTP server, its *origin*.
//!
//! | part | subject |
//! | --- | --- |
//! | `version` | [`OriginVersion`]: one content of a URL, and the descriptor, group and link that follow from it |
//! | `plan` | what is read from the origin, and when |
//! | `error` | [`OriginError`] |
//! | `download` | a whole file, for hashing it first |
//! | `headers` | what an HTTP response states |
//! | `http` | [`HttpOrigin`], the HTTP client, with the feature `origin` |
//! | `playlist` | a playlist with the files that it names, which are one share |
//!
//! All who know the URL and the server make the same link without talking to each other:
//! `protocol-notes/file-sharing.md`, "Origins". Whoever shares the URL is a provider that reads the file
//! while it shares it; a fetcher whose link names an origin reads there what the swarm lacks.

#[cfg(feature = "origin")]
mod download;
mod error;
#[cfg(feature = "origin")]
mod headers;
#[cfg(feature = "origin")]
mod http;
mod plan;
#[cfg(feature = "origin")]
mod playlist;
mod version;

pub use super::validators::{MAX_VALIDATORS, Validator, Validators};
pub use error::OriginError;
#[cfg(feature = "origin")]
pub use http::{HttpOrigin, link_of};
pub use plan::{OriginLimit, OriginRead, OriginRequest};
#[cfg(feature = "origin")]
pub use playlist::{MAX_PLAYLISTS, MAX_PROBES, MAX_URI};
pub use version::{OriginFiles, OriginVersion};

pub(super) use plan::{AwaitedPage, MAX_PIECES, OriginPlan, OriginRole, View};
pub(super) use version::{group_of_file, host_of};

use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use tokio::sync::mpsc;

/// A future of a [`ReadOrigin`].
pub(super) type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, OriginError>> + Send + 'a>>;

/// Reads a file from where it comes from.
pub(super) trait ReadOrigin: Send + Sync + fmt::Debug {
    /// Finds out what the origin has now.
    fn probe(&self) -> Reading<'_, OriginVersion>;

    /// Reads these bytes of this version, or, without a range, all of it. The parts are in order, and
    /// together never longer than what was asked for.
    fn read<'a>(
        &'a self,
        version: &'a OriginVersion,
        range: Option<Range<u64>>,
        parts: mpsc::Sender<Bytes>,
    ) -> Reading<'a, ()>;
}
