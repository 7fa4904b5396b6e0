//! The options that bound what a verb takes of the link.

use super::format;
use rtmfp::peer::{Bandwidth, Limits, MIN_NEIGHBORS};
use rtmfp::vod::CHUNK_SIZE;
use std::time::Duration;

/// The section of the help that lists these options.
pub(super) const HEADING: &str = "Limits";

/// The largest number for `--max-neighbours`.
const MAX_NEIGHBORS: usize = 1000;

/// Bounds on what is sent.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct UpArgs {
    /// Send at most this much: 500KB/s, 1.5MB/s, 4Mbit/s; 4M is 4 MB/s [default: no limit]
    ///
    /// This is the sum over all members. K, M and G are thousands, Ki, Mi and Gi multiples of 1024; bits
    /// are written `bit` or `bps`. Acknowledgements and handshakes count, but never wait.
    #[arg(long, value_name = "RATE", help_heading = HEADING, display_order = 1)]
    up_limit: Option<Bandwidth>,

    /// Connect to at most this many members of the group at a time, 6 to 1000 [default: 64]
    ///
    /// The group is a ring on which each member needs three neighbors on either side: with fewer than 6
    /// this one could be found by nobody.
    #[arg(
        long,
        visible_alias = "max-neighbors",
        value_name = "N",
        value_parser = parse_neighbors,
        help_heading = HEADING,
        display_order = 3
    )]
    max_neighbours: Option<usize>,
}

/// Bounds on what is received.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct DownArgs {
    /// Receive at most this much; the forms are those of --up-limit [default: no limit]
    ///
    /// Members are asked for no more than that. Each part of a file comes as fast as it can, so that
    /// the limit holds on average over some parts, of 64 KB each.
    #[arg(long, value_name = "RATE", help_heading = HEADING, display_order = 2)]
    down_limit: Option<Bandwidth>,
}

impl UpArgs {
    pub(crate) const fn max_neighbors(self) -> Option<usize> {
        self.max_neighbours
    }

    /// The limits of a verb that receives nothing to speak of.
    pub(crate) fn limits(self) -> Limits {
        Limits::default().with_up(self.up_limit)
    }

    /// The limits of a verb that receives as well.
    pub(crate) fn limits_with(self, down: DownArgs) -> Limits {
        self.limits().with_down(down.down_limit)
    }
}

/// Reads the number of neighbors.
pub(crate) fn parse_neighbors(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (MIN_NEIGHBORS..=MAX_NEIGHBORS).contains(n));
    number.ok_or_else(|| {
        format!(
            "write a number from {MIN_NEIGHBORS} to {MAX_NEIGHBORS}: the group is a ring on which each \
             member needs three neighbors on either side"
        )
    })
}

/// Bytes that arrive for each byte of a chunk.
const WITH_HEADERS: f64 = 1.1;

/// The time that a chunk takes with this limit.
pub(crate) fn chunk_time(limit: Option<Bandwidth>) -> Duration {
    limit.map_or(Duration::ZERO, |limit| {
        let bytes = f64::from(CHUNK_SIZE) * WITH_HEADERS;
        Duration::from_secs_f64(bytes / limit.as_bytes_per_second() as f64)
    })
}

/// ` (limit 500.0 kB/s)`, or nothing.
pub(crate) fn note(limit: Option<Bandwidth>) -> String {
    limit.map_or(String::new(), |limit| format!(" (limit {})", shown(limit)))
}

/// `, at most 500.0 kB/s up and 1.0 MB/s down`, or nothing.
pub(crate) fn sentence(limits: Limits) -> String {
    let one = |limit: Option<Bandwidth>, way: &str| Some(format!("{} {way}", shown(limit?)));
    let both: Vec<_> =
        [one(limits.up, "up"), one(limits.down, "down")].into_iter().flatten().collect();
    match both.is_empty() {
        true => String::new(),
        false => format!(", at most {}", both.join(" and ")),
    }
}

/// `500.0 kB/s`, or `without a limit`.
pub(crate) fn or_none(limit: Option<Bandwidth>) -> String {
    limit.map_or_else(|| "without a limit".to_owned(), shown)
}

/// `500.0 kB/s`.
fn shown(limit: Bandwidth) -> String {
    format::rate(limit.as_bytes_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_neighbors() {
        assert_eq!(parse_neighbors("6"), Ok(6));
        assert_eq!(parse_neighbors("1000"), Ok(1000));
        for wrong in ["0", "5", "1001", "-6", "many", ""] {
            let error = parse_neighbors(wrong).unwrap_err();
            assert!(error.contains("from 6 to 1000"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_chunk_takes_its_time() {
        assert_eq!(chunk_time(None), Duration::ZERO);
        let time = chunk_time(Some(Bandwidth::bytes_per_second(7_209)));
        assert!((time.as_secs_f64() - 10.0).abs() < 0.01, "{time:?}");
    }

    #[test]
    fn a_limit_is_shown_as_rates_are() {
        assert_eq!(note(None), "");
        let limit = Some(Bandwidth::bytes_per_second(500_000));
        assert_eq!(note(limit), " (limit 500.0 kB/s)");
        assert_eq!(sentence(Limits::default()), "");
        assert_eq!(sentence(Limits::default().with_down(limit)), ", at most 500.0 kB/s down");
        let both = Limits::default().with_down(limit).with_up(limit);
        assert_eq!(sentence(both), ", at most 500.0 kB/s up and 500.0 kB/s down");
    }
}
