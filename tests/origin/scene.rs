//! A web server, a rendezvous server, and those who share and fetch.

use crate::web::Web;
use rtmfp::server::{Server, ServerConfig};
use rtmfp::vod::{
    Destination, Fetch, FetchConfig, HttpOrigin, OriginLimit, ServerAddress, SessionError, Share,
    ShareConfig, ShareLink,
};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Nothing here takes this long unless it hangs.
pub const GRACE: Duration = Duration::from_secs(60);

pub fn local() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 0))]
}

/// Bytes that repeat nothing for long.
pub fn content(size: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 24) as u8
    };
    (0..size).map(|_| next(&mut state)).collect()
}

pub struct Scene {
    pub web: Web,
    pub server: Server,
    pub cache: tempfile::TempDir,
}

impl Scene {
    pub async fn new(content: Vec<u8>) -> Self {
        let server = Server::start(ServerConfig::default().with_listen(local())).await.unwrap();
        Self { web: Web::start(content).await, server, cache: tempfile::tempdir().unwrap() }
    }

    pub fn address(&self) -> ServerAddress {
        let address = self.server.local_addresses()[0];
        ServerAddress::new(&address.ip().to_string(), address.port()).unwrap()
    }

    pub async fn share(&self) -> Share {
        self.share_in(self.cache.path()).await.unwrap()
    }

    /// A provider with this directory.
    pub async fn share_in(&self, cache: &Path) -> Result<Share, SessionError> {
        let mut config = ShareConfig::new(self.address());
        config.listen = local();
        let source = HttpOrigin::new(&self.web.url())?;
        let version = source.version().await?;
        Share::start_from(source, version, cache, config).await
    }

    pub async fn link(&self) -> ShareLink {
        rtmfp::vod::origin::link_of(&self.web.url(), self.address(), "").await.unwrap().0
    }
}

/// A fetch into memory.
pub async fn fetch(link: &ShareLink, origin: OriginLimit) -> Fetch {
    let mut config = FetchConfig::new(link.clone(), Destination::Memory);
    config.listen = local();
    config.origin = origin;
    Fetch::start(config).await.unwrap()
}

/// Everything that a complete fetch holds.
pub async fn all(fetch: &Fetch) -> Vec<u8> {
    let mut copy = Vec::new();
    let chunks = fetch.progress().borrow().chunks;
    for index in 1..=chunks {
        copy.extend_from_slice(&fetch.read_chunk(index).await.unwrap());
    }
    copy
}

/// Waits for completion, and compares.
pub async fn complete(fetch: &Fetch, content: &[u8]) {
    tokio::time::timeout(GRACE, fetch.completed()).await.expect("it hangs").unwrap();
    assert!(all(fetch).await == content, "other bytes");
}
