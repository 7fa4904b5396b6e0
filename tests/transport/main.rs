//! Endpoints, sessions and flows (RFC 7016) on a virtual network.
#![allow(unreachable_pub, reason = "modules of a test")]

mod acks;
mod close;
mod close_races;
mod cookie;
mod dead_peer;
mod deadline;
mod duplication;
mod ecn;
mod exception;
mod fairness;
#[cfg(feature = "tokio")]
mod flash_era_peers;
mod flood;
mod full_queue;
mod glare;
mod hostile;
mod introduction;
mod keepalive;
mod keying_flood;
mod loss;
mod memory;
mod mobility;
mod packet_fragments;
mod passwords;
mod path_mtu;
mod priority;
mod redirect;
mod reorder;
mod replay;
mod send_limit;
mod session_override;
mod startup;
mod state_machine;
mod support;
mod throughput;
mod time_critical;
mod uplink;
mod window;
mod zero_window;
