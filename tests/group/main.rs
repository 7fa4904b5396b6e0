//! The deterministic layers above sessions: the rendezvous server, calls, groups.
#![allow(unreachable_pub, reason = "modules of a test")]

mod amf_oracle;
mod blocked_neighbor;
mod introduction_flood;
mod many_groups;
mod newcomers;
mod reflection;
mod search;
mod server_calls;
mod server_restart;
mod support;
mod unclaimed_flows;
