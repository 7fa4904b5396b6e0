//! The async API over sockets: peers, the server, and files through groups.
#![allow(unreachable_pub, reason = "modules of a test")]

mod api;
mod background;
mod direct_streams;
#[cfg(feature = "vod")]
mod file_through_a_group;
mod hooks;
#[cfg(feature = "vod")]
mod limits_of_a_node;
#[cfg(feature = "vod")]
mod poisoned_pages;
#[cfg(feature = "vod")]
mod routing;
#[cfg(feature = "vod")]
#[path = "../support/seeds.rs"]
mod seeds;
mod serve;
mod share_and_fetch;
mod streams;
mod support;
mod workers;
