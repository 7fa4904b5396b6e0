//! [`FetchOptions`]: what `fetch` and `watch` have in common.

use super::in_force::InForce;
use super::key_log::KeyLogArgs;
use super::limits::{DownArgs, HEADING, UpArgs};
use super::listen::{self, Listen};
use super::origin::OriginArgs;
use super::{format, via};
use rtmfp::Uri;
use rtmfp::vod::store::Overwrite;
use rtmfp::vod::{Destination, FetchConfig, ShareLink};
use std::time::Duration;

/// The options of a fetch, whatever becomes of the file.
#[derive(Debug, clap::Args)]
pub(crate) struct FetchOptions {
    /// Give up, with exit status 3, when nothing has come for so long: 30s, 15m, 2h
    /// [default: wait until somebody who has the file comes]
    ///
    /// The known reasons are printed. The time of sharing on does not count.
    #[arg(long, value_name = "DURATION", value_parser = format::parse_timeout)]
    pub(crate) timeout: Option<Duration>,

    /// Use this rendezvous server instead of those in the link: rtmfp://HOST[:PORT]/APP; may be given
    /// several times: the next one is used where one does not answer
    #[arg(long, value_name = "URL", value_parser = via::parse)]
    pub(crate) via: Vec<Uri>,

    /// Look for members on the local network as well, so that the server need not answer
    ///
    /// That is for files that were shared with --lan. A link that names no server needs no option.
    #[arg(long)]
    pub(crate) lan: bool,

    /// Print a JSON object for each event, one a line; docs/json.md describes them
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    up: UpArgs,

    #[command(flatten)]
    down: DownArgs,

    #[command(flatten)]
    origin: OriginArgs,

    /// For a link on which every byte costs: send nothing of the file to others; `fetch` ends when it is
    /// complete
    ///
    /// Fetched parts are not announced either, so that nobody asks for them. At most 8 members are
    /// connected to (--max-neighbours sets another number), and the server is pinged every 20 s
    /// instead of every 5 s. The others get nothing back for what they send: use it where you must.
    #[arg(long, help_heading = HEADING, display_order = 4)]
    pub(crate) metered: bool,

    #[command(flatten)]
    pub(crate) key_log: KeyLogArgs,
}

impl FetchOptions {
    /// The limits of the fetch, which may be changed while it runs.
    pub(crate) fn in_force(&self) -> InForce {
        InForce::new(self.up, self.down, self.metered)
    }

    /// A fetch that sends and receives at these addresses, and replaces another file if it `is_forced`.
    pub(crate) fn config(
        &self,
        link: ShareLink,
        destination: Destination,
        addresses: &[Listen],
        is_forced: bool,
    ) -> anyhow::Result<FetchConfig> {
        let mut config = FetchConfig::new(link, destination);
        config.listen = listen::addresses(addresses.to_vec());
        config.key_log = self.key_log.open()?;
        config.limits = self.up.limits_with(self.down);
        config.max_neighbors = self.up.max_neighbors();
        config.metered = self.metered;
        config.origin = self.origin.limit();
        config.lan = self.lan || config.link.servers.is_empty();
        if is_forced {
            config.overwrite = Overwrite::Replace;
        }
        Ok(config)
    }
}
