//! The session task: moves events to whom they concern, and ends in good order.

use super::error::{Problem, SessionError, Unreachable};
use super::handle::{Ask, Outcome, STOP_GRACE};
use super::news::{Completed, News};
use super::service::FileCommand;
use super::store_thread::{Place, StoreThread, Work};
use crate::crypto::Fingerprint;
use crate::driver::{Events, Handle};
use crate::flash::Uri;
use crate::node::{ConnectError, NodeEvent};
use crate::vod::replica::Notice;
use crate::vod::store::Finished;
use crate::vod::{Descriptor, FileEvent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::{debug, info, warn};

/// A rendezvous server whose name has been resolved.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// `HOST:PORT`.
    pub(super) name: String,
    pub(super) uri: Uri,
    pub(super) addresses: Vec<SocketAddr>,
}

/// The servers, one of which is connected to or tried at a time.
pub(super) struct Servers {
    pub(super) candidates: Vec<Candidate>,
    pub(super) current: usize,
    /// Why the others failed, until the first connection.
    pub(super) failures: Vec<Unreachable>,
    /// Who waits for the first connection.
    pub(super) first: Option<oneshot::Sender<Result<(), SessionError>>>,
}

pub(super) struct Task {
    pub(super) driver: Handle<FileCommand>,
    pub(super) events: Events<FileEvent>,
    pub(super) store: StoreThread,
    pub(super) replies: mpsc::UnboundedReceiver<FileCommand>,
    pub(super) asks: mpsc::Receiver<Ask>,
    /// Where the file goes, until the store is opened.
    pub(super) place: Option<Place>,
    pub(super) servers: Servers,
    pub(super) outcome: watch::Sender<Option<Outcome>>,
    pub(super) descriptor: watch::Sender<Option<Arc<Descriptor>>>,
    pub(super) news: broadcast::Sender<News>,
}

impl Task {
    /// Runs until the session is stopped.
    pub(super) async fn run(mut self) {
        self.connect().await;
        let grace = self.serve().await;
        self.stop(grace).await;
    }

