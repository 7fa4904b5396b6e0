//! The deterministic layers above sessions: the rendezvous server, calls, groups.
#![allow(unreachable_pub, reason = "modules of a test")]

mod amf_oracle;
mod announcements;
mod blocked_neighbor;
mod direct_streams;
mod few_neighbors;
mod hostile;
mod introduction_flood;
mod local_network;
mod many_groups;
mod membership;
mod membership_large;
mod mixed;
mod multicast;
mod natted;
mod newcomers;
mod permits;
mod playheads;
mod posting;
mod posting_hostile;
mod posting_players;
mod recorded_membership;
mod recorded_objects;
mod recorded_players;
mod recorded_routing;
mod recorded_streams;
mod reflection;
mod routing;
mod search;
mod server_calls;
mod server_restart;
mod support;
mod swarm;
mod trade;
mod unclaimed_flows;
