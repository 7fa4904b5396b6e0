//! Sessions and flows (RFC 7016 §3), without sockets.

mod id;
mod time;

pub use id::{FlowId, SessionId};
pub use time::Time;
