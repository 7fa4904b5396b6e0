//! NetStream: audio, video and data over flows of a session (RFC 7425 §5.2, §5.3.5).
//!
//! A stream has two ends. One asks, by a flow whose first message is the command `play` or
//! `publish`: [`ClientStream`]. The other serves: [`Subscriber`] is the end of somebody who
//! publishes, one for each who plays. Between two peers the asking flow is associated with no other
//! flow; between client and server it is associated with the server's control flow, and its stream
//! ID comes from the call `createStream`. `protocol-notes/flash-profile.md` describes what Flash
//! Player does, subject "peers".
//!
//! | file | subject |
//! | --- | --- |
//! | `client` | [`ClientStream`] |
//! | `subscriber` | [`Subscriber`] |
//! | `late` | [`Late`]: the messages that a late subscriber gets first |
//! | `event` | [`NetStreamEvent`] |
//! | `gate` | which audio and video goes to one who plays |
//! | `delivery` | how long each kind of message is of use |

mod client;
pub(super) mod delivery;
mod event;
pub(super) mod gate;
mod late;
pub(super) mod subscriber;

#[cfg(test)]
mod tests;

pub use client::{ClientStream, Request};
pub use event::{NetStreamError, NetStreamEvent};
pub use late::Late;
pub use subscriber::{FromSubscriber, PlayRequest, Subscriber};
