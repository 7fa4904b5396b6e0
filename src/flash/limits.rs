//! Limits of commands and calls.

/// The longest command that is read or written, in bytes of AMF. A longer one is refused with
/// [`FlashError::CommandTooLong`](super::FlashError::CommandTooLong).
pub const MAX_COMMAND_LEN: usize = 256 * 1024;

/// The most arguments of a command; with more it is refused with
/// [`FlashError::TooManyArguments`](super::FlashError::TooManyArguments).
pub const MAX_ARGS: usize = 256;

/// The most calls of one connection that wait for their results. Then
/// [`FlashError::TooManyCalls`](super::FlashError::TooManyCalls).
pub const MAX_CALLS: usize = 64;
