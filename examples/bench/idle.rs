//! Idle sessions with their keepalives: the workload `idle`.

use crate::Common;
use crate::crowd::{Crowd, Note, Order};
use crate::endpoint_service::{Mode, negotiating};
use crate::flood::parse_seconds;
use crate::handshakes::{identities, processors, workers_in_words};
use crate::keylog::KeyLog;
use crate::peer::{Peer, Remote, parse_group, parse_workers};
use crate::report::Report;
use anyhow::{Context, bail, ensure};
use clap::Args;
use rtmfp::driver::Handle;
use rtmfp::proto::crypto::{DhGroup, Identity, KeyStyle};
use rtmfp::proto::transport::Config;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The workload `idle`.
#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// How many sessions
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=500_000))]
    sessions: u32,
    /// Diffie-Hellman group: 2, 5, 14 or 16 (open sessions cost the same)
    #[arg(long, default_value = "2", value_parser = parse_group)]
    group: DhGroup,
    /// Sessions that are being opened at a time
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: u32,
    /// Endpoints of the server, each on a thread of its own
    #[arg(long, default_value = "1", value_parser = parse_workers)]
    workers: usize,
    /// Give the server's workers the time that all others leave: each finds as much to do at a time as one
    /// of a busy server
    #[arg(long)]
    workers_last: bool,
    /// Sockets, and so addresses, of the clients of each processor: more make them slower, with fewer equal
    /// session IDs are likely
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    client_sockets: u16,
    /// Seconds between two keepalives of a client
    #[arg(long, default_value = "20", value_parser = parse_seconds)]
    keepalive: f64,
    /// How long to wait when all are open; the clients' keepalives begin after --keepalive
    #[arg(long, default_value = "25", value_parser = parse_seconds)]
    settle: f64,
    /// How long the CPU time of each of --runs measurements is counted
    #[arg(long, default_value = "10", value_parser = parse_seconds)]
    window: f64,
}

/// Sessions that are opened and closed before memory is measured, for what is paid once.
const WARM_UP: usize = 64;
/// The longest time without any session opened.
const STUCK: Duration = Duration::from_secs(120);

/// The clients.
struct Clients {
    handles: Vec<Handle<()>>,
    notes: mpsc::UnboundedReceiver<Note>,
}

/// How the opening went.
struct Opened {
    sessions: usize,
    failures: u64,
    retries: u64,
}

impl Clients {
    fn start(
        args: &Idle,
        server: SocketAddr,
        identities: &[Arc<Identity>],
        hold: bool,
        keylog: &KeyLog,
    ) -> anyhow::Result<Self> {
        let crowds = processors().min(identities.len());
        let (outlet, notes) = mpsc::unbounded_channel();
        let mut handles = Vec::new();
        let mut config = Config::default();
        config.keepalive = Duration::from_secs_f64(args.keepalive);
        for part in identities.chunks(identities.len().div_ceil(crowds)) {
            let order = Order {
                server,
                config: negotiating(config.clone(), Mode::HmacSseq, args.group),
                identities: part.to_vec(),
                concurrency: (args.concurrency as usize).div_ceil(crowds),
                hold,
            };
            let (handle, mut events) = Crowd::start(order, args.client_sockets, keylog)?;
            let outlet = outlet.clone();
            tokio::spawn(async move {
                while let Some(note) = events.recv().await {
                    if outlet.send(note).is_err() {
                        return;
                    }
                }
            });
            handles.push(handle);
        }
        Ok(Self { handles, notes })
    }

    /// Waits until every attempt has ended.
    async fn all_opened(&mut self, total: usize) -> anyhow::Result<Opened> {
        let begun = Instant::now();
        let mut opened = Opened { sessions: 0, failures: 0, retries: 0 };
        let (mut ended, mut crowds) = (0, 0);
        while crowds < self.handles.len() {
            let note = tokio::time::timeout(STUCK, self.notes.recv()).await;
            match note.context("no session was opened for a long time")? {
                Some(Note::Progress(more)) => {
                    ended += more;
                    eprint!("\rbench: {ended} of {total}, {} s ", begun.elapsed().as_secs());
                }
                Some(Note::Done(outcome)) => {
                    crowds += 1;
                    opened.sessions += outcome.latencies.len();
                    opened.failures += outcome.failures;
                    opened.retries += outcome.retries;
                }
                Some(Note::Lost) => opened.failures += 1,
                None => bail!("a driver has stopped"),
            }
        }
        eprintln!();
        Ok(opened)
    }

    /// Sessions that closed although they should not have.
    fn lost(&mut self) -> usize {
        let mut lost = 0;
        while let Ok(note) = self.notes.try_recv() {
            lost += usize::from(matches!(note, Note::Lost));
        }
        lost
    }

    async fn stop(self) {
        for handle in self.handles {
            // The server ends next, so it does not matter who still knows whom.
            let _ = handle.shutdown(Duration::from_secs(2)).await;
        }
    }
}

impl Idle {
    pub(crate) async fn run(&self, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
        let total = self.sessions as usize;
        let workers = self.workers;
        let title = format!("idle: {total} sessions, {} of the server", workers_in_words(workers));
        let mut report = Report::new("idle", title);
        let (mode, group) = (Mode::HmacSseq, self.group);
        let peer = Peer {
            mode,
            echo: false,
            server: true,
            group,
            workers,
            workers_last: self.workers_last,
        };
        let mut remote = Remote::start(&peer)?;
        // Fails at once where memory can't be measured.
        remote.sample_memory()?;
        let warm = identities(WARM_UP, KeyStyle::Ephemeral, self.group);
        let mut clients = Clients::start(self, remote.address, &warm, false, keylog)?;
        clients.all_opened(WARM_UP).await?;
        clients.stop().await;

        let before = remote.sample_memory()?;
        let identities = identities(total, KeyStyle::Ephemeral, self.group);
        let begun = Instant::now();
        let mut clients = Clients::start(self, remote.address, &identities, true, keylog)?;
        let opened = clients.all_opened(total).await?;
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(opened.sessions > 0, "no session could be opened");
        eprintln!("bench: {} open, settling for {} s", opened.sessions, self.settle);
        tokio::time::sleep(Duration::from_secs_f64(self.settle)).await;
        for _ in 0..common.runs(5) {
            let (from, at) = (remote.sample()?, Instant::now());
            tokio::time::sleep(Duration::from_secs_f64(self.window)).await;
            let (to, seconds) = (remote.sample()?, at.elapsed().as_secs_f64());
            let percent = (to.cpu - from.cpu) / seconds * 100.0;
            report.add("cpu_percent", "server's CPU, % of one processor", percent);
            let percent = to.busiest_since(&from) / seconds * 100.0;
            report.add("busiest_worker_percent", "CPU of the busiest worker, %", percent);
        }
        let after = remote.sample_memory()?;
        let bytes = after.resident.saturating_sub(before.resident) as f64;
        report.add(
            "bytes_per_session",
            "server's resident bytes per session",
            bytes / after.open as f64,
        );
        report.explain("sessions open at the server", after.open as f64);
        report.explain("sessions opened per second", opened.sessions as f64 / seconds);
        report.explain("failures", opened.failures as f64);
        report.explain("hellos and keyings sent again", opened.retries as f64);
        report.explain("sessions lost meanwhile", clients.lost() as f64);
        clients.stop().await;
        Ok(report)
    }
}
