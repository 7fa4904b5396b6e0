//! NetGroups, without sockets, clocks or random sources: what a member of a Flash Player group says
//! and does (`protocol-notes/netgroup-membership.md`, `protocol-notes/object-replication.md`).
//!
//! [`Group`] is one group on one endpoint. Its owner moves sessions, flows and messages; the group
//! decides. Call an input, then drain [`Group::poll_action`] and [`Group::poll_event`] until both
//! return `None`, then ask [`Group::poll_timeout`] when [`Group::handle_timeout`] is next due.
//!
//! | file | subject |
//! | --- | --- |
//! | [`groupspec`] | the groupspec string: build, parse, group ID, passwords |
//! | [`address`] | group addresses on the ring of 2^256 |
//! | [`topology`] | who should be whose neighbour, member estimate, coverage |
//! | [`message`] | the messages of the flows `GR 1C`, `GR 15` |
//! | [`replication`] | object replication: sets, requesting, serving |
//! | `members`, `link`, `report` | known members, one session's relation, what reports say |
//! | `engine` | [`Group`] itself |
//!
//! Objects are opaque at this level: the encoded AMF value travels as bytes.

pub mod address;
mod config;
mod engine;
mod event;
pub mod groupspec;
mod link;
mod members;
pub mod message;
pub mod replication;
mod report;
mod rng;
#[cfg(test)]
mod tests;
pub mod topology;

pub use crate::flash::group_channel::GroupId;
pub use address::GroupAddress;
pub use config::GroupConfig;
pub use engine::{Group, GroupError, GroupStats, HelloVerdict, NeighborInfo, OpenVerdict};
pub use event::{GroupAction, GroupEvent};
pub use groupspec::{GroupSpec, GroupSpecBuilder, GroupSpecError, IpMulticastAddress};
pub use message::{FlowKind, ReceiveMode};
pub use replication::{NeighborTrade, ReplicationLimits, ReplicationStats, ReplicationStrategy};
