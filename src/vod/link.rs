//! [`ShareLink`]: the line that `share` prints and `fetch` takes.
//!
//! ```text
//! rtmfp-share://HOST[:PORT]/VERSION/KEY=VALUE/KEY=VALUE…
//! rtmfp-share://203.0.113.5:1935/1/group=G:0102…00/descriptor=9f86…0a08/name=film.mp4
//! ```
//!
//! It names the rendezvous server and the group, and carries what no member of the group is to be
//! trusted with: the hash that everything fetched is measured by. Whoever has the link from the
//! provider gets the provider's file or an error, whatever the members of the group send.
//!
//! Keys of version 1, each at most once (`also` up to seven times), in any order:
//!
//! | key | value |
//! | --- | --- |
//! | `group` | the groupspec, `G:` and hexadecimal digits; required |
//! | `app` | application name on the server (default: empty) |
//! | `also` | a further rendezvous server, `HOST[:PORT]` |
//! | `descriptor` | [digest](super::descriptor::Descriptor::digest) of the descriptor: the object form |
//! | `sha256`, `size`, `chunk` | SHA-256 and size of the file, chunk length in bytes: the Number form, whose descriptor says nothing but the number of chunks |
//! | `name` | file name |
//! | `provider` | peer ID of the provider, 64 hexadecimal digits |
//!
//! A key that is not in the list is skipped; what must not be skipped raises the version. The
//! characters used need no quoting in a POSIX shell or PowerShell, other characters in values are
//! percent-encoded UTF-8. (Only zsh wants quotes around a link with an IPv6 address.)

use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::chunker::{CHUNK_SIZE, MAX_CHUNK_SIZE};
use super::descriptor::Descriptor;
use super::hash::Digest256;
use super::layout::Layout;
use crate::driver::ascii_host;
use crate::range::MAX_INDEX;

/// Scheme of a share link.
pub const SCHEME: &str = "rtmfp-share";

/// The version of links that this program writes and understands.
pub const LINK_VERSION: u32 = 1;

/// UDP port of a rendezvous server when an address names none (RFC 7425 §5.1.1).
pub const DEFAULT_PORT: u16 = 1935;

/// The longest link that is looked at, in bytes.
pub const MAX_LINK_LEN: usize = 16 * 1024;

/// The most rendezvous servers in a link.
pub const MAX_SERVERS: usize = 8;

const EXAMPLE: &str =
    "rtmfp-share://203.0.113.5:1935/1/group=G:0102…/descriptor=9f86…/name=film.mp4";

/// What is wrong with a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The text does not begin with `rtmfp-share://`.
    #[error("not a share link: it ought to begin with rtmfp-share:// and look like {EXAMPLE}")]
    NotALink,
    /// The address of a server instead of a share link.
    #[error(
        "this is the address of a server, which does not say which file is meant; \
         a share link looks like {EXAMPLE}"
    )]
    ServerAddressOnly,
    /// Longer than [`MAX_LINK_LEN`].
    #[error("a share link of {0} bytes is too long (at most 16384)")]
    TooLong(usize),
    /// A space or line break inside.
    #[error("there is a space or line break in the share link: was it broken over two lines?")]
    Whitespace,
    /// No version, or not a number.
    #[error("the share link has no version after the server's address; it looks like {EXAMPLE}")]
    NoVersion,
    /// A version other than [`LINK_VERSION`].
    #[error(
        "the share link is of version {found}, this program understands version 1: \
         use a program as new as the one that printed the link"
    )]
    Version {
        /// Version of the link.
        found: u32,
    },
    /// A server address that cannot be one.
    #[error("{0:?} in the share link is not a server address (HOST, HOST:PORT or [IPv6]:PORT)")]
    Address(String),
    /// More than [`MAX_SERVERS`].
    #[error("more than 8 servers in the share link")]
    TooManyServers,
    /// A path segment that is not `KEY=VALUE`.
    #[error("{0:?} in the share link is not of the form key=value")]
    NotAPair(String),
    /// A key that may come only once came again.
    #[error("{0}= is in the share link twice")]
    Duplicate(&'static str),
    /// A required key is missing.
    #[error("{0}= is missing in the share link: was it cut off?")]
    Missing(&'static str),
    /// Two keys that exclude each other.
    #[error("the share link has both descriptor= and sha256=, only one can be meant")]
    BothIntegrities,
    /// A value of the wrong form.
    #[error("{key}= in the share link: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
}

/// What the link says about the file, so that no peer has to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Integrity {
    /// Digest of the descriptor, which holds all further hashes.
    Descriptor(Digest256),
    /// The file itself, for a descriptor that is a bare number.
    File {
        /// SHA-256 of the whole file.
        sha256: Digest256,
        /// Size of the file in bytes.
        size: u64,
        /// Length of a chunk in bytes.
        chunk_size: u32,
    },
    /// Nothing: a file shared by a Flash application. Whatever the group sends is believed.
    #[default]
    None,
}

