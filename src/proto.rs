//! The protocol without IO: deterministic state machines for programs with sockets of their own.
//!
//! Everything here takes bytes, time and randomness as arguments, and returns datagrams, deadlines
//! and events. [`node::Node`] is a whole peer, [`rendezvous::Rendezvous`] a whole server, and
//! [`transport::Endpoint`] the bare transport of RFC 7016. The [first page](crate) has a complete
//! loop around a `Node`, and `examples/sans_io.rs` a program.
//!
//! **Unstable**: these modules change with any release, while the rest of the crate follows
//! semantic versioning. The types of them that the asynchronous API uses are re-exported where it
//! uses them.

#[path = "crypto/mod.rs"]
pub mod crypto;
#[path = "flash/mod.rs"]
pub mod flash;
#[path = "group/mod.rs"]
pub mod group;
#[path = "lan/mod.rs"]
pub mod lan;
#[path = "node/mod.rs"]
pub mod node;
#[path = "random.rs"]
pub mod random;
#[path = "range/mod.rs"]
pub mod range;
#[path = "rendezvous/mod.rs"]
pub mod rendezvous;
#[path = "sim/mod.rs"]
pub mod sim;
#[path = "text.rs"]
pub mod text;
#[path = "transport/mod.rs"]
pub mod transport;
