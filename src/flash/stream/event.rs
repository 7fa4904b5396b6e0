//! [`NetStreamEvent`] and [`NetStreamError`].

use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::{FlashError, Message};
use crate::transport::OpenSessionError;
use crate::wire::Shown;
use std::time::Duration;
use thiserror::Error;

/// An event of a stream that is played or published.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NetStreamEvent {
    /// The publisher's end of the stream is reached: the peer, or the server. Flash reports
    /// `NetStream.Connect.Success`. There is no such event for a stream of a group.
    Connected,
    /// It begins, or goes on after something was missed.
    Reset,
    /// The same in a group; it may be another stream of the name.
    MulticastReset,
    /// Audio, video, data, or a command, of which Flash sends two at the end of a group's stream.
    Message(Message),
    /// Another `onStatus` of the far end: the information object, whose `code` is
    /// `NetStream.Play.Start` or `NetStream.Publish.Start`, for example.
    Status(Value),
    /// The publisher has ended the stream: `NetStream.Play.UnpublishNotify`. In a group, or from a
    /// server, the next stream of the name follows; a peer's stream is over.
    Ended,
    /// The stream is over for this reason. It is the last event. Not in a group.
    Failed(NetStreamError),
    /// A peer plays a stream that is published to peers.
    PeerConnect {
        /// Its peer ID.
        peer_id: Fingerprint,
    },
    /// A peer no longer plays it.
    PeerDisconnect {
        /// Its peer ID.
        peer_id: Fingerprint,
    },
    /// A peer that plays it has sent a message, by `NetStream.send`.
    PeerMessage {
        /// Its peer ID.
        peer_id: Fingerprint,
        /// The message.
        message: Message,
    },
}

impl NetStreamEvent {
    /// The `info.code` of the same event in Flash. Empty where it has none, and for
    /// [`Status`](Self::Status), whose information object has it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connected => "NetStream.Connect.Success",
            Self::Reset => "NetStream.Play.Reset",
            Self::MulticastReset => "NetStream.MulticastStream.Reset",
            Self::Ended => "NetStream.Play.UnpublishNotify",
            Self::Failed(NetStreamError::Closed | NetStreamError::Rejected) => {
                "NetStream.Connect.Closed"
            }
            Self::Failed(NetStreamError::Refused(_)) => "NetStream.Connect.Rejected",
            Self::Failed(_) => "NetStream.Connect.Failed",
            Self::Message(_)
            | Self::Status(_)
            | Self::PeerConnect { .. }
            | Self::PeerDisconnect { .. }
            | Self::PeerMessage { .. } => "",
        }
    }
}

/// Why a stream is over, or cannot begin.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum NetStreamError {
    /// The peer could not be reached.
    #[error("the peer was not reached: {0}")]
    Unreachable(#[from] OpenSessionError),
    /// There is neither a connection to a server, which would introduce the peer, nor an address.
    #[error("there is no server that could introduce the peer, and no address of it")]
    NoServer,
    /// The far end has rejected the flow. Flash Player does so when as many peers play from it as
    /// its `maxPeerConnections` allows, 8 by default.
    #[error("the far end refused the stream")]
    Rejected,
    /// The server refused: the code and description of its answer, shortened.
    #[error("the server refused the stream: {0}")]
    Refused(String),
    /// The server has not answered within this time.
    #[error("the server did not answer within {0:?}")]
    NoAnswer(Duration),
    /// The session is closed.
    #[error("the session with the far end is closed")]
    Closed,
    /// A stream of this name is already published to peers.
    #[error("a stream of this name is already published to peers")]
    NameInUse,
    /// There are as many streams as one endpoint may have.
    #[error("too many streams")]
    TooMany,
    /// A command cannot be sent.
    #[error(transparent)]
    Flash(#[from] FlashError),
}

impl NetStreamError {
    /// The refusal that an information object describes.
    pub fn refused(info: &Value) -> Self {
        let text = |name| info.property(name).and_then(Value::as_str).unwrap_or_default();
        let (code, description) = (Shown::new(text("code")), Shown::new(text("description")));
        Self::Refused(format!("{description} ({code})"))
    }
}
