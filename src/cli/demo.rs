//! `rtmfp demo`: a rendezvous server, a provider and receivers in one process, over real UDP.

use super::fit::{Size, map};
use super::key_log::KeyLogArgs;
use super::scratch::Scratch;
use super::screen::{self, Live, Picture, REDRAW};
use super::signals::Signals;
use super::{STOP_GRACE, format, hashing};
use anyhow::{Context, bail, ensure};
use rtmfp::driver::{Clock, KeyLogFile};
use rtmfp::server::{Server, ServerConfig};
use rtmfp::vod::session::Progress;
use rtmfp::vod::{
    Descriptor, Destination, Digest256, Fetch, FetchConfig, ServerAddress, Share, ShareConfig,
    SourceFile,
};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The file shared by default; see `fixtures/clips/README.md`.
const CLIP: &[u8] = include_bytes!("../../fixtures/clips/test-pattern.mp4");
const CLIP_NAME: &str = "test-pattern.mp4";

/// Watch a file travel: one provider and several receivers that help each other.
///
/// Everything runs in this process, but each member has a socket of its own on 127.0.0.1 and they
/// speak RTMFP with each other. The exit status is 0 only if every copy is identical.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp demo
  rtmfp demo film.mp4 --receivers 8")]
pub(crate) struct DemoArgs {
    /// The file to share [default: a short video clip that comes with this program]
    file: Option<PathBuf>,

    /// Number of receivers
    #[arg(long, short, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    receivers: u32,

    /// Keep the copies in this directory [default: they are deleted]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Print the result as a JSON object, on one line, the last on standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    key_log: KeyLogArgs,
}

/// The result; also the form of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    file_bytes: u64,
    sha256: String,
    /// From the start of the receivers to the last complete copy.
    seconds: f64,
    /// Bytes of objects sent by the provider, in their encoded form.
    provider_upload_bytes: u64,
    /// Bytes of the file that receivers got from each other.
    peer_exchange_bytes: u64,
    /// The part of what a server without peers would upload that the provider did not.
    saved_share: f64,
    copies: Vec<Copy>,
}

#[derive(Debug, Serialize)]
struct Copy {
    #[serde(skip)]
    path: PathBuf,
    sha256: String,
    bytes: u64,
    from_provider_bytes: u64,
    from_peers_bytes: u64,
    seconds: f64,
}

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    tokio::select! {
        outcome = demo(args) => outcome,
        () = signals.recv() => bail!("interrupted"),
    }
}

async fn demo(args: DemoArgs) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let source = match args.file {
        Some(file) => hashing::scan(file).await?,
        None => hashing::scan(write_clip(scratch.path())?).await?,
    };
    let directory = match &args.keep {
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
            directory.clone()
        }
        None => scratch.path().to_owned(),
    };
    let key_log = args.key_log.open()?;
    let swarm = Swarm::start(source, args.receivers, &directory, key_log).await?;
    let copies = swarm.run().await;
    let report = report(copies, swarm.stop().await).await?;
    let is_good = report.copies.iter().all(|copy| copy.sha256 == report.sha256);
    if args.json {
        screen::result(&serde_json::to_string(&report)?)?;
    } else {
        screen::result(&table(&report))?;
    }
    if let Some(directory) = &args.keep {
        screen::line(&format!("the copies are in {}", directory.display()));
    }
    ensure!(is_good, "not every copy is identical to the file");
    Ok(())
}

