//! [`NetStreamEvent`]: the events of a stream that is played.

use super::queue::{Kind, Queued};
use crate::flash::{Body, Message};

/// An event of a stream that is played.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetStreamEvent {
    /// It begins, or goes on after something was missed: Flash's `NetStream.MulticastStream.Reset`.
    Reset,
    /// Audio, video, data, or a command, of which Flash sends two at the end.
    Message(Message),
    /// The publisher has ended it, or nothing came for long. The next stream of the name is waited for.
    Ended,
}

impl Queued for NetStreamEvent {
    fn kind(&self) -> Kind {
        match self {
            Self::Message(message) => Kind::Message(match &message.body {
                Body::Audio(bytes)
                | Body::Video(bytes)
                | Body::Data(_, bytes)
                | Body::Command(_, bytes)
                | Body::Other { payload: bytes, .. } => bytes.len(),
                Body::UserControl(_) => 0,
            }),
            Self::Reset | Self::Ended => Kind::Notice,
        }
    }
}
