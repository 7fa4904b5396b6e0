//! A run of `rtmfp watch` in network namespaces, each with a player.

use super::player::Player;
use super::scene::Scene;
use super::world::{LineOutcome, Outcome, ViewerOutcome};
use crate::real::namespaces::{Namespaces, Shape};
use crate::real::process::{Form, Process, What};
use crate::real::{bytes_uploaded, rtmfp, share, watch_signals};
use crate::swarm::simulated::noise;
use crate::swarm::viewer::Seen;
use anyhow::{Context, bail};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::vod::Digest256;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the players read, and progress is reported.
const TICK: Duration = Duration::from_millis(5);
const PROGRESS: Duration = Duration::from_secs(5);
/// A run ends after the film has played, and so many times the least possible time.
const PATIENCE: f64 = 10.0;
/// Where the film is in `rtmfp watch`.
const FILM: &str = "film/film.mp4";

/// One run; the seed determines the film.
pub(super) fn run(scene: &Scene, seed: u64) -> anyhow::Result<Outcome> {
    let interrupted = watch_signals();
    let program = rtmfp()?;
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let film = noise(scene.size, &mut SeededRandom::new(seed));
    let path = directory.path().join("film.mp4");
    std::fs::write(&path, &film)?;
    let sha256 = Digest256::of(&film);
    drop(film);
    let mut namespaces = Namespaces::new()?;
    let places = Places::build(scene, &mut namespaces)?;
    let ends = (places.server, places.provider);
    let (mut others, shared) = share(&namespaces, ends, (&program, &[]), &path)?;
    let link = shared["link"].as_str().context("`shared` without a link")?;
    let before = places.received_bytes(&namespaces)?;
    let mut viewers: Vec<Viewer> = Vec::new();
    let (begun, mut reported) = (Instant::now(), Instant::now());
    let film_seconds = scene.size as f64 / scene.rate;
    let limit = PATIENCE * scene.least_seconds() + 2.0 * film_seconds + 60.0;
    while viewers.len() < places.viewers.len() || !viewers.iter().all(Viewer::is_done) {
        let due = scene.arrivals * viewers.len() as u32;
        if let Some(place) = places.viewers.get(viewers.len()).filter(|_| begun.elapsed() >= due) {
            let film = (scene.size, scene.rate);
            let viewer =
                Viewer::start(&namespaces, *place, (&program, link), film, directory.path());
            viewers.push(viewer?);
            continue;
        }
        std::thread::sleep(TICK);
        for process in &mut others {
            process.check()?;
            while process.printed().is_some() {}
        }
        for viewer in &mut viewers {
            viewer.update(&namespaces)?;
        }
        if reported.elapsed() >= PROGRESS {
            reported = Instant::now();
            let done = viewers.iter().filter(|viewer| viewer.is_done()).count();
            let complete = viewers.iter().filter(|viewer| viewer.complete.is_some()).count();
            eprintln!(
                "bench: {:5.0} s, {complete} copies complete, {done} have seen it",
                begun.elapsed().as_secs_f64()
            );
        }
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if begun.elapsed().as_secs_f64() > limit {
            eprintln!("bench: given up after {limit:.0} s");
            break;
        }
    }
    let cpu_seconds = viewers.iter().map(|viewer| viewer.watch.cpu_seconds()).sum::<f64>()
        + others.iter().map(Process::cpu_seconds).sum::<f64>();
    let after = places.received_bytes(&namespaces)?;
    let lines = before.iter().zip(&after);
    let lines = lines.map(|(before, after)| LineOutcome { objects: None, carried: after - before });
    Ok(Outcome {
        lines: lines.collect(),
        provider_bytes: bytes_uploaded(others.pop().context("a provider")?)?,
        viewers: viewers.into_iter().map(|viewer| viewer.outcome(sha256)).collect(),
        cpu_seconds,
    })
}

/// The namespaces of a run.
struct Places {
    server: u32,
    provider: u32,
    viewers: Vec<u32>,
    routers: Vec<u32>,
}

impl Places {
    fn build(scene: &Scene, namespaces: &mut Namespaces) -> anyhow::Result<Self> {
        let links = &scene.links;
        let server = namespaces.add(Shape { up: None, down: None }, links)?;
        // The provider needs no downlink but for acknowledgements.
        let shape = Shape { up: Some(links.provider_up), down: None };
        let provider = namespaces.add(shape, links)?;
        let mut line = |line| {
            namespaces.add(Shape { up: Some(links.uplink(line)), down: Some(links.down) }, links)
        };
        let Some(networks) = scene.networks else {
            let viewers = (0..scene.viewers).map(line).collect::<Result<_, _>>()?;
            return Ok(Self { server, provider, viewers, routers: Vec::new() });
        };
        let routers = (0..networks).map(&mut line).collect::<Result<Vec<_>, _>>()?;
        for router in &routers {
            namespaces.make_router(*router)?;
        }
        let home = |viewer| routers[scene.line(viewer) as usize];
        let viewers = (0..scene.viewers).map(|viewer| namespaces.add_at_home(home(viewer)));
        let viewers = viewers.collect::<Result<_, _>>()?;
        Ok(Self { server, provider, viewers, routers })
    }

    /// Bytes that have come over each home's line.
    fn received_bytes(&self, namespaces: &Namespaces) -> anyhow::Result<Vec<u64>> {
        self.routers.iter().map(|router| namespaces.received_bytes(*router)).collect()
    }
}

/// A running `rtmfp watch` and its player.
struct Viewer {
    place: u32,
    started: Instant,
    film: (u64, f64),
    watch: Process,
    /// The address of the page.
    page: Option<String>,
    player: Option<Player>,
    /// When its copy was complete, in seconds since it was started.
    complete: Option<f64>,
}

impl Viewer {
    fn start(
        namespaces: &Namespaces,
        place: u32,
        (program, link): (&Path, &str),
        film: (u64, f64),
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = namespaces.command(place);
        command.arg(program).args(["watch", link, "--no-open", "--json"]);
        let watch = Process::start(&format!("viewer-{place}"), command, Form::Events, directory)?;
        let (page, player, complete) = (None, None, None);
        Ok(Self { place, started: Instant::now(), film, watch, page, player, complete })
    }

    fn update(&mut self, namespaces: &Namespaces) -> anyhow::Result<()> {
        self.watch.check()?;
        while let Some(printed) = self.watch.printed() {
            let What::Event(event) = printed.what else { continue };
            match event["event"].as_str() {
                Some("page") => self.page = event["url"].as_str().map(str::to_owned),
                Some("described") => {
                    let page = self.page.as_deref().context("`described` before `page`")?;
                    let (command, url) = (namespaces.command(self.place), format!("{page}{FILM}"));
                    self.player = Some(Player::start(command, &url, self.started, self.film)?);
                }
                Some("complete") => {
                    let at = printed.at.saturating_duration_since(self.started);
                    self.complete.get_or_insert(at.as_secs_f64());
                }
                Some("failed") => bail!("a viewer has failed: {}", event["reason"]),
                _ => {}
            }
        }
        self.player.as_mut().map_or(Ok(()), Player::update)
    }

    fn is_done(&self) -> bool {
        self.complete.is_some() && self.player.as_ref().is_some_and(|player| player.seen().ended)
    }

    fn outcome(self, sha256: Digest256) -> ViewerOutcome {
        let Self { player, complete, .. } = self;
        ViewerOutcome {
            seen: player.as_ref().map_or_else(Seen::default, |player| player.seen().clone()),
            complete,
            is_identical: player.is_some_and(|player| player.has_read(sha256)),
        }
    }
}
