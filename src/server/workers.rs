//! The workers of a server, as one.

use super::cluster::{Bus, ClusterStats};
use super::hooks::Runner;
use super::limits::Limits;
use super::mail::{Boxes, Post, Wake};
use super::objects::Folder;
use super::prober::{self, Probing};
use super::saver::Saver;
use super::service::{Command, REPORT_PERIOD, ServerEvent, ServerMachine};
use super::{ServerConfig, ServerError, SharedObjectsError};
use crate::crypto::Identity;
use crate::driver::{
    Clock, DROP_GRACE, DriverThread, Events, Handle, JobThreads, NetworkStats, ShutdownError,
    Sockets, Stopped, WeakHandle, os_random, spawn,
};
use crate::rendezvous::{ProbeRequest, Rendezvous, RendezvousConfig, RendezvousStats, StreamInfo};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

/// The handles of all workers. Clones mean the same ones.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    handles: Arc<[Handle<Command>]>,
    /// Other sockets, for connectivity checks.
    prober: Option<Handle<ProbeRequest>>,
    /// The way to other servers.
    bus: Option<Arc<Bus>>,
    /// A stop was asked for.
    stopping: Arc<AtomicBool>,
}

/// The workers' events.
pub(super) struct WorkerEvents {
    /// The task that saves shared objects; it ends after the workers.
    saver: Option<JoinHandle<()>>,
    all: Vec<(Events<ServerEvent>, WeakHandle<Command>)>,
    stopping: Arc<AtomicBool>,
}

impl Workers {
    /// Starts as many workers as `config` says, with sockets of their own at the same addresses.
    /// A single one runs in a task, several each on a thread.
    pub(super) fn start(
        mut config: ServerConfig,
        identity: Identity,
        clock: Clock,
    ) -> Result<(Self, WorkerEvents), ServerError> {
        config.rendezvous.transport.keep_secrets |= config.key_log.is_some();
        // 0 is no server's number.
        let server = os_random().next_u32().max(1);
        // Nobody would answer.
        config.rendezvous.hooks = config.rendezvous.hooks.filter(|_| config.hooks.is_some());
        let timeout = config.rendezvous.hooks.as_ref().map(|it| it.timeout).unwrap_or_default();
        if config.workers > 1 && !Sockets::SPREAD {
            warn!("this system does not spread datagrams over sockets: one worker serves all");
            config.workers = 1;
        }
        let limits = config.rendezvous.shared_objects;
        let kept = limits.and_then(|limits| Some((config.shared_objects.take()?, limits.bytes)));
        config.rendezvous.takes_shared_objects = kept.is_some();
        if config.workers <= 1 {
            let sockets = Sockets::bind_available(&config.listen)?;
            add_own_addresses(&mut config, &sockets);
            let probing = prober::start(&mut config, &sockets.local_addresses(), clock)?;
            let (random, choices) = (os_random(), os_random());
            let boxes = Boxes::new(server, 1);
            let bus = Bus::start(&config.cluster, clock, &config.rendezvous, &sockets, &boxes);
            let mut rendezvous = Rendezvous::new(config.rendezvous, identity, random, choices);
            if bus.is_some() {
                rendezvous.join_cluster(server);
            }
            let (mut savers, saving) = keep(kept, std::slice::from_mut(&mut rendezvous))?;
            let saver = savers.pop();
            let asked = config.hooks.map(|hooks| Runner::new(hooks, timeout, clock));
            let (asking, runner) = asked.unzip();
            let machine = ServerMachine::new(clock.now(), rendezvous, config.key_log, saver)
                .with_prober(probing.as_ref().map(Probing::requests))
                .with_hooks(asking);
            let (bus, post) = match bus {
                Some((bus, beyond)) => (Some(bus), Some(Post::alone(boxes, beyond))),
                None => (None, None),
            };
            let machine = match &post {
                Some(post) => machine.with_post(post.clone()),
                None => machine,
            };
            let started = spawn(machine, sockets, clock);
            if let Some(post) = &post {
                wake_by(post, &started.0);
            }
            if let Some(runner) = runner {
                runner.start(started.0.downgrade(), Command::Decided);
            }
            return Ok(Self::of(vec![started], saving, (probing, bus)));
        }
        let first = DriverThread::new().map_err(ServerError::Thread)?;
        let sockets = first.enter(|| Sockets::bind_available(&config.listen))?;
        add_own_addresses(&mut config, &sockets);
        let probing = prober::start(&mut config, &sockets.local_addresses(), clock)?;
        let mut crew = Rendezvous::crew(&config.rendezvous, identity, config.workers, os_random);
        let boxes = Boxes::new(server, crew.len());
        let bus = Bus::start(&config.cluster, clock, &config.rendezvous, &sockets, &boxes);
        let (bus, beyond) = bus.map_or((None, None), |(bus, beyond)| (Some(bus), beyond));
        // Members of other servers come when they are known.
        crew.iter_mut().for_each(|worker| worker.join_cluster(server));
        let mut threads = Vec::new();
        for _ in 1..crew.len() {
            let thread = DriverThread::new().map_err(ServerError::Thread)?;
            let beside = thread.enter(|| sockets.bind_beside())?;
            threads.push((thread, beside));
        }
        threads.insert(0, (first, sockets));
        let post = Post::among(&boxes, beyond);
        let jobs = JobThreads::default();
        let (savers, saving) = keep(kept, &mut crew)?;
        let mut savers = savers.into_iter();
        let limits = Limits::default();
        let mut started = Vec::new();
        for ((thread, sockets), (rendezvous, post)) in
            threads.into_iter().zip(crew.into_iter().zip(post))
        {
            let name = format!("rtmfp worker {}", started.len());
            let machine =
                ServerMachine::new(clock.now(), rendezvous, config.key_log.clone(), savers.next());
            let asked = config.hooks.clone().map(|hooks| Runner::new(hooks, timeout, clock));
            let (asking, runner) = asked.unzip();
            let machine = machine
                .with_post(post.clone())
                .with_limits(limits.clone())
                .with_prober(probing.as_ref().map(Probing::requests))
                .with_hooks(asking);
            let (handle, events) = thread
                .spawn(name, machine, sockets, (clock, jobs.clone()))
                .map_err(ServerError::Thread)?;
            wake_by(&post, &handle);
            if let Some(runner) = runner {
                runner.start(handle.downgrade(), Command::Decided);
            }
            started.push((handle, events));
        }
        Ok(Self::of(started, saving, (probing, bus)))
    }

