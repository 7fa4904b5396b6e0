//! The workload `demo-path`: `rtmfp demo` without its display.

use crate::Common;
use crate::endpoint_service::loopback;
use crate::keylog::KeyLog;
use crate::process;
use crate::report::Report;
use anyhow::{Context, ensure};
use clap::Args;
use rtmfp::server::{Server, ServerConfig};
use rtmfp::vod::{
    CHUNK_SIZE, Destination, Fetch, FetchConfig, ServerAddress, Share, ShareConfig, SourceFile,
};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The workload `demo-path`.
#[derive(Debug, Args)]
pub(crate) struct DemoPath {
    /// Number of receivers
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=64))]
    receivers: u32,
    /// Size of the file: bytes, or a number with KiB, MiB or GiB
    #[arg(long, default_value = "64MiB", value_parser = parse_size)]
    size: u64,
}

/// Bytes of the largest file.
const MAX_SIZE: u64 = 64 << 30;
/// How often threads and sockets are counted.
const SAMPLE: Duration = Duration::from_millis(200);
/// How long the members may take to leave.
const GRACE: Duration = Duration::from_secs(2);
/// How long a run may take, on a machine that does much else.
const MAX_RUN: Duration = Duration::from_secs(1800);
const GIB: f64 = (1 << 30) as f64;

pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (number, unit) = unit.unwrap_or((text, 1));
    let size = number.trim().parse().ok().and_then(|number: u64| number.checked_mul(unit));
    size.filter(|size| (1..=MAX_SIZE).contains(size))
        .ok_or_else(|| "1 byte to 64GiB are possible".to_owned())
}

/// Server, provider and receivers of one run.
struct Swarm {
    server: Server,
    share: Share,
    fetches: Vec<Fetch>,
}

/// Result of one run.
struct Outcome {
    seconds: f64,
    cpu: f64,
    /// UDP payload that all members and the server have sent.
    wire_bytes: u64,
    datagrams: u64,
    send_calls: u64,
    provider_bytes: u64,
    most: Most,
}

/// The greatest numbers seen during a run.
#[derive(Default)]
struct Most {
    threads: usize,
    sockets: usize,
    resident: u64,
}

impl DemoPath {
    pub(crate) async fn run(&self, common: &Common, keylog: &KeyLog) -> anyhow::Result<Report> {
        let title = format!(
            "demo-path: {} receivers of a file of {} bytes, in one process",
            self.receivers, self.size
        );
        let mut report = Report::new("demo-path", title);
        for _ in 0..common.runs(5) {
            let directory = tempfile::tempdir().context("no temporary directory")?;
            let outcome = self.once(directory.path(), keylog).await?;
            self.add(&mut report, &outcome);
        }
        Ok(report)
    }

    fn add(&self, report: &mut Report, outcome: &Outcome) {
        let payload = (self.size * u64::from(self.receivers)) as f64;
        let Outcome { wire_bytes, datagrams, most, .. } = outcome;
        let cpu = outcome.cpu / (payload / GIB);
        report.add("cpu_s_per_gib", "CPU s per GiB delivered", cpu);
        report.add("seconds", "seconds until the last copy is complete", outcome.seconds);
        report.add("wire_per_payload", "bytes on the wire ÷ payload", *wire_bytes as f64 / payload);
        report.add("threads", "threads, at most", most.threads as f64);
        report.add("sockets", "sockets, at most", most.sockets as f64);
        report.explain("resident MiB, at most", most.resident as f64 / f64::from(1 << 20));
        report.explain("datagrams sent", *datagrams as f64);
        report.explain("datagrams per call", *datagrams as f64 / outcome.send_calls.max(1) as f64);
        let provider = outcome.provider_bytes as f64 / self.size as f64;
        report.explain("uploads of the provider ÷ file", provider);
    }

    async fn once(&self, directory: &Path, keylog: &KeyLog) -> anyhow::Result<Outcome> {
        let original = directory.join("original");
        write_noise(&original, self.size)?;
        let mut swarm = Swarm::start(original.clone(), keylog).await?;
        let (begun, cpu) = (Instant::now(), process::cpu_seconds());
        swarm.fetch(directory, self.receivers, keylog).await?;
        let mut most = Most::default();
        let copies = tokio::time::timeout(MAX_RUN, swarm.completed(&mut most)).await;
        let copies = copies.context("the copies take too long")??;
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), process::cpu_seconds() - cpu);
        let outcome = swarm.outcome(seconds, cpu, most).await?;
        swarm.stop().await?;
        for copy in copies {
            ensure!(is_equal(&original, &copy)?, "{} is not a copy", copy.display());
        }
        Ok(outcome)
    }
}

