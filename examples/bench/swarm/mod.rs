//! The workload `swarm`: a file from one provider to many receivers, all with uplinks as at home.
//!
//! | file | subject |
//! | --- | --- |
//! | `links` | the members' links, and the time that no distribution can beat |
//! | `outcome` | the result of a run, and its figures |
//! | `svg` | a picture of a run |
//! | `viewer` | a viewer of the film, of the workload `watch` |
//! | `simulated` | a run in the simulator's virtual time |
//! | `host` | the machines of that run |
//! | `player` | a receiver as Flash Player is |
//! | `hostile` | members that are of no use |
//! | `neighbors` | the membership of these two |
//! | `real` | a run of real programs in network namespaces |

pub(crate) mod host;
mod hostile;
pub(crate) mod links;
mod neighbors;
pub(crate) mod outcome;
mod player;
mod real;
pub(crate) mod simulated;
mod svg;
pub(crate) mod viewer;

pub(crate) use real::HostileProcess;

use crate::Common;
use crate::demo_path::parse_size;
use crate::report::Report;
use anyhow::Context;
use clap::Args;
use hostile::Hostiles;
use links::Links;
use real::Reference;
use std::path::PathBuf;
use std::time::Duration;

/// The workload `swarm`.
#[derive(Debug, Args)]
pub(crate) struct Swarm {
    /// Run the real programs in network namespaces (needs root), not machines in the simulator
    #[arg(long)]
    real: bool,
    /// Number of receivers
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=200))]
    n: u32,
    /// Size of the file: bytes, or a number with KiB, MiB or GiB
    #[arg(long, default_value = "64MiB", value_parser = parse_size)]
    size: u64,
    /// Seed of the first run; each further run has the next one
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Rates in kbit/s at which the file is to be played while it arrives
    #[arg(long, value_name = "KBIT", default_value = "1000", value_delimiter = ',')]
    play: Vec<u32>,
    /// Fetch in order, as `rtmfp fetch -o -` does
    #[arg(long)]
    in_order: bool,
    /// The provider sends little more than one copy, as with `rtmfp share --save-upload`
    #[arg(long, conflicts_with = "reference")]
    save_upload: bool,
    /// Seconds from the arrival of one receiver to that of the next
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = parse_seconds)]
    arrivals: Duration,
    /// Members more, of whom nothing is to be expected: KIND or KIND:COUNT, of silent, idle, both,
    /// denying, wrong, huge, flapping, ranges, unasked, object0 and reports
    #[arg(long, value_name = "KIND[:COUNT]", conflicts_with = "reference")]
    hostile: Vec<Hostiles>,
    /// What the receivers are like
    #[arg(long, value_name = "KIND", default_value = "equal", conflicts_with = "real")]
    members: Members,
    /// No limits of uplinks and downlinks
    #[arg(long, requires = "real")]
    unlimited: bool,
    /// Measure another program in the same way
    #[arg(long, requires = "real", value_name = "PROGRAM")]
    reference: Option<Reference>,
    /// The members know from an earlier run what their uplinks carry
    #[arg(long, conflicts_with = "real")]
    remembered: bool,
    /// Draw the first run: which part of the file each receiver held when
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    links: Links,
}

/// What the receivers are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Members {
    /// All are of this crate
    Equal,
    /// Half of them are as Flash Player is: in order, at most 4 requests to each neighbor, which are
    /// never given up, and at most 4 neighbors served
    Mixed,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl Swarm {
    pub(crate) fn run(&self, common: &Common) -> anyhow::Result<Report> {
        let mut report = Report::new("swarm", self.title());
        for run in 0..common.runs(if self.real { 1 } else { 3 }) {
            let seed = self.seed.wrapping_add(u64::from(run));
            eprintln!("bench: swarm, run {} (seed {seed})", run + 1);
            let outcome = match self.real {
                true => real::run(self, seed)?,
                false => simulated::run(self, seed)?,
            };
            let least = self.links.least_seconds(self.n, self.size);
            let interval = self.arrivals.as_secs_f64();
            outcome.report(&mut report, self.size, least, (interval, &self.play));
            if self.links.hetero {
                outcome.report_halves(&mut report);
            }
            if let Some(path) = self.svg.as_ref().filter(|_| run == 0) {
                let picture = svg::picture(&outcome, least, &self.title());
                std::fs::write(path, picture)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            if common.json {
                println!("{}", report.last_json());
            }
        }
        Ok(report)
    }

    fn title(&self) -> String {
        let Links { provider_up, up, down, .. } = self.links;
        let links = match self.unlimited {
            true => "no limits".to_owned(),
            false => format!("{up} Mbit/s up, {down} down, the provider {provider_up} up"),
        };
        let how = match (self.real, self.reference) {
            (false, _) => "simulated",
            (true, None) => "real",
            (true, Some(Reference::Libtorrent)) => "libtorrent",
        };
        format!("swarm: {} receivers of {} bytes, {links}; {how}", self.n, self.size)
    }
}
