//! Captures of real programs: decoded, and repeated against the server and the members here.
#![allow(unreachable_pub, reason = "modules of a test")]

mod capture_layers;
mod captures;
mod decode_analyzer;
mod decode_same_ids;
mod recorded_player;
