//! `/api/v1/events`: what happens, as server-sent events.

use super::api::status_of;
use super::shared::{NoServer, Shared};
use crate::driver::Clock;
use crate::server::{Report, Server};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Interval of the counters.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events that wait for a slow reader; it loses others, and gets their number.
const WAITING: usize = 64;

/// The status once a second, and each event of the server as it happens.
pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Result<Response, NoServer> {
    let server = shared.server()?;
    let Some(place) = shared.take_place() else {
        let text = "Too many read the events at once: close one.\n";
        let retry = [(header::RETRY_AFTER, "5")];
        return Ok((StatusCode::SERVICE_UNAVAILABLE, retry, text).into_response());
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut closing = shared.closing();
    // It may go on while the server stops, and must not keep it from that.
    tokio::spawn(async move {
        tokio::select! {
            _ = follow(server, sender, place) => {}
            _ = closing.wait_for(|is_closing| *is_closing) => {}
        }
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default()).into_response())
}

type Sender = mpsc::Sender<Result<Event, Infallible>>;

/// Ends when the reader is gone or the server has stopped.
async fn follow(server: Server, sender: Sender, _place: OwnedSemaphorePermit) -> Option<()> {
    let (mut events, clock) = (server.events(), Clock::start());
    let mut next = clock.now();
    loop {
        let (name, data) = tokio::select! {
            biased;
            () = sender.closed() => return None,
            () = clock.sleep_until(Some(next)) => {
                next = clock.now() + INTERVAL;
                ("status", json(&status_of(&server).await.ok()?))
            }
            event = events.recv() => {
                let report = match event {
                    Ok(event) => Report::of(&event),
                    Err(RecvError::Lagged(missed)) => Some(Report::Lagged { missed }),
                    Err(RecvError::Closed) => return None,
                };
                let Some(report) = report else { continue };
                ("report", json(&report))
            }
        };
        sender.send(Ok(Event::default().event(name).data(data))).await.ok()?;
    }
}

/// What is sent consists of numbers and texts: it has a form in JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
