//! What a token says.

use crate::rendezvous::{Names, Rights};
use serde::{Deserialize, Deserializer, Serialize};

/// The claims of a token. What others than these it says is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// When it expires, in seconds since 1970. A client that is connected stays.
    #[serde(deserialize_with = "seconds")]
    pub exp: u64,
    /// From when it is valid, likewise; at once if it does not say so.
    #[serde(default, deserialize_with = "maybe_seconds", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The applications that it is for, each with its instances; any if it does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<OneOrMany>,
    /// The streams that the client may publish; any if it does not say so.
    #[serde(default, skip_serializing_if = "Allowed::is_all")]
    pub publish: Allowed,
    /// The streams that it may play, likewise.
    #[serde(default, skip_serializing_if = "Allowed::is_all")]
    pub play: Allowed,
    /// The client's name, which log and events have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

/// Names of applications, as a text if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Streams that a client may publish or play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Allowed {
    /// All or none.
    All(bool),
    /// One name.
    Name(String),
    /// These names; one that ends in `*` stands for all that begin with the rest of it.
    Names(Vec<String>),
}

impl Default for Allowed {
    fn default() -> Self {
        Self::All(true)
    }
}

impl Allowed {
    fn is_all(&self) -> bool {
        matches!(self, Self::All(true))
    }

    fn names(self) -> Names {
        match self {
            Self::All(true) => Names::All,
            Self::All(false) => Names::Only([].into()),
            Self::Name(name) => Names::Only([name].into()),
            Self::Names(names) => Names::Only(names.into_iter().collect()),
        }
    }
}

impl Claims {
    /// Everything is allowed until this time, in seconds since 1970.
    pub fn until(exp: u64) -> Self {
        let (publish, play) = (Allowed::default(), Allowed::default());
        Self { exp, nbf: None, app: None, publish, play, sub: None }
    }

    /// Only at this application and its instances, and at those that were named before.
    pub fn for_application(mut self, name: &str) -> Self {
        let name = name.to_owned();
        self.app = Some(match self.app {
            None => OneOrMany::One(name),
            Some(OneOrMany::One(first)) => OneOrMany::Many(vec![first, name]),
            Some(OneOrMany::Many(mut names)) => {
                names.push(name);
                OneOrMany::Many(names)
            }
        });
        self
    }

    pub(super) fn are_for(&self, app: &str) -> bool {
        let is_it = |name: &String| {
            let rest = app.strip_prefix(name.trim_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match &self.app {
            None => true,
            Some(OneOrMany::One(name)) => is_it(name),
            Some(OneOrMany::Many(names)) => names.iter().any(is_it),
        }
    }

    pub(super) fn rights(self) -> Rights {
        Rights { publish: self.publish.names(), play: self.play.names(), name: self.sub }
    }
}

/// Seconds since 1970, of which a web server may write fractions.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    // Saturates; no number of JSON is NaN.
    Ok(f64::deserialize(from)? as u64)
}

fn maybe_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.map(|seconds| seconds as u64))
}
