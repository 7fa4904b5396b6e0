//! The viewers of a run: how many, where, and when they come.

use crate::swarm::links::Links;
use std::time::Duration;

/// A run.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) viewers: u32,
    /// Each of so many local networks has an equal part of them, and one line.
    pub(super) networks: Option<u32>,
    /// Each viewer of these is in a subnet of its own.
    pub(super) has_subnets: bool,
    pub(super) size: u64,
    /// Bytes of the film that play in a second.
    pub(super) rate: f64,
    /// From the arrival of one viewer to that of the next.
    pub(super) arrivals: Duration,
    /// When the first viewer jumps, and to which part of the film.
    pub(super) jump: Option<(Duration, f64)>,
    pub(super) links: Links,
}

impl Scene {
    /// The time that no distribution to all lines can beat.
    pub(super) fn least_seconds(&self) -> f64 {
        self.links.least_seconds(self.networks.unwrap_or(self.viewers), self.size)
    }

    /// The number of the line that a viewer is at.
    pub(super) fn line(&self, viewer: u32) -> u32 {
        self.networks.map_or(viewer, |networks| viewer % networks)
    }
}
