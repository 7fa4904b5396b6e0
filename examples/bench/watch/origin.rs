//! Viewers of a film of a web server, over sockets: how much of it the web server sends.

use super::scene::Scene;
use crate::endpoint_service::loopback;
use crate::process;
use crate::report::Report;
use crate::swarm::simulated::noise;
use anyhow::{Context, ensure};
use rtmfp::peer::{Bandwidth, Limits};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::server::{Server, ServerConfig};
use rtmfp::vod::origin::link_of;
use rtmfp::vod::{CHUNK_SIZE, Destination, Fetch, FetchConfig, ServerAddress};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// How long the viewers may take to leave.
const GRACE: Duration = Duration::from_secs(2);
/// How long a run may take, on a machine that does much else.
const MAX_RUN: Duration = Duration::from_secs(1800);
/// Bytes of a request's head.
const MAX_HEAD: usize = 8192;

/// One run: no provider, and all viewers at the same time.
pub(super) async fn run(scene: &Scene, seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let film = noise(scene.size, &mut SeededRandom::new(seed));
    let web = Web::start(Arc::clone(&film)).await?;
    let mut config = ServerConfig::default();
    config.listen = vec![loopback()];
    let server = Server::start(config).await?;
    let address = server.local_addresses().first().context("the server has no address")?;
    let address = ServerAddress::new(&address.ip().to_string(), address.port())?;
    let (link, _) = link_of(&web.url(), address, "").await?;
    let (begun, cpu) = (Instant::now(), process::cpu_seconds());
    let mut starting = JoinSet::new();
    for viewer in 0..scene.viewers {
        let mut config = FetchConfig::new(link.clone(), Destination::Memory);
        config.listen = vec![loopback()];
        config.limits = limits(scene, viewer);
        starting.spawn(Fetch::start(config));
    }
    let fetches: Vec<Fetch> = starting.join_all().await.into_iter().collect::<Result<_, _>>()?;
    let complete = async {
        for fetch in &fetches {
            fetch.completed().await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(MAX_RUN, complete).await.context("the copies take too long")??;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), process::cpu_seconds() - cpu);
    let size = scene.size as f64;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    report.add(
        "origin_copies",
        "bytes that the web server sent ÷ film",
        count(&web.sent.bytes) / size,
    );
    report.add("requests", "requests to the web server", count(&web.sent.requests));
    let read = |fetch: &Fetch| fetch.progress().borrow().bytes_from_origin as f64 / size;
    let most = fetches.iter().map(read).fold(0.0, f64::max);
    report.add("viewer_copies", "bytes of it in one viewer's copy ÷ film, the most", most);
    report.add("last_s", "seconds of the last viewer's copy", seconds);
    report.add("cpu_s", "CPU seconds of the run", cpu);
    for fetch in &fetches {
        ensure!(is_copy(fetch, &film).await?, "a viewer has another film");
    }
    let mut stopping: JoinSet<()> = fetches.into_iter().map(|fetch| fetch.stop(GRACE)).collect();
    while stopping.join_next().await.is_some() {}
    server.stop(GRACE).await?;
    Ok(())
}

fn limits(scene: &Scene, viewer: u32) -> Limits {
    let rate = |mbit: f64| Some(Bandwidth::bytes_per_second((mbit * 1e6 / 8.0) as u64));
    let up = rate(scene.links.uplink(viewer));
    Limits::default().with_up(up).with_down(rate(scene.links.down))
}

async fn is_copy(fetch: &Fetch, film: &[u8]) -> anyhow::Result<bool> {
    for (index, part) in (1..).zip(film.chunks(CHUNK_SIZE as usize)) {
        if fetch.read_chunk(index).await? != part {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A web server that gives parts of a film, until it is dropped.
struct Web {
    address: SocketAddr,
    sent: Arc<Sent>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Sent {
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Web {
    async fn start(film: Arc<[u8]>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(loopback()).await?;
        let (address, sent) = (listener.local_addr()?, Arc::<Sent>::default());
        let counted = Arc::clone(&sent);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (film, sent) = (Arc::clone(&film), Arc::clone(&counted));
                connections.spawn(async move { serve(stream, &film, &sent).await });
            }
        });
        Ok(Self { address, sent, accepting: accepting.abort_handle() })
    }

    fn url(&self) -> String {
        format!("http://{}/film.mp4", self.address)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers the requests of one connection. `None` when it ends.
async fn serve(stream: TcpStream, film: &[u8], sent: &Sent) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let is_end = stream.read_line(&mut head).await.ok()? == 0;
            if is_end || head.len() > MAX_HEAD {
                return None;
            }
        }
        sent.requests.fetch_add(1, Ordering::Relaxed);
        let range = part_asked_for(&head, film.len());
        let (head, body) = match range.and_then(|(first, last)| {
            let body = film.get(first..=last)?;
            Some((part_head(first, last, film.len()), body))
        }) {
            Some((head, body)) => (head, body),
            // There is no hash of the film.
            None => ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), &[][..]),
        };
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(body).await.ok()?;
        sent.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    }
}

/// The first and the last byte of the `Range` of a request for the film.
fn part_asked_for(head: &str, size: usize) -> Option<(usize, usize)> {
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
    let (first, last) = range.trim().split_once('-')?;
    let last: usize = last.parse().ok()?;
    Some((first.parse().ok()?, last.min(size.checked_sub(1)?)))
}

fn part_head(first: usize, last: usize, size: usize) -> String {
    format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\
         ETag: \"1\"\r\n\r\n",
        last + 1 - first
    )
}