    /// Works until it is told to stop; returns the grace for that.
    async fn serve(&mut self) -> Duration {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => {
                        if self.on_event(event).await.is_err() {
                            return Duration::ZERO;
                        }
                    }
                    None => return Duration::ZERO,
                },
                // The thread ends after this task only, unless it panicked.
                Some(command) = self.replies.recv() => self.tell(command).await,
                ask = self.asks.recv() => match ask {
                    Some(Ask::Read { index, answer }) => self.store.ask(Work::Read(index, answer)),
                    Some(Ask::SetStrategy(strategy)) => {
                        self.tell(FileCommand::SetStrategy(strategy)).await;
                    }
                    Some(Ask::Stop { grace }) => return grace,
                    None => return STOP_GRACE,
                },
            }
        }
    }

    /// Leaves the group and closes the sessions, and keeps what still arrives meanwhile.
    async fn stop(mut self, grace: Duration) {
        let driver = self.driver.clone();
        let shutdown = async {
            if let Err(error) = driver.shutdown(grace).await {
                debug!(%error, "the stop was not graceful");
            }
        };
        let store = &self.store;
        let events = &mut self.events;
        let drain = async {
            while let Some(event) = events.recv().await {
                if let FileEvent::Store(action) = event {
                    store.ask(Work::Perform(action));
                }
            }
        };
        tokio::join!(shutdown, drain);
        self.store.finish().await;
        self.outcome.send_if_modified(|outcome| {
            let is_open = outcome.is_none();
            outcome.get_or_insert(Err(SessionError::Stopped));
            is_open
        });
    }

    /// Tells the service. Fails only if the driver has ended, which the events tell as well.
    async fn tell(&self, command: FileCommand) {
        let _ = self.driver.send(command).await;
    }

    /// Errors mean that the session is over.
    async fn on_event(&mut self, event: FileEvent) -> Result<(), ()> {
        match event {
            FileEvent::Store(action) => self.store.ask(Work::Perform(action)),
            FileEvent::Notice(notice) => self.on_notice(notice),
            FileEvent::NeighborConnect(peer) => self.report(News::NeighborConnect(peer)),
            FileEvent::NeighborDisconnect(peer) => self.report(News::NeighborDisconnect(peer)),
            FileEvent::Node(event) => return self.on_node_event(event).await,
        }
        Ok(())
    }

    fn on_notice(&mut self, notice: Notice<Fingerprint>) {
        match notice {
            Notice::DescriptorKnown(descriptor) => {
                if let Some(place) = self.place.take() {
                    self.store.ask(Work::Open(place, Arc::clone(&descriptor)));
                }
                self.descriptor.send_replace(Some(Arc::clone(&descriptor)));
                self.report(News::DescriptorKnown(descriptor));
            }
            Notice::ChunkStored { .. } => {}
            Notice::BadObject { from, index, fault } => {
                warn!(%from, index, %fault, "a member sent a bad object");
                self.report(News::BadObject { from, index, fault });
            }
            Notice::FileRejected { actual } => {
                warn!(%actual, "the whole is not the promised file; fetching it again");
                self.report(News::FileRejected { actual });
            }
            Notice::Complete { sha256, finished } => {
                let Finished { path, kept } = finished;
                let completed = Completed { sha256, path, kept };
                self.report(News::Complete(completed.clone()));
                self.outcome.send_replace(Some(Ok(completed)));
            }
            Notice::Failed(error) => {
                let error = Arc::new(error);
                self.report(News::Failed(Arc::clone(&error)));
                self.outcome.send_replace(Some(Err(SessionError::Replica(error))));
            }
        }
    }

    async fn on_node_event(&mut self, event: NodeEvent) -> Result<(), ()> {
        match event {
            NodeEvent::Connected { server } => {
                info!(%server, "connected");
                let first = self.servers.first.take();
                // Before the share or fetch is handed out: nobody takes it for a second connection.
                self.report(News::Connected { server, again: first.is_none() });
                if let Some(first) = first {
                    // Nobody may be waiting any more.
                    let _ = first.send(Ok(()));
                }
            }
            NodeEvent::ConnectFailed(error) => {
                let outcome = self.on_connect_failed(&error).await;
                self.report(News::ConnectFailed(error));
                return outcome;
            }
            NodeEvent::Disconnected => {
                warn!("the connection to the server was lost; trying to connect again");
                self.report(News::Disconnected);
            }
            _ => {}
        }
        Ok(())
    }

    /// The next server is tried: at once until the first connection, later when it is time.
    async fn on_connect_failed(&mut self, error: &ConnectError) -> Result<(), ()> {
        let servers = &mut self.servers;
        let Some(failed) = servers.candidates.get(servers.current) else { return Ok(()) };
        debug!(server = failed.name, %error, "cannot connect");
        let is_last = servers.current + 1 >= servers.candidates.len();
        if servers.first.is_none() {
            servers.current = if is_last { 0 } else { servers.current + 1 };
            if let Some(next) = servers.candidates.get(servers.current).cloned() {
                let Candidate { uri, addresses, .. } = next;
                self.tell(FileCommand::SetServer { uri, addresses }).await;
            }
            return Ok(());
        }
        let problem =
            Problem::Connect { addresses: failed.addresses.clone(), error: error.clone() };
        servers.failures.push(Unreachable { server: failed.name.clone(), problem });
        if !is_last {
            servers.current += 1;
            self.connect().await;
            return Ok(());
        }
        let failures = std::mem::take(&mut servers.failures);
        if let Some(first) = servers.first.take() {
            let _ = first.send(Err(SessionError::Unreachable(failures)));
        }
        Err(())
    }

    async fn connect(&self) {
        if let Some(server) = self.servers.candidates.get(self.servers.current).cloned() {
            info!(server = server.name, addresses = ?server.addresses, "connecting");
            let Candidate { uri, addresses, .. } = server;
            self.tell(FileCommand::Connect { uri, addresses }).await;
        }
    }

    fn report(&self, news: News) {
        // Nobody may be listening.
        let _ = self.news.send(news);
    }
}
