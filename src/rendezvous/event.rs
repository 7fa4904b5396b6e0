//! What the owner of a server hears.

use super::access::TokenError;
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::transport::SessionId;
use std::net::SocketAddr;
use thiserror::Error;

/// An event for the owner's log and counters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RendezvousEvent {
    /// A session was opened; for key logs.
    SessionOpened(SessionId),
    /// A client has connected.
    ClientConnected {
        /// Its peer ID.
        peer: Fingerprint,
        /// Its address.
        address: SocketAddr,
        /// The application that it named, without a token, no more of it than can be
        /// [shown](crate::wire::Shown).
        app: String,
        /// The name that its token gives it, likewise.
        name: Option<String>,
    },
    /// A client was refused.
    ClientRefused {
        /// Its address.
        address: SocketAddr,
        /// The application that it named, without a token, no more of it than can be
        /// [shown](crate::wire::Shown).
        app: String,
        /// Why.
        reason: RefusalReason,
    },
    /// A connected client is gone.
    ClientGone {
        /// Its peer ID.
        peer: Fingerprint,
    },
    /// A client has joined a group.
    Joined {
        /// Its peer ID.
        peer: Fingerprint,
        /// The group.
        group: GroupId,
        /// Members now.
        members: usize,
    },
    /// A client has left a group.
    Left {
        /// Its peer ID.
        peer: Fingerprint,
        /// The group.
        group: GroupId,
        /// Members now.
        members: usize,
    },
    /// A client has sent a message that was dropped because of its length. Emitted once for each
    /// client; calls that wait for an answer have failed.
    MessageTooLong {
        /// Its peer ID.
        peer: Fingerprint,
        /// The method that it called, if it was a call: 64 characters at most.
        method: Option<String>,
        /// The longest message that is taken, in bytes.
        limit: usize,
    },
    /// A client publishes a stream.
    StreamPublished {
        /// Its peer ID.
        peer: Fingerprint,
        /// The application, no more of it than can be [shown](crate::wire::Shown).
        app: String,
        /// The name of the stream, likewise.
        name: String,
    },
    /// A client publishes a stream no longer.
    StreamEnded {
        /// Its peer ID.
        peer: Fingerprint,
        /// The application, no more of it than can be [shown](crate::wire::Shown).
        app: String,
        /// The name of the stream, likewise.
        name: String,
    },
    /// A peer was introduced to a client.
    Introduced {
        /// Address of the peer that asked.
        from: SocketAddr,
        /// The client that it asked for.
        to: Fingerprint,
    },
}

/// Why a client was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The application that it named is not among [`RendezvousConfig::applications`](super::RendezvousConfig::applications).
    #[error("there is no such application")]
    NoApplication,
    /// Its token does not let it connect.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The owner does not let it connect ([`RendezvousConfig::hooks`](super::RendezvousConfig::hooks)).
    #[error("the hook has refused it")]
    Hook,
}
