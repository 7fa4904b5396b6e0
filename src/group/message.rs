//! The messages of the group flows.

pub use super::config::ReceiveMode;
pub use super::membership::message::{
    Hello, MAX_ADDRESSES, MAX_REPORT, MembershipMessage, Proof, Record, Report,
};
pub use super::multicast::message::{
    Description, FRAGMENT_SIZE, Fragment, MAX_DESCRIPTION, MAX_END, MAX_MAP, Map, MulticastControl,
    MulticastData, StreamKey, StreamSettings, cut,
};
pub use super::posting::message::{KeyList, PostingMessage};
pub use super::replication::message::{MAX_LIST_RANGES, RangeList, ReplicationMessage};
