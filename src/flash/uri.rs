//! RTMFP URIs (RFC 7425 §6.1): `rtmfp://host[:port]/app/instance?query#fragment`, and `rtmfp:` for
//! an endpoint without a server.
//!
//! The text is kept as given: Flash Player sends it verbatim, case, query and fragment included, in
//! the endpoint discriminator and as `tcUrl` (`protocol-notes/flash-profile.md`, subject "URIs").

use crate::text::{self, Failed, SyntaxError, decimal, expect, fail, ipv6_and_zone};
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_till};
use nom::character::complete::char;
use nom::combinator::{opt, rest};
use nom::sequence::preceded;
use nom::{Offset, Parser};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;
use thiserror::Error;

/// The UDP port of a server unless the URI has another (RFC 7425 §6.1).
pub const DEFAULT_PORT: u16 = 1935;

/// The longest URI in bytes, so that an Initiator Hello with it stays one unfragmented packet.
pub const MAX_LEN: usize = 1024;

const SCHEME: &str = "rtmfp:";

/// An RTMFP URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    text: String,
    server: Option<(Host, u16)>,
    app: Range<usize>,
    fragment: Option<usize>,
}

/// The host of a URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name: all its IPv4 and IPv6 addresses are candidates. Perhaps internationalised, as given.
    /// Also an IPv6 address with a zone, `fe80::1%eth0`, which only the operating system
    /// understands.
    Name(String),
    /// An address literal.
    Ip(IpAddr),
}

/// The reason why a text is not an RTMFP URI, and the character at which it is.
pub type UriError = SyntaxError<UriProblem>;

/// The reason why a text is not an RTMFP URI, with advice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriProblem {
    /// The text is empty.
    #[error("the URI is empty; write rtmfp://host/app")]
    Empty,
    /// Longer than [`MAX_LEN`].
    #[error("the URI has {0} bytes, at most {MAX_LEN} are possible")]
    TooLong(usize),
    /// A blank or control character.
    #[error("the URI contains {0:?}; remove it or write it as %{code:02X}", code = *.0 as u32)]
    Blank(char),
    /// Not an RTMFP URI at all.
    #[error("the URI does not begin with rtmfp:; write rtmfp://host/app")]
    Scheme,
    /// Something else than `//` after `rtmfp:`.
    #[error("two slashes are missing after rtmfp:; write rtmfp://host/app")]
    NoAuthority,
    /// A user name or password.
    #[error("user:password@ in the URI is not supported; give credentials as arguments of connect")]
    UserInfo,
    /// No host.
    #[error("the URI names no host; write rtmfp://host/app")]
    NoHost,
    /// A character that no host name contains.
    #[error("the host name contains {0:?}")]
    HostCharacter(char),
    /// An IPv6 address without brackets.
    #[error("an IPv6 address needs brackets; write rtmfp://[{0}]/app")]
    Unbracketed(String),
    /// Brackets around something else than an IPv6 address.
    #[error("[{0}] is not an IPv6 address")]
    Ipv6(String),
    /// A bracket before the address and none after it.
    #[error("expected ] after the IPv6 address")]
    Unclosed,
    /// Not a port.
    #[error("{0:?} is not a port; use 1 to 65535, or leave it out for {DEFAULT_PORT}")]
    Port(String),
}

impl Uri {
    /// Parses a URI.
    ///
    /// # Errors
    ///
    /// [`UriError`], with advice on what to change.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        match text.len() {
            0 => Err(UriProblem::Empty.into()),
            1..=MAX_LEN => text::parse(text, uri, UriProblem::Scheme),
            len => Err(UriProblem::TooLong(len).into()),
        }
    }

    /// The URI `rtmfp:`, which names no server.
    pub fn serverless() -> Self {
        Self { text: SCHEME.to_owned(), server: None, app: 0..0, fragment: None }
    }

    /// The URI as given, for the endpoint discriminator and `tcUrl`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host and UDP port of the server; none for `rtmfp:`.
    pub fn server(&self) -> Option<(&Host, u16)> {
        self.server.as_ref().map(|(host, port)| (host, *port))
    }

    /// True if this is `rtmfp:`, which names no server.
    pub fn is_serverless(&self) -> bool {
        self.server.is_none()
    }

    /// The application: the part after the host, without its first slash and without the fragment,
    /// with the query (`live/test?x=1`); empty if there is none.
    pub fn app(&self) -> &str {
        &self.text[self.app.clone()]
    }

    /// The part after `#`, as given. Some programs name a stream there.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.map(|at| &self.text[at..])
    }
}

