//! Clients that connect and leave.

use crate::crowd::Role;
use crate::crowds::Crowds;
use crate::report::{Report, percentile};
use crate::target::Target;
use crate::{Common, tally::Tally};
use anyhow::ensure;
use clap::Args;

/// The workload `connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Clients of a run
    #[arg(long, default_value = "4000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
}

impl Connect {
    pub(crate) async fn run(&self, common: &Common) -> anyhow::Result<Report> {
        let mut report = Report::new("connect", format!("connect: {} clients", self.clients));
        for _ in 0..common.runs.unwrap_or(3) {
            let target = Target::open(&common.target)?;
            let crowds = Crowds::start(&target, &common.clients)?;
            let identities = crowds.identities(self.clients as usize);
            let before = target.usage()?;
            let clients = identities.into_iter().map(|identity| (identity, Role::Leave)).collect();
            let (mut tally, elapsed) = crowds.connect(clients).await?;
            let after = target.usage()?;
            let connected = tally.connected.len() as f64;
            ensure!(connected > 0.0, "nobody could connect: {:?}", tally.failures);
            report.add(
                "connects_per_second",
                "connects per second",
                connected / elapsed.as_secs_f64(),
            );
            tally.connected.sort_unstable();
            let ms = |part| percentile(&tally.connected, part) / 1e3;
            report.add("p50_ms", "median until connected, ms", ms(0.5));
            report.add("p99_ms", "99th percentile, ms", ms(0.99));
            if let (Some(before), Some(after)) = (before, after) {
                let cpu = (after.cpu - before.cpu) / connected * 1e3;
                report.add("server_cpu_ms", "server's CPU ms per connect", cpu);
                report.add("per_core", "connects per second and core of the server", 1e3 / cpu);
                let busiest = after.busiest_since(&before) / connected * 1e3;
                report.add("busiest_ms", "CPU ms of its busiest thread per connect", busiest);
            }
            explain(&mut report, &tally);
            report.explain("hellos and keyings sent again", crowds.retries().await? as f64);
            crowds.stop().await;
        }
        Ok(report)
    }
}

/// Adds what went wrong.
pub(crate) fn explain(report: &mut Report, tally: &Tally) {
    report.explain("failures", tally.failed() as f64);
    report.explain("connections lost", tally.lost as f64);
    for (reason, count) in &tally.failures {
        eprintln!("rtmfp-load: {count} times: {reason}");
    }
}
