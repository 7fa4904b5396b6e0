//! The async API of a group member.
//!
//! A [`Connection`] is one endpoint with its own identity and its NetConnection to a server; a
//! [`NetGroup`] is one group joined on it. Both are handles: clones are cheap and refer to the same
//! object. Each has one bounded stream of events. Names are Flash's in snake case.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rtmfp::amf::Value;
//! use rtmfp::proto::group::GroupSpecBuilder;
//! use rtmfp::peer::{Connection, GroupEvent};
//!
//! let connection = Connection::connect("rtmfp://rendezvous.example/app").await?;
//! let spec = GroupSpecBuilder::new("example/film")?
//!     .object_replication(true)
//!     .server_channel(true)
//!     .build()?;
//! let group = connection.join(spec).await?;
//! group.add_have_objects(0, 0).await?;
//!
//! let mut events = group.events();
//! while let Ok(event) = events.recv().await {
//!     if let GroupEvent::ReplicationRequest { request_id, .. } = event {
//!         group.write_requested_object(request_id, &Value::from("hello")).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | Flash | this crate |
//! | --- | --- |
//! | `NetConnection.connect(uri)` | [`Connection::connect`] |
//! | `new NetGroup(connection, groupspec)` | [`Connection::join`] |
//! | `NetConnection.call`, `client` | [`Connection::call`], [`Connection::set_method`] |
//! | `new NetStream(connection, groupspec)` | [`NetGroup::publish`], [`NetGroup::play`] |
//! | `new NetStream(connection, NetStream.DIRECT_CONNECTIONS)` | [`Connection::publish_to_peers`] |
//! | `new NetStream(connection, peerID)` | [`Connection::play_from_peer`] |
//! | `new NetStream(connection)` | [`Connection::publish`], [`Connection::play`] |
//! | `NetStatusEvent` of a NetConnection | [`ConnectionEvent`] |
//! | `NetStatusEvent` of a NetGroup | [`GroupEvent`], its `info.code` by [`GroupEvent::code`] |
//!
//! A connection that is lost is opened again automatically, at increasing intervals, as long as
//! there are handles. [Guests](crate::node::Guest) share it with groups: any number of files, for
//! example, use one pair of sockets, one peer ID and one task.
//!
//! Events are received by `recv`, or as a [`Stream`](futures_core::Stream), with which several sources
//! can be read together (here with the crate `futures-util`):
//!
//! ```no_run
//! # async fn example(
//! #     connection: rtmfp::peer::Connection,
//! #     group: rtmfp::peer::NetGroup,
//! # ) {
//! use futures_util::{StreamExt, stream};
//! use rtmfp::peer::Lagged;
//!
//! let connection_events = connection.events().map(|event| event.map(|it| it.code()));
//! let group_events = group.events().map(|event| event.map(|it| it.code()));
//! let mut codes = stream::select(connection_events, group_events);
//! while let Some(code) = codes.next().await {
//!     match code {
//!         Ok(code) => println!("{code}"),
//!         Err(Lagged(skipped)) => println!("{skipped} events skipped"),
//!     }
//! }
//! # }
//! ```
//!
//! # When the application is slow
//!
//! Everything queued for it is bounded, and the network never waits for it:
//!
//! | queued | at the bound |
//! | --- | --- |
//! | [`MAX_EVENTS`] events | the oldest notification is dropped and counted, see [`RecvError::Lagged`] |
//! | [`SLOW_OBJECTS`] fetched objects or [`SLOW_OBJECT_BYTES`] of them | no further object is requested until most are received |
//! | [`MAX_OBJECT_BYTES`] of fetched objects | objects that still arrive are refused and fetched again later |
//! | [`MAX_MESSAGE_BYTES`] of messages | the oldest are dropped and counted |
//! | [`MAX_EVENTS`] requests of neighbors | further ones are denied; the neighbor asks again |
//!
//! | file | subject |
//! | --- | --- |
//! | `config` | [`PeerConfig`] |
//! | `connection` | [`Connection`] |
//! | `state` | [`ConnectionState`] |
//! | `reconnect` | the next server to connect to, and the time |
//! | `seed` | [`Seed`] |
//! | `net_group` | [`NetGroup`] |
//! | `routing` | directed messages of a [`NetGroup`] |
//! | `streams` | [`PublishedStream`] and [`PlayedStream`] |
//! | `stream_event` | how the queue of a stream treats its events |
//! | `net_streams` | streams of a [`Connection`]: of a peer, to peers, of the server |
//! | `stream_queues` | the queues of those |
//! | `probe` | what is between this host and a server |
//! | `remote_calls` | calls of the server and by it |
//! | `calls` | those that wait, and the methods that the server may call |
//! | `hosted` | [`Hosted`]: a guest in a group |
//! | `joined` | the state that the handles of a group share |
//! | `event`, `group_events` | the events of both |
//! | `queue` | the queue of events for the application |
//! | `wants` | objects that are not requested while the application is slow |
//! | `signals` | what handles report to the machine |
//! | `machine` | the node as a service of the driver |

mod calls;
mod config;
mod connection;
mod error;
mod event;
mod group_events;
mod hosted;
mod joined;
mod machine;
mod net_group;
mod net_streams;
mod probe;
mod queue;
mod reconnect;
mod remote_calls;
mod routing;
mod seed;
mod signals;
mod state;
mod stream_event;
mod stream_queues;
mod streams;
mod wants;

pub use crate::crypto::{DhGroup, IdentityConfig, KeyStyle};
pub use crate::flash::stream::{NetStreamError, NetStreamEvent};
pub use crate::flash::{Body, Connectivity, Dependence, Format, Message};
pub use crate::group::message::StreamSettings;
pub use crate::group::{
    GroupAddress, GroupConfig, GroupEvent, GroupId, GroupSpec, GroupSpecBuilder, GroupSpecError,
    GroupStats, IpMulticastAddress, MIN_NEIGHBORS, MessageId, MulticastParameters, NeighborTrade,
    NetGroupBytes, NetGroupInfo, NetStreamMulticastInfo, PostingLimits, PostingStats,
    PublishOptions, ReceiveMode, ReplicationLimits, ReplicationStrategy, RoutedMessage,
    RoutingLimits, SendMode, SendResult, StreamState,
};
pub use crate::node::{Admission, DEFAULT_MAX_PEERS, PublishToPeers};
pub use crate::node::{Guest, Limits, NetConnectionError, NodeConfig, Search};
pub use crate::transport::{Bandwidth, BandwidthError, BandwidthProblem, LinkRate, LinkRates};
pub use calls::{CallError, Method};
pub use config::PeerConfig;
pub use connection::Connection;
pub use error::{
    ConnectError, Lagged, NetGroupError, Problem, RecvError, StreamError, Unreachable,
};
pub use event::{ConnectionEvent, ConnectionEvents};
pub use group_events::NetGroupEvents;
pub use hosted::{GuestSender, Hosted};
pub use net_group::{Neighbor, NetGroup};
pub use probe::{Probe, Reachability, probe};
pub use queue::{MAX_EVENTS, MAX_MESSAGE_BYTES, MAX_OBJECT_BYTES, SLOW_OBJECT_BYTES, SLOW_OBJECTS};
pub use seed::Seed;
pub use state::{ConnectionState, ConnectionStats};
pub use streams::{FlvReader, FlvWriter, Missing, PlayedStream, PublishedStream};