type Parsed<'a, T> = text::Parsed<'a, T, UriProblem>;

fn uri(text: &str) -> Parsed<'_, Uri> {
    if let Some((at, found)) =
        text.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control())
    {
        return Err(fail(&text[at..], UriProblem::Blank(found)));
    }
    let (after, _) = expect(tag_no_case(SCHEME), UriProblem::Scheme).parse(text)?;
    if after.is_empty() {
        return Ok((after, Uri { text: text.into(), server: None, app: 0..0, fragment: None }));
    }
    let (after, _) = expect(tag("//"), UriProblem::NoAuthority).parse(after)?;
    let (path, authority) = take_till(|c| "/?#".contains(c)).parse(after)?;
    let server = Some(server(authority)?);
    let (path, _) = opt(char('/')).parse(path)?;
    let (after, app) = take_till(|c| c == '#').parse(path)?;
    let (end, fragment) = opt(preceded(char('#'), rest)).parse(after)?;
    let start = text.offset(app);
    let fragment = fragment.map(|fragment| text.offset(fragment));
    Ok((end, Uri { text: text.into(), server, app: start..start + app.len(), fragment }))
}

fn server(authority: &str) -> Result<(Host, u16), Failed<'_, UriProblem>> {
    if authority.contains('@') {
        return Err(fail(authority, UriProblem::UserInfo));
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(fail(authority, UriProblem::Unbracketed(authority.into())));
    }
    let (after, host) = alt((literal, name)).parse(authority)?;
    let (digits, colon) = opt(char(':')).parse(after)?;
    let port = match digits {
        "" => Some(DEFAULT_PORT),
        _ => colon.and_then(|_| decimal(digits)).filter(|&port| port != 0),
    };
    Ok((host, port.ok_or_else(|| fail(digits, UriProblem::Port(digits.into())))?))
}

/// An IPv6 address, perhaps with a zone: `[fe80::1%eth0]`, or `[fe80::1%25eth0]` (RFC 6874).
fn literal(input: &str) -> Parsed<'_, Host> {
    let (inside, _) = char('[').parse(input)?;
    let (after, address) = take_till(|c| c == ']').parse(inside)?;
    let invalid = || fail(inside, UriProblem::Ipv6(address.into()));
    let (ip, zone) = ipv6_and_zone(address).ok_or_else(invalid)?;
    let (after, _) = expect(char(']'), UriProblem::Unclosed).parse(after)?;
    let Some(zone) = zone else { return Ok((after, Host::Ip(ip.into()))) };
    let zone = zone.strip_prefix("25").filter(|rest| !rest.is_empty()).unwrap_or(zone);
    Ok((after, Host::Name(format!("{ip}%{zone}"))))
}

