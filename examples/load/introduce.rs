//! Clients that are introduced to each other.

use crate::Common;
use crate::connect::explain;
use crate::crowd::Role;
use crate::crowds::Crowds;
use crate::report::{Report, percentile};
use crate::target::Target;
use anyhow::ensure;
use clap::Args;
use std::time::{Duration, Instant};

/// The workload `introduce`.
#[derive(Debug, Args)]
pub(crate) struct Introduce {
    /// Clients that are connected: half of them ask for the other half
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    clients: u32,
    /// Introductions of a run
    #[arg(long, default_value = "4000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    introductions: u32,
    /// Introductions in a second
    #[arg(long, default_value = "500", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
}

impl Introduce {
    pub(crate) async fn run(&self, common: &Common) -> anyhow::Result<Report> {
        let title = format!(
            "introduce: {} introductions, {} in a second, among {} clients",
            self.introductions, self.rate, self.clients
        );
        let mut report = Report::new("introduce", title);
        for _ in 0..common.runs.unwrap_or(3) {
            self.once(common, &mut report).await?;
        }
        Ok(report)
    }

    async fn once(&self, common: &Common, report: &mut Report) -> anyhow::Result<()> {
        let target = Target::open(&common.target)?;
        let crowds = Crowds::start(&target, &common.clients)?;
        let half = self.clients as usize / 2;
        let role = |number| if number < half { Role::Offer } else { Role::Stay };
        crowds.connect_all(self.clients as usize, role).await?;
        let (mut askers, mut offered) = (Vec::new(), Vec::new());
        for number in 0..crowds.len() {
            let found = crowds.ask(number, |crowd, _| {
                let offer = crowd.connected(|role| matches!(role, Role::Offer));
                let peers: Vec<_> = offer.into_iter().filter_map(|at| crowd.peer_id(at)).collect();
                (crowd.connected(|role| matches!(role, Role::Stay)), peers)
            });
            let (stay, offer) = found.await?;
            askers.extend(stay.into_iter().map(|index| (number, index)));
            offered.extend(offer);
        }
        let total = self.introductions as usize;
        ensure!(total <= askers.len() * offered.len(), "so few clients have not so many pairs");
        let before = target.usage()?;
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let mut asked = 0;
        while asked < total {
            ticks.tick().await;
            let due = (begun.elapsed().as_secs_f64() * f64::from(self.rate)) as usize;
            let mut parts: Vec<Vec<_>> = (0..crowds.len()).map(|_| Vec::new()).collect();
            while asked < due.min(total) {
                let (crowd, index) = askers[asked % askers.len()];
                // Each pair once: the askers take their turns, and each takes the peers in turn.
                let peer = offered[(asked % askers.len() + asked / askers.len()) % offered.len()];
                parts[crowd].push((index, peer));
                asked += 1;
            }
            for (number, part) in parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty())
            {
                let ask = crowds.ask(number, move |crowd, now| {
                    part.into_iter().for_each(|(index, peer)| crowd.introduce(now, index, peer));
                });
                ask.await?;
            }
        }
        let done =
            |tally: &crate::tally::Tally| tally.introduced.len() + tally.failed() as usize >= total;
        let tally = crowds.until("introductions", total, done, |tally| tally.introduced.len());
        let mut tally = tally.await?;
        let elapsed = begun.elapsed().as_secs_f64();
        let after = target.usage()?;
        let introduced = tally.introduced.len() as f64;
        ensure!(introduced > 0.0, "nobody was introduced: {:?}", tally.failures);
        report.add("introductions_per_second", "introductions per second", introduced / elapsed);
        tally.introduced.sort_unstable();
        let ms = |part| percentile(&tally.introduced, part) / 1e3;
        report.add("p50_ms", "median until the peer has answered, ms", ms(0.5));
        report.add("p99_ms", "99th percentile, ms", ms(0.99));
        if let (Some(before), Some(after)) = (before, after) {
            let cpu = (after.cpu - before.cpu) / introduced * 1e3;
            report.add("server_cpu_ms", "server's CPU ms per introduction", cpu);
            report.add("per_core", "introductions per second and core of the server", 1e3 / cpu);
        }
        explain(report, &tally);
        crowds.stop().await;
        Ok(())
    }
}
