//! [`CataloguePage`]: a catalogue to choose from, in place of a film.
//!
//! | path | what |
//! | --- | --- |
//! | `/catalogue` | the list |
//! | `/catalogue/events` | its entries as server-sent events |
//! | `/catalogue/choose/ID` | POST: one of them is chosen |
//! | others | the page of the film that was chosen last, or the list |

use super::page;
use super::shared::Shared;
use super::{CLOSE_GRACE, GUARD, Page, bind};
use crate::vod::catalogue::{Entry, Listed};
use crate::vod::file_name::safe_file_name;
use crate::vod::{Digest256, FetchConfig};
use crate::web::asset::{self, asset};
use crate::web::guard::guard;
use crate::web::url::url_of;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Serialize;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tower_service::Service;

const HTML: &str = include_str!("../assets/catalogue.html");
const SCRIPT: &str = include_str!("../assets/catalogue.js");

/// States that wait for a slow page.
const STATES: usize = 2;
/// Choices that wait for the application.
const CHOICES: usize = 4;
/// The longest time until the application begins to fetch what was chosen.
const FETCHED_WITHIN: Duration = Duration::from_secs(10);

/// A page with the entries of a catalogue that is served.
#[derive(Debug)]
pub struct CataloguePage {
    address: SocketAddr,
    inner: Arc<Inner>,
    chosen: mpsc::Receiver<Entry>,
    server: JoinHandle<io::Result<()>>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    listed: watch::Receiver<Arc<Listed>>,
    choices: mpsc::Sender<Entry>,
    /// The film that was chosen last.
    film: watch::Sender<Option<Router>>,
    closing: watch::Sender<bool>,
}

/// What the page shows.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    is_complete: bool,
    entries: Vec<ShownEntry>,
}

#[derive(Serialize)]
struct ShownEntry {
    id: String,
    name: String,
    size: Option<u64>,
    mime: Option<String>,
}

