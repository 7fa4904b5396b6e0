//! [`InForce`]: the limits of a running command.

use super::limits::{self, DownArgs, UpArgs};
use rtmfp::peer::Limits;
use rtmfp::vod::METERED_NEIGHBORS;
use serde::Serialize;

/// The number of neighbors without `--max-neighbours`.
const DEFAULT_NEIGHBORS: usize = 64;

/// The limits in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct InForce {
    pub(crate) limits: Limits,
    pub(crate) max_neighbors: usize,
    pub(crate) is_metered: bool,
}

/// The same as JSON: bytes a second.
#[derive(Debug, Serialize)]
pub(crate) struct Numbers {
    up_limit: Option<u64>,
    down_limit: Option<u64>,
    max_neighbours: usize,
    metered: bool,
}

impl InForce {
    /// At the start of a verb with these options.
    pub(crate) fn new(up: UpArgs, down: DownArgs, is_metered: bool) -> Self {
        let usual = if is_metered { METERED_NEIGHBORS } else { DEFAULT_NEIGHBORS };
        let max_neighbors = up.max_neighbors().unwrap_or(usual);
        Self { limits: up.limits_with(down), max_neighbors, is_metered }
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            up_limit: self.limits.up.map(|limit| limit.as_bytes_per_second()),
            down_limit: self.limits.down.map(|limit| limit.as_bytes_per_second()),
            max_neighbours: self.max_neighbors,
            metered: self.is_metered,
        }
    }

    /// `up 500.0 kB/s, down without a limit, at most 64 neighbors`.
    pub(crate) fn sentence(&self) -> String {
        let metered = if self.is_metered { ", metered: nothing is offered to others" } else { "" };
        format!(
            "up {}, down {}, at most {} neighbors{metered}",
            limits::or_none(self.limits.up),
            limits::or_none(self.limits.down),
            self.max_neighbors,
        )
    }
}
