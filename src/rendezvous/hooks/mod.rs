//! Questions to the owner: may this client connect, publish, play, and what is the answer to this call?
//!
//! The server does not wait. A [`Query`] comes out like an event, and its [`Decision`] comes back by
//! [`Rendezvous::handle_decision`](super::Rendezvous::handle_decision), whenever that is; meanwhile the
//! client waits, and nobody else. Queries of one client are asked one at a time, in the order of what it
//! did, so that an owner that asks another process sees them in order, too. One that is not answered by
//! its deadline has failed; [`HookConfig::allow_on_failure`] says what then.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | what is asked, and the answers |
//! | `lanes.rs` | the queries that wait, client by client |
//! | `serve.rs` | what clients get |
//! | `size.rs` | how much memory values take |

mod lanes;
mod serve;
mod size;

use crate::amf::Value;
use crate::crypto::Fingerprint;
pub(super) use lanes::{LaneId, Lanes};
pub use size::MAX_QUERY;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is asked, and when it counts as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookConfig {
    /// The kinds of queries that are asked. What is not asked is allowed, and calls fail.
    pub events: BTreeSet<HookKind>,
    /// A query that is not answered within this time has failed.
    pub timeout: Duration,
    /// Clients whose query has failed may connect, publish and play; otherwise they are refused. Calls
    /// fail in any case.
    pub allow_on_failure: bool,
    /// Queries that wait for one client; a further one has failed.
    pub per_client: usize,
    /// Queries that wait in all; a further one has failed. Half as many more may be notifications, of
    /// which further ones are lost.
    pub pending: usize,
}

impl Default for HookConfig {
    fn default() -> Self {
        Self {
            events: HookKind::ALL.into(),
            timeout: Duration::from_secs(5),
            allow_on_failure: false,
            per_client: 16,
            pending: 1024,
        }
    }
}

/// A kind of query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HookKind {
    /// [`HookEvent::Connect`]
    Connect,
    /// [`HookEvent::Publish`]
    Publish,
    /// [`HookEvent::Play`]
    Play,
    /// [`HookEvent::Call`]
    Call,
    /// [`HookEvent::Unpublish`]
    Unpublish,
    /// [`HookEvent::Disconnect`]
    Disconnect,
}

impl HookKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Publish, Self::Play, Self::Call, Self::Unpublish, Self::Disconnect];

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Play => "play",
            Self::Call => "call",
            Self::Unpublish => "unpublish",
            Self::Disconnect => "disconnect",
        }
    }
}

/// Names a query in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// A question to the owner.
#[derive(Debug, Clone)]
pub struct Query {
    /// Names it in [`handle_decision`](super::Rendezvous::handle_decision).
    pub id: QueryId,
    /// The client that it is about.
    pub client: Caller,
    /// What the client does.
    pub event: HookEvent,
}

/// A client, as the owner knows it. What comes from the client may have any length and content that
/// messages can have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// Its peer ID.
    pub peer: Fingerprint,
    /// Its address.
    pub address: SocketAddr,
    /// The application, without query.
    pub app: Arc<str>,
    /// The name that its token gives it.
    pub name: Option<Arc<str>>,
}

/// What a client does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum HookEvent {
    /// It wants to connect.
    Connect(Box<ConnectFacts>),
    /// It wants to publish a stream of this name at the server.
    Publish {
        /// The name.
        name: Arc<str>,
    },
    /// It wants to play a stream of this name.
    Play {
        /// The name.
        name: Arc<str>,
    },
    /// It calls a method that the server does not know.
    Call {
        /// The method.
        method: Arc<str>,
        /// The arguments.
        args: Vec<Value>,
        /// It waits for the answer.
        wants_answer: bool,
    },
    /// It publishes this stream no longer. The answer does not matter.
    Unpublish {
        /// The name.
        name: Arc<str>,
    },
    /// It is gone. The answer does not matter.
    Disconnect,
}

/// What a client says of itself when it connects. A token is not in it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConnectFacts {
    /// The application with its query, as the client named it.
    pub app: String,
    /// The URI.
    pub tc_url: Option<String>,
    /// The client's name and version, such as `WIN 10,3,183,48`.
    pub flash_version: Option<Arc<str>>,
    /// The URL of the client's program.
    pub swf_url: Option<Arc<str>>,
    /// The URL of the page around it.
    pub page_url: Option<Arc<str>>,
    /// The arguments of `connect` behind the URI.
    pub args: Vec<Value>,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// The client may do it. A call gets undefined as its result.
    Allow,
    /// The client may not, for this reason.
    Deny {
        /// The reason in words, for the client.
        description: String,
        /// A URI to connect to instead, which is in `info.ex.redirect`, with `info.ex.code` 302. Only
        /// for [`HookEvent::Connect`].
        redirect: Option<String>,
    },
    /// The result of a call. Otherwise as [`Allow`](Self::Allow).
    Answer(Value),
    /// The error of a call, which its responder gets. Otherwise as [`Deny`](Self::Deny).
    Fail(Value),
    /// There is no such method: the call fails as without an owner. Otherwise as [`Allow`](Self::Allow).
    Unknown,
    /// The owner could not find out.
    Failed,
}

impl Decision {
    /// Denies it for this reason.
    pub fn deny(description: impl Into<String>) -> Self {
        Self::Deny { description: description.into(), redirect: None }
    }

    /// Sends a client that connects to another server.
    pub fn redirect(uri: impl Into<String>) -> Self {
        Self::Deny { description: "connect to another server".into(), redirect: Some(uri.into()) }
    }
}

impl HookEvent {
    /// Its kind.
    pub const fn kind(&self) -> HookKind {
        match self {
            Self::Connect(_) => HookKind::Connect,
            Self::Publish { .. } => HookKind::Publish,
            Self::Play { .. } => HookKind::Play,
            Self::Call { .. } => HookKind::Call,
            Self::Unpublish { .. } => HookKind::Unpublish,
            Self::Disconnect => HookKind::Disconnect,
        }
    }

    /// False if it only informs.
    pub const fn is_question(&self) -> bool {
        !matches!(self, Self::Unpublish { .. } | Self::Disconnect)
    }
}
