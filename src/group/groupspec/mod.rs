//! The groupspec string: `G:` and the hexadecimal of an option list, a marker, and more options.
//!
//! The part before the marker is the *canonical text* (with the `G:`). It identifies the group
//! (the group ID is its hash) and is the secret that members prove to each other. The part after the
//! marker (multicast addresses, bootstrap peers, passwords) does not change the identity
//! (`protocol-notes/netgroup-membership.md`, groupspec).
//!
//! A string made by someone else is hashed as given, never rewritten: option order and the case of
//! the digits are part of the identity.

mod builder;
mod multicast;
mod password;

pub use builder::GroupSpecBuilder;
pub use multicast::{IpMulticastAddress, ParseIpMulticastError};

use crate::crypto::Fingerprint;
use crate::flash::group_channel::{GroupId, JoinKey};
use crate::text::hex_bytes;
use crate::wire::option::{self, Item, OptionRef};
use crate::wire::{WireError, vlu};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The longest groupspec string that is accepted, in characters.
pub const MAX_TEXT: usize = 16 * 1024;

/// The highest groupspec version that is supported.
pub const MAX_VERSION: u64 = 2;

/// Option types of a groupspec, in the order in which Flash Player writes them.
pub(crate) mod kind {
    pub(crate) const VERSION: u64 = 0x7f;
    pub(crate) const ROUTING: u64 = 0x00;
    pub(crate) const MULTICAST: u64 = 0x01;
    pub(crate) const OBJECT_REPLICATION: u64 = 0x02;
    pub(crate) const POSTING: u64 = 0x03;
    pub(crate) const PUBLISH_HASH: u64 = 0x05;
    pub(crate) const POSTING_HASH: u64 = 0x07;
    pub(crate) const SERVER_CHANNEL: u64 = 0x0c;
    pub(crate) const PEER_TO_PEER_DISABLED: u64 = 0x0d;
    pub(crate) const TAG: u64 = 0x0e;
    pub(crate) const MEMBER_UPDATES: u64 = 0x1b;
    pub(crate) const IP_MULTICAST: u64 = 0x0a;
    pub(crate) const BOOTSTRAP_PEER: u64 = 0x0b;
    pub(crate) const PUBLISH_PASSWORD: u64 = 0x15;
    pub(crate) const POSTING_PASSWORD: u64 = 0x17;
}

/// An error in a groupspec. The author of the string is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupSpecError {
    /// The string does not start with `G:`.
    #[error("a groupspec starts with \"G:\"")]
    Prefix,
    /// More than [`MAX_TEXT`] characters.
    #[error("groupspec of {0} characters, more than the accepted {MAX_TEXT}")]
    TooLong(usize),
    /// The byte of the string at this index is not a hexadecimal digit.
    #[error("character {} of the groupspec is not a hexadecimal digit", .0 + 1)]
    Hex(usize),
    /// The last byte lacks its second digit.
    #[error("the groupspec has an odd number of hexadecimal digits: was it cut off?")]
    OddDigits,
    /// The bytes are not an option list.
    #[error("groupspec option list: {0}: was it cut off?")]
    Options(#[from] WireError),
    /// The canonical part has no end marker (`00`).
    #[error("the groupspec has no end marker after its canonical part: was it cut off?")]
    NoMarker,
    /// The group needs a version that is not supported.
    #[error("groupspec version {0}, newer than {MAX_VERSION}")]
    Version(u64),
    /// A group needs a name.
    #[error("the group name is empty")]
    EmptyName,
    /// An address to listen on that is no multicast address, has no port, or has a source of the other
    /// family.
    #[error("{0} is no IP multicast address with a port")]
    IpMulticast(IpMulticastAddress),
}

/// A groupspec: the string as given or built, and its options.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupSpec {
    text: String,
    bytes: Vec<u8>,
    marker: usize,
    version: u64,
}

