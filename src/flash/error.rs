//! Errors of the Flash layer.

use thiserror::Error;

use super::UriError;
use crate::amf::AmfError;

/// An error of the Flash layer.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum FlashError {
    /// The far end sent less than a type and a timestamp.
    #[error("a message of {0} bytes: type and timestamp need 5")]
    ShortMessage(usize),
    /// The far end left out the format selector of an extended command or data message.
    #[error("a message of type {0:#04x} without its format selector")]
    MissingSelector(u8),
    /// The far end uses a format of extended messages that is not defined (only 0 is).
    #[error("unknown message format {0:#04x}")]
    UnknownFormat(u8),
    /// The far end cut off a User Control message.
    #[error("user control event {event} with {len} bytes of data")]
    ShortUserControl {
        /// The event type, 0 if even that is missing.
        event: u16,
        /// Bytes after the event type.
        len: usize,
    },
    /// The far end sent a command whose `{0}` is missing or of a wrong type.
    #[error("a command without {0}")]
    NotCommand(&'static str),
    /// A command has more arguments than [`MAX_ARGS`](super::limits::MAX_ARGS).
    #[error("a command with more than {} arguments", super::limits::MAX_ARGS)]
    TooManyArguments,
    /// A command is longer than [`MAX_COMMAND_LEN`](super::limits::MAX_COMMAND_LEN), or than its
    /// sender wants it to be.
    #[error("a command of {0} bytes is too long")]
    CommandTooLong(usize),
    /// A value cannot be read or written.
    #[error(transparent)]
    Amf(#[from] AmfError),
    /// The URI cannot be used.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// `rtmfp:` names no server, so there is nothing to connect to.
    #[error("the URI `rtmfp:` names no server to connect to")]
    Serverless,
    /// This can be done on an established connection only.
    #[error("not connected")]
    NotConnected,
    /// [`MAX_CALLS`](super::limits::MAX_CALLS) calls wait for their results.
    #[error("more than {} calls wait for a result", super::limits::MAX_CALLS)]
    TooManyCalls,
    /// No connect request waits for a decision.
    #[error("no connect request waits for an answer")]
    NothingToAnswer,
}
