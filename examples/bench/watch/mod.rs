//! The workload `watch`: viewers of a film while they fetch it.
//!
//! | file | subject |
//! | --- | --- |
//! | `scene` | the viewers of a run: how many, where, and when they come |
//! | `world` | a run in the simulator |
//! | `real` | a run of `rtmfp watch` in network namespaces, each with a player |
//! | `player` | the player of such a run |
//! | `origin` | a run over sockets, with a web server in place of a provider |

mod origin;
mod player;
mod real;
mod scene;
mod world;

use crate::Common;
use crate::demo_path::parse_size;
use crate::report::Report;
use crate::swarm::links::Links;
use clap::{Args, ValueEnum};
use scene::Scene;
use std::time::Duration;
use world::Outcome;

/// The workload `watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// What to measure
    #[arg(value_enum, default_values = ["viewers", "seek", "networks"])]
    scenarios: Vec<Scenario>,
    /// Run the real programs in network namespaces (needs root), not machines in the simulator:
    /// viewers and networks
    #[arg(long)]
    real: bool,
    /// Number of viewers; of `networks` in each of them [default: 10; many: 100; networks: 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
    n: Option<u32>,
    /// Number of local networks
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=20))]
    networks: u32,
    /// Viewers of a local network are in subnets of their own there, so that they do not know that
    /// they are near
    #[arg(long)]
    subnets: bool,
    /// Size of the film: bytes, or a number with KiB, MiB or GiB
    #[arg(long, default_value = "64MiB", value_parser = parse_size)]
    size: u64,
    /// Rate of the film in kbit/s
    #[arg(long, value_name = "KBIT", default_value = "2000")]
    rate: u32,
    /// Seed of the first run; each further run has the next one
    #[arg(long, default_value = "1")]
    seed: u64,
    #[command(flatten)]
    links: Links,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// All watch from their start
    Viewers,
    /// One of them jumps to where nobody but the provider has anything
    Seek,
    /// A hundred come within a minute; 30 ms, and 1 % of all datagrams are lost
    Many,
    /// Local networks of viewers behind address translators
    Networks,
    /// A film of a web server, without a provider, over sockets of this computer
    Origin,
}

impl Watch {
    pub(crate) async fn run(&self, common: &Common) -> anyhow::Result<()> {
        let mut reports = Vec::new();
        for scenario in &self.scenarios {
            reports.push(self.measure(*scenario, common).await?);
        }
        reports.iter().for_each(Report::print);
        if common.json {
            reports.iter().for_each(|report| println!("{}", report.json()));
        }
        Ok(())
    }

    async fn measure(&self, scenario: Scenario, common: &Common) -> anyhow::Result<Report> {
        let scene = self.scene(scenario);
        let mut report = Report::new(scenario.name(), self.title(scenario, &scene));
        let runs = if scenario == Scenario::Many || self.real { 1 } else { 3 };
        for run in 0..common.runs(runs) {
            let seed = self.seed.wrapping_add(u64::from(run));
            eprintln!("bench: {}, run {} (seed {seed})", scenario.name(), run + 1);
            match scenario {
                Scenario::Viewers | Scenario::Networks if self.real => {
                    let outcome = tokio::task::block_in_place(|| real::run(&scene, seed))?;
                    outcome.report(&mut report, &scene, scenario);
                }
                Scenario::Origin => origin::run(&scene, seed, &mut report).await?,
                _ => world::run(&scene, seed)?.report(&mut report, &scene, scenario),
            }
            if common.json {
                println!("{}", report.last_json());
            }
        }
        Ok(report)
    }

    fn scene(&self, scenario: Scenario) -> Scene {
        let mut scene = Scene {
            viewers: self.n.unwrap_or(10),
            networks: None,
            has_subnets: self.subnets,
            size: self.size,
            rate: f64::from(self.rate) * 1000.0 / 8.0,
            arrivals: Duration::ZERO,
            jump: None,
            links: self.links.clone(),
        };
        match scenario {
            Scenario::Viewers | Scenario::Origin => {}
            Scenario::Seek => scene.jump = Some((Duration::from_secs(10), 0.8)),
            Scenario::Many => {
                scene.viewers = self.n.unwrap_or(100);
                scene.arrivals = Duration::from_secs(60) / scene.viewers;
                scene.links.rtt_ms = 30.0;
                scene.links.loss = 0.01;
            }
            Scenario::Networks => {
                scene.networks = Some(self.networks);
                scene.viewers = self.networks * self.n.unwrap_or(5);
            }
        }
        scene
    }

