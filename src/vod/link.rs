//! [`ShareLink`]: the link that `share` prints and `fetch` takes.
//!
//! ```text
//! rtmfp-share://HOST[:PORT]/VERSION/KEY=VALUE/KEY=VALUE…
//! rtmfp-share://203.0.113.5:1935/1/group=G:0102…00/descriptor=9f86…0a08/name=film.mp4
//! rtmfp-share:///1/group=G:0102…00/descriptor=9f86…0a08/name=film.mp4
//! ```
//!
//! Without HOST no server is needed: the members of the group announce themselves on the local
//! network, which is what its groupspec must allow.
//!
//! It names the rendezvous server and the group, and carries what no member of the group can be
//! trusted with: the hash by which everything fetched is verified. A receiver with the provider's
//! link gets the provider's file or an error, whatever the members of the group send.
//!
//! Keys of version 1, each at most once (`also` up to seven times), in any order:
//!
//! | key | value |
//! | --- | --- |
//! | `group` | the groupspec, `G:` and hexadecimal digits; required |
//! | `app` | application name on the server (default: empty) |
//! | `also` | a further rendezvous server, `HOST[:PORT]` |
//! | `descriptor` | [digest](super::descriptor::Descriptor::digest) of the descriptor: the object form |
//! | `sha256`, `size`, `chunk` | SHA-256 and size of the file, chunk length in bytes: the Number form, whose descriptor has only the number of chunks |
//! | `name` | file name, or name of the folder |
//! | `files` | number of files, if the share has several |
//! | `provider` | peer ID of the provider, 64 hexadecimal digits |
//! | `key`, `signature` | public key and [signature] of whoever vouches for the link, 64 and 128 hexadecimal digits |
//! | `spare` | `provider`: whoever fetches asks the provider only for what nobody else has |
//! | `origin` | URL, `http` or `https`, of a web server that has the same file |
//!
//! A link with `catalogue=` is a [`CatalogueLink`], which leads to a list of such links.
//!
//! An unknown key is skipped; a change that must not be skipped raises the version. The characters
//! used need no quoting in a POSIX shell or PowerShell; other characters in values are
//! percent-encoded UTF-8. (Only zsh needs quotes around a link with an IPv6 address.)

pub mod catalogue;
mod percent;
mod reading;
pub mod signature;

use std::fmt;
use std::str::FromStr;

use self::percent::encoded;
use self::reading::{Values, groupspec_value, of_values};
use super::chunker::CHUNK_SIZE;
use super::descriptor::Descriptor;
use super::hash::Digest256;
use super::layout::Layout;
use crate::driver::ascii_host;
use crate::text::{self, HostPort, SyntaxError, decimal, ipv6_and_zone};

pub use self::catalogue::CatalogueLink;
pub(super) use self::percent::decoded_lossy;
pub use self::signature::{LinkKey, LinkSignature, PublicKey};

/// Scheme of a share link.
pub const SCHEME: &str = "rtmfp-share";

/// The version of links that this program writes and reads.
pub const LINK_VERSION: u32 = 1;

/// UDP port of a rendezvous server when an address names none (RFC 7425 §5.1.1).
pub const DEFAULT_PORT: u16 = 1935;

/// The longest link that is accepted, in bytes.
pub const MAX_LINK_LEN: usize = 16 * 1024;

/// The longest URL of an origin that is accepted, in bytes.
pub const MAX_ORIGIN_LEN: usize = 4096;

/// The most rendezvous servers in a link.
pub const MAX_SERVERS: usize = 8;

const EXAMPLE: &str =
    "rtmfp-share://203.0.113.5:1935/1/group=G:0102…/descriptor=9f86…/name=film.mp4";

/// Why a text is not a share link, and the position of the error.
pub type LinkError = SyntaxError<LinkProblem>;

/// Why a text is not a share link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkProblem {
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
    /// A space or line break in the link.
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
    /// An invalid server address.
    #[error("{0:?} in the share link is not a server address (HOST, HOST:PORT or [IPv6]:PORT)")]
    Address(String),
    /// More than [`MAX_SERVERS`].
    #[error("more than 8 servers in the share link")]
    TooManyServers,
    /// A path segment that is not `KEY=VALUE`.
    #[error("{0:?} in the share link is not of the form key=value")]
    NotAPair(String),
    /// A key that may appear only once appears twice.
    #[error("{0}= is in the share link twice")]
    Duplicate(String),
    /// A required key is missing.
    #[error("{0}= is missing in the share link: was it cut off?")]
    Missing(&'static str),
    /// Two keys that exclude each other.
    #[error("the share link has both descriptor= and sha256=, only one can be meant")]
    BothIntegrities,
    /// The signature is not one of this link.
    #[error(
        "the signature in the share link does not match it: the link was changed, do not trust it"
    )]
    WrongSignature,
    /// The link of a catalogue instead of a share link.
    #[error(
        "this is the link of a catalogue, a list of shares: `rtmfp fetch` lists them, and `rtmfp watch` \
         shows them to choose from"
    )]
    Catalogue,
    /// A share link instead of that of a catalogue.
    #[error("catalogue= is missing in the link: it leads to a share, not to a catalogue")]
    NotACatalogue,
    /// A value of the wrong form.
    #[error("{key}= in the share link: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// The problem with the value.
        problem: String,
    },
}