impl CataloguePage {
    /// Serves a page with these entries; `name` is that of the catalogue. `listen` is as for
    /// [`Page::open`].
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn open(
        listen: SocketAddr,
        name: &str,
        listed: watch::Receiver<Arc<Listed>>,
    ) -> io::Result<Self> {
        let listener = bind(listen).await?;
        let address = listener.local_addr()?;
        let (choices, chosen) = mpsc::channel(CHOICES);
        let inner = Arc::new(Inner {
            name: safe_file_name(name),
            listed,
            choices,
            film: watch::Sender::new(None),
            closing: watch::Sender::new(false),
        });
        let mut closing = inner.closing.subscribe();
        let end = async move { drop(closing.wait_for(|is_closing| *is_closing).await) };
        let serve = axum::serve(listener, router(Arc::clone(&inner))).with_graceful_shutdown(end);
        let server = tokio::spawn(serve.into_future());
        Ok(Self { address, inner, chosen, server })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's URL on this host.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// The next entry that is chosen. Cancel safe.
    pub async fn chosen(&mut self) -> Entry {
        match self.chosen.recv().await {
            Some(entry) => entry,
            // The page holds a sender.
            None => std::future::pending().await,
        }
    }

    /// A page for the film of this fetch at the same address, in place of the one before.
    pub fn play(&self, config: &FetchConfig) -> Page {
        let shared = Arc::new(Shared::new(config));
        let router = page::router(Arc::clone(&shared), true);
        self.inner.film.send_replace(Some(router));
        Page { address: self.address, shared, server: None, monitor: None }
    }

    /// Ends all responses.
    pub async fn close(self) {
        self.inner.closing.send_replace(true);
        let mut server = self.server;
        if tokio::time::timeout(CLOSE_GRACE, &mut server).await.is_err() {
            server.abort();
        }
    }
}

fn router(inner: Arc<Inner>) -> Router {
    Router::new()
        .route("/catalogue", asset(asset::HTML, HTML))
        .route("/catalogue.js", asset(asset::SCRIPT, SCRIPT))
        .route("/common.js", asset(asset::SCRIPT, asset::COMMON_SCRIPT))
        .route("/common.css", asset(asset::CSS, asset::COMMON_STYLE))
        .route("/watch.css", asset(asset::CSS, page::STYLE))
        .route("/icon.svg", asset(asset::SVG, asset::ICON))
        .route("/catalogue/events", get(events))
        .route("/catalogue/choose/{id}", post(choose))
        .fallback(film)
        .layer(from_fn_with_state(GUARD, guard))
        .with_state(inner)
}

/// The page of the film, or the list while none was chosen.
async fn film(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let film = inner.film.borrow().clone();
    match film {
        Some(mut film) => film.call(request).await.into_response(),
        None if request.uri().path() == "/" => Redirect::temporary("/catalogue").into_response(),
        None => (StatusCode::NOT_FOUND, "No film was chosen yet.\n").into_response(),
    }
}

/// An entry is chosen, by this page alone: browsers name in `Origin` the page that sends a POST.
async fn choose(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !is_own_page(&headers) {
        return (StatusCode::FORBIDDEN, "Choose on the page of the catalogue.\n").into_response();
    }
    let listed = Arc::clone(&inner.listed.borrow());
    let id = id.parse::<Digest256>().ok();
    let Some(entry) = listed.entries.iter().find(|entry| Some(entry.id()) == id) else {
        return (StatusCode::NOT_FOUND, "This is no longer in the catalogue.\n").into_response();
    };
    // The film of before is not what is shown from now on.
    inner.film.send_replace(None);
    let (played, waited) = (entry.clone(), inner.choices.reserve());
    match tokio::time::timeout(CLOSE_GRACE, waited).await {
        Ok(Ok(choice)) => {
            choice.send(played);
            await_film(&inner).await
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "Try again in a moment.\n").into_response(),
    }
}

/// Waits until the page of the film is there.
async fn await_film(inner: &Inner) -> Response {
    let mut film = inner.film.subscribe();
    let there = film.wait_for(Option::is_some);
    match tokio::time::timeout(FETCHED_WITHIN, there).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => {
            let text = "It cannot be fetched: the terminal says why.\n";
            (StatusCode::BAD_GATEWAY, text).into_response()
        }
    }
}

fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.strip_prefix("http://") == Some(host),
        // Not a browser.
        (None, _) => true,
        _ => false,
    }
}

/// The entries now and whenever they change.
async fn events(State(inner): State<Arc<Inner>>) -> Response {
    let (mut listed, mut closing) = (inner.listed.clone(), inner.closing.subscribe());
    let (sender, receiver) = mpsc::channel(STATES);
    tokio::spawn(async move {
        listed.mark_changed();
        loop {
            tokio::select! {
                biased;
                changed = listed.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                _ = closing.wait_for(|is_closing| *is_closing) => return,
            }
            let now = Arc::clone(&listed.borrow_and_update());
            let event = Event::default().json_data(shown(&inner.name, &now));
            // Numbers and texts have a form in JSON.
            if sender.send(Ok::<_, Infallible>(event.unwrap_or_default())).await.is_err() {
                return;
            }
        }
    });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default()).into_response()
}

fn shown<'a>(name: &'a str, listed: &Listed) -> Shown<'a> {
    let entries = listed.entries.iter().map(|entry| ShownEntry {
        id: entry.id().to_string(),
        name: safe_file_name(&entry.name),
        size: entry.size,
        mime: entry.mime.clone(),
    });
    Shown { name, is_complete: listed.is_complete, entries: entries.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pages_choose_nothing() {
        let is_own = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8935".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_own_page(&headers)
        };
        assert!(is_own(None) && is_own(Some("http://127.0.0.1:8935")));
        for other in ["null", "http://evil.example", "http://127.0.0.1:80", "127.0.0.1:8935"] {
            assert!(!is_own(Some(other)), "{other}");
        }
    }
}
