//! [`Carrier`]: what brings commands to other members of a cluster, to the workers of this process by
//! mailboxes, and to those of other machines by a message bus. Whatever is lost on the way is missed by
//! nobody for longer than a client takes to ask again, so no carrier waits or keeps anything for later.

use crate::rendezvous::cluster::{Command, MemberId, To};
use crate::transport::Time;
use std::fmt;

/// A way by which commands reach other members of the cluster.
pub(super) trait Carrier: fmt::Debug + Send + Sync {
    /// True if it reaches some of those whom a command concerns.
    fn leads_to(&self, to: To) -> bool;

    /// Carries a command of a member of this process to those whom it may concern. Never waits: what
    /// can't be carried is lost, and counted.
    fn carry(&self, now: Time, from: MemberId, to: To, command: Command);
}
