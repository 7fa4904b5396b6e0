//! The state of a server: for people as a page, for programs as JSON, for Prometheus as metrics.
//!
//! ```text
//! browser    ──/────────────▶ the page: HTML, CSS, script, which reads
//!            ──/api/v1/…────▶ JSON and server-sent events ◀──┐
//! Prometheus ──/metrics─────▶ counters and gauges        ◀──┐
//! supervisor ──/healthz─────▶ the process runs              ├── Server
//!            ──/readyz──────▶ clients can connect        ◀──┘
//! ```
//!
//! It is for those who can reach its address, by default those on the server's host. It changes nothing.
//! A Host that is a name is refused unless it is one of the owner's, so that no page elsewhere can read it
//! by way of its own name (DNS rebinding).
//!
//! | bound | at the bound |
//! | --- | --- |
//! | 1,000 entries of a list in one answer | the answer says where the next begins |
//! | one list is made at a time | others wait |
//! | 32 responses with events | further ones get status 503 |
//! | 64 events that wait for a reader | it misses others, and gets their number |
//! | 30 s in which a reader takes nothing | its connection ends |
//!
//! | file | what |
//! | --- | --- |
//! | `shared` | what the responses share |
//! | `api`, `answer` | the state as JSON, in parts; what the answers consist of |
//! | `openapi.json` | the description of both |
//! | `events` | what happens, as server-sent events |
//! | `metrics` | the metrics |
//! | `router` | the paths |

mod answer;
mod api;
mod events;
mod metrics;
mod router;
mod shared;

use super::guard::Guard;
use super::impatient::{Impatient, Patience};
use super::url::url_of;
use crate::server::{ADMIN_PORT, Server};
use shared::Shared;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The port of a server's page.
pub const DEFAULT_PORT: u16 = ADMIN_PORT;

/// What the page may load: its own files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The longest time that responses may take to end when the page is closed.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// The longest time in which a reader takes nothing, and in which nothing is to be sent to it: a collector of
/// metrics may ask once a minute. Then its connection ends, and its place is free.
const PATIENCE: Patience =
    Patience { blocked: Duration::from_secs(30), silent: Duration::from_secs(90) };
/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 256;

/// The page of a server, which is served.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<io::Result<()>>,
}

impl Admin {
    /// The address that is listened on if no other is chosen.
    pub fn default_address() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()
    }

    /// Serves a page before there is a server: `/readyz` says that it starts.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn open(listen: SocketAddr) -> io::Result<Self> {
        Self::open_for(listen, []).await
    }

    /// The same, for requests by one of these names, too, which are in lower case and the owner's.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn open_for(
        listen: SocketAddr,
        hosts: impl IntoIterator<Item = String>,
    ) -> io::Result<Self> {
        let hosts = Some(hosts.into_iter().collect());
        let guard = Guard { policy: POLICY, port: DEFAULT_PORT, hosts };
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let mut closing = shared.closing();
        let end = async move { drop(closing.wait_for(|is_closing| *is_closing).await) };
        let service = router::router(Arc::clone(&shared), guard);
        let listener = Impatient::new(listener, PATIENCE, CONNECTIONS);
        let serve = axum::serve(listener, service).with_graceful_shutdown(end);
        Ok(Self { address, shared, task: tokio::spawn(serve.into_future()) })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's URL on this host.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// Shows this server, which is ready.
    pub fn show(&self, server: &Server) {
        self.shared.show(server);
    }

    /// The server stops: it is ready no longer.
    pub fn stopping(&self) {
        self.shared.stopping();
    }

    /// Ends all responses, and lets go of the server.
    pub async fn close(self) {
        self.shared.close();
        let mut task = self.task;
        if tokio::time::timeout(CLOSE_GRACE, &mut task).await.is_err() {
            task.abort();
        }
    }
}