    fn of(
        started: Vec<(Handle<Command>, Events<ServerEvent>)>,
        saver: Option<JoinHandle<()>>,
        (probing, bus): (Option<Probing>, Option<Bus>),
    ) -> (Self, WorkerEvents) {
        let stopping = Arc::new(AtomicBool::new(false));
        let weak = started.iter().map(|(handle, _)| handle.downgrade()).collect::<Vec<_>>();
        let prober = probing.map(|probing| probing.connect(weak.clone()));
        let (handles, events): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        let all = events.into_iter().zip(weak).collect();
        let events = WorkerEvents { saver, all, stopping: Arc::clone(&stopping) };
        let bus = bus.map(Arc::new);
        (Self { handles: handles.into(), prober, bus, stopping }, events)
    }

    /// The first worker, whose addresses are those of all.
    fn first(&self) -> &Handle<Command> {
        &self.handles[0]
    }

    pub(super) fn each(&self) -> &[Handle<Command>] {
        &self.handles
    }

    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn local_addresses(&self) -> &[SocketAddr] {
        self.first().local_addresses()
    }

    pub(super) fn peer_addresses(&self) -> Vec<SocketAddr> {
        self.first().peer_addresses()
    }

    pub(super) fn network(&self) -> NetworkStats {
        let stats = self.handles.iter().map(Handle::stats);
        stats.fold(NetworkStats::default(), NetworkStats::plus)
    }

    /// Its place in a cluster, if it has one.
    pub(super) fn cluster(&self) -> Option<ClusterStats> {
        self.bus.as_ref()?.stats()
    }

    pub(super) async fn stats(&self) -> Result<RendezvousStats, Stopped> {
        let mut answers = Vec::new();
        for handle in self.handles.iter() {
            let (answer, stats) = oneshot::channel();
            handle.send(Command::Stats(answer)).await?;
            answers.push(stats);
        }
        sum(answers).await
    }

    /// The streams at all workers.
    pub(super) async fn streams(&self) -> Result<Vec<StreamInfo>, Stopped> {
        let mut all = Vec::new();
        for handle in self.handles.iter() {
            let (answer, streams) = oneshot::channel();
            handle.send(Command::Streams(answer)).await?;
            all.extend(streams.await.map_err(|_| Stopped)?);
        }
        Ok(all)
    }

    /// Gives all workers these settings.
    pub(super) async fn reconfigure(&self, config: RendezvousConfig) -> Result<(), Stopped> {
        for handle in self.handles.iter() {
            handle.send(Command::Reconfigure(Box::new(config.clone()))).await?;
        }
        Ok(())
    }

