//! Errors of the calls of the application.

use crate::amf::AmfError;
use crate::range::RangeError;
use thiserror::Error;

/// Why a call of the application was refused. The call had no effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group was closed.
    #[error("the group is closed")]
    Closed,
    /// The groupspec does not allow object replication.
    #[error("object replication is not enabled in the groupspec")]
    ReplicationDisabled,
    /// The groupspec does not allow streams.
    #[error("multicast is not enabled in the groupspec")]
    MulticastDisabled,
    /// The groupspec has a publish password, and the string does not carry the right one.
    #[error("the groupspec does not carry the password that publishing needs")]
    PublishNotAuthorized,
    /// The name of a stream is longer than 512 bytes.
    #[error("the name of the stream is too long")]
    StreamNameTooLong,
    /// No further stream has place.
    #[error("there are too many streams")]
    TooManyStreams,
    /// The stream is not published, or no longer.
    #[error("there is no such stream")]
    NoSuchStream,
    /// The groupspec does not allow posting.
    #[error("posting is not enabled in the groupspec")]
    PostingDisabled,
    /// The groupspec requires a password for posting that this one does not carry.
    #[error("posting needs a password in this group, which the groupspec does not carry")]
    PostingUnauthorized,
    /// The posted value is too large.
    #[error("the value has {bytes} bytes, more than the {max} that members accept")]
    PostingTooLarge {
        /// Its encoded bytes.
        bytes: usize,
        /// The most that are accepted.
        max: usize,
    },
    /// The posted value has no bytes, so it is no AMF value.
    #[error("no value")]
    PostingEmpty,
    /// An index out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The groupspec does not allow directed routing.
    #[error("directed routing is not enabled in the groupspec")]
    RoutingDisabled,
    /// A message that is empty or too large.
    #[error("a message of {bytes} bytes can't be sent: 1 to {max} are allowed")]
    MessageSize {
        /// Its encoded bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The neighbor receives more slowly than messages are sent to it.
    #[error("too many bytes wait for the neighbor: {queued}, at most {max}")]
    QueueFull {
        /// The bytes that wait.
        queued: usize,
        /// The limit.
        max: usize,
    },
    /// A message that is no AMF value, or a value that cannot be encoded.
    #[error(transparent)]
    Value(#[from] AmfError),
}