impl GroupSpec {
    /// Parses a groupspec string.
    pub fn parse(text: &str) -> Result<Self, GroupSpecError> {
        if text.len() > MAX_TEXT {
            return Err(GroupSpecError::TooLong(text.len()));
        }
        let digits = text.strip_prefix("G:").ok_or(GroupSpecError::Prefix)?;
        let bytes = hex_bytes(digits).map_err(|place| match place {
            "" => GroupSpecError::OddDigits,
            _ => GroupSpecError::Hex(text.len() - place.len()),
        })?;
        let marker = find_marker(&bytes)?;
        let mut spec = Self { text: text.to_owned(), bytes, marker, version: 1 };
        option::items(spec.tail()).try_for_each(|item| item.map(drop))?;
        let written = spec.canonical_options().find(|o| o.kind == kind::VERSION);
        let version = written.map(|o| vlu::parse("groupspec.version", o.value)).transpose()?;
        spec.version = version.map_or(1, |(version, _)| version);
        if spec.version > MAX_VERSION {
            return Err(GroupSpecError::Version(spec.version));
        }
        Ok(spec)
    }

    /// The whole string, including authorizations. It may contain passwords.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The canonical text `T`: from `G:` up to the marker, exclusive. The key of membership proofs.
    pub fn canonical_text(&self) -> &str {
        self.text.get(..2 + 2 * self.marker).unwrap_or(&self.text)
    }

    /// The group's identity: SHA-256 of the canonical text; for version 2, hashed a second time.
    pub fn group_id(&self) -> GroupId {
        let once = GroupId::of_canonical_text(self.canonical_text().as_bytes());
        if self.version < 2 { once } else { GroupId(Sha256::digest(once.0).into()) }
    }

    /// The key with which a member joins at the server: the canonical text for version 1, the group
    /// ID for version 2.
    pub(super) fn join_key(&self) -> JoinKey {
        match self.version {
            1 => JoinKey::CanonicalText(Bytes::copy_from_slice(self.canonical_text().as_bytes())),
            _ => JoinKey::GroupId(self.group_id()),
        }
    }

    /// The groupspec version, 1 if none is written.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The group name, or an empty string if there is none. Bytes that are not UTF-8 are replaced.
    pub fn name(&self) -> String {
        let name = self.canonical_options().find(|o| o.kind == kind::TAG);
        String::from_utf8_lossy(name.map_or(&[][..], |o| o.value)).into_owned()
    }

    /// True if directed routing (sendToNearest and so on) is allowed.
    pub fn routing_enabled(&self) -> bool {
        self.has(kind::ROUTING)
    }

    /// True if streams may be published in the group.
    pub fn multicast_enabled(&self) -> bool {
        self.has(kind::MULTICAST)
    }

    /// True if objects may be replicated.
    pub fn object_replication_enabled(&self) -> bool {
        self.has(kind::OBJECT_REPLICATION)
    }

    /// True if messages may be posted.
    pub fn posting_enabled(&self) -> bool {
        self.has(kind::POSTING)
    }

    /// True if members may join the group at the server.
    pub fn server_channel_enabled(&self) -> bool {
        self.has(kind::SERVER_CHANNEL)
    }

    /// True if neighbor connections are forbidden.
    pub fn peer_to_peer_disabled(&self) -> bool {
        self.has(kind::PEER_TO_PEER_DISABLED)
    }

    /// True if members announce themselves on the IP multicast addresses.
    pub fn ip_multicast_member_updates_enabled(&self) -> bool {
        self.has(kind::MEMBER_UPDATES)
    }

    /// True if this node may publish: no publish password is set, or the string carries the right
    /// one.
    pub fn may_publish(&self) -> bool {
        self.authorized(kind::PUBLISH_HASH, kind::PUBLISH_PASSWORD)
    }

    /// True if this node may post: no posting password is set, or the string carries the right one.
    pub fn may_post(&self) -> bool {
        self.authorized(kind::POSTING_HASH, kind::POSTING_PASSWORD)
    }

    /// The IP multicast addresses to listen on. Values of unknown length are skipped.
    pub fn ip_multicast_addresses(&self) -> Vec<IpMulticastAddress> {
        let values = self.tail_options().filter(|o| o.kind == kind::IP_MULTICAST);
        values.filter_map(|o| IpMulticastAddress::from_value(o.value)).collect()
    }

    /// True if members find each other on the local network: they announce themselves, and there is
    /// an IP multicast address to do so.
    pub fn meets_on_lan(&self) -> bool {
        self.ip_multicast_member_updates_enabled()
            && self.ip_multicast_addresses().iter().any(IpMulticastAddress::is_valid)
    }

