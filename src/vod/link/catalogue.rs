//! [`CatalogueLink`]: the link of a [catalogue](crate::vod::catalogue).
//!
//! ```text
//! rtmfp-share://HOST[:PORT]/1/catalogue=KEY/group=G:0103…00/name=Films
//! ```
//!
//! `catalogue` is the public key of the publisher, 64 hexadecimal digits: only what it has signed is in
//! the catalogue. `app`, `also`, `name` and the part before are those of a [share link](super).

use std::fmt;
use std::str::FromStr;

use super::percent::encoded;
use super::reading::{Values, of_values};
use super::signature::PublicKey;
use super::{LINK_VERSION, LinkError, LinkProblem, MAX_LINK_LEN, SCHEME, ServerAddress};
use crate::text;

/// Everything needed to browse a catalogue. The module documentation has the text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueLink {
    /// The rendezvous servers in the order in which to try them; without any, members find each other on
    /// the local network alone.
    pub servers: Vec<ServerAddress>,
    /// Application name for the connection to the server; may be empty.
    pub app: String,
    /// The groupspec, `G:` and hexadecimal digits.
    pub groupspec: String,
    /// Whose entries are in the catalogue.
    pub key: PublicKey,
    /// Name of the catalogue.
    pub name: Option<String>,
}

impl CatalogueLink {
    /// The URL of a rendezvous server for a NetConnection: `rtmfp://HOST:PORT/APP`.
    pub fn server_url(&self, server: &ServerAddress) -> String {
        format!("rtmfp://{server}/{}", self.app)
    }
}

impl fmt::Display for CatalogueLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://")?;
        if let Some(server) = self.servers.first() {
            write!(f, "{server}")?;
        }
        write!(f, "/{LINK_VERSION}/catalogue={}/group={}", self.key, self.groupspec)?;
        if !self.app.is_empty() {
            write!(f, "/app={}", encoded(&self.app))?;
        }
        for server in self.servers.iter().skip(1) {
            write!(f, "/also={server}")?;
        }
        if let Some(name) = &self.name {
            write!(f, "/name={}", encoded(name))?;
        }
        Ok(())
    }
}

impl FromStr for CatalogueLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > MAX_LINK_LEN {
            return Err(LinkProblem::TooLong(text.len()).into());
        }
        text::parse(text, |text| of_values(text, made), LinkProblem::NotALink)
    }
}

fn made(values: Values) -> Result<CatalogueLink, LinkProblem> {
    Ok(CatalogueLink {
        key: PublicKey(values.catalogue.ok_or(LinkProblem::NotACatalogue)?.0),
        servers: values.servers,
        app: values.app.unwrap_or_default(),
        groupspec: values.group.ok_or(LinkProblem::Missing("group"))?,
        name: values.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vod::ShareLink;

    const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn a_link_is_read_as_it_is_printed() {
        for server in ["192.0.2.7:1935", "", "[2001:db8::1]:80"] {
            let text = format!("rtmfp-share://{server}/1/catalogue={KEY}/group=G:0103010c00");
            for more in ["", "/app=vod", "/app=vod/also=a.example:1935/name=My%20Films"] {
                if server.is_empty() && more.contains("also") {
                    continue;
                }
                let text = format!("{text}{more}");
                let link: CatalogueLink = text.parse().unwrap();
                assert_eq!(link.to_string(), text);
                assert_eq!(link.key.to_string(), KEY);
            }
        }
    }

    #[test]
    fn neither_kind_of_link_is_taken_for_the_other() {
        let catalogue = format!("rtmfp-share://h/1/catalogue={KEY}/group=G:0103");
        let problem = |error: LinkError| error.problem;
        assert_eq!(catalogue.parse::<ShareLink>().map_err(problem), Err(LinkProblem::Catalogue));
        let share = "rtmfp-share://h/1/group=G:0103";
        assert_eq!(
            share.parse::<CatalogueLink>().map_err(problem),
            Err(LinkProblem::NotACatalogue)
        );
        for wrong in ["catalogue=", "catalogue=12", &format!("catalogue={KEY}")] {
            let text = format!("rtmfp-share://h/1/{wrong}");
            assert!(text.parse::<CatalogueLink>().is_err(), "{wrong}");
        }
    }
}
