//! An endpoint as a service of the driver, with an application in it.
//!
//! The application runs inside of the machine, as in the library's own node and server, so that
//! nothing is measured but the transport, its driver and the operating system.

use crate::keylog::KeyLog;
use anyhow::{Context, bail};
use rtmfp::driver::{
    self, Clock, DriverThread, Events, Handle, JobThreads, Service, ShutdownError, Sockets,
    os_random,
};
use rtmfp::proto::crypto::{DhGroup, Identity, IdentityConfig, KeyStyle, Negotiation};
use rtmfp::proto::transport::{Config, Endpoint, Event, Layer, Time, Worker};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Limit for anything that should be immediate, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// An application that runs on an endpoint.
pub(crate) trait App: Send + 'static {
    /// Event that the application reports to the program.
    type Note: Send + 'static;

    /// Something happened on the endpoint.
    fn on_event(&mut self, now: Time, endpoint: &mut Endpoint, event: Event) -> Option<Self::Note>;

    /// The endpoint was called, and all its events were given to the application.
    fn on_turn(&mut self, _now: Time, _endpoint: &mut Endpoint) {}
}

/// An endpoint with its application.
pub(crate) struct EndpointService<A: App> {
    endpoint: Endpoint,
    app: A,
    notes: VecDeque<A::Note>,
    keylog: KeyLog,
    stopping: bool,
}

/// An operation on endpoint and application.
type Command<A> = Box<dyn FnOnce(&mut Endpoint, &mut A, Time) + Send>;

/// A service that is being driven.
pub(crate) struct Running<A: App> {
    handle: Handle<Command<A>>,
    notes: Events<A::Note>,
}

/// The packet format that two ends negotiate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// HMACs of 16 bytes and session sequence numbers, as between two of our peers
    HmacSseq,
    /// 16-bit checksums only, as with Flash Player
    Checksum,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HmacSseq => "hmac-sseq",
            Self::Checksum => "checksum",
        }
    }

    pub(crate) fn negotiation(self) -> Negotiation {
        match self {
            Self::HmacSseq => Negotiation::default(),
            Self::Checksum => Negotiation::checksum_only(),
        }
    }
}

/// A new identity with keys in one group.
pub(crate) fn identity(keys: KeyStyle, group: DhGroup) -> Arc<Identity> {
    let mut config = IdentityConfig::default();
    config.keys = keys;
    config.groups = vec![group];
    Arc::new(Identity::generate(&config, &mut *os_random()))
}

/// The same settings with this mode and one group.
pub(crate) fn negotiating(mut config: Config, mode: Mode, group: DhGroup) -> Config {
    config.negotiation = Negotiation { groups: vec![group], ..mode.negotiation() };
    config
}

/// A socket of its own on loopback.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl<A: App> EndpointService<A> {
    /// Starts a service on a socket of its own.
    pub(crate) fn start(
        mut config: Config,
        identity: Arc<Identity>,
        app: A,
        keylog: &KeyLog,
    ) -> anyhow::Result<Running<A>> {
        let sockets = Sockets::bind(&[loopback()])?;
        config.keep_secrets = keylog.is_on();
        let endpoint = Endpoint::new(config, identity, os_random());
        let (notes, keylog) = (VecDeque::new(), keylog.clone());
        let service = Self { endpoint, app, notes, keylog, stopping: false };
        let (handle, notes) = driver::spawn(service, sockets, Clock::start());
        Ok(Running { handle, notes })
    }

    /// Starts services that share a port, each on a thread of its own.
    pub(crate) fn start_workers(
        config: &Config,
        identity: &Arc<Identity>,
        count: usize,
        app: impl Fn() -> A,
    ) -> anyhow::Result<Vec<Running<A>>> {
        let (clock, jobs) = (Clock::start(), JobThreads::default());
        let mut bound: Vec<(DriverThread, Sockets)> = Vec::new();
        for _ in 0..count {
            let thread = DriverThread::new()?;
            let sockets = thread.enter(|| match bound.first() {
                None => Sockets::bind(&[loopback()]),
                Some((_, first)) => first.bind_beside(),
            })?;
            bound.push((thread, sockets));
        }
        let crew = Worker::crew(count, config, &mut *os_random());
        let start = |((thread, sockets), worker): ((DriverThread, Sockets), Worker)| {
            let name = format!("worker {}", worker.number());
            let identity = Arc::clone(identity);
            let endpoint = Endpoint::new_worker(config.clone(), identity, os_random(), worker);
            let (notes, keylog) = (VecDeque::new(), KeyLog::default());
            let service = Self { endpoint, app: app(), notes, keylog, stopping: false };
            let (handle, notes) = thread.spawn(name, service, sockets, (clock, jobs.clone()))?;
            Ok(Running { handle, notes })
        };
        bound.into_iter().zip(crew).map(start).collect()
    }

    fn dispatch(&mut self, now: Time) {
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::SessionOpened { session, .. } = event {
                self.keylog.add(&self.endpoint, session);
            }
            let note = self.app.on_event(now, &mut self.endpoint, event);
            self.notes.extend(note);
        }
        self.app.on_turn(now, &mut self.endpoint);
    }
}

impl<A: App> Running<A> {
    /// Counters of its driver.
    pub(crate) fn stats(&self) -> driver::NetworkStats {
        self.handle.stats()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.local_addresses()[0]
    }

    /// Runs an operation on endpoint and application and returns its result.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Endpoint, &mut A, Time) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (answer, result) = oneshot::channel();
        let command = move |endpoint: &mut Endpoint, app: &mut A, now: Time| {
            // The caller may have been dropped.
            let _ = answer.send(operation(endpoint, app, now));
        };
        self.handle.send(Box::new(command)).await?;
        Ok(result.await?)
    }

    /// The application's next note.
    pub(crate) async fn note(&mut self, within: Duration) -> anyhow::Result<A::Note> {
        match tokio::time::timeout(within, self.notes.recv()).await {
            Ok(Some(note)) => Ok(note),
            Ok(None) => bail!("the driver has stopped"),
            Err(_) => bail!("nothing happened for {within:?}"),
        }
    }

    /// Closes every session, and the socket. What was measured stands even if a link loses the
    /// close requests, which are repeated every five seconds only (RFC 7016 §3.5.5): that is only reported.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self.handle.shutdown(Duration::from_secs(5)).await {
            Err(error @ ShutdownError::GraceOver { .. }) => {
                eprintln!("bench: at the end of a run: {error}");
                Ok(())
            }
            ended => ended.context("at the end of a run"),
        }
    }
}

impl<A: App> Layer for EndpointService<A> {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn after_call(&mut self, now: Time) {
        self.dispatch(now);
    }
}

impl<A: App> Service for EndpointService<A> {
    type Command = Command<A>;
    type Event = A::Note;

    fn handle_command(&mut self, now: Time, command: Self::Command) {
        command(&mut self.endpoint, &mut self.app, now);
        self.dispatch(now);
    }

    fn poll_event(&mut self) -> Option<A::Note> {
        self.notes.pop_front()
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping = true;
        for session in self.endpoint.sessions().map(|(id, _)| id).collect::<Vec<_>>() {
            self.endpoint.close(now, session);
        }
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.endpoint.is_settled()
    }
}