    /// The peers to connect to at once after joining. Values that are not a peer ID are skipped.
    pub fn bootstrap_peers(&self) -> Vec<Fingerprint> {
        let values = self.tail_options().filter(|o| o.kind == kind::BOOTSTRAP_PEER);
        values.filter_map(|o| o.value.try_into().ok().map(Fingerprint)).collect()
    }

    /// The string without passwords, for members that must not publish or post.
    pub fn without_authorizations(&self) -> String {
        let mut tail = Vec::new();
        let kept = |k| k != kind::PUBLISH_PASSWORD && k != kind::POSTING_PASSWORD;
        for option in self.tail_options().filter(|o| kept(o.kind)) {
            option::encode_option(option.kind, option.value, &mut tail);
        }
        format!("{}00{}", self.canonical_text(), encode_hex(&tail))
    }

    /// The passwords alone, to be appended to a groupspec without them. Empty if there are none.
    pub fn authorizations(&self) -> String {
        let mut passwords = Vec::new();
        let is_password = |k| k == kind::PUBLISH_PASSWORD || k == kind::POSTING_PASSWORD;
        for option in self.tail_options().filter(|o| is_password(o.kind)) {
            option::encode_option(option.kind, option.value, &mut passwords);
        }
        encode_hex(&passwords)
    }

    /// Every option before the marker, known or not, in order.
    pub fn canonical_options(&self) -> impl Iterator<Item = OptionRef<'_>> {
        known_good(self.bytes.get(..self.marker).unwrap_or_default())
    }

    /// Every option after the marker, known or not, in order.
    pub fn tail_options(&self) -> impl Iterator<Item = OptionRef<'_>> {
        known_good(self.tail())
    }

    fn has(&self, wanted: u64) -> bool {
        self.canonical_options().any(|o| o.kind == wanted)
    }

    fn authorized(&self, hash: u64, password: u64) -> bool {
        let mut hashes = self.canonical_options().filter(|o| o.kind == hash).peekable();
        if hashes.peek().is_none() {
            return true;
        }
        let given: Vec<_> = self.tail_options().filter(|o| o.kind == password).collect();
        hashes.all(|h| given.iter().any(|g| password::matches(h.value, g.value)))
    }

    fn tail(&self) -> &[u8] {
        self.bytes.get(self.marker + 1..).unwrap_or_default()
    }
}

impl FromStr for GroupSpec {
    type Err = GroupSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The whole string, including authorizations, as in the Flash API.
impl fmt::Display for GroupSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Name and identity; never the canonical text, which is the group's secret, nor a password.
impl fmt::Debug for GroupSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("GroupSpec");
        fields.field("name", &self.name()).field("id", &self.group_id()).finish_non_exhaustive()
    }
}

/// The fragment that authorizes a member to publish; append it to a groupspec string.
pub fn encode_publish_authorization(password: &str) -> String {
    password::authorization(kind::PUBLISH_PASSWORD, password)
}

/// The fragment that authorizes a member to post; append it to a groupspec string.
pub fn encode_posting_authorization(password: &str) -> String {
    password::authorization(kind::POSTING_PASSWORD, password)
}

/// The fragment that adds an IP multicast address to listen on; append it to a groupspec string.
pub fn encode_ip_multicast_address_spec(address: &IpMulticastAddress) -> String {
    encode_hex_option(kind::IP_MULTICAST, &address.value())
}

/// The fragment that adds a peer to connect to at once after joining; append it to a groupspec string.
pub fn encode_bootstrap_peer_id_spec(peer: &Fingerprint) -> String {
    encode_hex_option(kind::BOOTSTRAP_PEER, &peer.0)
}

fn encode_hex_option(kind: u64, value: &[u8]) -> String {
    let mut bytes = Vec::new();
    option::encode_option(kind, value, &mut bytes);
    encode_hex(&bytes)
}

fn known_good(bytes: &[u8]) -> impl Iterator<Item = OptionRef<'_>> {
    option::items(bytes).filter_map(|item| match item {
        Ok(Item::Option(option)) => Some(option),
        _ => None,
    })
}

/// The offset of the marker, in bytes.
fn find_marker(bytes: &[u8]) -> Result<usize, GroupSpecError> {
    let mut items = option::items(bytes);
    loop {
        let offset = items.offset();
        match items.next() {
            None => return Err(GroupSpecError::NoMarker),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(Item::Marker)) => return Ok(offset),
            Some(Ok(Item::Option(_))) => {}
        }
    }
}

pub(crate) fn encode_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
