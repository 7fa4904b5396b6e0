//! Other servers that take newcomers, without a bus.
//!
//! Nobody asks how busy they are. A server that has enough clients redirects newcomers to the others in
//! random order; one that is sent to a server with enough clients is redirected once more, and served
//! where it asks again. Nothing goes from server to server, and nothing must be secret.

use super::host_and_port;
use crate::driver::{os_random, resolve};
use crate::server::mail::Boxes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How often the number of clients is looked at, and the order is changed.
const PERIOD: Duration = Duration::from_secs(1);
/// How many of these periods the addresses of names are kept.
const RESOLVE_EVERY: u32 = 60;

/// Looks after a server until it ends.
pub(super) fn start(servers: &[String], limit: usize, boxes: &Boxes) {
    let (servers, boxes) = (servers.to_vec(), boxes.clone());
    tokio::spawn(run(servers, limit, boxes));
}

async fn run(servers: Vec<String>, limit: usize, boxes: Boxes) {
    let mut ticks = tokio::time::interval(PERIOD);
    let (mut known, mut redirects) = (Vec::new(), false);
    for tick in (0..RESOLVE_EVERY).cycle() {
        ticks.tick().await;
        if boxes.is_abandoned() {
            return;
        }
        if tick == 0 {
            known = addresses(&servers, &known).await;
        }
        let has_enough = boxes.clients() >= limit;
        if has_enough != redirects {
            match has_enough {
                true => info!("{limit} clients: newcomers are sent to other servers"),
                false => info!("fewer than {limit} clients: newcomers are served here"),
            }
            redirects = has_enough;
            if !has_enough {
                boxes.redirect(&Arc::default());
            }
        }
        if has_enough {
            shuffle(&mut known);
            boxes.redirect(&known.as_slice().into());
        }
    }
}

/// The addresses of all servers; as before, if no name has any.
async fn addresses(servers: &[String], known: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for server in servers {
        // Settings have checked it.
        let Some((host, port)) = host_and_port(server) else { continue };
        match resolve(&host, port).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => warn!(%server, %error, "the other server has no address now"),
        }
    }
    if found.is_empty() { known.to_vec() } else { found }
}

fn shuffle(addresses: &mut [SocketAddr]) {
    let mut random = os_random();
    for last in (1..addresses.len()).rev() {
        let other = random.next_u64() % (last as u64 + 1);
        addresses.swap(last, other as usize);
    }
}
