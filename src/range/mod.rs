//! Sets of object indices kept as ranges.
//!
//! A NetGroup member announces what it holds and notes what it wants as inclusive ranges of object
//! indices in `0..=2^53` (`protocol-notes/object-replication.md`, range list). One message of
//! eleven bytes can mean "I hold all 2^53 + 1 objects", so a set costs memory and time by its
//! number of *ranges*, never by its number of indices, and the number of ranges is bounded: a peer
//! that announces every second index is refused at [`MAX_RANGES`], not served with memory.
//!
//! The module knows nothing of groups, files or packets; it imports nothing of this crate.

mod index_set;

pub use index_set::{IndexSet, MAX_INDEX, MAX_RANGES, RangeError};
