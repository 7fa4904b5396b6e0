//! Helpers of these tests.
#[cfg(feature = "vod")]
pub mod swarm;
