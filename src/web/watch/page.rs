//! The page and its routes.

use super::body::not_yet;
use super::shared::Shared;
use super::{GUARD, film, found, remux};
use crate::web::asset::{self, asset};
use crate::web::guard::guard;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use std::convert::Infallible;
use std::sync::Arc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

const HTML: &str = include_str!("../assets/watch.html");
pub(super) const STYLE: &str = include_str!("../assets/watch.css");
const SCRIPT: &str = include_str!("../assets/watch.js");

/// States that wait for a slow page.
const STATES: usize = 2;

/// What leads back to the catalogue is hidden unless there is one.
const NO_CATALOGUE: &str = " data-catalogue hidden";

pub(super) fn router(shared: Arc<Shared>, has_catalogue: bool) -> Router {
    let html = match has_catalogue {
        true => HTML.replace(NO_CATALOGUE, ""),
        false => HTML.to_owned(),
    };
    let html = get(move || async move { ([(header::CONTENT_TYPE, asset::HTML)], html) });
    Router::new()
        .route("/", html)
        .route("/common.css", asset(asset::CSS, asset::COMMON_STYLE))
        .route("/watch.css", asset(asset::CSS, STYLE))
        .route("/common.js", asset(asset::SCRIPT, asset::COMMON_SCRIPT))
        .route("/watch.js", asset(asset::SCRIPT, SCRIPT))
        .route("/icon.svg", asset(asset::SVG, asset::ICON))
        .route("/film/{*name}", get(film::film))
        .route("/remuxed", get(remux::remuxed))
        .route("/events", get(events))
        .route("/api/status", get(status))
        .route("/api/files", get(files))
        .route("/api/films/{index}", get(one))
        .fallback(|| async { (StatusCode::NOT_FOUND, "There is no such page here.\n") })
        .layer(from_fn_with_state(GUARD, guard))
        .with_state(shared)
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    Json(&**shared.status().borrow()).into_response()
}

/// The files that can be played, with their numbers.
async fn files(State(shared): State<Arc<Shared>>) -> Response {
    match shared.fetch().await {
        Some((_, files)) => Json(files.listed()).into_response(),
        None => not_yet(),
    }
}

/// What kind of film a file is, once its beginning is here.
async fn one(State(shared): State<Arc<Shared>>, Path(index): Path<usize>) -> Response {
    let Some((fetch, files)) = shared.fetch().await else { return not_yet() };
    let mut closing = shared.closing();
    let found = tokio::select! {
        found = found::find(&shared, &fetch, &files, index) => found,
        _ = closing.wait_for(|is_closing| *is_closing) => return not_yet(),
    };
    match found {
        Ok(film) => Json(film).into_response(),
        Err(_) => (StatusCode::NOT_FOUND, "No such file can be read.\n").into_response(),
    }
}

/// The state now and whenever it changes. It ends when the page is closed.
async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let (mut status, mut closing) = (shared.status(), shared.closing());
    let (sender, receiver) = tokio::sync::mpsc::channel(STATES);
    tokio::spawn(async move {
        status.mark_changed();
        loop {
            tokio::select! {
                biased;
                changed = status.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                _ = closing.wait_for(|is_closing| *is_closing) => return,
            }
            let state = Arc::clone(&status.borrow_and_update());
            // The last thing that a client is waited for: if it is slow, it misses states.
            if sender.send(state).await.is_err() {
                return;
            }
        }
    });
    let events = ReceiverStream::new(receiver).map(|status| {
        let event = Event::default().json_data(&*status);
        // A state is numbers and texts: it has a form in JSON.
        Ok::<_, Infallible>(event.unwrap_or_default())
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
