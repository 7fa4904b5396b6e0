//! What a client may do: tokens in its `connect`, and the rights that they give.
//!
//! A token is a text that whoever runs the server has given to the client. It comes in the query of
//! the URI (`rtmfp://host/app?token=…`) or as an argument of `connect`; what it consists of is for the
//! owner's [`CheckTokens`] to know. It is a secret: no event has it.
//!
//! A peer of the server's own process has the [`OwnToken`], and may do everything.

use super::application::application;
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::ConnectRequest;
use rand_core::CryptoRng;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The parameter of the query, and the member of an argument, that is the token.
const PARAMETER: &str = "token";
/// The longest token that is checked, in bytes; a longer one is invalid.
pub const MAX_TOKEN: usize = 1024;
/// How events show a peer of the server's own process.
const OWN_PEER: &str = "this server";
/// Stands for a token in an event.
const HIDDEN: &str = "…";

/// Decides whether a token lets a client connect.
pub trait CheckTokens: fmt::Debug + Send + Sync {
    /// The rights that `token`, of [`MAX_TOKEN`] bytes at most, gives at an application, which is named as
    /// a path without query. Returns at once; it is called once for each client that connects.
    ///
    /// # Errors
    ///
    /// [`TokenError`], of which the client is sent the text.
    fn check(&self, token: Option<&str>, app: &str) -> Result<Rights, TokenError>;
}

/// Why a token does not let a client connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none.
    #[error("a token is needed: rtmfp://host/app?token=…")]
    Missing,
    /// It was not made with a key of this server, or is damaged.
    #[error("the token is not valid")]
    Invalid,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    Early,
    /// It is for another application.
    #[error("the token is for another application")]
    OtherApplication,
}

/// What a client may do once it has connected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// The streams that it may publish.
    pub publish: Names,
    /// The streams that it may play.
    pub play: Names,
    /// The name by which events show it, no more of it than can be [shown](crate::wire::Shown).
    pub name: Option<String>,
}

impl Rights {
    /// Those of a peer of the server's own process.
    pub(super) fn of_own_peer() -> Self {
        Self { name: Some(OWN_PEER.to_owned()), ..Self::default() }
    }
}

/// The token of the peers in the server's own process: members of groups that it brings along.
///
/// Whoever sends it as the first argument of `connect` may connect to every application without the token
/// and the consent that others need, join any number of groups, and publish and play every stream. It is
/// made anew for each run, and leaves the process only under the keys of its own sessions.
#[derive(Clone)]
pub struct OwnToken(Arc<str>);

impl OwnToken {
    /// A token of 32 bytes from a source of randomness that nobody can predict.
    pub fn generate(random: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 32];
        random.fill_bytes(&mut bytes);
        // As text it goes into `connect` like other tokens.
        Self(Fingerprint(bytes).to_string().into())
    }

    /// The argument of `connect`.
    pub fn argument(&self) -> Value {
        Value::from(&*self.0)
    }

    /// True if a request has it. How long that takes tells nothing about it.
    pub(super) fn is_in(&self, request: &ConnectRequest) -> bool {
        let Some(Value::String(text)) = request.args.first() else { return false };
        text.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for OwnToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnToken { .. }")
    }
}

/// Names of streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Names {
    /// Any.
    #[default]
    All,
    /// These; one that ends in `*` stands for all that begin with the rest of it.
    Only(BTreeSet<String>),
}

impl Names {
    /// True if `name` is one of them.
    pub fn contain(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|own| match own.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => own == name,
            }),
        }
    }
}

/// The rights of a client, by its token.
pub(super) fn rights(
    tokens: &dyn CheckTokens,
    request: &ConnectRequest,
) -> Result<Rights, TokenError> {
    let token = token(request);
    if token.is_some_and(|token| token.len() > MAX_TOKEN) {
        return Err(TokenError::Invalid);
    }
    tokens.check(token, application(&request.app))
}

/// The token of a request: in the query of the application or of the URI, else the first argument, or
/// the member `token` of it.
fn token(request: &ConnectRequest) -> Option<&str> {
    let of_argument = || match request.args.first()? {
        Value::String(text) => Some(&**text),
        value => value.property(PARAMETER).and_then(Value::as_str),
    };
    let token = of_query(&request.app);
    let token = token.or_else(|| of_query(request.tc_url.as_deref()?)).or_else(of_argument);
    token.filter(|token| !token.is_empty())
}

fn of_query(uri: &str) -> Option<&str> {
    let (_, query) = uri.split_once('?')?;
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    parameters.find(|(name, _)| *name == PARAMETER).map(|(_, value)| value)
}

/// The arguments of a request, without the token that the server has looked for.
pub(super) fn without_token_argument(request: &ConnectRequest, needs_token: bool) -> Vec<Value> {
    let mut args = request.args.clone();
    let by_query = of_query(&request.app).or_else(|| of_query(request.tc_url.as_deref()?));
    match args.first_mut() {
        Some(first @ Value::String(_)) if needs_token && by_query.is_none() => {
            *first = Value::Null;
        }
        Some(first) if first.property(PARAMETER).is_some() => {
            let members = first.members().iter().filter(|(name, _)| &**name != PARAMETER);
            *first = Value::object(members.cloned());
        }
        _ => {}
    }
    args
}

