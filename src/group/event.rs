//! The actions of a group for its owner, and its events for the application.

use super::{GroupAddress, MessageId};
use crate::amf::Encoded;
use crate::crypto::Fingerprint;
use crate::flash::Message;
use crate::transport::{FarAddress, FlowAction, SessionId};

/// An action for the owner of a [`Group`](super::Group), to be carried out in order.
///
/// The group names its own sending flows by tokens. Each token is used once, over all sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupAction {
    /// Open a session to this member. Report back by `on_session_opened` or `on_connect_failed`.
    Connect {
        /// The member.
        peer: Fingerprint,
        /// Addresses at which it may be reached directly. If empty, it is reached only through the
        /// server; otherwise the server may be asked as well.
        addresses: Vec<FarAddress>,
        /// The session in which it was reported, if nothing else is known of it.
        reported_by: Option<SessionId>,
    },
    /// Carry this out in a session, and return inputs of its flows by
    /// [`Group::on_flow_input`](super::Group::on_flow_input).
    Flow {
        /// The session.
        session: SessionId,
        /// The action; never [`FlowAction::Close`].
        action: FlowAction,
    },
    /// This group no longer needs the session; other groups may.
    ReleaseSession {
        /// The session.
        session: SessionId,
    },
}

/// A stream that the application publishes or plays in a group: Flash's `NetStream`. Unique in the
/// group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NetStreamId(pub u32);

/// An event of a group. [`code`](Self::code) is the `info.code` of Flash's `NetStatusEvent`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "event"))]
#[non_exhaustive]
pub enum GroupEvent {
    /// The server keeps no groups: it introduces no members. Members are found only by other means
    /// (bootstrap peers, [`on_introduced`](super::Group::on_introduced)) or after a connection to
    /// another server.
    #[cfg_attr(feature = "serde", serde(rename = "unserved"))]
    ConnectRejected,
    /// A neighbor connected.
    #[cfg_attr(feature = "serde", serde(rename = "neighbor_connected"))]
    NeighborConnect {
        /// Its peer ID.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        peer_id: Fingerprint,
        /// Its group address: Flash's `neighbor`.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        address: GroupAddress,
    },
    /// A neighbor is gone.
    #[cfg_attr(feature = "serde", serde(rename = "neighbor_disconnected"))]
    NeighborDisconnect {
        /// Its peer ID.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        peer_id: Fingerprint,
        /// Its group address: Flash's `neighbor`.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        address: GroupAddress,
    },
    /// An object is being requested from a neighbor.
    #[cfg_attr(feature = "serde", serde(rename = "requested"))]
    ReplicationFetchSendNotify {
        /// Its index.
        index: u64,
    },
    /// An announced fetch failed or was denied. It is retried while the object is wanted.
    #[cfg_attr(feature = "serde", serde(rename = "fetch_failed"))]
    ReplicationFetchFailed {
        /// Its index.
        index: u64,
    },
    /// A wanted object arrived. It is in neither set now: the application verifies it, then adds it
    /// to the Have set, or to the Want set again.
    #[cfg_attr(feature = "serde", serde(rename = "fetched"))]
    ReplicationFetchResult {
        /// Its index.
        index: u64,
        /// Its AMF value, encoded.
        #[cfg_attr(feature = "serde", serde(skip))]
        object: Encoded,
        /// The peer ID of the sender.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        peer_id: Fingerprint,
    },
    /// A neighbor requests an object. Answer by
    /// [`write_requested`](super::ReplicationMut::write_requested) or
    /// [`deny_requested`](super::ReplicationMut::deny_requested), in any order, at any time, even
    /// if the neighbor is gone by then.
    #[cfg_attr(feature = "serde", serde(rename = "request"))]
    ReplicationRequest {
        /// Its index.
        index: u64,
        /// The number to answer with; it is reused for another request after the answer.
        request_id: u32,
    },
    /// A directed message arrived from a neighbor, or from this node itself.
    #[cfg_attr(feature = "serde", serde(rename = "directed_message"))]
    SendToNotify {
        /// Its AMF value, encoded.
        #[cfg_attr(feature = "serde", serde(skip))]
        message: Encoded,
        /// The group address of the neighbor that sent it, or this node's own.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        from: GroupAddress,
        /// True if this node sent it to itself, as the nearest to the address.
        from_local: bool,
    },
    /// The part of the ring for which this node is responsible has changed.
    #[cfg_attr(feature = "serde", serde(rename = "local_coverage"))]
    LocalCoverageNotify {
        /// Its start: Flash's `localCoverageFrom`.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        from: GroupAddress,
        /// Its end, in increasing direction: Flash's `localCoverageTo`.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        to: GroupAddress,
    },
    /// A stream is published in the group.
    #[cfg_attr(feature = "serde", serde(rename = "stream_published"))]
    MulticastStreamPublishNotify {
        /// Its name.
        name: String,
    },
    /// A stream has ended: its end was reached, or nothing came for long.
    #[cfg_attr(feature = "serde", serde(rename = "stream_unpublished"))]
    MulticastStreamUnpublishNotify {
        /// Its name.
        name: String,
    },
    /// A stream that is played begins, or goes on elsewhere: the next message does not follow the
    /// last.
    #[cfg_attr(feature = "serde", serde(rename = "stream_reset"))]
    MulticastStreamReset {
        /// The player.
        id: NetStreamId,
        /// The name of the stream.
        name: String,
    },
    /// A stream that is played has ended. The next one of its name is waited for.
    #[cfg_attr(feature = "serde", serde(rename = "stream_ended"))]
    MulticastStreamEnd {
        /// The player.
        id: NetStreamId,
        /// The name of the stream.
        name: String,
    },
    /// A message of a stream that is played.
    #[cfg_attr(feature = "serde", serde(rename = "stream_message"))]
    MulticastStreamMessage {
        /// The player.
        id: NetStreamId,
        /// Audio, video, data, or a command such as `onStatus` at the end.
        #[cfg_attr(feature = "serde", serde(skip))]
        message: Message,
    },
    /// A member posted a value. Own posts are not reported.
    #[cfg_attr(feature = "serde", serde(rename = "posting"))]
    PostingNotify {
        /// The AMF value, encoded. Whether it is well-formed is known once it is decoded.
        #[cfg_attr(feature = "serde", serde(skip))]
        message: Encoded,
        /// Its identity: Flash's `messageID`. It does not tell who posted it; nothing does.
        #[cfg_attr(feature = "serde", serde(serialize_with = "text"))]
        message_id: MessageId,
    },
}

