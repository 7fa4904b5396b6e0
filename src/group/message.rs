//! The messages of the group flows.

pub use super::config::ReceiveMode;
pub use super::membership::message::{
    Hello, MAX_ADDRESSES, MAX_REPORT, MembershipMessage, Proof, Record, Report,
};
pub use super::replication::message::{MAX_LIST_RANGES, RangeList, ReplicationMessage};
