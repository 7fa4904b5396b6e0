//! Events and errors that an endpoint reports to its owner.

use super::{FlowId, Path, SessionId};
use crate::crypto::{CryptoError, Epd, Fingerprint};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// An attempt to open a session, from [`Endpoint::open`](super::Endpoint::open).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenId(pub(crate) u64);

/// Source of a far end's address, which decides what is sent there before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NamedBy {
    /// The owner of the endpoint, who may trust it: hellos as long as the attempt lasts.
    Owner,
    /// The far end was there some time ago: four hellos in an attempt, within the budget of the
    /// address over all attempts.
    Before,
    /// The far end of this session: the same, at the expense of the bytes that the session has
    /// brought. If the session itself is with this address, as with a server that can introduce
    /// the far end, there is no bound.
    Session(SessionId),
}

/// Address at which a far end may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FarAddress {
    /// The address.
    pub address: SocketAddr,
    /// Source of the address.
    pub named_by: NamedBy,
}

/// Which end asked for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// This end.
    Initiator,
    /// The far end.
    Responder,
}

/// Something happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A session is open.
    SessionOpened {
        /// Its name from now on.
        session: SessionId,
        /// Which end asked for it.
        role: Role,
        /// The far end's peer ID.
        far: Fingerprint,
        /// The attempts of this end that it fulfils (an attempt can end in the far end's session,
        /// RFC 7016 §3.5.1.3).
        opens: Vec<OpenId>,
    },
    /// A session could not be opened.
    OpenFailed {
        /// The attempt.
        open: OpenId,
        /// Why.
        error: OpenSessionError,
    },
    /// A session is closed, and its flows with it.
    SessionClosed {
        /// Which one.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// The far end opened a flow.
    FlowOpened {
        /// In which session.
        session: SessionId,
        /// The receiving flow.
        flow: FlowId,
        /// The user's per-flow metadata.
        metadata: Bytes,
        /// The sending flow of this end to which it is an answer.
        association: Option<FlowId>,
    },
    /// A whole message arrived, in order.
    Message {
        /// In which session.
        session: SessionId,
        /// The receiving flow.
        flow: FlowId,
        /// The message.
        message: Bytes,
    },
    /// One or more messages of a flow were abandoned by the far end and will not come: the next
    /// [`Message`](Self::Message) does not follow the last (RFC 7016 §3.6.1.2). Emitted as soon as it
    /// is known, once between two messages. A last message that was abandoned together with the end
    /// of its flow looks like an end without one, and is not reported.
    Gap {
        /// In which session.
        session: SessionId,
        /// The receiving flow.
        flow: FlowId,
    },
    /// A message is longer than [`Config::max_message`](super::Config) and is skipped. Emitted once
    /// for each, as soon as it is known; the flow goes on behind it.
    MessageTooLong {
        /// In which session.
        session: SessionId,
        /// The receiving flow.
        flow: FlowId,
        /// Its first bytes, 512 at most.
        head: Bytes,
    },
    /// The far end finished a flow and every message of it was delivered.
    FlowFinished {
        /// In which session.
        session: SessionId,
        /// The receiving flow.
        flow: FlowId,
    },
    /// The far end rejected a flow of this end, which is closed now.
    FlowRejected {
        /// In which session.
        session: SessionId,
        /// The sending flow.
        flow: FlowId,
        /// The exception code.
        exception: u64,
    },
    /// Everything sent on a flow that this end finished was acknowledged, or abandoned.
    FlowDone {
        /// In which session.
        session: SessionId,
        /// The sending flow.
        flow: FlowId,
    },
    /// The queue of a flow, filled beyond its low-water mark before, has space again: for the message
    /// that was refused last, if there was one, and at least for half of
    /// [`Config::max_send_queue`](super::Config).
    Writable {
        /// In which session.
        session: SessionId,
        /// The sending flow.
        flow: FlowId,
    },
    /// The far end's address changed and was verified.
    AddressChanged {
        /// Which session.
        session: SessionId,
        /// The new address.
        address: SocketAddr,
    },
    /// A hello arrived for a fingerprint that is not this endpoint's; see
    /// [`Endpoint::redirect`](super::Endpoint::redirect) and
    /// [`Endpoint::forward_hello`](super::Endpoint::forward_hello).
    IntroductionWanted(Box<IntroductionRequest>),
    /// A hello was answered that belongs to no attempt, see
    /// [`Endpoint::send_hello`](super::Endpoint::send_hello). Only with
    /// [`Config::report_answers`](super::Config).
    HelloAnswered {
        /// Where the answer came from, and where it arrived.
        path: Path,
        /// The tag of the hello.
        tag: [u8; 16],
    },
}

/// A hello for somebody else (RFC 7016 §3.5.1.4, §3.5.1.5).
#[derive(Debug, Clone)]
pub struct IntroductionRequest {
    /// Whom it asks for.
    pub epd: Epd,
    /// The fingerprint in `epd`.
    pub wanted: Fingerprint,
    /// Comes back in the redirect.
    pub tag: Bytes,
    /// The initiator's path.
    pub from: Path,
    /// Bytes of the datagram that asked; bounds the length of an answer.
    pub received: usize,
}

/// Reason for which an attempt to open a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenSessionError {
    /// Nobody answered the hellos.
    #[error("{} within {}", no_answer(addresses), seconds(after))]
    NoAnswer {
        /// The addresses that were asked, at most 24.
        addresses: Vec<SocketAddr>,
        /// For how long.
        after: Duration,
    },
    /// Somebody answered the hello, but the keying did not complete.
    #[error("{address} answered, but the key exchange did not complete within {}", seconds(after))]
    NoKeying {
        /// The responder's address.
        address: SocketAddr,
        /// Duration of the attempt.
        after: Duration,
    },
    /// The far end's certificate can't be used.
    #[error("the certificate of {address} can't be used: {error}")]
    Keying {
        /// The responder's address.
        address: SocketAddr,
        /// The defect.
        error: CryptoError,
    },
    /// The owner cancelled the attempt.
    #[error("cancelled")]
    Cancelled,
}

fn no_answer(addresses: &[SocketAddr]) -> String {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    match list.is_empty() {
        true => "no address to ask became known".into(),
        false => format!("no answer from {}", list.join(", ")),
    }
}

/// `0.1 s`, `20 s`: nobody wants the nanoseconds of a time-out.
fn seconds(time: &Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        tenth => format!("{}.{tenth} s", tenths / 10),
    }
}

/// Reason for which a session closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This end closed it.
    Near,
    /// The far end closed it.
    Far,
    /// The far end no longer answers.
    Dead,
    /// The far end is alive, but has lost the session: it was restarted
    /// ([`Endpoint::watch`](super::Endpoint::watch)).
    SessionLost,
    /// The far end opened a new session with the same certificate.
    Overridden,
    /// It held more memory than other sessions when [`Config::max_memory`](super::Config) or
    /// [`Config::max_address_memory`](super::Config) was reached.
    Evicted,
}

/// Reason for which a message or a flow was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is not open.
    #[error("the session is closed")]
    NoSession,
    /// The flow is not open.
    #[error("the flow is closed")]
    NoFlow,
    /// Too much waits in the flow already; try again after [`Event::Writable`].
    #[error("the flow's queue is full")]
    Full,
    /// Metadata above 512 bytes (RFC 7016 §2.3.11.1.1).
    #[error("flow metadata is longer than 512 bytes")]
    MetadataTooLong,
}