    fn title(&self, scenario: Scenario, scene: &Scene) -> String {
        let Links { provider_up, up, down, .. } = scene.links;
        let place = match scene.networks {
            Some(networks) if scene.has_subnets => format!(" in subnets of {networks} networks"),
            Some(networks) => format!(" in {networks} local networks"),
            None => String::new(),
        };
        if scenario == Scenario::Origin {
            return format!(
                "{}: {} viewers of {} bytes of a web server, {up} Mbit/s up, {down} down; over loopback",
                scenario.name(),
                scene.viewers,
                self.size
            );
        }
        format!(
            "{}: {} viewers{place} of {} bytes at {} kbit/s, {up} Mbit/s up, {down} down, the \
             provider {provider_up} up; {}",
            scenario.name(),
            scene.viewers,
            self.size,
            self.rate,
            if self.real { "real" } else { "simulated" }
        )
    }
}

impl Scenario {
    const fn name(self) -> &'static str {
        match self {
            Self::Viewers => "watch-viewers",
            Self::Seek => "watch-seek",
            Self::Many => "watch-many",
            Self::Networks => "watch-networks",
            Self::Origin => "watch-origin",
        }
    }
}

impl Outcome {
    /// Adds the figures of this run.
    fn report(&self, report: &mut Report, scene: &Scene, scenario: Scenario) {
        let size = scene.size as f64;
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let seen = || self.viewers.iter().map(|viewer| &viewer.seen);
        let startups = &mut seen().map(|seen| seen.startup.unwrap_or(f64::INFINITY));
        report.add("startup_s_max", "start-up, the longest, in seconds", most(startups));
        let jumped = &self.viewers[0].seen;
        if scene.jump.is_some() {
            let of_jump = |seconds: Option<f64>| seconds.unwrap_or(f64::INFINITY);
            report.add("jump_data_s", "seconds from the jump to data", of_jump(jumped.jump_data));
            report.add("jump_frame_s", "… to the first frame", of_jump(jumped.jump_frame));
            report.add("jump_plays_s", "… until it plays", of_jump(jumped.jump_plays));
        }
        let stalls = seen().map(|seen| f64::from(seen.stalls)).sum();
        report.add("stalls", "stalls of all viewers", stalls);
        report.add("stalled_s", "… in seconds", seen().map(|seen| seen.stalled).sum());
        let last = most(&mut self.viewers.iter().map(|v| v.complete.unwrap_or(f64::INFINITY)));
        report.add("last_s", "seconds of the last viewer's copy", last);
        report.add("last_over_lb", "… ÷ the least possible", last / scene.least_seconds());
        let copies = self.provider_bytes as f64 / size;
        report.add("copies", "uploads of the provider ÷ film", copies);
        if scenario == Scenario::Many {
            let saved = 100.0 * (1.0 - copies / f64::from(scene.viewers));
            report.add("saved_percent", "saved against a copy for each, %", saved);
        }
        if !self.lines.is_empty() {
            self.report_lines(report, size);
        }
        let identical = self.viewers.iter().filter(|viewer| viewer.is_identical).count();
        report.add("identical", "identical copies", identical as f64);
        report.add("cpu_s", "CPU seconds of the run", self.cpu_seconds);
    }
    fn report_lines(&self, report: &mut Report, size: f64) {
        let lines = self.lines.len() as f64;
        let objects = || self.lines.iter().filter_map(|line| line.objects);
        if objects().count() > 0 {
            let copies = || objects().map(|line| line.received as f64 / size);
            report.add(
                "wan_copies_max",
                "copies over a line, the most",
                copies().fold(0.0, f64::max),
            );
            report.add("wan_copies", "… on average", copies().sum::<f64>() / lines);
            let doubled = objects().map(|line| line.doubled as f64 / size).sum::<f64>() / lines;
            report.add("doubled_copies", "… of these asked for twice, late", doubled);
        }
        let wire = self.lines.iter().map(|line| line.carried as f64 / size).fold(0.0, f64::max);
        report.add("wan_wire_max", "bytes down a line ÷ film, the most", wire);
    }
}
