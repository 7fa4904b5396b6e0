//! Settings of the server's own member: the groups that it joins, and what it brings there.

use super::settings::Word;
use crate::group::{GroupSpec, GroupSpecError};
use crate::transport::Bandwidth;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// A member of groups in the process of the server, for whoever runs it: `rtmfp serve` does.
///
/// A groupspec lets whoever has it into the group. `Debug` shows none.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MemberSettings {
    /// The groups that it joins.
    pub groups: Vec<GroupSpec>,
    /// The folder whose files it offers.
    pub seed: Option<PathBuf>,
    /// What object 0 of a file is.
    pub descriptor: SeedDescriptor,
    /// The streams that it brings into groups.
    pub ingest: Vec<Ingest>,
    /// Its UDP port, 0 for one that the system chooses.
    pub port: u16,
    /// How fast it sends; `None` for as fast as it can.
    pub up_limit: Option<Bandwidth>,
}

impl MemberSettings {
    /// True if there is to be a member.
    pub fn is_wanted(&self) -> bool {
        !self.groups.is_empty() || !self.ingest.is_empty()
    }
}

/// What object 0 of a file says, which decides which programs can read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeedDescriptor {
    /// An object with hashes, as `rtmfp share` makes it.
    #[default]
    Object,
    /// The number of objects, as Flash applications make it.
    Number,
}

impl Word for SeedDescriptor {
    const WORDS: &'static [(&'static str, Self)] =
        &[("object", Self::Object), ("number", Self::Number)];
}

/// A stream that clients publish at the server, and that its member publishes in a group:
/// `APP/NAME=GROUPSPEC`, or `APP/NAME=STREAM@GROUPSPEC`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Ingest {
    /// The application; it may be empty.
    pub app: String,
    /// The name at the server.
    pub name: String,
    /// The name in the group.
    pub stream: String,
    /// The group.
    pub group: GroupSpec,
}

/// A text is no [`Ingest`]. The message does not repeat it: there may be a groupspec in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IngestError {
    /// It has another form.
    #[error("write APP/NAME=GROUPSPEC, or APP/NAME=STREAM@GROUPSPEC for another name in the group")]
    Form,
    /// The groupspec is none.
    #[error("the group of {name}: {source}")]
    Group {
        /// The name at the server.
        name: String,
        /// Why.
        source: GroupSpecError,
    },
}

impl FromStr for Ingest {
    type Err = IngestError;

    fn from_str(text: &str) -> Result<Self, IngestError> {
        // A groupspec has no such character, and a name of a stream may.
        let (from, to) = text.rsplit_once('=').ok_or(IngestError::Form)?;
        let (app, name) = from.rsplit_once('/').unwrap_or(("", from));
        let (stream, group) = to.rsplit_once('@').unwrap_or((name, to));
        if name.is_empty() || stream.is_empty() {
            return Err(IngestError::Form);
        }
        let group = GroupSpec::parse(group)
            .map_err(|source| IngestError::Group { name: name.to_owned(), source })?;
        let app = app.trim_matches('/').to_owned();
        Ok(Self { app, name: name.to_owned(), stream: stream.to_owned(), group })
    }
}

impl Ingest {
    /// The text of which it can be read, with the groupspec.
    pub fn to_text(&self) -> String {
        let Self { app, name, stream, group } = self;
        format!("{app}/{name}={stream}@{}", group.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "G:0103010c050e6368617400";

    #[test]
    fn streams_and_their_groups_as_people_write_them() {
        for (from, app, name, stream) in [
            ("live/cam=", "live", "cam", "cam"),
            ("/live/room/cam=", "live/room", "cam", "cam"),
            ("cam=", "", "cam", "cam"),
            ("/cam=", "", "cam", "cam"),
            ("live/cam=news@", "live", "cam", "news"),
            ("live/a=b@c=d@e@", "live", "a=b@c", "d@e"),
        ] {
            let ingest: Ingest = format!("{from}{SPEC}").parse().unwrap();
            let parts = (ingest.app.as_str(), ingest.name.as_str(), ingest.stream.as_str());
            assert_eq!(parts, (app, name, stream), "{from}");
            assert_eq!(ingest.group.as_str(), SPEC);
            assert_eq!(ingest.to_text().parse(), Ok(ingest), "{from}");
        }
    }

    #[test]
    fn mistakes_do_not_show_the_groupspec() {
        for text in ["live/cam", SPEC, "live/=", "live/cam=@"] {
            let error = text.replace('@', &format!("@{SPEC}")).parse::<Ingest>().unwrap_err();
            assert!(!error.to_string().contains("6368"), "{text}: {error}");
        }
        let error = format!("live/cam={SPEC}x").parse::<Ingest>().unwrap_err().to_string();
        assert!(error.starts_with("the group of cam: character "), "{error}");
        assert!(!error.contains("6368"), "{error}");
        let shown = format!("{:?}", format!("live/cam={SPEC}").parse::<Ingest>());
        assert!(!shown.contains("6368617400"), "{shown}");
    }
}