/// An application or URI as a client named it, without its token.
pub(super) fn without_token(app: &str) -> Cow<'_, str> {
    let Some((path, query)) = app.split_once('?') else { return Cow::Borrowed(app) };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((PARAMETER, _)) => Cow::Owned(format!("{PARAMETER}={HIDDEN}")),
        _ => Cow::Borrowed(parameter),
    });
    let parameters: Vec<_> = parameters.collect();
    Cow::Owned(format!("{path}?{}", parameters.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::ObjectEncoding;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn request(app: &str, tc_url: Option<&str>, args: Vec<Value>) -> ConnectRequest {
        ConnectRequest {
            app: app.into(),
            tc_url: tc_url.map(Into::into),
            flash_version: None,
            swf_url: None,
            page_url: None,
            encoding: ObjectEncoding::Amf0,
            object: Value::Null,
            args,
        }
    }

    #[test]
    fn tokens_come_in_the_query_or_as_an_argument() {
        let object = || Value::object([("user", "me"), ("token", "o")]);
        let url = Some("rtmfp://h/app?token=u#x");
        let cases = [
            (request("app?token=a", url, vec!["x".into()]), Some("a")),
            (request("app?x=1&token=a&y", None, vec![]), Some("a")),
            (request("app", url, vec![object()]), Some("u")),
            (request("app?mytoken=a", None, vec![object(), "x".into()]), Some("o")),
            (request("app", None, vec!["x".into()]), Some("x")),
            (request("app?token=", None, vec![]), None),
            (request("app?token", None, vec![Value::Null, "x".into()]), None),
            (request("app/token=a", None, vec![]), None),
        ];
        for (request, expected) in cases {
            assert_eq!(token(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn no_token_is_left_for_events() {
        for (app, expected) in [
            ("app", "app"),
            ("app?x=1", "app?x=1"),
            ("app?token=secret", "app?token=…"),
            ("app?x=1&token=secret&y=2&token=other", "app?x=1&token=…&y=2&token=…"),
            ("app?token=se?cret", "app?token=…"),
        ] {
            assert_eq!(without_token(app), expected);
        }
    }

    #[test]
    fn no_token_is_left_in_arguments() {
        let args = |app: &str, args: Vec<Value>, needs_token| {
            without_token_argument(&request(app, None, args), needs_token)
        };
        let x = || vec![Value::from("x"), Value::from("y")];
        assert_eq!(args("app", x(), true), [Value::Null, "y".into()]);
        assert_eq!(args("app", x(), false), x());
        assert_eq!(args("app?token=t", x(), true), x());
        let object = Value::object([("user", "me"), ("token", "t")]);
        for app in ["app", "app?token=t"] {
            assert_eq!(args(app, vec![object.clone()], true), [Value::object([("user", "me")])]);
        }
        assert_eq!(args("app", vec![], true), []);
    }

    #[test]
    fn only_the_argument_is_the_own_token() {
        let own = OwnToken::generate(&mut ChaCha8Rng::seed_from_u64(1));
        let other = OwnToken::generate(&mut ChaCha8Rng::seed_from_u64(2));
        assert!(own.is_in(&request("app?token=x", None, vec![own.argument()])));
        let by_url = format!("app?token={}", own.0);
        let half = Value::from(&own.0[..32]);
        for (app, args) in [
            ("app", vec![]),
            ("app", vec![other.argument()]),
            ("app", vec![half]),
            ("app", vec![Value::Null, own.argument()]),
            (&by_url, vec![]),
        ] {
            assert!(!own.is_in(&request(app, None, args)), "{app}");
        }
        assert!(!format!("{own:?}").contains(&own.0[..8]));
    }

    #[test]
    fn names_may_end_in_a_star() {
        let names = Names::Only(["a", "room-*"].map(str::to_owned).into());
        for (name, expected) in
            [("a", true), ("ab", false), ("room-", true), ("room-7", true), ("room", false)]
        {
            assert_eq!(names.contain(name), expected, "{name}");
        }
        assert!(Names::All.contain("x") && !Names::Only(BTreeSet::new()).contain("x"));
    }

    #[test]
    fn hostile_tokens_are_not_checked_when_they_are_long() {
        #[derive(Debug)]
        struct Any;
        impl CheckTokens for Any {
            fn check(&self, token: Option<&str>, _: &str) -> Result<Rights, TokenError> {
                assert!(token.unwrap().len() <= MAX_TOKEN);
                Ok(Rights::default())
            }
        }
        let long = |len: usize| request("app", None, vec!["x".repeat(len).as_str().into()]);
        assert!(rights(&Any, &long(MAX_TOKEN)).is_ok());
        assert_eq!(rights(&Any, &long(MAX_TOKEN + 1)), Err(TokenError::Invalid));
    }
}
