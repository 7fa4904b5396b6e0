//! Sessions opened with fresh identities, many at once: the workload `handshakes`.

use crate::Common;
use crate::crowd::{Crowd, Note, Order, Outcome};
use crate::endpoint_service::{Mode, PATIENCE, identity, negotiating};
use crate::keylog::KeyLog;
use crate::peer::{Peer, Remote, Sample, parse_group, parse_workers};
use crate::report::{Report, percentile};
use anyhow::{bail, ensure};
use clap::Args;
use rtmfp::proto::crypto::{DhGroup, Identity, KeyStyle};
use rtmfp::proto::transport::Config;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The workload `handshakes`.
#[derive(Debug, Args)]
pub(crate) struct Handshakes {
    /// Diffie-Hellman group: 2, 5, 14 or 16
    #[arg(long, default_value = "14", value_parser = parse_group)]
    group: DhGroup,
    /// Sessions that are being opened at a time
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: u32,
    /// Sessions of a run [default: 2000 in group 2, 1000 in 14, 200 in 16]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Endpoints of the server, each on a thread of its own
    #[arg(long, default_value = "1", value_parser = parse_workers)]
    workers: usize,
    /// Give the server's workers the time that all others leave: each finds as much to do at a time as one
    /// of a busy server
    #[arg(long)]
    workers_last: bool,
    /// Sockets, and so addresses, of the clients of each processor
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    client_sockets: u16,
    /// The clients' keys: in the certificate, made before the measurement, or one for each session
    #[arg(long, value_enum, default_value = "static")]
    client_keys: ClientKeys,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ClientKeys {
    Static,
    Ephemeral,
}

impl From<ClientKeys> for KeyStyle {
    fn from(keys: ClientKeys) -> Self {
        match keys {
            ClientKeys::Static => Self::Static,
            ClientKeys::Ephemeral => Self::Ephemeral,
        }
    }
}

/// Processors of this machine.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Makes identities on all processors.
pub(crate) fn identities(count: usize, keys: KeyStyle, group: DhGroup) -> Vec<Arc<Identity>> {
    let workers = processors();
    let share = |worker| (count + worker) / workers;
    thread::scope(|scope| {
        let make = |count| (0..count).map(|_| identity(keys, group)).collect::<Vec<_>>();
        let threads: Vec<_> =
            (0..workers).map(|worker| scope.spawn(move || make(share(worker)))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

impl Handshakes {
    fn count(&self) -> u32 {
        self.count.unwrap_or(match self.group {
            DhGroup::Modp2 => 2000,
            DhGroup::Modp16 => 200,
            _ => 1000,
        })
    }

    pub(crate) async fn run(&self, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
        let (group, concurrency, count) = (self.group, self.concurrency, self.count());
        let title = format!(
            "handshakes: {count} sessions in group {}, {concurrency} at a time, {} of the server",
            group as u16,
            workers_in_words(self.workers),
        );
        let mut report = Report::new("handshakes", title);
        eprintln!("bench: making {count} identities");
        let identities = identities(count as usize, self.client_keys.into(), group);
        for _ in 0..common.runs(5) {
            // A new server knows none of the identities.
            let mut outcome = self.once(&identities, keylog).await?;
            outcome.all.latencies.sort_unstable();
            let opened = outcome.all.latencies.len() as f64;
            ensure!(opened > 0.0, "no session could be opened");
            report.add("per_second", "sessions per second", opened / outcome.seconds);
            let p99 = percentile(&outcome.all.latencies, 0.99) / 1e3;
            report.add("p99_ms", "99th percentile until open, ms", p99);
            let cpu = outcome.server_cpu / opened * 1e3;
            report.add("server_cpu_ms", "server's CPU ms per session", cpu);
            let busiest = outcome.busiest / opened * 1e3;
            report.add("busiest_worker_ms", "CPU ms of the busiest worker per session", busiest);
            let p50 = percentile(&outcome.all.latencies, 0.5) / 1e3;
            report.explain("median until open, ms", p50);
            report.explain("failures", outcome.all.failures as f64);
            report.explain("hellos and keyings sent again", outcome.all.retries as f64);
        }
        Ok(report)
    }

    async fn once(&self, identities: &[Arc<Identity>], keylog: &KeyLog) -> anyhow::Result<Once> {
        let (mode, group) = (Mode::HmacSseq, self.group);
        let mut remote = Remote::start(&Peer {
            mode,
            echo: false,
            server: true,
            group,
            workers: self.workers,
            workers_last: self.workers_last,
        })?;
        let crowds = processors().min(self.concurrency as usize);
        let before = remote.sample()?;
        let begun = Instant::now();
        let mut running = Vec::new();
        for part in identities.chunks(identities.len().div_ceil(crowds)) {
            let order = Order {
                server: remote.address,
                config: negotiating(Config::default(), mode, group),
                identities: part.to_vec(),
                concurrency: (self.concurrency as usize).div_ceil(crowds),
                hold: false,
            };
            running.push(Crowd::start(order, self.client_sockets, keylog)?);
        }
        let mut all = Outcome::default();
        for (_, notes) in &mut running {
            let outcome = loop {
                match tokio::time::timeout(2 * PATIENCE, notes.recv()).await? {
                    Some(Note::Done(outcome)) => break outcome,
                    Some(Note::Progress(_) | Note::Lost) => {}
                    None => bail!("the driver has stopped"),
                }
            };
            all.latencies.extend(outcome.latencies);
            all.failures += outcome.failures;
            all.retries += outcome.retries;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let opened = all.latencies.len() as u64;
        let after = caught_up(&mut remote, before.sessions + opened).await?;
        for (handle, _) in running {
            // Those whose close is not yet answered are of no interest.
            let _ = handle.shutdown(Duration::from_secs(1)).await;
        }
        let (server_cpu, busiest) = (after.cpu - before.cpu, after.busiest_since(&before));
        Ok(Once { all, seconds, server_cpu, busiest })
    }
}

/// Says how many workers a server has.
pub(crate) fn workers_in_words(workers: usize) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}

/// The server's figures when it knows of as many sessions as the clients, or after a while.
async fn caught_up(remote: &mut Remote, sessions: u64) -> anyhow::Result<Sample> {
    for _ in 0..20 {
        let sample = remote.sample()?;
        if sample.sessions >= sessions {
            return Ok(sample);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sample = remote.sample()?;
    eprintln!("bench: the server misses {} sessions", sessions.saturating_sub(sample.sessions));
    Ok(sample)
}

/// The result of one run.
struct Once {
    all: Outcome,
    seconds: f64,
    server_cpu: f64,
    busiest: f64,
}
