//! Flash communication on RTMFP (RFC 7425 §5): the messages on the flows of a session.
//!
//! Nothing here knows packets, sockets or clocks. A [`ClientConnection`] or [`ServerConnection`]
//! takes the inputs of the flows of one session, and returns
//! [`FlowAction`](crate::transport::FlowAction)s to carry out and events for its owner. Drain both
//! ([`ClientConnection::poll_action`], then
//! [`ClientConnection::poll_event`]) after every call.
//!
//! | file | RFC 7425 |
//! | --- | --- |
//! | [`uri`] | §6.1 `rtmfp://host/app` |
//! | [`metadata`] | §5.1.1 the kind of a flow |
//! | [`message`] | §5.1.2 RTMP messages on a flow |
//! | `configuration` | – codec configuration and metadata of a stream |
//! | `flv` | – messages of a stream as tags of a file |
//! | [`user_control`] | §5.2, §5.3.4 User Control messages |
//! | `barrier` | §5.2 flows that wait for each other |
//! | `amf0` | – values for clients with object encoding 0 |
//! | [`command`] | commands with AMF values |
//! | [`action`] | decisions on flows, event queue |
//! | [`call`] | remote calls in both directions |
//! | [`limits`] | – the longest command, the most arguments and calls |
//! | [`peer_info`] | §5.3.3 the addresses of a client |
//! | [`connectivity`] | – the results of a connectivity check |
//! | [`stream`] | §5.3.5 NetStream |
//! | [`shared_object`] | – messages of remote shared objects |
//! | [`group_channel`] | – joining groups at the server |
//! | [`client`] | §5.3 NetConnection, the client's end |
//! | [`server`] | §5.3 NetConnection, the server's end |
//!
//! Behaviour of Flash Player beyond the RFC is in `protocol-notes/flash-profile.md`.

pub mod action;
mod amf0;
mod barrier;
pub mod call;
pub mod client;
pub mod command;
mod configuration;
pub mod connectivity;
mod control;
mod error;
mod flv;
pub mod group_channel;
pub mod limits;
pub mod message;
pub mod metadata;
pub mod peer_info;
pub mod server;
pub mod shared_object;
pub mod stream;
pub mod uri;
pub mod user_control;

#[cfg(test)]
mod tests;

pub use action::FlowDecision;
pub use barrier::{Barriers, FlowDelivery};
pub use call::{Call, CallId, Methods, Responder};
pub use client::{ClientConfig, ClientConnection, ClientEvent, ConnectFailure};
pub use command::{Command, ObjectEncoding};
pub use configuration::ConfigurationPart;
pub use connectivity::{Connectivity, Dependence};
pub use error::FlashError;
pub use message::{Body, Format, Message, MessageBytes};
pub use metadata::FlowMetadata;
pub use server::{
    ConnectRequest, Rejection, ServerConnection, ServerConnectionConfig, ServerConnectionEvent,
};
pub use uri::{Host, Uri, UriError, UriProblem};
pub use user_control::{Keepalive, UserControl};