impl GroupEvent {
    /// The `info.code` of the same event in Flash, which has none for the messages of a stream. Its end
    /// is one of those.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ConnectRejected => "NetGroup.Connect.Rejected",
            Self::NeighborConnect { .. } => "NetGroup.Neighbor.Connect",
            Self::NeighborDisconnect { .. } => "NetGroup.Neighbor.Disconnect",
            Self::ReplicationFetchSendNotify { .. } => "NetGroup.Replication.Fetch.SendNotify",
            Self::ReplicationFetchFailed { .. } => "NetGroup.Replication.Fetch.Failed",
            Self::ReplicationFetchResult { .. } => "NetGroup.Replication.Fetch.Result",
            Self::ReplicationRequest { .. } => "NetGroup.Replication.Request",
            Self::SendToNotify { .. } => "NetGroup.SendTo.Notify",
            Self::LocalCoverageNotify { .. } => "NetGroup.LocalCoverage.Notify",
            Self::MulticastStreamPublishNotify { .. } => "NetGroup.MulticastStream.PublishNotify",
            Self::MulticastStreamUnpublishNotify { .. } => {
                "NetGroup.MulticastStream.UnpublishNotify"
            }
            Self::MulticastStreamReset { .. } => "NetStream.MulticastStream.Reset",
            Self::MulticastStreamEnd { .. } => "NetStream.Play.UnpublishNotify",
            Self::MulticastStreamMessage { .. } => "",
            Self::PostingNotify { .. } => "NetGroup.Posting.Notify",
        }
    }
}

/// Serializes peer IDs and addresses as text.
#[cfg(feature = "serde")]
fn text<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
