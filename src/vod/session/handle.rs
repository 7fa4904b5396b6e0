//! What a share or fetch holds of its session.

use super::error::{Problem, SessionError, Unreachable};
use super::news::{Completed, NEWS_QUEUE, News};
use super::progress::Progress;
use super::service::{FileCommand, FileService};
use super::store_thread::{Place, StoreThread};
use super::task::{Candidate, Servers, Task};
use crate::crypto::Fingerprint;
use crate::driver::{self, Clock, Handle, KeyLogFile, Sockets, Stats};
use crate::flash::Uri;
use crate::group::ReplicationStrategy;
use crate::node::Search;
use crate::vod::{ChunkStore, Descriptor, FilePeer, ServerAddress, StoreError};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// How long leaving the group may take when a share or fetch is dropped.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// Requests of the application that wait for the session.
const ASK_QUEUE: usize = 16;

/// How a fetch ended.
pub(super) type Outcome = Result<Completed, SessionError>;

/// What the application asks of the session task.
pub(super) enum Ask {
    Read { index: u64, answer: oneshot::Sender<Result<Bytes, StoreError>> },
    SetStrategy(ReplicationStrategy),
    Stop { grace: Duration },
}

/// Everything a session begins with.
pub(in crate::vod) struct Start {
    pub(in crate::vod) peer: FilePeer,
    pub(in crate::vod) sockets: Sockets,
    /// The clock that `peer` was made with.
    pub(in crate::vod) clock: Clock,
    /// Where secrets go; `peer` keeps them then.
    pub(in crate::vod) key_log: Option<KeyLogFile>,
    /// The provider's file.
    pub(in crate::vod) store: Option<Box<dyn ChunkStore>>,
    /// Where a receiver's file goes.
    pub(in crate::vod) place: Option<Place>,
    /// In the order in which to try them, as `HOST:PORT` and as URL.
    pub(in crate::vod) servers: Vec<(ServerAddress, String)>,
}

/// A running session; it stops when this is dropped.
#[derive(Debug)]
pub(in crate::vod) struct Session {
    asks: mpsc::Sender<Ask>,
    progress: watch::Receiver<Progress>,
    outcome: watch::Receiver<Option<Outcome>>,
    descriptor: watch::Receiver<Option<Arc<Descriptor>>>,
    news: broadcast::Sender<News>,
    driver: Handle<FileCommand>,
}

impl Session {
    /// Starts the session and waits until it is connected to a server.
    pub(in crate::vod) async fn start(start: Start) -> Result<Self, SessionError> {
        let (candidates, failures) = candidates(&start.servers).await?;
        if candidates.is_empty() {
            return Err(SessionError::Unreachable(failures));
        }
        let Start { mut peer, sockets, clock, key_log, store, place, .. } = start;
        peer.set_addresses(clock.now(), sockets.peer_addresses());
        let (progress, progress_out) = watch::channel(Progress::default());
        let progress = Arc::new(progress);
        let (store, replies) = StoreThread::start(store, Arc::clone(&progress))
            .map_err(|error| SessionError::Thread(Arc::new(error)))?;
        let service = FileService::new(peer, progress).with_key_log(key_log);
        let (driver, events) = driver::spawn(service, sockets, clock);
        let (asks, inbox) = mpsc::channel(ASK_QUEUE);
        let (outcome, outcome_out) = watch::channel(None);
        let (descriptor, descriptor_out) = watch::channel(None);
        let (news, _) = broadcast::channel(NEWS_QUEUE);
        let (first, connected) = oneshot::channel();
        let task = Task {
            driver: driver.clone(),
            events,
            store,
            replies,
            asks: inbox,
            place,
            servers: Servers { candidates, current: 0, failures, first: Some(first) },
            outcome,
            descriptor,
            news: news.clone(),
        };
        tokio::spawn(task.run());
        // The progress tells of the connection by now.
        connected.await.unwrap_or(Err(SessionError::Stopped))?;
        let (progress, outcome, descriptor) = (progress_out, outcome_out, descriptor_out);
        Ok(Self { asks, progress, outcome, descriptor, news, driver })
    }

    pub(in crate::vod) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    pub(in crate::vod) fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    pub(in crate::vod) fn stats(&self) -> Stats {
        self.driver.stats()
    }

    pub(in crate::vod) fn local_addresses(&self) -> &[SocketAddr] {
        self.driver.local_addresses()
    }

    /// Waits for the end of the fetch: the file is complete, or it will not be.
    pub(in crate::vod) async fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(SessionError::Stopped)),
            // The task has panicked.
            Err(_) => Err(SessionError::Stopped),
        }
    }

    /// Waits until the group has said what the file is like.
    pub(in crate::vod) async fn descriptor(&self) -> Result<Arc<Descriptor>, SessionError> {
        let mut descriptor = self.descriptor.clone();
        let known = descriptor.wait_for(Option::is_some).await;
        known.ok().and_then(|known| known.clone()).ok_or(SessionError::Stopped)
    }

    pub(in crate::vod) async fn read(&self, index: u64) -> Result<Bytes, SessionError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Read { index, answer };
        self.asks.send(ask).await.map_err(|_| SessionError::Stopped)?;
        Ok(answered.await.map_err(|_| SessionError::Stopped)??)
    }

    /// How the search for members stands, and whether `peer` has been met.
    pub(in crate::vod) async fn search(&self, peer: Option<Fingerprint>) -> (Search, bool) {
        let (answer, answered) = oneshot::channel();
        // Both fail when the session is over, and then nobody is looked for.
        let _ = self.driver.send(FileCommand::Search(peer, answer)).await;
        answered.await.unwrap_or_default()
    }

    pub(in crate::vod) async fn set_strategy(&self, strategy: ReplicationStrategy) {
        // Fails if the session is over, and then nothing is fetched any more.
        let _ = self.asks.send(Ask::SetStrategy(strategy)).await;
    }

    pub(in crate::vod) async fn stop(self, grace: Duration) {
        let _ = self.asks.send(Ask::Stop { grace }).await;
        self.asks.closed().await;
    }
}

/// The servers whose names have addresses, and the others.
async fn candidates(
    servers: &[(ServerAddress, String)],
) -> Result<(Vec<Candidate>, Vec<Unreachable>), SessionError> {
    let (mut candidates, mut failures) = (Vec::new(), Vec::new());
    for (server, url) in servers {
        let name = server.to_string();
        match super::resolve(server).await {
            Ok(addresses) => {
                let uri = Uri::parse(url)?;
                candidates.push(Candidate { name, uri, addresses });
            }
            Err(error) => {
                let problem = Problem::Name(Arc::new(error));
                failures.push(Unreachable { server: name, problem });
            }
        }
    }
    match candidates.is_empty() && failures.is_empty() {
        true => Err(SessionError::NoServer),
        false => Ok((candidates, failures)),
    }
}
