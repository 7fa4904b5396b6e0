//! [`Offered`]: what `rtmfp share` shares, files of this computer or a file of a web server.

use super::ShareArgs;
use crate::cli::hashing::source_of;
use crate::cli::origin;
use crate::cli::outcome::WrongUsage;
use crate::cli::scratch::Scratch;
use anyhow::ensure;
use rtmfp::vod::{DescriptorForm, OriginVersion, SessionError, Share, ShareConfig, SourceFile};

/// What is shared.
pub(super) enum Offered {
    /// Files of this computer, perhaps with the content of a URL.
    Files(Box<SourceFile>, Option<OriginVersion>),
    /// A file that is read from a web server meanwhile.
    Origin(Box<origin::Offer>),
}

impl Offered {
    pub(super) async fn start(self, mut config: ShareConfig) -> Result<Share, SessionError> {
        match self {
            Self::Files(source, version) => {
                config.origin = version;
                Share::start(*source, config).await
            }
            Self::Origin(offer) => {
                let origin::Offer { source, version, cache } = *offer;
                Share::start_from(source, version, &cache, config).await
            }
        }
    }
}

/// Finds what is to be shared. Standard input is kept as long as the directory that is returned.
pub(super) async fn offered(args: &ShareArgs) -> anyhow::Result<(Offered, Option<Scratch>)> {
    let urls = args.files.iter().filter_map(|file| origin::url_in(file)).count();
    let Some(url) = args.files.first().and_then(|first| origin::url_in(first)) else {
        ensure!(urls == 0, WrongUsage("a URL is shared by itself, without other files".into()));
        let is_for_urls = args.verified || args.cache.is_some();
        ensure!(!is_for_urls, WrongUsage("--verified and --cache are for URLs".into()));
        let (source, scratch) = source_of(args.files.clone(), args.name.clone()).await?;
        return Ok((Offered::Files(Box::new(source), None), scratch));
    };
    check_url_options(args)?;
    Ok((offered_by(url, args).await?, None))
}

/// Every provider of a URL makes the same link, which options of one would change.
fn check_url_options(args: &ShareArgs) -> anyhow::Result<()> {
    ensure!(
        args.files.len() == 1,
        WrongUsage("a URL is shared by itself, without other files".into())
    );
    let is_number = args.descriptor != DescriptorForm::Object;
    let is_own = args.group.is_some() || args.name.is_some() || args.new;
    ensure!(
        !is_number && !is_own && !args.save_upload,
        WrongUsage(
            "--group, --name, --new, --descriptor and --save-upload do not go with a URL: every provider of \
             it makes the same link"
                .into()
        )
    );
    Ok(())
}

/// Asks the web server of this URL what it has. With --verified, all of it is read and hashed.
async fn offered_by(url: &str, args: &ShareArgs) -> anyhow::Result<Offered> {
    let cache = origin::cache(args.cache.clone())?;
    let (source, version) = origin::probe(url).await?;
    let offer = origin::Offer { source, version, cache };
    if !args.verified {
        origin::explain(&offer.version);
        return Ok(Offered::Origin(Box::new(offer)));
    }
    let file = origin::read_all(&offer).await?;
    if let Some(sha256) = file.descriptor().sha256 {
        offer.version.check_sha256(sha256)?;
    }
    Ok(Offered::Files(Box::new(file), Some(offer.version)))
}