    /// Stops all workers at the same time.
    pub(super) async fn shutdown(&self, grace: Duration) -> Result<(), ShutdownError> {
        self.stopping.store(true, Relaxed);
        if let Some(bus) = &self.bus {
            bus.leave().await;
        }
        let mut stops = JoinSet::new();
        for handle in self.handles.iter() {
            let handle = handle.clone();
            stops.spawn(async move { handle.shutdown(grace).await });
        }
        if let Some(prober) = &self.prober {
            // It has no sessions that could keep it.
            let _ = prober.shutdown(grace).await;
        }
        let mut outcome = Ok(());
        while let Some(stopped) = stops.join_next().await {
            outcome = outcome.and(stopped.unwrap_or(Err(ShutdownError::Aborted)));
        }
        outcome
    }

    /// Waits until all have ended.
    pub(super) async fn closed(&self) {
        for handle in self.handles.iter() {
            // The outcome is returned by `shutdown`.
            let _ = handle.closed().await;
        }
    }
}

/// What comes into a mailbox wakes its worker.
fn wake_by(post: &Post, handle: &Handle<Command>) {
    let owner = handle.downgrade();
    // If its queue is full, it is awake, and looks with every command.
    post.set_wake(Wake(Box::new(move || drop(owner.try_send(Command::Mail)))));
}

/// Gives the objects of a folder, each with this many bytes at most, to those workers that keep them,
/// and starts the task that saves what changes.
fn keep(
    kept: Option<(PathBuf, usize)>,
    workers: &mut [Rendezvous],
) -> Result<(Vec<Saver>, Option<JoinHandle<()>>), SharedObjectsError> {
    let Some((path, limit)) = kept else { return Ok((Vec::new(), None)) };
    let folder = Folder::open(&path)?;
    for file in folder.files()? {
        let object = folder.read(&file, limit)?;
        let home = workers.iter_mut().find(|worker| worker.keeps_shared_object(&object));
        if !home.is_some_and(|worker| worker.restore_shared_object(object)) {
            return Err(SharedObjectsError::Full { path: file });
        }
    }
    let (savers, saving) = Saver::start(folder, workers.len());
    Ok((savers, Some(saving)))
}

impl WorkerEvents {
    /// Gives every event to `each` until all workers have ended. When one ends by itself, the others
    /// are stopped. Returns the task that still saves shared objects.
    pub(super) async fn run(
        self,
        listeners: broadcast::Sender<ServerEvent>,
        each: fn(&ServerEvent),
    ) -> Option<JoinHandle<()>> {
        let (events, weak): (Vec<_>, Vec<_>) = self.all.into_iter().unzip();
        let mut running = JoinSet::new();
        for mut events in events {
            let listeners = listeners.clone();
            running.spawn(async move {
                while let Some(event) = events.recv().await {
                    each(&event);
                    // Fails if there is no receiver.
                    let _ = listeners.send(event);
                }
            });
        }
        let mut counters = JoinSet::new();
        if weak.len() > 1 {
            counters.spawn(report_counters(weak.clone(), listeners, each));
        }
        running.join_next().await;
        if !self.stopping.load(Relaxed) {
            for handle in &weak {
                handle.stop(DROP_GRACE).await;
            }
        }
        while running.join_next().await.is_some() {}
        self.saver
    }
}

/// The counters of all workers together, once in a while if they have changed.
async fn report_counters(
    workers: Vec<WeakHandle<Command>>,
    listeners: broadcast::Sender<ServerEvent>,
    each: fn(&ServerEvent),
) {
    let mut ticks = tokio::time::interval(REPORT_PERIOD);
    let mut reported = RendezvousStats::default();
    loop {
        ticks.tick().await;
        let mut answers = Vec::new();
        for worker in &workers {
            let (answer, stats) = oneshot::channel();
            if worker.send(Command::Stats(answer)).await.is_err() {
                return;
            }
            answers.push(stats);
        }
        let Ok(stats) = sum(answers).await else { return };
        if stats != reported {
            reported = stats;
            let event = ServerEvent::Counters(Box::new(stats));
            each(&event);
            // Fails if there is no receiver.
            let _ = listeners.send(event);
        }
    }
}

async fn sum(answers: Vec<oneshot::Receiver<RendezvousStats>>) -> Result<RendezvousStats, Stopped> {
    let mut sum = RendezvousStats::default();
    for answer in answers {
        sum = sum.plus(answer.await.map_err(|_| Stopped)?);
    }
    Ok(sum)
}

fn add_own_addresses(config: &mut ServerConfig, sockets: &Sockets) {
    let own = super::reachable(&sockets.peer_addresses(), &sockets.local_addresses());
    config.rendezvous.own_addresses.extend(own);
}
