//! Clients that do nothing.

use crate::Common;
use crate::connect::explain;
use crate::crowd::Role;
use crate::crowds::Crowds;
use crate::report::Report;
use crate::target::Target;
use anyhow::ensure;
use clap::Args;
use std::time::{Duration, Instant};

/// The workload `idle`.
#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// Clients
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=500_000))]
    clients: u32,
    /// Seconds from the last connect until CPU time is counted
    #[arg(long, default_value = "25")]
    settle: u64,
    /// Seconds for which it is counted, in each run
    #[arg(long, default_value = "20")]
    window: u64,
}

impl Idle {
    pub(crate) async fn run(&self, common: &Common) -> anyhow::Result<Report> {
        let mut report = Report::new("idle", format!("idle: {} clients", self.clients));
        let target = Target::open(&common.target)?;
        ensure!(target.has_process(), "name the process of the server by --server-pid");
        let crowds = Crowds::start(&target, &common.clients)?;
        eprintln!("rtmfp-load: making {} identities", self.clients);
        let mut identities = crowds.identities(self.clients as usize + 64);
        // What is paid once is paid by the first few.
        let first = identities.drain(..64).map(|identity| (identity, Role::Leave)).collect();
        crowds.connect(first).await?;
        let before = target.usage()?;
        let clients = identities.into_iter().map(|identity| (identity, Role::Stay)).collect();
        let (tally, elapsed) = crowds.connect(clients).await?;
        let connected = tally.connected.len() as f64;
        ensure!(connected > 0.0, "nobody could connect: {:?}", tally.failures);
        explain(&mut report, &tally);
        report.explain("connects per second", connected / elapsed.as_secs_f64());
        eprintln!("rtmfp-load: {connected} connected, settling for {} s", self.settle);
        tokio::time::sleep(Duration::from_secs(self.settle)).await;
        for _ in 0..common.runs.unwrap_or(3) {
            let (from, at) = (target.usage()?, Instant::now());
            tokio::time::sleep(Duration::from_secs(self.window)).await;
            let (to, seconds) = (target.usage()?, at.elapsed().as_secs_f64());
            if let (Some(from), Some(to)) = (from, to) {
                let percent = (to.cpu - from.cpu) / seconds * 100.0;
                report.add("cpu_percent", "server's CPU, % of one processor", percent);
                let busiest = to.busiest_since(&from) / seconds * 100.0;
                report.add("busiest_percent", "CPU of its busiest thread, %", busiest);
            }
        }
        if let (Some(before), Some(after)) = (before, target.usage()?) {
            let bytes = after.resident.saturating_sub(before.resident) as f64 / connected;
            report.add("bytes_per_client", "server's resident bytes per client", bytes);
            report.add("clients_per_gb", "clients per GB (10⁹ bytes)", 1e9 / bytes);
        }
        report.explain("connections lost meanwhile", crowds.tally().await?.lost as f64);
        crowds.stop().await;
        Ok(report)
    }
}
