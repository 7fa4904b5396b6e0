//! Errors of the calls of the application.

use crate::range::RangeError;
use thiserror::Error;

/// Why a call of the application was refused. The call had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group was closed.
    #[error("the group is closed")]
    Closed,
    /// The groupspec does not allow object replication.
    #[error("object replication is not enabled in the groupspec")]
    ReplicationDisabled,
    /// An index out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
}
