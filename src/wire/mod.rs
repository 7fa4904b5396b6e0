//! The RFC 7016 codec (§2): what stands in a packet, and nothing about what it means.
//!
//! Every type follows one pattern: `parse` takes bytes and returns the value with what is left
//! (or, for types that end with their container, the value alone), `encoded_len` returns how many
//! bytes `encode` will append. Parsing never panics, never allocates more than the input justifies,
//! and keeps what it does not understand, so that re-encoding is lossless.
//!
//! | file | RFC 7016 |
//! | --- | --- |
//! | [`vlu`] | §2.1.2 variable length unsigned integers |
//! | [`option`] | §2.1.3, §2.1.4 options and option lists |
//! | [`address`] | §2.1.5 Internet socket addresses |
//! | [`multiplex`] | §2.2.2 session ID scrambling |
//! | [`packet`] | §2.2.4 packet header, chunks, padding |
//! | [`chunk`] | §2.3 one type per chunk |

pub mod address;
pub mod chunk;
mod error;
pub mod multiplex;
pub mod option;
pub mod packet;
mod shown;
pub mod vlu;

pub use address::{Address, Origin};
pub use chunk::Chunk;
pub use error::{Reason, WireError};
pub use option::{OptionList, OptionListRef, RawOption};
pub use packet::{Mode, PacketHeader};
pub use shown::{MAX_SHOWN, Shown, worth_keeping};