fn write_clip(directory: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join(CLIP_NAME);
    std::fs::write(&path, CLIP).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Everybody who takes part.
struct Swarm {
    server: Server,
    share: Share,
    receivers: Vec<Receiver>,
    clock: Clock,
}

struct Receiver {
    fetch: Fetch,
    path: PathBuf,
}

impl Swarm {
    async fn start(
        source: SourceFile,
        count: u32,
        directory: &Path,
        key_log: Option<KeyLogFile>,
    ) -> anyhow::Result<Self> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listen = vec![local];
        let mut config = ServerConfig::default();
        config.listen = listen;
        config.key_log = key_log.clone();
        let server = Server::start(config).await?;
        let address = server.local_addresses().first().context("the server has no address")?;
        let mut config =
            ShareConfig::new(ServerAddress::new(&address.ip().to_string(), address.port())?);
        config.listen = vec![local];
        config.key_log = key_log.clone();
        // No link has a limit here, so that it costs no time.
        config.save_upload = true;
        let share = Share::start(source, config).await?;
        let name = share.descriptor().file_name();
        let size = share.descriptor().layout.size().unwrap_or_default();
        screen::line(&format!(
            "sharing {name}, {}, with {} over UDP on 127.0.0.1",
            format::bytes(size),
            format::count(count, "receiver"),
        ));
        let clock = Clock::start();
        let mut starting = JoinSet::new();
        for number in 1..=count {
            let path = directory.join(format!("copy-{number}-{name}"));
            let destination = Destination::File(path.clone());
            let mut config = FetchConfig::new(share.link().clone(), destination);
            config.listen = vec![local];
            config.key_log = key_log.clone();
            starting.spawn(async move {
                Fetch::start(config).await.map(|fetch| (number, Receiver { fetch, path }))
            });
        }
        let started: Result<Vec<_>, _> = starting.join_all().await.into_iter().collect();
        let mut started = started?;
        started.sort_by_key(|(number, _)| *number);
        let receivers = started.into_iter().map(|(_, receiver)| receiver).collect();
        Ok(Self { server, share, receivers, clock })
    }

    /// Waits for all copies, showing how they grow.
    async fn run(&self) -> anyhow::Result<Vec<Copy>> {
        let copies = async {
            let each = self.receivers.iter().map(|receiver| self.copy(receiver));
            let mut copies = Vec::new();
            for copy in join_in_order(each).await {
                copies.push(copy?);
            }
            anyhow::Ok(copies)
        };
        tokio::select! {
            copies = copies => copies,
            () = self.show() => bail!("the display has ended"),
        }
    }

    /// One receiver's copy, and when it was complete.
    async fn copy(&self, receiver: &Receiver) -> anyhow::Result<Copy> {
        receiver.fetch.completed().await?;
        let seconds = self.clock.now().as_secs_f64();
        let progress = receiver.fetch.progress().borrow().clone();
        Ok(Copy {
            path: receiver.path.clone(),
            // Found out in the end, from what is on the disk.
            sha256: String::new(),
            bytes: 0,
            from_provider_bytes: progress.bytes_from_provider,
            from_peers_bytes: progress.bytes_from_peers,
            seconds,
        })
    }

    /// Shows everybody's progress.
    async fn show(&self) {
        let mut live = Live::new();
        let mut pictures: Vec<Picture> = self.receivers.iter().map(|_| Picture::new()).collect();
        let mut sharing = Picture::new();
        let mut redraw = tokio::time::interval(REDRAW);
        loop {
            redraw.tick().await;
            let provider = self.share.progress().borrow().clone();
            let receivers: Vec<Progress> = self.receivers.iter().map(Receiver::progress).collect();
            let fraction = mean(&receivers);
            let mut lines = vec![format!("provider   {}", sharing.sharing(&provider))];
            lines.extend(receiver_lines(&receivers, &mut pictures, Size::of_screen()));
            live.draw(&lines.join("\n"));
            let uploaded = format::bytes(provider.bytes_uploaded);
            let done = format::percent(fraction);
            live.report(fraction, format!("{done} of all copies, provider uploaded {uploaded}"));
        }
    }

    /// Everybody leaves. Returns what was shared, and the provider's last numbers.
    async fn stop(self) -> (Arc<Descriptor>, Progress) {
        let (descriptor, progress) = (Arc::clone(self.share.descriptor()), self.share.progress());
        let mut stopping = JoinSet::new();
        for receiver in self.receivers {
            stopping.spawn(receiver.fetch.stop(STOP_GRACE));
        }
        stopping.spawn(self.share.stop(STOP_GRACE));
        stopping.join_all().await;
        // The process ends.
        let _ = self.server.stop(Duration::ZERO).await;
        let progress = progress.borrow().clone();
        (descriptor, progress)
    }
}

/// Looks at the copies on the disk and adds everything up.
async fn report(
    copies: anyhow::Result<Vec<Copy>>,
    (descriptor, provider): (Arc<Descriptor>, Progress),
) -> anyhow::Result<Report> {
    let mut copies = copies?;
    let reading = join_in_order(copies.iter().map(|copy| hashing::scan(copy.path.clone()))).await;
    for (copy, read) in copies.iter_mut().zip(reading) {
        let read = read?.descriptor();
        copy.sha256 = read.sha256.map(|it| it.to_string()).unwrap_or_default();
        copy.bytes = read.layout.size().unwrap_or_default();
    }
    let file_bytes = descriptor.layout.size().unwrap_or_default();
    let alone = (file_bytes * copies.len() as u64).max(1);
    Ok(Report {
        file_bytes,
        sha256: descriptor.sha256.as_ref().map(Digest256::to_string).unwrap_or_default(),
        seconds: copies.iter().map(|copy| copy.seconds).fold(0.0, f64::max),
        provider_upload_bytes: provider.bytes_uploaded,
        peer_exchange_bytes: copies.iter().map(|copy| copy.from_peers_bytes).sum(),
        saved_share: 1.0 - provider.bytes_uploaded as f64 / alone as f64,
        copies,
    })
}