impl Swarm {
    /// A server, and a provider of this file.
    async fn start(original: PathBuf, keylog: &KeyLog) -> anyhow::Result<Self> {
        let (listen, key_log) = (vec![loopback()], keylog.file());
        let mut config = ServerConfig::default();
        config.listen = listen;
        config.key_log = key_log;
        let server = Server::start(config).await?;
        let address = server.local_addresses().first().context("the server has no address")?;
        let address = ServerAddress::new(&address.ip().to_string(), address.port())?;
        let scan = move || SourceFile::scan(&original, CHUNK_SIZE, |_| {});
        let source = tokio::task::spawn_blocking(scan).await??;
        let mut config = ShareConfig::new(address);
        config.listen = vec![loopback()];
        config.key_log = keylog.file();
        let share = Share::start(source, config).await?;
        Ok(Self { server, share, fetches: Vec::new() })
    }

    /// All receivers, at the same time.
    async fn fetch(&mut self, directory: &Path, count: u32, keylog: &KeyLog) -> anyhow::Result<()> {
        let mut starting = JoinSet::new();
        for number in 1..=count {
            let destination = Destination::File(directory.join(format!("copy-{number}")));
            let mut config = FetchConfig::new(self.share.link().clone(), destination);
            config.listen = vec![loopback()];
            config.key_log = keylog.file();
            starting.spawn(Fetch::start(config));
        }
        self.fetches = starting.join_all().await.into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Waits for all copies, counting threads and sockets meanwhile.
    async fn completed(&self, most: &mut Most) -> anyhow::Result<Vec<PathBuf>> {
        let complete = async {
            let mut copies = Vec::new();
            for fetch in &self.fetches {
                copies.push(fetch.completed().await?.path.context("a copy without a path")?);
            }
            anyhow::Ok(copies)
        };
        let count = async {
            let mut sample = tokio::time::interval(SAMPLE);
            loop {
                sample.tick().await;
                most.update();
            }
        };
        tokio::select! {
            copies = complete => copies,
            () = count => unreachable!("the loop does not end"),
        }
    }

    async fn outcome(&self, seconds: f64, cpu: f64, most: Most) -> anyhow::Result<Outcome> {
        let server = self.server.stats().await?.network;
        let members = self.fetches.iter().map(Fetch::stats).chain([self.share.stats(), server]);
        let (mut wire_bytes, mut datagrams, mut send_calls) = (0, 0, 0);
        for stats in members {
            wire_bytes += stats.bytes_sent;
            datagrams += stats.datagrams_sent;
            send_calls += stats.send_calls;
        }
        let provider_bytes = self.share.progress().borrow().bytes_uploaded;
        Ok(Outcome { seconds, cpu, wire_bytes, datagrams, send_calls, provider_bytes, most })
    }

    async fn stop(self) -> anyhow::Result<()> {
        let mut stopping = JoinSet::new();
        for fetch in self.fetches {
            stopping.spawn(fetch.stop(GRACE));
        }
        stopping.spawn(self.share.stop(GRACE));
        stopping.join_all().await;
        self.server.stop(GRACE).await?;
        Ok(())
    }
}

impl Most {
    /// Elsewhere than on Linux these numbers stay 0.
    fn update(&mut self) {
        self.threads = self.threads.max(process::threads());
        self.sockets = self.sockets.max(process::sockets());
        self.resident = self.resident.max(process::resident_bytes().unwrap_or_default());
    }
}

/// A file that cannot be compressed, the same each time.
fn write_noise(path: &Path, size: u64) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = size;
    while left > 0 {
        // Marsaglia's xorshift with shifts of 13, 7 and 17.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        let length = word.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&word[..length])?;
        left -= length as u64;
    }
    file.flush()
}

fn is_equal(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (one.take(MAX_SIZE), other.take(MAX_SIZE));
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = one.read(&mut a)?;
        if length == 0 {
            return Ok(true);
        }
        other.read_exact(&mut b[..length])?;
        if a[..length] != b[..length] {
            return Ok(false);
        }
    }
}