/// The data in the link by which the file is verified.
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
    /// Nothing: a file shared by a Flash application. Whatever the group sends is accepted.
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
    /// An address of `host`: a DNS name, which may be internationalised, an IPv4 address, or an
    /// IPv6 address without brackets, which may have a zone (`fe80::1%eth0`).
    pub fn new(host: &str, port: u16) -> Result<Self, LinkError> {
        let is_ipv6 = ipv6_and_zone(host).is_some();
        let is_name = !host.is_empty()
            && host.len() <= 253
            && !host.starts_with('-')
            && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c))
            && ascii_host(host).is_ok();
        if port == 0 || !(is_ipv6 || is_name) {
            return Err(LinkProblem::Address(host.to_owned()).into());
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
        let error = || LinkError::from(LinkProblem::Address(text.to_owned()));
        let HostPort { host, bracketed, port } = HostPort::parse(text).ok_or_else(error)?;
        if bracketed != ipv6_and_zone(host).is_some() {
            return Err(error());
        }
        let port = port.map_or(Some(DEFAULT_PORT), decimal).ok_or_else(error)?;
        Self::new(host, port).map_err(|_| error())
    }
}

impl Integrity {
    /// The descriptor as far as the link alone defines it: in the Number form, in which nothing
    /// that the group sends could be verified.
    pub fn descriptor(&self) -> Option<Descriptor> {
        let Self::File { sha256, size, chunk_size } = *self else { return None };
        let layout = Layout::of_size(size, chunk_size).ok()?;
        Some(Descriptor { sha256: Some(sha256), ..Descriptor::of_layout(layout) })
    }
}

/// Everything needed to fetch a shared file. The module documentation has the text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLink {
    /// The rendezvous servers in the order in which to try them, at most [`MAX_SERVERS`]. Without any,
    /// members find each other on the local network alone.
    pub servers: Vec<ServerAddress>,
    /// Application name for the connection to the server; may be empty.
    pub app: String,
    /// The groupspec, `G:` and hexadecimal digits, exactly as all members must use it.
    pub groupspec: String,
    /// The data by which the file is verified.
    pub integrity: Integrity,
    /// Name of the file. Not safe as a path: see
    /// [`safe_file_name`](super::file_name::safe_file_name).
    pub name: Option<String>,
    /// The signature of whoever vouches for the link. One that was read has been verified.
    pub signature: Option<LinkSignature>,
    /// Number of files, if the share has several. It is a hint: the descriptor lists them.
    pub files: Option<u32>,
    /// Peer ID of the provider.
    pub provider: Option<Digest256>,
    /// Whoever fetches asks the provider only for chunks that nobody else has.
    pub spares_provider: bool,
    /// URL of a web server that has the same file, `http` or `https`, without user name, password and
    /// fragment.
    pub origin: Option<String>,
}

impl ShareLink {
    /// A link with only the servers and the group.
    ///
    /// # Errors
    ///
    /// More than [`MAX_SERVERS`], or `groupspec` is not `G:` and hexadecimal digits.
    pub fn new(servers: Vec<ServerAddress>, groupspec: &str) -> Result<Self, LinkError> {
        if servers.len() > MAX_SERVERS {
            return Err(LinkProblem::TooManyServers.into());
        }
        Ok(Self {
            servers,
            app: String::new(),
            groupspec: text::parse(groupspec, groupspec_value, LinkProblem::NotALink)?,
            integrity: Integrity::None,
            name: None,
            signature: None,
            files: None,
            provider: None,
            spares_provider: false,
            origin: None,
        })
    }

    /// The identity of this download: a hash of the group and of the data by which the file is
    /// verified. The same file fetched through another server is the same download.
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
        write!(f, "{SCHEME}://")?;
        if let Some(server) = self.servers.first() {
            write!(f, "{server}")?;
        }
        write!(f, "/{LINK_VERSION}/group={}", self.groupspec)?;
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
        for server in self.servers.iter().skip(1) {
            write!(f, "/also={server}")?;
        }
        if let Some(provider) = &self.provider {
            write!(f, "/provider={provider}")?;
        }
        if self.spares_provider {
            f.write_str("/spare=provider")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, "/origin={}", encoded(origin))?;
        }
        if let Some(LinkSignature { key, signature }) = &self.signature {
            write!(f, "/key={key}/signature=")?;
            signature.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        if let Some(files) = self.files {
            write!(f, "/files={files}")?;
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
            return Err(LinkProblem::TooLong(text.len()).into());
        }
        text::parse(text, |text| of_values(text, Values::into_link), LinkProblem::NotALink)
    }
}

/// Why a URL cannot be that of an origin: only its outer form counts.
pub(super) fn check_origin(url: &str) -> Result<(), &'static str> {
    let after = |scheme: &str| {
        url.get(..scheme.len())
            .filter(|start| start.eq_ignore_ascii_case(scheme))
            .and_then(|_| url.get(scheme.len()..))
    };
    let rest = after("https://").or_else(|| after("http://"));
    let rest = rest.ok_or("a URL with http:// or https:// is expected")?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    match url {
        _ if url.len() > MAX_ORIGIN_LEN => Err("the URL is longer than 4096 bytes"),
        _ if authority.is_empty() => Err("the URL names no host"),
        _ if authority.contains('@') => Err(
            "the URL has a user name or password, which everybody who has the link could read: share \
             what the web server gives to everybody, or download the file and share that",
        ),
        _ if url.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("there is a space or line break in the URL")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
