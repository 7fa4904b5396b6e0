//! Sessions and flows (RFC 7016 §3), without sockets.
//!
//! [`Endpoint`] is the entry point: it takes datagrams and time, and emits datagrams and [`Event`]s.
//! [`Machine`] states the contract that it shares with the machines built on top of it, which are
//! [`Layer`]s around it.
//!
//! | file | what |
//! | --- | --- |
//! | [`endpoint`] | every session of one certificate: startup, introductions, dispatch |
//! | `session` | one session: keys, flows, timers, close, mobility |
//! | `send_flow`, `recv_flow`, `held`, `sequence_set` | one flow in either direction |
//! | `flow_action`, `flow_table` | what users of flows ask for, and carrying it out |
//! | [`congestion`], `rtt` | congestion control, pacing, round trip times |
//! | `forward_delay`, `uplink` | time in queues on the way there, and the pace of the own uplink |
//! | `link_rate` | what the links to other networks carry, from real transfers |
//! | `networks` | which far ends are in a network of this host, so that no uplink is between |
//! | `fragments` | packets in pieces |
//! | `buckets` | token buckets, one for each key |
//! | `bandwidth`, `token_bucket` | rates, and the bucket of a limit |
//! | `passwords` | signed keyings |
//! | `job` | Diffie-Hellman work for other threads |
//! | `machine`, `transmit`, `time` | interface to driver and simulator |

mod bandwidth;
pub(crate) mod buckets;
mod config;
pub mod congestion;
mod datagrams;
pub mod endpoint;
mod event;
mod flow_action;
mod flow_table;
mod forward_delay;
pub(crate) mod fragments;
mod held;
mod id;
mod job;
mod link_rate;
mod machine;
mod networks;
mod passwords;
mod recv_flow;
mod rtt;
mod send_flow;
mod sequence_set;
mod session;
mod time;
pub(crate) mod token_bucket;
mod transmit;
mod uplink;

pub use bandwidth::{Bandwidth, BandwidthError, BandwidthProblem};
pub use buckets::Rate;
pub use config::Config;
pub use congestion::Controller;
pub use endpoint::{Endpoint, MAX_WORKERS, Random, SESSION_ALLOWANCE, SessionRef, Stray, Worker};
pub use event::{
    CloseReason, Event, FarAddress, IntroductionRequest, NamedBy, OpenId, OpenSessionError, Role,
    SendError,
};
pub use flow_action::{FlowAction, FlowInput, FlowToken};
pub use flow_table::{Addressed, FlowTable};
pub use id::{FlowId, SessionId};
pub use job::{Computed, Job};
pub use link_rate::{LinkRate, LinkRates};
pub use machine::{Layer, Machine};
pub use passwords::Passwords;
pub use recv_flow::COMPLETE_LINGER;
pub use rtt::{INITIAL_ERTO, MAX_ECHO_AGE, MAX_ERTO, MIN_ERTO};
pub(crate) use send_flow::LOW_WATER;
pub use send_flow::{FlowOptions, MAX_METADATA, MessageOptions, Priority, QueueOrder};
pub use sequence_set::MAX_RUNS;
pub use session::{EndpointStats, MIN_KEEPALIVE, SessionStats};
pub use time::Time;
pub use transmit::{Arrived, Ecn, Interface, MAX_BATCH, Path, Transmit, TransmitBuf};