/// A host name or IP address with a UDP port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// An address of `host`, a DNS name, perhaps an internationalised one, an IPv4 address, or an IPv6
    /// address without brackets, perhaps with a zone (`fe80::1%eth0`).
    pub fn new(host: &str, port: u16) -> Result<Self, LinkError> {
        let is_ipv6 = is_ipv6(host);
        let is_name = !host.is_empty()
            && host.len() <= 253
            && !host.starts_with('-')
            && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c))
            && ascii_host(host).is_ok();
        if port == 0 || !(is_ipv6 || is_name) {
            return Err(LinkError::Address(host.to_owned()));
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }

    /// Host name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Whether this is an IPv6 address, perhaps with a zone.
fn is_ipv6(host: &str) -> bool {
    let (ip, zone) = host.split_once('%').unwrap_or((host, "0"));
    let is_zone = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    ip.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.bytes().all(is_zone)
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for ServerAddress {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let error = || LinkError::Address(text.to_owned());
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(error)?;
                if !is_ipv6(host) {
                    return Err(error());
                }
                match port {
                    "" => (host, None),
                    _ => (host, Some(port.strip_prefix(':').ok_or_else(error)?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Ok(DEFAULT_PORT), |port| decimal(port).ok_or_else(error))?;
        if host.contains(':') && !text.starts_with('[') {
            return Err(error());
        }
        Self::new(host, port).map_err(|_| error())
    }
}

impl Integrity {
    /// The descriptor as far as the link alone gives it: in the Number form, where nothing that the
    /// group says could be verified.
    pub fn descriptor(&self) -> Option<Descriptor> {
        let Self::File { sha256, size, chunk_size } = *self else { return None };
        let layout = Layout::of_size(size, chunk_size).ok()?;
        Some(Descriptor { sha256: Some(sha256), ..Descriptor::of_layout(layout) })
    }
}

/// Everything needed to fetch a shared file. See the module's description of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLink {
    /// The rendezvous server.
    pub server: ServerAddress,
    /// Further rendezvous servers, to try when the first does not answer.
    pub also: Vec<ServerAddress>,
    /// Application name for the connection to the server; may be empty.
    pub app: String,
    /// The groupspec, `G:` and hexadecimal digits, exactly as all members must use it.
    pub groupspec: String,
    /// What the file is verified by.
    pub integrity: Integrity,
    /// Name of the file. Not to be used as a path as it is: see
    /// [`safe_file_name`](super::file_name::safe_file_name).
    pub name: Option<String>,
    /// Peer ID of the provider.
    pub provider: Option<Digest256>,
}

impl ShareLink {
    /// A link with nothing but the server and the group.
    pub fn new(server: ServerAddress, groupspec: &str) -> Result<Self, LinkError> {
        Ok(Self {
            server,
            also: Vec::new(),
            app: String::new(),
            groupspec: groupspec_value(groupspec)?,
            integrity: Integrity::None,
            name: None,
            provider: None,
        })
    }

    /// All rendezvous servers, in the order in which to try them.
    pub fn servers(&self) -> impl Iterator<Item = &ServerAddress> {
        std::iter::once(&self.server).chain(&self.also)
    }

    /// What tells this download from any other: a hash of the group and of what the file is
    /// verified by. The same file fetched by way of another server is the same download.
    pub fn identity(&self) -> Digest256 {
        let integrity = match self.integrity {
            Integrity::Descriptor(digest) => format!("descriptor {digest}"),
            Integrity::File { sha256, .. } => format!("sha256 {sha256}"),
            Integrity::None => String::new(),
        };
        Digest256::of(format!("rtmfp-share download {} {integrity}", self.groupspec).as_bytes())
    }

    /// The URL of the rendezvous server for a NetConnection: `rtmfp://HOST:PORT/APP`.
    pub fn server_url(&self, server: &ServerAddress) -> String {
        format!("rtmfp://{server}/{}", self.app)
    }
}

impl fmt::Display for ShareLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}/{LINK_VERSION}/group={}", self.server, self.groupspec)?;
        if !self.app.is_empty() {
            write!(f, "/app={}", encoded(&self.app))?;
        }
        match &self.integrity {
            Integrity::Descriptor(digest) => write!(f, "/descriptor={digest}")?,
            Integrity::File { sha256, size, chunk_size } => {
                write!(f, "/sha256={sha256}/size={size}")?;
                if *chunk_size != CHUNK_SIZE {
                    write!(f, "/chunk={chunk_size}")?;
                }
            }
            Integrity::None => {}
        }
        for server in &self.also {
            write!(f, "/also={server}")?;
        }
        if let Some(provider) = &self.provider {
            write!(f, "/provider={provider}")?;
        }
        if let Some(name) = &self.name {
            write!(f, "/name={}", encoded(name))?;
        }
        Ok(())
    }
}

