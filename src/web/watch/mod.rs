//! A film that plays in the browser, or another player, while it is fetched from a group.
//!
//! ```text
//! browser ──/──────────────▶ the page: HTML, CSS, script
//!         ──/events────────▶ Status, twice a second          ◀── Monitor ◀── progress, events ── Fetch
//!         ──/film/NAME─────▶ the file, or a range of it      ◀── body    ◀── FetchReader ◀────────┤
//!         ──/remuxed?from=▶ FLV as fragmented MP4, from then ◀── remux   ◀── FetchReader ◀────────┘
//! ```
//!
//! Each response with bytes of the film has a reader of its own, whose place is fetched before
//! everything else. It ends with the response, also when the client goes away.
//!
//! | bound | at the bound |
//! | --- | --- |
//! | [`MAX_READERS`] responses read the film | further ones get status 503 |
//! | a few chunks of 64 KB wait for a slow client | the reader waits |
//!
//! What is served is untrusted: the media type is one of a list, never what the file says of itself. The
//! page is for those who can reach the address; a Host that is a name of somebody else's is refused, so
//! that no other page can read it by way of its own name (DNS rebinding).
//!
//! | file | what |
//! | --- | --- |
//! | `page` | the assets |
//! | `catalogue` | a catalogue to choose a film from |
//! | `files`, `part` | the files of a share |
//! | `film`, `media_type` | a file by ranges |
//! | `remux`, `locate` | FLV for the browser; the place of a time in it |
//! | `body`, `readers` | bytes of the film as a response; where they are read |
//! | `found` | what kind of film it is |
//! | `monitor`, `status`, `message` | the state, as numbers and in words |

mod body;
mod catalogue;
mod files;
mod film;
mod found;
mod locate;
mod media_type;
mod message;
mod monitor;
mod page;
mod part;
mod readers;
mod remux;
mod shared;
mod status;

pub use catalogue::CataloguePage;
pub use readers::MAX_READERS;
pub use status::{Film, Held, Level, Message, Network, Player, Speed, Status, Traffic};

use super::guard::Guard;
use super::url::url_of;
use crate::vod::{Fetch, FetchConfig};
use shared::Shared;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The port of the page if none is chosen and it is free, so that it has one address every time.
pub const PREFERRED_PORT: u16 = 8935;

/// What the page may load: its own files, and the film.
const GUARD: Guard = Guard {
    policy: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
    port: PREFERRED_PORT,
    hosts: None,
};

/// The longest time that responses may take to end when the page is closed.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// A page that is served.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// `None` if that of a catalogue serves it.
    server: Option<JoinHandle<io::Result<()>>>,
    monitor: Option<JoinHandle<()>>,
}

impl Page {
    /// Serves a page for the film of this fetch, before it has started. `listen` may have port 0 for
    /// [`PREFERRED_PORT`], or any other if that is taken.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn open(listen: SocketAddr, config: &FetchConfig) -> io::Result<Self> {
        let listener = bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config));
        let mut closing = shared.closing();
        let end = async move { drop(closing.wait_for(|is_closing| *is_closing).await) };
        let service = page::router(Arc::clone(&shared), false);
        let serve = axum::serve(listener, service).with_graceful_shutdown(end);
        let server = Some(tokio::spawn(serve.into_future()));
        Ok(Self { address, shared, server, monitor: None })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's URL on this host.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// Shows this fetch from now on.
    pub fn show(&mut self, fetch: Arc<Fetch>) {
        self.monitor = Some(monitor::start(Arc::clone(&self.shared), fetch));
    }

    /// Sets the reasons why nothing arrives, which the page shows while it waits.
    pub fn explain(&self, reasons: Vec<String>) {
        self.shared.set_reasons(reasons);
    }

    /// Shows that the film cannot be fetched, and why.
    pub fn fail(&self, reason: &str) {
        self.shared.fail(reason);
    }

    /// What the page shows.
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.shared.status()
    }

    /// Ends all responses, and lets go of the fetch.
    pub async fn close(self) {
        self.shared.close();
        if let Some(mut server) = self.server
            && tokio::time::timeout(CLOSE_GRACE, &mut server).await.is_err()
        {
            server.abort();
        }
        self.shared.readers().all_gone(CLOSE_GRACE).await;
        if let Some(monitor) = self.monitor {
            // It ends by itself.
            let _ = monitor.await;
        }
    }
}

async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    if listen.port() != 0 {
        return TcpListener::bind(listen).await;
    }
    match TcpListener::bind(SocketAddr::new(listen.ip(), PREFERRED_PORT)).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse => TcpListener::bind(listen).await,
        bound => bound,
    }
}
