//! RTMFP URIs (RFC 7425 §6.1): `rtmfp://host[:port]/app/instance?query#fragment`, and `rtmfp:` for
//! an endpoint without a server.
//!
//! The text is kept as given: Flash Player sends it verbatim, case, query and fragment included, in
//! the endpoint discriminator and as `tcUrl` (`protocol-notes/flash-profile.md`, subject "URIs").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

/// The UDP port of a server unless the URI says otherwise (RFC 7425 §6.1).
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

/// Why a text is not an RTMFP URI, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// Nothing there.
    #[error("the URI is empty; write rtmfp://host/app")]
    Empty,
    /// Longer than [`MAX_LEN`].
    #[error("the URI has {0} bytes, at most {MAX_LEN} are possible")]
    TooLong(usize),
    /// A blank or control character.
    #[error("the URI contains {found:?} at byte {at}; remove it or write it as %{code:02X}", code = *found as u32)]
    Blank {
        /// The character.
        found: char,
        /// Where it is.
        at: usize,
    },
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
    /// Not a port.
    #[error("{0:?} is not a port; use 1 to 65535, or leave it out for {DEFAULT_PORT}")]
    Port(String),
}

impl Uri {
    /// Takes a URI apart.
    ///
    /// # Errors
    ///
    /// [`UriError`], which says what to change.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        check_text(text)?;
        let scheme = text.get(..SCHEME.len()).ok_or(UriError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(UriError::Scheme);
        }
        let rest = &text[SCHEME.len()..];
        if rest.is_empty() {
            return Ok(Self { text: text.into(), server: None, app: 0..0, fragment: None });
        }
        let rest = rest.strip_prefix("//").ok_or(UriError::NoAuthority)?;
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let server = parse_authority(authority)?;
        let path = text.len() - rest.len() + authority.len();
        let fragment = text[path..].find('#').map(|at| path + at);
        let start = if text[path..].starts_with('/') { path + 1 } else { path };
        let app = start..fragment.unwrap_or(text.len());
        Ok(Self { text: text.into(), server: Some(server), app, fragment })
    }

    /// The URI as given, for the endpoint discriminator and `tcUrl`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host and UDP port of the server; none for `rtmfp:`.
    pub fn server(&self) -> Option<(&Host, u16)> {
        self.server.as_ref().map(|(host, port)| (host, *port))
    }

    /// Whether this is `rtmfp:`, which names no server.
    pub fn is_serverless(&self) -> bool {
        self.server.is_none()
    }

    /// The application: what follows the host, without its first slash and without the fragment,
    /// with the query (`live/test?x=1`); empty if there is none.
    pub fn app(&self) -> &str {
        &self.text[self.app.clone()]
    }

    /// What follows `#`, as given. Some programs name a stream there.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.map(|at| &self.text[at + 1..])
    }
}

fn check_text(text: &str) -> Result<(), UriError> {
    if text.is_empty() {
        return Err(UriError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(UriError::TooLong(text.len()));
    }
    match text.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control()) {
        Some((at, found)) => Err(UriError::Blank { found, at }),
        None => Ok(()),
    }
}

fn parse_authority(authority: &str) -> Result<(Host, u16), UriError> {
    if authority.contains('@') {
        return Err(UriError::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => {
            let (address, port) =
                literal.split_once(']').ok_or_else(|| UriError::Ipv6(literal.into()))?;
            (parse_literal(address)?, port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            if authority.parse::<Ipv6Addr>().is_ok() {
                return Err(UriError::Unbracketed(authority.into()));
            }
            (parse_name(&authority[..end])?, &authority[end..])
        }
    };
    Ok((host, parse_port(port)?))
}

/// An IPv6 address, perhaps with a zone: `fe80::1%eth0`, or `fe80::1%25eth0` (RFC 6874).
fn parse_literal(address: &str) -> Result<Host, UriError> {
    let error = || UriError::Ipv6(address.into());
    let (ip, zone) = address.split_once('%').map_or((address, None), |(ip, zone)| (ip, Some(zone)));
    let ip: Ipv6Addr = ip.parse().map_err(|_| error())?;
    let Some(zone) = zone else { return Ok(Host::Ip(ip.into())) };
    let zone = zone.strip_prefix("25").filter(|rest| !rest.is_empty()).unwrap_or(zone);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match !zone.is_empty() && zone.chars().all(is_name) {
        true => Ok(Host::Name(format!("{ip}%{zone}"))),
        false => Err(error()),
    }
}

fn parse_name(name: &str) -> Result<Host, UriError> {
    if name.is_empty() {
        return Err(UriError::NoHost);
    }
    if let Some(c) = name.chars().find(|&c| "[]<>\"\\^`{|}%".contains(c)) {
        return Err(UriError::HostCharacter(c));
    }
    match name.parse::<Ipv4Addr>() {
        Ok(ip) => Ok(Host::Ip(ip.into())),
        Err(_) => Ok(Host::Name(name.into())),
    }
}

/// `text` is what follows the host: nothing, `:`, or `:port`.
fn parse_port(text: &str) -> Result<u16, UriError> {
    let invalid = || UriError::Port(text.trim_start_matches(':').into());
    let Some(digits) = text.strip_prefix(':') else {
        return if text.is_empty() { Ok(DEFAULT_PORT) } else { Err(invalid()) };
    };
    if digits.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    digits.parse().ok().filter(|&port| port != 0).ok_or_else(invalid)
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
        assert_eq!((uri.as_str(), uri.app(), uri.fragment()), ("rtmfp:", "", None));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| Uri::parse(text).unwrap_err();
        assert_eq!(error(""), UriError::Empty);
        assert_eq!(error(" rtmfp://h"), UriError::Blank { found: ' ', at: 0 });
        assert_eq!(error("rtmfp://h/a b"), UriError::Blank { found: ' ', at: 11 });
        assert_eq!(error("rtmp://h/a"), UriError::Scheme);
        assert_eq!(error("rtmé"), UriError::Scheme);
        assert_eq!(error("rtmfp:/h"), UriError::NoAuthority);
        assert_eq!(error("rtmfp://user:pw@h/a"), UriError::UserInfo);
        assert_eq!(error("rtmfp:///a"), UriError::NoHost);
        assert_eq!(error("rtmfp://:80/a"), UriError::NoHost);
        assert_eq!(error("rtmfp://::1/a"), UriError::Unbracketed("::1".into()));
        assert_eq!(error("rtmfp://[::1/a"), UriError::Ipv6("::1".into()));
        assert_eq!(error("rtmfp://[::1%]/a"), UriError::Ipv6("::1%".into()));
        assert_eq!(error("rtmfp://[::1%a%b]/a"), UriError::Ipv6("::1%a%b".into()));
        assert_eq!(error("rtmfp://[1.2.3.4]/a"), UriError::Ipv6("1.2.3.4".into()));
        assert_eq!(error("rtmfp://[::1]80/a"), UriError::Port("80".into()));
        for port in ["0", "65536", "+80", "x", "80:80"] {
            assert_eq!(error(&format!("rtmfp://h:{port}/a")), UriError::Port(port.into()));
        }
        assert_eq!(error("rtmfp://h%41/"), UriError::HostCharacter('%'));
        assert_eq!(error(&format!("rtmfp://h/{}", "a".repeat(1015))), UriError::TooLong(1025));
        assert!(error("rtmfp://u@h").to_string().contains("arguments of connect"));
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
