//! RTMFP for today: the Secure Real-Time Media Flow Protocol of Flash Player (RFC 7016, RFC 7425)
//! with its NetGroups and object replication.
//!
//! The protocol is a set of deterministic state machines that never touch a socket, a clock or a
//! random source: bytes, time and randomness come in as arguments; datagrams, deadlines and events
//! come out. A thin driver gives them sockets, a simulator gives them a virtual network.
//!
//! Rooms, lowest first; a room imports only from lower levels:
//!
//! | level | room | what |
//! | --- | --- | --- |
//! | 0 | [`wire`] | RFC 7016 §2: packets, chunks, options, addresses |
//! | 0 | [`amf`] | AMF0 and AMF3 values |
//! | 0 | [`range`] | sets of indices as ranges |
//! | 0 | [`text`] | parsing of texts that people write, errors with their place |
//! | 1 | [`crypto`] | RFC 7425 §4: keys, certificates, packet encryption |
//! | 2 | [`transport`] | RFC 7016 §3: endpoint, sessions, flows |
//! | 3 | [`flash`] | RFC 7425 §5: RTMP messages, NetConnection, URIs |
//! | 4 | [`group`] | NetGroup: groupspec, membership, object replication |
//! | 4 | [`rendezvous`] | the server's logic: introductions, group bootstrap |
//! | 5 | [`node`] | one endpoint with its NetConnection and groups, still without sockets |
//! | 5 | [`sim`] | virtual network for deterministic tests |
//! | 5 | [`trace`] | captures in, decoded packets out |
//! | 5 | [`driver`] | sockets and timers under a state machine (tokio) |
//! | 6 | [`peer`] | async API of a group member |
//! | 6 | [`server`] | the rendezvous server as a process |
//! | 7 | [`vod`] | files through groups |

#[cfg(feature = "core")]
pub mod amf;
#[cfg(feature = "core")]
pub mod crypto;
#[cfg(feature = "tokio")]
pub mod driver;
#[cfg(feature = "core")]
pub mod flash;
#[cfg(feature = "core")]
pub mod group;
#[cfg(feature = "core")]
pub mod node;
#[cfg(feature = "tokio")]
pub mod peer;
#[cfg(feature = "core")]
pub mod range;
#[cfg(feature = "core")]
pub mod rendezvous;
#[cfg(feature = "tokio")]
pub mod server;
#[cfg(feature = "core")]
pub mod sim;
#[cfg(feature = "core")]
pub mod text;
#[cfg(feature = "trace")]
pub mod trace;
#[cfg(feature = "core")]
pub mod transport;
#[cfg(feature = "vod")]
pub mod vod;
#[cfg(feature = "wire")]
pub mod wire;