impl FromStr for ShareLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > MAX_LINK_LEN {
            return Err(LinkError::TooLong(text.len()));
        }
        let (scheme, rest) = text.split_once("://").ok_or(LinkError::NotALink)?;
        if ["rtmfp", "rtmp"].iter().any(|server| scheme.eq_ignore_ascii_case(server)) {
            return Err(LinkError::ServerAddressOnly);
        }
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(LinkError::NotALink);
        }
        if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(LinkError::Whitespace);
        }
        let mut segments = rest.split('/');
        let server = segments.next().unwrap_or_default();
        check_version(segments.next())?;
        let mut values = Values::default();
        for segment in segments.filter(|segment| !segment.is_empty()) {
            values.take(segment)?;
        }
        values.into_link(server.parse()?)
    }
}

fn check_version(segment: Option<&str>) -> Result<(), LinkError> {
    match segment.and_then(decimal).ok_or(LinkError::NoVersion)? {
        LINK_VERSION => Ok(()),
        found => Err(LinkError::Version { found }),
    }
}

/// The values of a link while they are collected.
#[derive(Default)]
struct Values {
    also: Vec<ServerAddress>,
    app: Option<String>,
    group: Option<String>,
    descriptor: Option<Digest256>,
    sha256: Option<Digest256>,
    size: Option<u64>,
    chunk: Option<u32>,
    name: Option<String>,
    provider: Option<Digest256>,
}

impl Values {
    fn take(&mut self, segment: &str) -> Result<(), LinkError> {
        let (key, value) =
            segment.split_once('=').ok_or_else(|| LinkError::NotAPair(segment.to_owned()))?;
        match key {
            "group" => put(&mut self.group, "group", groupspec_value(value)?),
            "app" => put(&mut self.app, "app", decoded("app", value)?),
            "name" => put(&mut self.name, "name", decoded("name", value)?),
            "descriptor" => put(&mut self.descriptor, "descriptor", digest("descriptor", value)?),
            "sha256" => put(&mut self.sha256, "sha256", digest("sha256", value)?),
            "provider" => put(&mut self.provider, "provider", digest("provider", value)?),
            "size" => put(&mut self.size, "size", number("size", value, 0..=MAX_INDEX)?),
            "chunk" => {
                let length = number("chunk", value, 1..=MAX_CHUNK_SIZE.into())?;
                put(&mut self.chunk, "chunk", u32::try_from(length).unwrap_or(MAX_CHUNK_SIZE))
            }
            "also" if self.also.len() + 1 >= MAX_SERVERS => Err(LinkError::TooManyServers),
            "also" => {
                self.also.push(value.parse()?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn into_link(self, server: ServerAddress) -> Result<ShareLink, LinkError> {
        let integrity = match (self.descriptor, self.sha256) {
            (Some(_), Some(_)) => return Err(LinkError::BothIntegrities),
            (Some(digest), None) => Integrity::Descriptor(digest),
            (None, Some(sha256)) => {
                let size = self.size.ok_or(LinkError::Missing("size"))?;
                let chunk_size = self.chunk.unwrap_or(CHUNK_SIZE);
                Layout::of_size(size, chunk_size).map_err(|error| LinkError::Value {
                    key: "size",
                    problem: error.to_string(),
                })?;
                Integrity::File { sha256, size, chunk_size }
            }
            (None, None) if self.size.is_some() || self.chunk.is_some() => {
                return Err(LinkError::Missing("sha256"));
            }
            (None, None) => Integrity::None,
        };
        Ok(ShareLink {
            server,
            also: self.also,
            app: self.app.unwrap_or_default(),
            groupspec: self.group.ok_or(LinkError::Missing("group"))?,
            integrity,
            name: self.name,
            provider: self.provider,
        })
    }
}

fn put<T>(slot: &mut Option<T>, key: &'static str, value: T) -> Result<(), LinkError> {
    if slot.replace(value).is_some() {
        return Err(LinkError::Duplicate(key));
    }
    Ok(())
}

fn groupspec_value(value: &str) -> Result<String, LinkError> {
    let problem = |problem: &str| LinkError::Value { key: "group", problem: problem.to_owned() };
    let digits = value.strip_prefix("G:").ok_or_else(|| problem("a groupspec begins with G:"))?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(problem("hexadecimal digits are expected after G:"));
    }
    if digits.len() % 2 == 1 {
        return Err(problem("an odd number of hexadecimal digits: was the link cut off?"));
    }
    Ok(value.to_owned())
}

fn digest(key: &'static str, value: &str) -> Result<Digest256, LinkError> {
    value.parse().map_err(|error: super::hash::NotADigest| LinkError::Value {
        key,
        problem: error.to_string(),
    })
}

fn number(
    key: &'static str,
    value: &str,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<u64, LinkError> {
    decimal(value).filter(|number| allowed.contains(number)).ok_or_else(|| LinkError::Value {
        key,
        problem: format!(
            "{value:?} is not a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        ),
    })
}

/// A decimal number without sign.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn decoded(key: &'static str, text: &str) -> Result<String, LinkError> {
    let problem = |problem: &str| LinkError::Value { key, problem: problem.to_owned() };
    let hex = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (hex(bytes.next()), hex(bytes.next()));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(problem("% without two hexadecimal digits after it"));
        };
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).map_err(|_| problem("not UTF-8"))
}

#[cfg(test)]
mod tests;
