//! RTMFP, the Secure Real-Time Media Flow Protocol of Flash Player (RFC 7016, RFC 7425), with its
//! NetGroups and object replication: a peer, a rendezvous server, files through groups, and a
//! decoder of recorded packets.
//!
//! The protocol is a set of deterministic state machines that never touch a socket, a clock or a
//! random source: bytes, time and randomness come in as arguments; datagrams, deadlines and events
//! come out. A thin driver gives them sockets, a simulator gives them a virtual network.
//!
//! # An async peer
//!
//! A member of a group that fetches three objects from its neighbors, with the feature `tokio`:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use rtmfp::peer::GroupEvent;
//! use rtmfp::{Connection, GroupSpecBuilder};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let connection = Connection::connect("rtmfp://127.0.0.1/example").await?;
//!     let spec = GroupSpecBuilder::new("poem")?.object_replication(true).server_channel(true);
//!     let group = connection.join(spec.build()?).await?;
//!     group.add_want_objects(0, 2).await?;
//!     let mut events = group.events();
//!     while let Ok(event) = events.recv().await {
//!         if let GroupEvent::ReplicationFetchResult { index, object, .. } = event {
//!             println!("object {index}: {}", object.decode()?);
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # A loop without a runtime
//!
//! The same peer inside a program that has a loop of its own, with the feature `core`, which brings
//! neither sockets nor an async runtime. `examples/sans_io.rs` is the whole program.
//!
#![cfg_attr(feature = "core", doc = "```")]
#![cfg_attr(not(feature = "core"), doc = "```ignore")]
//! use rtmfp::proto::node::Node;
//! use rtmfp::proto::transport::{Interface, Machine, Path, Time, TransmitBuf};
//!
//! /// Call this once a frame. The socket is non-blocking.
//! fn frame(node: &mut Node, socket: &std::net::UdpSocket, now: Time) {
//!     let mut datagram = [0; 8192];
//!     while let Ok((len, remote)) = socket.recv_from(&mut datagram) {
//!         let path = Path { interface: Interface(0), remote };
//!         node.handle_datagram(now, path, &mut datagram[..len]);
//!     }
//!     if node.poll_timeout().is_some_and(|at| at <= now) {
//!         node.handle_timeout(now);
//!     }
//!     while let Some(job) = node.poll_job() {
//!         node.handle_computed(now, job.run());
//!     }
//!     let mut batch = TransmitBuf::new();
//!     while let Some(transmit) = node.poll_transmit(now, &mut batch) {
//!         for datagram in batch.datagrams() {
//!             let _ = socket.send_to(datagram, transmit.path.remote);
//!         }
//!     }
//!     while let Some(event) = node.poll_event() {
//!         println!("{event:?}");
//!     }
//! }
//! ```
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `wire` | the codec of RFC 7016 alone |
//! | `core` | everything that is deterministic, for a program with sockets of its own |
//! | `trace` | the decoder of captures |
//! | `tokio` | driver, async peer and server |
//! | `serde` | events in serialized form |
//! | `tokens` | tokens that let clients connect to a server |
//! | `hooks` | a server that asks another program by HTTP, with TLS, for which a C compiler is needed |
//! | `settings` | configuration files of a server |
//! | `vod` | files through groups |
//! | `origin` | files of web servers: `vod` and an HTTP client with TLS, for which a C compiler is needed |
//! | `web` | pages in the browser: of a film while it is fetched, of a server |
//! | `cli` | the `rtmfp` command; the default |
//!
//! # Modules
//!
//! The types that most programs begin with are at the root of the crate too. The modules without IO
//! are under [`proto`], which is **unstable**: it changes with any release. Lowest first; a module
//! imports only from lower levels:
//!
//! | level | module | what |
//! | --- | --- | --- |
//! | 0 | [`wire`] | RFC 7016 §2: packets, chunks, options, addresses |
//! | 0 | [`amf`] | AMF0 and AMF3 values |
//! | 0 | [`proto::random`] | choices that need no secrecy |
//! | 0 | [`proto::range`] | sets of indices as ranges |
//! | 0 | [`proto::text`] | parsing of texts that people write, errors with their place |
//! | 1 | [`media`] | containers of audio and video: FLV, fragmented MP4, duration of a file |
//! | 1 | [`proto::crypto`] | RFC 7425 §4: keys, certificates, packet encryption |
//! | 2 | [`proto::transport`] | RFC 7016 §3: endpoint, sessions, flows |
//! | 3 | [`proto::lan`] | announcements of group members on the local network |
//! | 3 | [`proto::flash`] | RFC 7425 §5: RTMP messages, NetConnection, URIs |
//! | 4 | [`proto::group`] | NetGroup: groupspec, membership, object replication |
//! | 4 | [`proto::rendezvous`] | the server's logic: introductions, group bootstrap |
//! | 5 | [`proto::node`] | one endpoint with its NetConnection and groups, still without sockets |
//! | 5 | [`proto::sim`] | virtual network for deterministic tests |
//! | 5 | [`trace`] | captures in, decoded packets out |
//! | 5 | [`driver`] | sockets and timers under a state machine (tokio) |
//! | 6 | [`peer`] | async API of a group member |
//! | 6 | [`server`] | the rendezvous server as a process |
//! | 7 | [`vod`] | files through groups |
//! | 8 | [`web`] | pages in the browser |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "core")]
pub mod amf;
#[cfg(feature = "tokio")]
pub mod driver;
#[cfg(feature = "core")]
pub mod media;
#[cfg(feature = "tokio")]
pub mod peer;
#[cfg(feature = "core")]
pub mod proto;
#[cfg(feature = "tokio")]
pub mod server;
#[cfg(feature = "trace")]
pub mod trace;
#[cfg(feature = "vod")]
pub mod vod;
#[cfg(feature = "web")]
pub mod web;
#[cfg(feature = "wire")]
pub mod wire;

#[cfg(feature = "core")]
use proto::{crypto, flash, group, lan, random, range, text, transport};
#[cfg(feature = "tokio")]
use proto::{node, rendezvous};

#[cfg(feature = "core")]
pub use crypto::Fingerprint;
#[cfg(feature = "core")]
pub use flash::Uri;
#[cfg(feature = "core")]
pub use group::{GroupSpec, GroupSpecBuilder};
#[cfg(feature = "tokio")]
pub use peer::{Connection, NetGroup};
#[cfg(feature = "tokio")]
pub use server::Server;
#[cfg(feature = "vod")]
pub use vod::{Fetch, Share};
