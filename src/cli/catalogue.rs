//! Catalogues: the list of somebody's shares.

use super::events::Reporter;
use super::outcome::TimedOut;
use super::patience::connecting;
use super::screen;
use super::signals::Signals;
use super::{STOP_GRACE, format, via};
use anyhow::bail;
use rtmfp::Uri;
use rtmfp::driver::KeyLogFile;
use rtmfp::peer::PeerConfig;
use rtmfp::vod::CatalogueLink;
use rtmfp::vod::catalogue::{Catalogue, Listed};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest time that a list waits to be complete, if none is given.
const WAIT: Duration = Duration::from_secs(20);

/// How a catalogue is browsed.
pub(crate) struct Browsing<'a> {
    pub(crate) via: &'a [Uri],
    pub(crate) lan: bool,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) key_log: Option<KeyLogFile>,
}

/// Joins the group of a catalogue.
///
/// # Errors
///
/// No server of the link can be reached.
pub(crate) async fn open(
    mut link: CatalogueLink,
    browsing: Browsing<'_>,
    reporter: &Reporter,
) -> anyhow::Result<Catalogue> {
    if let Some((servers, app)) = via::servers_of(browsing.via)? {
        (link.servers, link.app) = (servers, app);
    }
    let mut peer = PeerConfig::default();
    peer.key_log = browsing.key_log;
    if !browsing.listen.is_empty() {
        peer.listen = browsing.listen;
    }
    let servers: Vec<String> = link.servers.iter().map(ToString::to_string).collect();
    reporter.connecting(servers.iter().cloned());
    let opened = Catalogue::open(&link, peer, browsing.lan);
    Ok(connecting(&servers.join(", "), opened).await?)
}

/// Prints the entries once they are complete, or the time is over.
///
/// # Errors
///
/// There is no entry.
pub(crate) async fn list(
    link: CatalogueLink,
    browsing: Browsing<'_>,
    timeout: Option<Duration>,
    reporter: &Reporter,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let wait = timeout.unwrap_or(WAIT);
    let listed = async {
        let catalogue = open(link, browsing, reporter).await?;
        let mut listed = catalogue.listed();
        let complete = listed.wait_for(|listed| listed.is_complete);
        // Otherwise it is not complete, and what there is counts.
        drop(tokio::time::timeout(wait, complete).await);
        let found = Arc::clone(&listed.borrow());
        catalogue.close(STOP_GRACE).await;
        anyhow::Ok(found)
    };
    let listed = tokio::select! {
        listed = listed => listed?,
        () = signals.recv() => bail!("interrupted"),
    };
    print(&listed, wait, reporter)
}

fn print(listed: &Listed, wait: Duration, reporter: &Reporter) -> anyhow::Result<()> {
    if listed.entries.is_empty() && !listed.is_complete {
        let wait = format::duration(wait);
        bail!(TimedOut(format!(
            "gave up: the publisher of the catalogue has listed nothing within {wait}; ask the one who \
             sent the link whether it is still shared"
        )));
    }
    for entry in &listed.entries {
        if reporter.is_on() {
            reporter.entry(entry);
            continue;
        }
        let size = entry.size.map_or_else(|| "?".to_owned(), format::bytes);
        screen::result(&format!("{}\t{size}\t{}", format::printable(&entry.name), entry.link))?;
    }
    let count = format::count(listed.entries.len() as u64, "share");
    screen::line(&match listed.is_complete {
        true => format!("{count}; fetch or watch one by its link"),
        false => format!("{count}, but there are more: try again in a minute"),
    });
    Ok(())
}
