//! Bytes of the film as the body of a response.

use super::readers::Place;
use super::shared::Shared;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Pieces that wait for a slow client.
const PIECES: usize = 2;
/// Bytes that are read at a time.
pub(super) const PIECE: usize = 64 << 10;

/// Where a task writes the body of a response.
pub(super) struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    pub(super) place: Place,
}

/// The client is gone.
pub(super) struct Gone;

impl Pieces {
    pub(super) async fn send(&self, piece: Bytes) -> Result<(), Gone> {
        self.sender.send(Ok(piece)).await.map_err(|_| Gone)
    }

    /// Ends the response before its announced end.
    pub(super) async fn fail(&self, error: io::Error) -> Gone {
        let _ = self.sender.send(Err(error)).await;
        Gone
    }
}

/// A body that `work` writes. It is stopped when the client goes away, and when the page is closed.
pub(super) fn body<F>(
    shared: &Arc<Shared>,
    position: u64,
    work: impl FnOnce(Arc<Pieces>) -> F,
) -> Result<Body, Busy>
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let place = shared.readers().enter(position).ok_or(Busy)?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let pieces = Arc::new(Pieces { sender, place });
    let mut closing = shared.closing();
    let work = work(Arc::clone(&pieces));
    tokio::spawn(async move {
        tokio::select! {
            // Either way the body ends here.
            Ok(()) | Err(Gone) = work => {}
            () = pieces.sender.closed() => {}
            _ = closing.wait_for(|is_closing| *is_closing) => {}
        }
    });
    Ok(Body::from_stream(ReceiverStream::new(receiver)))
}

/// There are as many readers as there may be.
#[derive(Debug)]
pub(super) struct Busy;

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        let text = "Too many players read this film at once: close one.\n";
        let retry = [(header::RETRY_AFTER, "5")];
        (StatusCode::SERVICE_UNAVAILABLE, retry, text).into_response()
    }
}

/// The response before the fetch has begun.
pub(super) fn not_yet() -> Response {
    let text =
        "The film is not here yet: nobody who has it has been reached. The page says more.\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "3")], text).into_response()
}