/// The part of all copies that is there, from 0 to 1.
fn mean(receivers: &[Progress]) -> f64 {
    receivers.iter().map(Progress::fraction).sum::<f64>() / receivers.len().max(1) as f64
}

/// Every receiver with a map and a line of text, or with a map alone if there are more than that has
/// space for; of still more, what they have on average.
fn receiver_lines(receivers: &[Progress], pictures: &mut [Picture], size: Size) -> Vec<String> {
    /// `receiver 12 `, and ` 100 %` after the map.
    const LABEL: usize = 12;
    const PERCENT: usize = 6;
    // On a narrow screen a text takes two rows. The provider has one text, and the last row of the
    // screen stays empty.
    let text_rows = if size.columns < 80 { 2 } else { 1 };
    let space = size.rows.saturating_sub(text_rows + 1);
    let all_fit = receivers.len() * (1 + text_rows) <= space;
    let shown = if receivers.len() <= space { receivers.len() } else { space.saturating_sub(1) };
    let width = size.columns - LABEL - PERCENT;
    let mut lines = Vec::new();
    for (i, (progress, picture)) in receivers.iter().zip(pictures).enumerate() {
        // The picture also measures the rate: it is asked each time.
        let text = picture.fetching(progress);
        if i < shown {
            let map = map(&progress.map, width);
            let label = format!("receiver {:<2} {map}", i + 1);
            match all_fit {
                true => lines.extend([label, format!("  {text}")]),
                false => lines.push(format!("{label} {}", format::percent(progress.fraction()))),
            }
        }
    }
    if let Some(rest) = receivers.get(shown..).filter(|rest| !rest.is_empty()) {
        lines.push(format!(
            "… and {} more, {} on average",
            rest.len(),
            format::percent(mean(rest))
        ));
    }
    lines
}

impl Receiver {
    fn progress(&self) -> Progress {
        self.fetch.progress().borrow().clone()
    }
}

/// The results of futures that run at the same time, in the order of the futures.
async fn join_in_order<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, result) in running.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *result = Some(output);
            }
        }
        match results.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

fn table(report: &Report) -> String {
    let mut lines = vec![format!(
        "{:<11} {:>9} {:>13} {:>12}  content",
        "copy", "time", "from provider", "from peers"
    )];
    for (number, copy) in report.copies.iter().enumerate() {
        lines.push(format!(
            "{:<11} {:>9} {:>13} {:>12}  {}",
            format!("receiver {}", number + 1),
            format!("{:.2} s", copy.seconds),
            format::bytes(copy.from_provider_bytes),
            format::bytes(copy.from_peers_bytes),
            verdict(copy, report),
        ));
    }
    let file = report.file_bytes.max(1) as f64;
    lines.push(String::new());
    lines.push(format!("file       {}", format::bytes(report.file_bytes)));
    lines.push(format!("SHA-256    {}", report.sha256));
    lines.push(format!("time       {:.2} s", report.seconds));
    lines.push(format!(
        "provider   uploaded {}, {:.2} times the file",
        format::bytes(report.provider_upload_bytes),
        report.provider_upload_bytes as f64 / file,
    ));
    lines.push(format!("peers      exchanged {}", format::bytes(report.peer_exchange_bytes)));
    lines.push(format!(
        "saved      {} of the provider's upload, against sending every copy itself",
        format::percent(report.saved_share),
    ));
    lines.join("\n")
}

fn verdict(copy: &Copy, report: &Report) -> String {
    match copy.sha256 == report.sha256 && copy.bytes == report.file_bytes {
        true => "identical".into(),
        false => format!("DIFFERENT: SHA-256 {}", copy.sha256),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fit::fit;

    #[test]
    fn every_receiver_is_there_or_counted_on_any_screen() {
        for (columns, rows) in [(80, 24), (40, 16), (120, 40), (40, 6)] {
            let size = Size { columns, rows };
            for count in [1, 4, 10, 64] {
                let receivers = vec![Progress::default(); count];
                let mut pictures: Vec<Picture> = receivers.iter().map(|_| Picture::new()).collect();
                let lines = receiver_lines(&receivers, &mut pictures, size);
                let text = ["provider".to_owned(), lines.join("\n")].join("\n");
                let on_screen = fit(&text, size);
                let shown = on_screen.matches("receiver ").count();
                let rest = format!("… and {} more", count - shown);
                assert!(shown == count || on_screen.contains(&rest), "{size:?}:\n{on_screen}");
            }
        }
    }
}
