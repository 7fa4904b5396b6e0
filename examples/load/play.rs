//! Clients that play live streams.

use crate::Common;
use crate::connect::explain;
use crate::crowd::Role;
use crate::crowds::Crowds;
use crate::report::{Report, percentile};
use crate::target::Target;
use anyhow::ensure;
use clap::Args;
use std::time::{Duration, Instant};

/// The workload `play`.
#[derive(Debug, Args)]
pub(crate) struct Play {
    /// Clients that play
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    players: u32,
    /// Streams that are published; the players are spread over them
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    streams: u32,
    /// Rate of a stream, in kbit/s: 25 video messages in a second
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    kbit: u32,
    /// Seconds until it is measured
    #[arg(long, default_value = "5")]
    settle: u64,
    /// Seconds for which it is measured
    #[arg(long, default_value = "15")]
    window: u64,
}

impl Play {
    pub(crate) async fn run(&self, common: &Common) -> anyhow::Result<Report> {
        let title = format!(
            "play: {} clients play {} streams of {} kbit/s",
            self.players, self.streams, self.kbit
        );
        let mut report = Report::new("play", title);
        for _ in 0..common.runs.unwrap_or(3) {
            self.once(common, &mut report).await?;
        }
        Ok(report)
    }

    async fn once(&self, common: &Common, report: &mut Report) -> anyhow::Result<()> {
        let target = Target::open(&common.target)?;
        let crowds = Crowds::start(&target, &common.clients)?;
        let (streams, kbit) = (self.streams as usize, self.kbit);
        let role = |number: usize| match number < streams {
            true => Role::Publish(format!("load{number}"), kbit),
            false => Role::Play(format!("load{}", number % streams)),
        };
        crowds.connect_all((self.streams + self.players) as usize, role).await?;
        tokio::time::sleep(Duration::from_secs(self.settle)).await;
        let before = target.usage()?;
        let warm = crowds.tally().await?;
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(self.window)).await;
        let mut tally = crowds.tally().await?;
        let seconds = begun.elapsed().as_secs_f64();
        let after = target.usage()?;
        ensure!(
            tally.played.messages > 0,
            "no message of a stream has come: {:?} {:?}",
            warm.failures,
            tally.failures
        );
        let players = f64::from(self.players);
        let of_each = tally.published.messages as f64 / f64::from(self.streams);
        let share = tally.played.messages as f64 / (of_each * players);
        report.add("delivered", "messages delivered, share of those published", share);
        report.add("missing", "messages that were left out", tally.played.missing as f64);
        let mbit = tally.played.bytes as f64 * 8e-6 / seconds;
        report.add("mbit_out", "Mbit/s to all players", mbit);
        tally.latencies.sort_unstable();
        let ms = |part| percentile(&tally.latencies, part) / 1e3;
        report.add("p50_ms", "median from publishing to playing, ms", ms(0.5));
        report.add("p99_ms", "99th percentile, ms", ms(0.99));
        if let (Some(before), Some(after)) = (before, after) {
            let cores = (after.cpu - before.cpu) / seconds;
            report.add("cpu_percent", "server's CPU, % of one processor", cores * 100.0);
            report.add(
                "players_per_core",
                "players per core of the server",
                players * share / cores,
            );
            let bytes = after.resident.saturating_sub(before.resident) as f64;
            report.explain("growth of its memory meanwhile, MB", bytes / 1e6);
        }
        explain(report, &tally);
        crowds.stop().await;
        Ok(())
    }
}
