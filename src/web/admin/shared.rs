//! [`Shared`]: what the responses share.

use crate::server::Server;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Starting,
    Ready,
    Stopping,
}

/// Responses with events at a time; further ones get status 503.
pub(super) const MAX_FOLLOWERS: usize = 32;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<(Stage, Option<Server>)>,
    closing: watch::Sender<bool>,
    /// One list is made at a time: each takes the server a while if it has many clients.
    turn: tokio::sync::Mutex<()>,
    followers: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            closing: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        }
    }
}

impl Shared {
    /// Waits until no other list is made.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// A place for a response with events, if there is one.
    pub(super) fn take_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.followers).try_acquire_owned().ok()
    }

    /// Nothing panics under the lock, so that a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, (Stage, Option<Server>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show(&self, server: &Server) {
        *self.state() = (Stage::Ready, Some(server.clone()));
    }

    pub(super) fn stopping(&self) {
        self.state().0 = Stage::Stopping;
    }

    pub(super) fn stage(&self) -> Stage {
        self.state().0
    }

    /// The server, from its start to its end.
    pub(super) fn server(&self) -> Result<Server, NoServer> {
        self.state().1.clone().ok_or(NoServer)
    }

    /// True from the moment when the page is closed.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(super) fn close(&self) {
        *self.state() = (Stage::Stopping, None);
        self.closing.send_replace(true);
    }
}

/// The server has not started yet, or has stopped.
#[derive(Debug)]
pub(super) struct NoServer;

impl IntoResponse for NoServer {
    fn into_response(self) -> Response {
        let retry = [(header::RETRY_AFTER, "1")];
        (StatusCode::SERVICE_UNAVAILABLE, retry, "The server does not run.\n").into_response()
    }
}

impl From<crate::driver::Stopped> for NoServer {
    fn from(_: crate::driver::Stopped) -> Self {
        Self
    }
}