fn name(input: &str) -> Parsed<'_, Host> {
    let (after, name) = take_till(|c| ":[]<>\"\\^`{|}%".contains(c)).parse(input)?;
    match after.chars().next() {
        Some(c) if c != ':' => Err(fail(after, UriProblem::HostCharacter(c))),
        _ if name.is_empty() => Err(fail(input, UriProblem::NoHost)),
        _ => match name.parse::<Ipv4Addr>() {
            Ok(ip) => Ok((after, Host::Ip(ip.into()))),
            Err(_) => Ok((after, Host::Name(name.into()))),
        },
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(zoned) if zoned.contains(':') => write!(f, "[{zoned}]"),
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (String, u16, String, Option<String>) {
        let uri = Uri::parse(text).unwrap();
        assert_eq!(uri.as_str(), text);
        let (host, port) = uri.server().unwrap();
        (host.to_string(), port, uri.app().into(), uri.fragment().map(Into::into))
    }

    fn expect(host: &str, port: u16, app: &str) -> (String, u16, String, Option<String>) {
        (host.into(), port, app.into(), None)
    }

    #[test]
    fn server_and_app() {
        assert_eq!(parts("rtmfp://127.0.0.1:2500/app/inst"), expect("127.0.0.1", 2500, "app/inst"));
        assert_eq!(parts("rtmfp://host"), expect("host", 1935, ""));
        assert_eq!(parts("rtmfp://host/"), expect("host", 1935, ""));
        assert_eq!(parts("rtmfp://host:"), expect("host", 1935, ""));
        assert_eq!(parts("rtmfp://[::1]:80/a"), expect("[::1]", 80, "a"));
        assert_eq!(parts("rtmfp://[2001:db8::2]/a"), expect("[2001:db8::2]", 1935, "a"));
        assert_eq!(parts("rtmfp://[fe80::1%eth0]:80/a"), expect("[fe80::1%eth0]", 80, "a"));
        assert_eq!(parts("rtmfp://[fe80::1%25eth0]/a"), expect("[fe80::1%eth0]", 1935, "a"));
        assert_eq!(parts("rtmfp://h/live/test?x=1"), expect("h", 1935, "live/test?x=1"));
        assert_eq!(parts("rtmfp://h?x=1"), expect("h", 1935, "?x=1"));
        assert_eq!(parts("rtmfp://h//a"), expect("h", 1935, "/a"));
        assert_eq!(parts("rtmfp://bücher.example/ä"), expect("bücher.example", 1935, "ä"));
    }

    #[test]
    fn the_text_is_kept_verbatim() {
        let text = "RTMFP://LOCALHOST:2481/App/Inst?x=%20y&z=1#frag";
        let uri: Uri = text.parse().unwrap();
        assert_eq!(uri.to_string(), text);
        assert_eq!(uri.app(), "App/Inst?x=%20y&z=1");
        assert_eq!(uri.fragment(), Some("frag"));
        assert_eq!(uri.server(), Some((&Host::Name("LOCALHOST".into()), 2481)));
    }

    #[test]
    fn serverless() {
        let uri = Uri::parse("rtmfp:").unwrap();
        assert!(uri.is_serverless());
        assert_eq!(uri, Uri::serverless());
        assert_eq!((uri.as_str(), uri.app(), uri.fragment()), ("rtmfp:", "", None));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| Uri::parse(text).map_err(|e| (e.problem, e.column)).unwrap_err();
        assert_eq!(error(""), (UriProblem::Empty, 0));
        assert_eq!(error(" rtmfp://h"), (UriProblem::Blank(' '), 0));
        assert_eq!(error("rtmfp://h/a b"), (UriProblem::Blank(' '), 11));
        assert_eq!(error("rtmp://h/a"), (UriProblem::Scheme, 0));
        assert_eq!(error("rtmé"), (UriProblem::Scheme, 0));
        assert_eq!(error("rtmfp:/h"), (UriProblem::NoAuthority, 6));
        assert_eq!(error("rtmfp://user:pw@h/a"), (UriProblem::UserInfo, 8));
        assert_eq!(error("rtmfp:///a"), (UriProblem::NoHost, 8));
        assert_eq!(error("rtmfp://:80/a"), (UriProblem::NoHost, 8));
        assert_eq!(error("rtmfp://::1/a"), (UriProblem::Unbracketed("::1".into()), 8));
        assert_eq!(error("rtmfp://[::1/a"), (UriProblem::Unclosed, 12));
        assert_eq!(error("rtmfp://[::x"), (UriProblem::Ipv6("::x".into()), 9));
        assert_eq!(error("rtmfp://[::1%]/a"), (UriProblem::Ipv6("::1%".into()), 9));
        assert_eq!(error("rtmfp://[::1%a%b]/a"), (UriProblem::Ipv6("::1%a%b".into()), 9));
        assert_eq!(error("rtmfp://[1.2.3.4]/a"), (UriProblem::Ipv6("1.2.3.4".into()), 9));
        assert_eq!(error("rtmfp://[::1]80/a"), (UriProblem::Port("80".into()), 13));
        for port in ["0", "65536", "+80", "x", "80:80"] {
            assert_eq!(error(&format!("rtmfp://ü:{port}/a")), (UriProblem::Port(port.into()), 10));
        }
        assert_eq!(error("rtmfp://h%41/"), (UriProblem::HostCharacter('%'), 9));
        let long = format!("rtmfp://h/{}", "a".repeat(1015));
        assert_eq!(error(&long), (UriProblem::TooLong(1025), 0));
        let error = |text: &str| Uri::parse(text).unwrap_err().to_string();
        assert!(error("rtmfp://u@h").contains("arguments of connect"));
        assert!(error("rtmfp://h:0/").starts_with("at character 11: \"0\" is not a port"));
        assert!(error("rtmp://h/").starts_with("the URI does not begin with rtmfp:"));
    }

    #[test]
    fn an_at_sign_in_the_path_is_no_user() {
        assert_eq!(parts("rtmfp://h/a@b"), expect("h", 1935, "a@b"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(rtmfp:)?/{0,3}.{0,40}") {
            if let Ok(uri) = Uri::parse(&text) {
                prop_assert_eq!(uri.as_str(), &text);
                prop_assert!(text.ends_with(uri.fragment().unwrap_or_default()));
                prop_assert!(text.contains(uri.app()));
            }
        }
    }
}
