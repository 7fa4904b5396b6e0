//! The workload `group`: a group of thousands, in virtual time. Posts, messages to the nearest member,
//! and the graph of neighbors.
//!
//! | file | subject |
//! | --- | --- |
//! | `net` | a network that carries the messages of groups |
//! | `graph` | the graph of neighbors |
//! | `run` | one run: who comes and goes, what is sent |

mod graph;
mod net;
mod run;

use crate::Common;
use crate::process;
use crate::report::{Report, median, percentile};
use clap::Args;
use rtmfp::proto::group::MembershipRules;

/// The workload `group`.
#[derive(Debug, Args)]
pub(crate) struct Groups {
    /// Number of members
    #[arg(long, default_value = "2000", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    members: u32,
    /// Each minute 5 % of the members vanish and as many come
    #[arg(long)]
    churn: bool,
    /// Of the members, those that choose neighbors and ask for streams as Flash Player was observed to do
    #[arg(long, value_name = "N", default_value = "0")]
    observed: u32,
    /// What the other members are like; `both`: one run of each, the player's fields begin with `player_`
    #[arg(long, value_name = "KIND", default_value = "both")]
    kind: Kind,
    /// Seconds in which the members come
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    arrive: u32,
    /// Seconds from then on until the measurement
    #[arg(long, value_name = "SECONDS", default_value = "240")]
    settle: u32,
    /// Seconds of the measurement
    #[arg(long, value_name = "SECONDS", default_value = "120")]
    measure: u32,
    /// Bytes of a posted value
    #[arg(long, value_name = "BYTES", default_value = "40", value_parser = clap::value_parser!(u16).range(16..=60_000))]
    value: u16,
    /// Seed of the first run; each further run has the next one
    #[arg(long, default_value = "1")]
    seed: u64,
}

/// What the members are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Members of this crate as they are
    Ours,
    /// Members that choose neighbors exactly as Flash Player was observed to do
    Player,
    Both,
}

impl Groups {
    pub(crate) fn run(&self, common: &Common) -> Report {
        let churn = if self.churn { ", 5 % a minute vanish and come" } else { "" };
        let title = format!("group: {} members{churn}; simulated", self.members);
        let mut report = Report::new("group", title);
        for run in 0..common.runs(1) {
            let seed = self.seed.wrapping_add(u64::from(run));
            let kinds = [
                (Kind::Ours, "", MembershipRules::Hardened),
                (Kind::Player, "player_", MembershipRules::Observed),
            ];
            for (kind, prefix, rules) in kinds {
                let is_mixed = self.observed > 0 && kind == Kind::Player;
                if (self.kind == kind || self.kind == Kind::Both) && !is_mixed {
                    let cpu = process::cpu_seconds();
                    let figures = run::run(self, rules, seed);
                    let cpu = process::cpu_seconds() - cpu;
                    let prefix = if self.kind == Kind::Both { prefix } else { "" };
                    figures.report(&mut report, prefix, cpu);
                }
            }
            if common.json {
                println!("{}", report.last_json());
            }
        }
        report
    }
}

/// The result of a run.
struct Figures {
    /// Present at the end.
    members: usize,
    /// The least share of the members that were in the largest connected part, of all looks.
    connected: f64,
    diameter: u32,
    neighbors: Vec<u64>,
    /// Pairs of a posting and a member that was there throughout, and those that met.
    due: u64,
    reached: u64,
    post_ms: Vec<u64>,
    sent: u64,
    /// Messages that ended at the member that was nearest of all.
    at_nearest: u64,
    /// Those that ended elsewhere, as the nearest had been there for less than half a minute.
    newcomers: u64,
    hops: Vec<u64>,
    bytes_per_member_per_s: f64,
    steps: u64,
}

impl Figures {
    fn report(mut self, report: &mut Report, prefix: &str, cpu: f64) {
        self.neighbors.sort_unstable();
        self.post_ms.sort_unstable();
        self.hops.sort_unstable();
        let who = if prefix.is_empty() { "" } else { "player: " };
        let mut add = |field: &str, name: &str, value: f64| {
            report.add(&format!("{prefix}{field}"), &format!("{who}{name}"), value);
        };
        let neighbors: Vec<f64> = self.neighbors.iter().map(|count| *count as f64).collect();
        add("members", "members at the end", self.members as f64);
        add("connected", "connected: least share", self.connected);
        add("diameter", "diameter, hops", f64::from(self.diameter));
        add("neighbors_p50", "neighbors, median", median(&neighbors));
        add("neighbors_max", "neighbors, most", neighbors.last().copied().unwrap_or(f64::NAN));
        add("post_reached_share", "posts reached", share(self.reached, self.due));
        add("post_p99_ms", "posts, 99th percentile, ms", percentile(&self.post_ms, 0.99));
        add(
            "nearest_hops_p99",
            "hops to the nearest, 99th percentile",
            percentile(&self.hops, 0.99),
        );
        add("nearest_share", "ended at the nearest of all", share(self.at_nearest, self.sent));
        add("bytes_per_member_per_s", "bytes sent a member a second", self.bytes_per_member_per_s);
        let arrived = self.hops.len() as u64;
        let (lost, elsewhere) = (self.sent - arrived.min(self.sent), arrived - self.at_nearest);
        report.explain(&format!("{who}messages lost on the way"), share(lost, self.sent));
        report.explain(&format!("{who}ended elsewhere"), share(elsewhere, self.sent));
        report.explain(&format!("{who}of these newcomers"), share(self.newcomers, self.sent));
        let middle = percentile(&self.post_ms, 0.5);
        report.explain(&format!("{who}posts, median, ms"), middle);
        report
            .explain(&format!("{who}most hops"), self.hops.last().map_or(f64::NAN, |h| *h as f64));
        report.explain(&format!("{who}events of the simulation"), self.steps as f64);
        report.explain(&format!("{who}CPU seconds of the simulation"), cpu);
    }
}

/// True for `observed` of `all` members, evenly spread over their numbers.
pub(crate) fn is_observed(number: u32, observed: u32, all: u32) -> bool {
    let before = |number: u64| number * u64::from(observed) / u64::from(all);
    before(u64::from(number) + 1) > before(u64::from(number))
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
