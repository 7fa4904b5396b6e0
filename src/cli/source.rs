//! The source of `fetch` and `watch`: a link, a group in which a Flash application shares a file, or a URL.

use super::origin;
use super::outcome::WrongUsage;
use super::via;
use anyhow::{bail, ensure};
use rtmfp::vod::{CatalogueLink, HttpOrigin, LinkError, LinkProblem, OriginVersion, ShareLink};
use rtmfp::{GroupSpec, Uri};
use std::path::Path;

/// The argument of `fetch` and `watch`.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Link(Box<ShareLink>),
    Group(Box<GroupSpec>),
    /// A file of a web server, whose link follows from what the server has.
    Url(String),
    /// A list of shares.
    Catalogue(Box<CatalogueLink>),
}

/// Reads a link, a groupspec, or the URL of a file on a web server.
pub(crate) fn parse(text: &str) -> Result<Source, String> {
    if let Some(url) = origin::url_in(Path::new(text.trim())) {
        HttpOrigin::new(url).map_err(display)?;
        return Ok(Source::Url(url.to_owned()));
    }
    match text.trim().starts_with("G:") {
        true => {
            let spec: GroupSpec = text.trim().parse().map_err(display)?;
            for_files(&spec)?;
            Ok(Source::Group(Box::new(spec)))
        }
        false => {
            let link: ShareLink = match text.parse() {
                Ok(link) => link,
                Err(LinkError { problem: LinkProblem::Catalogue, .. }) => return catalogue(text),
                Err(error) => return Err(error.to_string()),
            };
            for_files(&link.groupspec.parse().map_err(display)?)?;
            Ok(Source::Link(Box::new(link)))
        }
    }
}

fn catalogue(text: &str) -> Result<Source, String> {
    let link: CatalogueLink = text.parse().map_err(display)?;
    let spec: GroupSpec = link.groupspec.parse().map_err(display)?;
    match spec.posting_enabled() {
        true => Ok(Source::Catalogue(Box::new(link))),
        false => {
            Err("the group of this link keeps no catalogue: its groupspec does not enable posting \
                      (postingEnabled)"
                .into())
        }
    }
}

fn for_files(spec: &GroupSpec) -> Result<(), String> {
    match spec.object_replication_enabled() {
        true => Ok(()),
        false => {
            Err("no file can be fetched from this group: its groupspec does not enable object \
                      replication (objectReplicationEnabled)"
                .into())
        }
    }
}

fn display(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Source {
    /// The same, with the link in place of a URL: the web server is asked what it has, which is the second.
    pub(crate) async fn resolved(
        self,
        via: &[Uri],
        lan: bool,
    ) -> anyhow::Result<(Self, Option<OriginVersion>)> {
        let Self::Url(url) = &self else { return Ok((self, None)) };
        ensure!(
            !via.is_empty() || lan,
            WrongUsage(
                "a URL does not say where those meet who fetch it: name the rendezvous server with --via \
                 rtmfp://HOST/APP, or look on the local network with --lan"
                    .into()
            )
        );
        let (_, version) = origin::probe(url).await?;
        Ok((Self::Link(Box::new(version.link(Vec::new(), lan)?)), Some(version)))
    }

    /// The link to fetch by. `via` takes the place of its servers, and must be there for a groupspec,
    /// which names none, unless members are found on the local network (`lan`).
    pub(crate) fn link(&self, via: &[Uri], lan: bool) -> anyhow::Result<ShareLink> {
        let via = via::servers_of(via)?;
        let mut link = match self {
            Self::Link(link) => (**link).clone(),
            Self::Group(spec) => ShareLink::new(Vec::new(), spec.as_str())?,
            Self::Catalogue(_) => bail!("{}", LinkProblem::Catalogue),
            Self::Url(_) => bail!("the link of a URL is not known before the web server is asked"),
        };
        let is_group = matches!(self, Self::Group(_));
        ensure!(
            via.is_some() || lan || !is_group,
            WrongUsage(
                "a groupspec does not say at which server the group meets: name it with --via \
                 rtmfp://HOST/APP, or look on the local network with --lan"
                    .into()
            )
        );
        if let Some((servers, app)) = via {
            (link.servers, link.app) = (servers, app);
        }
        let spec: GroupSpec = link.groupspec.parse()?;
        ensure!(
            spec.meets_on_lan() || !(lan || link.servers.is_empty()),
            WrongUsage(
                "members of this group do not announce themselves on the local network: share the \
                 file with --lan, or name the server with --via rtmfp://HOST/APP"
                    .into()
            )
        );
        Ok(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::vod::Integrity;

    const GROUP: &str = "G:0102010c050e66696c6d00";

    #[test]
    fn a_groupspec_needs_a_server_and_promises_nothing() {
        let source = parse(GROUP).unwrap();
        assert!(source.link(&[], false).unwrap_err().to_string().contains("--via"));
        let link = source.link(&["rtmfp://h.example/vod/a".parse().unwrap()], false).unwrap();
        assert_eq!((link.servers[0].host(), link.app.as_str()), ("h.example", "vod/a"));
        assert_eq!((link.groupspec.as_str(), link.integrity), (GROUP, Integrity::None));
    }

    #[test]
    fn a_link_may_be_led_to_another_server() {
        let link = format!("rtmfp-share://192.0.2.7/1/group={GROUP}/app=a/also=192.0.2.8");
        let source = parse(&link).unwrap();
        assert_eq!(source.link(&[], false).unwrap().servers.len(), 2);
        let link = source.link(&["rtmfp://h.example/b".parse().unwrap()], false).unwrap();
        assert_eq!((link.servers.len(), link.app.as_str()), (1, "b"));
        let others = ["rtmfp://a.example/b", "rtmfp://b.example/b"].map(|it| it.parse().unwrap());
        let link = source.link(&others, false).unwrap();
        assert_eq!((link.servers[1].host(), link.servers.len()), ("b.example", 2));
        assert!(parse("G:0").is_err() && parse("film.mp4").is_err());
    }

    #[test]
    fn a_group_that_cannot_hold_files_or_was_cut_off_is_refused_at_once() {
        for source in ["G:0103010c050e6368617400", "rtmfp-share://192.0.2.7/1/group=G:00"] {
            let error = parse(source).unwrap_err();
            assert!(error.contains("objectReplicationEnabled"), "{error}");
        }
        for source in ["G:0102010c050e6669", "rtmfp-share://192.0.2.7/1/group=G:0102010c050e6669"] {
            let error = parse(source).unwrap_err();
            assert!(error.ends_with("was it cut off?"), "{error}");
        }
    }
}
