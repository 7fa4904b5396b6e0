//! A bulk transfer through an emulated link: the workload `lossy`.

use crate::Common;
use crate::endpoint_service::{EndpointService, Mode, PATIENCE, identity, negotiating};
use crate::flood::{Flooder, begin, connect, parse_seconds, session_stats};
use crate::keylog::KeyLog;
use crate::link::{Link, LinkConfig, check};
use crate::peer::{Peer, Remote};
use crate::report::Report;
use anyhow::ensure;
use clap::Args;
use rtmfp::peer::{DhGroup, KeyStyle};
use rtmfp::proto::transport::{Config, Controller};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The workload `lossy`.
#[derive(Debug, Args)]
pub(crate) struct Lossy {
    /// Probability that a datagram is lost, either way
    #[arg(long, default_value = "0.01", value_parser = parse_loss)]
    loss: f64,
    /// Round trip time of the link in milliseconds
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    rtt_ms: u32,
    /// Rate of the link in the direction of the data, in Mbit/s with IP and UDP headers
    #[arg(long, default_value = "50", value_parser = parse_mbit)]
    mbit: f64,
    /// The queue before the link in milliseconds of its rate [default: one round trip, at least 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queue_ms: Option<u32>,
    /// Congestion control of the sender: appendix-a or bbr
    #[arg(long, default_value_t)]
    controller: Controller,
    /// How long a run sends
    #[arg(long, default_value = "15", value_parser = parse_seconds)]
    seconds: f64,
    /// Of the losses; each run has another
    #[arg(long, default_value = "1")]
    seed: u64,
    /// How packets are verified
    #[arg(long, value_enum, default_value = "hmac-sseq")]
    mode: Mode,
}

fn parse_loss(text: &str) -> Result<f64, String> {
    let loss = text.parse().ok().filter(|loss| (0.0..=0.9).contains(loss));
    loss.ok_or_else(|| "a probability from 0 to 0.9 is wanted".to_owned())
}

fn parse_mbit(text: &str) -> Result<f64, String> {
    let mbit = text.parse().ok().filter(|mbit| (0.1..=1000.0).contains(mbit));
    mbit.ok_or_else(|| "0.1 to 1000 Mbit/s are possible".to_owned())
}

impl Lossy {
    fn link(&self) -> LinkConfig {
        let rate = self.mbit * 1e6 / 8.0;
        let queue_ms = self.queue_ms.unwrap_or(self.rtt_ms.max(5));
        LinkConfig {
            loss: self.loss,
            delay: Duration::from_millis(self.rtt_ms.into()) / 2,
            rate,
            queue: rate * f64::from(queue_ms) / 1e3,
            seed: self.seed,
        }
    }

    pub(crate) async fn run(&self, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
        // Before the link is measured.
        let link = self.link();
        let title = format!(
            "lossy: loss {} either way, round trip {} ms, {} Mbit/s, queue {:.0} kB, {}",
            self.loss,
            self.rtt_ms,
            self.mbit,
            link.queue / 1e3,
            self.controller
        );
        let mut report = Report::new("lossy", title);
        let checked = check(link)?;
        let note = format!(
            "the link itself, measured: round trip {:.1} ms, {:.1} Mbit/s, loss {:.4}",
            checked.round_trip.as_secs_f64() * 1e3,
            checked.rate * 8.0 / 1e6,
            checked.loss
        );
        eprintln!("bench: {note}");
        let off = (checked.rate / link.rate - 1.0).abs();
        if off > 0.05 {
            eprintln!("bench: the machine is too busy: the rate is off by {:.0} %", off * 100.0);
        }
        report.note(note);
        for run in 0..common.runs(5) {
            self.once(u64::from(run), keylog, &mut report).await?;
        }
        Ok(report)
    }

    async fn once(&self, run: u64, keylog: &KeyLog, report: &mut Report) -> anyhow::Result<()> {
        let (mode, group) = (self.mode, DhGroup::Modp14);
        let mut remote = Remote::start(&Peer::new(mode, group))?;
        let seed = self.seed.wrapping_add(run);
        let link = Link::start(LinkConfig { seed, ..self.link() }, remote.address)?;
        let mut config = Config::default();
        config.controller = self.controller;
        config.max_send_queue = 4 << 20;
        let config = negotiating(config, mode, group);
        let keys = identity(KeyStyle::Ephemeral, group);
        let mut running = EndpointService::start(config, keys, Flooder::new(8192), keylog)?;
        let session = connect(&mut running, link.address).await?;
        let (before, begun) = (remote.sample()?.bytes, Instant::now());
        begin(&running, session, 2 * Duration::from_secs_f64(self.seconds)).await?;
        let (mut arrived, mut seconds) = (0, 0.0);
        while arrived == 0 {
            ensure!(begun.elapsed() < PATIENCE, "nothing has arrived");
            tokio::time::sleep(Duration::from_secs_f64(self.seconds)).await;
            arrived = remote.sample()?.bytes - before;
            seconds = begun.elapsed().as_secs_f64();
        }
        let stats = session_stats(&running, session).await?;
        let rate = arrived as f64 / seconds;
        let counters = link.counters();
        let delivered = counters.delivered.load(Relaxed) as f64;
        report.add("mb_per_s", "MB/s", rate / 1e6);
        report.explain("% of the link's rate", rate / self.link().rate * 100.0);
        report.explain("datagrams lost at random", counters.lost.load(Relaxed) as f64);
        report.explain("datagrams refused by the queue", counters.overflowed.load(Relaxed) as f64);
        report.explain("fragments found lost by the sender", stats.fragments_lost as f64);
        report.explain("retransmission timeouts", stats.timeouts as f64);
        report.explain("link late, mean µs", counters.late.load(Relaxed) as f64 / delivered);
        running.stop().await
    }
}
