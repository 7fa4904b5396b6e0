//! [`InForce`]: the limits of a running command.

use super::format;
use super::limits::{self, DownArgs, UpArgs};
use rtmfp::peer::{Limits, LinkRate, LinkRates};
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
    /// What the links carry, as far as it is known.
    pub(crate) links: LinkRates,
}

/// The same as JSON: bytes a second.
#[derive(Debug, Serialize)]
pub(crate) struct Numbers {
    up_limit: Option<u64>,
    down_limit: Option<u64>,
    max_neighbours: usize,
    metered: bool,
    up_link: Option<u64>,
    up_link_full: bool,
    down_link: Option<u64>,
}

impl InForce {
    /// At the start of a verb with these options.
    pub(crate) fn new(up: UpArgs, down: DownArgs, is_metered: bool) -> Self {
        let usual = if is_metered { METERED_NEIGHBORS } else { DEFAULT_NEIGHBORS };
        let max_neighbors = up.max_neighbors().unwrap_or(usual);
        let (limits, links) = (up.limits_with(down), LinkRates::default());
        Self { limits, max_neighbors, is_metered, links }
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            up_limit: self.limits.up.map(|limit| limit.as_bytes_per_second()),
            down_limit: self.limits.down.map(|limit| limit.as_bytes_per_second()),
            max_neighbours: self.max_neighbors,
            metered: self.is_metered,
            up_link: self.links.up.map(|up| up.rate.as_bytes_per_second()),
            up_link_full: self.links.up.is_some_and(|up| up.is_full),
            down_link: self.links.down.map(|down| down.rate.as_bytes_per_second()),
        }
    }

    /// `up 500.0 kB/s, down without a limit, at most 64 neighbors; the link carries 1.2 MB/s up, at least
    /// 5.0 MB/s down`.
    pub(crate) fn sentence(&self) -> String {
        let metered = if self.is_metered { ", metered: nothing is offered to others" } else { "" };
        format!(
            "up {}, down {}, at most {} neighbors{metered}{}",
            limits::or_none(self.limits.up),
            limits::or_none(self.limits.down),
            self.max_neighbors,
            carried(self.links),
        )
    }
}

/// `; the link carries 1.2 MB/s up, at least 5.0 MB/s down`, or nothing.
fn carried(links: LinkRates) -> String {
    let one = |rate: Option<LinkRate>, way: &str| {
        let rate = rate?;
        let least = if rate.is_full { "" } else { "at least " };
        let shown = format::rate(rate.rate.as_bytes_per_second() as f64);
        Some(format!("{least}{shown} {way}"))
    };
    let both: Vec<_> =
        [one(links.up, "up"), one(links.down, "down")].into_iter().flatten().collect();
    match both.is_empty() {
        true => String::new(),
        false => format!("; the link carries {}", both.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::peer::Bandwidth;

    #[test]
    fn what_the_link_carries_is_in_the_sentence() {
        let mut in_force = InForce { max_neighbors: 64, ..InForce::default() };
        let limits = "up without a limit, down without a limit, at most 64 neighbors";
        assert_eq!(in_force.sentence(), limits);
        let of =
            |bytes, is_full| Some(LinkRate { rate: Bandwidth::bytes_per_second(bytes), is_full });
        in_force.links = LinkRates { up: of(62_500, true), down: of(5_000_000, false) };
        let sentence = format!("{limits}; the link carries 62.5 kB/s up, at least 5.0 MB/s down");
        assert_eq!(in_force.sentence(), sentence);
        let numbers = serde_json::to_value(in_force.numbers()).unwrap();
        assert_eq!(numbers["up_link"], 62_500);
        assert_eq!(numbers["up_link_full"], true);
        assert_eq!(numbers["down_link"], 5_000_000);
    }
}
