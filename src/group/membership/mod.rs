//! Membership: hellos and proofs, neighbors, known members, reports, the topology
//! (`protocol-notes/netgroup-membership.md`).
//!
//! | file | subject |
//! | --- | --- |
//! | [`message`] | the messages of the flow `GR 1C` |
//! | `inputs` | sessions, hellos, flows and messages |
//! | `session` | one session, and the relation in it |
//! | `members` | known members |
//! | `reports` | what reports contain, sent and received |
//! | `tick` | maintenance |
//! | `topology` | who should be whose neighbor, member estimate, coverage |

mod inputs;
pub(super) mod members;
pub(super) mod message;
mod reports;
pub(super) mod session;
pub(super) mod tick;
pub(super) mod topology;
