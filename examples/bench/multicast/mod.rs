//! The workload `multicast`: a stream from one member of a group to all others, packet by packet in
//! the simulator.
//!
//! | file | subject |
//! | --- | --- |
//! | `host` | the machines: a server, and members that play |
//! | `run` | one run and its figures |

mod host;
mod run;

use crate::Common;
use crate::report::Report;
use clap::Args;

/// The workload `multicast`.
#[derive(Debug, Args)]
pub(crate) struct Multicast {
    /// Number of members, of which one publishes and the others play
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(2..=1000))]
    members: u32,
    /// Of the members, those that choose neighbors and ask for streams as Flash Player was observed to do
    #[arg(long, value_name = "N", default_value = "0")]
    observed: u32,
    /// Rate of the stream in kbit/s
    #[arg(long, value_name = "KBIT", default_value = "2000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kbit: u32,
    /// Share of datagrams that are lost, from 0 to 0.9
    #[arg(long, value_name = "P", default_value = "0.01", value_parser = parse_loss)]
    loss: f64,
    /// Round trip between two members in milliseconds
    #[arg(long, value_name = "MS", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=5000))]
    rtt_ms: u32,
    /// Messages a second
    #[arg(long, value_name = "N", default_value = "25", value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: u32,
    /// Seconds from the begin of the stream until the measurement
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    settle: u32,
    /// Seconds of the measurement
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    measure: u32,
    /// Seed of the first run; each further run has the next one
    #[arg(long, default_value = "1")]
    seed: u64,
}

fn parse_loss(text: &str) -> Result<f64, String> {
    let loss = text.parse().ok().filter(|loss| (0.0..=0.9).contains(loss));
    loss.ok_or_else(|| "a probability from 0 to 0.9 is expected".to_owned())
}

impl Multicast {
    pub(crate) fn run(&self, common: &Common) -> anyhow::Result<Report> {
        let Self { members, kbit, loss, rtt_ms, .. } = self;
        let title = format!(
            "multicast: {members} members, {kbit} kbit/s, {rtt_ms} ms, {} % lost; simulated",
            loss * 100.0
        );
        let mut report = Report::new("multicast", title);
        for run in 0..common.runs(1) {
            run::run(self, self.seed.wrapping_add(u64::from(run)), &mut report)?;
            if common.json {
                println!("{}", report.last_json());
            }
        }
        Ok(report)
    }
}
