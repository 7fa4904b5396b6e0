//! A catalogue: the list of a publisher's shares, kept by a group.
//!
//! ```text
//! Publication ──set(entries)──▶ Schedule ──posts, signed──▶ group ──▶ Listing ──entries──▶ Catalogue
//! ```
//!
//! The group is one of its own, with posting. The [link](super::link::catalogue) of the catalogue names
//! the publisher's key: any member of the group may post, but only what this key has signed for this
//! group is listed. Each [`Post`] has the publisher's time, by which an earlier one that somebody sends
//! again is recognized; clocks of others do not matter.
//!
//! | part | subject |
//! | --- | --- |
//! | `post` | the posts, their bounds, their signature |
//! | `schedule` | when the publisher posts what |
//! | `listing` | the entries that a receiver knows |
//! | `live` | both on a connection: [`Publication`], [`Catalogue`] |
//!
//! `protocol-notes/file-sharing.md` has the format.

mod listing;
mod live;
mod post;
mod schedule;

pub use listing::Listing;
pub use live::{Catalogue, Listed, Publication, PublicationConfig};
pub use post::{Entry, MAX_ENTRY_LINK, Post, PostError};
pub use schedule::Schedule;

use std::time::Duration;

/// The most entries of a catalogue, those that are gone included.
pub const MAX_ENTRIES: usize = 1000;

/// The most bytes of names and links that a receiver keeps.
pub const MAX_LISTED_BYTES: usize = 2 << 20;

/// Interval at which every entry is posted again.
pub const REPEAT: Duration = Duration::from_secs(60);

/// An entry that was not posted again for so long is not listed any more.
pub const EXPIRY: Duration = Duration::from_secs(300);
