//! Clients that come and go in every way; then nothing must be left of them.

use crate::Common;
use crate::connect::explain;
use crate::crowd::Lives;
use crate::crowds::Crowds;
use crate::report::{Report, percentile};
use crate::tally::Tally;
use crate::target::Target;
use anyhow::{Context, ensure};
use clap::Args;
use rtmfp::GroupSpecBuilder;
use std::time::{Duration, Instant};

/// The longest time until a server has noticed that a client is gone: what it waits for a client by
/// default, and some.
const NOTICED: Duration = Duration::from_secs(60);

/// How often the server's memory is noted.
const NOTED: Duration = Duration::from_secs(30);

/// The workload `churn`.
#[derive(Debug, Args)]
pub(crate) struct Churn {
    /// Clients at a time
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
    /// Groups that they join
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(0..=1000))]
    groups: u32,
    /// The longest life, in seconds; the shortest is a tenth of it
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u64).range(1..=3600))]
    life: u64,
    /// Seconds of coming and going that fill what the server keeps, before its memory is compared
    #[arg(long, default_value = "60", value_parser = clap::value_parser!(u64).range(1..=3600))]
    warm_up: u64,
    /// Seconds of coming and going after that
    #[arg(long, default_value = "540", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

impl Churn {
    pub(crate) async fn run(&self, common: &Common) -> anyhow::Result<Report> {
        let title = format!(
            "churn: {} clients at a time in {} groups for {} s, lives of {} s at most",
            self.clients, self.groups, self.seconds, self.life
        );
        let mut report = Report::new("churn", title);
        for _ in 0..common.runs.unwrap_or(1) {
            self.once(common, &mut report).await?;
        }
        Ok(report)
    }

    async fn once(&self, common: &Common, report: &mut Report) -> anyhow::Result<()> {
        let target = Target::open(&common.target)?;
        let crowds = Crowds::start(&target, &common.clients)?;
        let groups = (0..self.groups).map(|number| {
            let spec = GroupSpecBuilder::new(&format!("load/{number}"))?;
            spec.posting(true).server_channel(true).build()
        });
        let lives = Lives {
            population: (self.clients as usize).div_ceil(crowds.len()),
            groups: groups.collect::<Result<_, _>>()?,
            longest: Duration::from_secs(self.life),
        };
        // Two rounds of the same: the first fills what is kept, as caches and the allocator's memory.
        let mut series = Vec::new();
        let warm_up = Duration::from_secs(self.warm_up);
        let mut all = self.round(&crowds, &lives, warm_up, (&target, &mut series)).await?;
        series.clear();
        let (_, first_rest) = self.rest(&crowds, &target, report).await?;
        let begun = Instant::now();
        let time = Duration::from_secs(self.seconds);
        all.add(self.round(&crowds, &lives, time, (&target, &mut series)).await?);
        let seconds = begun.elapsed().as_secs_f64();
        let (busy, rest) = self.rest(&crowds, &target, report).await?;
        report.add("lives", "clients that have come and gone", all.ended as f64);
        report.explain(
            "connects per second",
            all.connected.len() as f64 / (seconds + self.warm_up as f64),
        );
        all.connected.sort_unstable();
        let ms = percentile(&all.connected, 0.99) / 1e3;
        report.add("p99_ms", "99th percentile until connected, ms", ms);
        if let (Some(first), Some(busy), Some(rest)) = (first_rest, busy, rest) {
            report.add("rest_mb", "server's memory after the warm-up, MB", first as f64 / 1e6);
            report.add("busy_mb", "server's memory at the end of the churn, MB", busy as f64 / 1e6);
            report.add("after_mb", "server's memory when all are gone, MB", rest as f64 / 1e6);
        }
        report.note(format!("server's memory each {NOTED:?}, MB: {}", series.join(" ")));
        explain(report, &all);
        crowds.stop().await;
        Ok(())
    }

    /// Has clients come and go for a time.
    async fn round(
        &self,
        crowds: &Crowds,
        lives: &Lives,
        time: Duration,
        (target, series): (&Target, &mut Vec<String>),
    ) -> anyhow::Result<Tally> {
        let begun = Instant::now();
        for number in 0..crowds.len() {
            let lives = lives.clone();
            crowds.ask(number, move |crowd, now| crowd.live(now, Some(lives))).await?;
        }
        let mut all = Tally::default();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut reports = 0;
        while begun.elapsed() < time {
            ticks.tick().await;
            let mut tally = crowds.tally().await?;
            tally.latencies.clear();
            if begun.elapsed() >= NOTED * (series.len() as u32 + 1)
                && let Some(usage) = target.usage()?
            {
                series.push(format!("{:.1}", usage.resident as f64 / 1e6));
            }
            all.add(tally);
            reports += 1;
            if reports % 15 == 0 {
                eprintln!("rtmfp-load: {} clients came and went", all.ended);
            }
        }
        Ok(all)
    }

    /// Crashes all clients, and waits until the server has noticed. Returns its memory before and after.
    async fn rest(
        &self,
        crowds: &Crowds,
        target: &Target,
        report: &mut Report,
    ) -> anyhow::Result<(Option<u64>, Option<u64>)> {
        let busy = target.usage()?.map(|usage| usage.resident);
        for number in 0..crowds.len() {
            crowds.ask(number, |crowd, _| crowd.crash()).await?;
        }
        let begun = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let Some(status) = target.status().await? else {
                // Another server: its keepalive time is not known.
                tokio::time::sleep(NOTICED).await;
                break;
            };
            let count = |name: &str| {
                let value = status.pointer(name).and_then(serde_json::Value::as_u64);
                value.with_context(|| format!("no {name} in the server's status"))
            };
            let left =
                [count("/clients")?, count("/sessions")?, count("/groups")?, count("/streams")?];
            if left == [0; 4] {
                let seconds = begun.elapsed().as_secs_f64();
                report.add(
                    "noticed_s",
                    "seconds until the server has noticed a crash of all",
                    seconds,
                );
                break;
            }
            ensure!(
                begun.elapsed() < NOTICED,
                "ghosts after {NOTICED:?}: {} clients, {} sessions, {} groups, {} streams",
                left[0],
                left[1],
                left[2],
                left[3]
            );
        }
        Ok((busy, target.usage()?.map(|usage| usage.resident)))
    }
}
