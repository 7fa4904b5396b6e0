//! [`GroupSpecBuilder`]: Flash's `GroupSpecifier`.

use super::{GroupSpec, GroupSpecError, IpMulticastAddress, encode_hex, kind, password};
use crate::crypto::Fingerprint;
use crate::wire::option::{encode_option, encode_vlu_option};

/// Builds a groupspec with the options in the order in which Flash Player writes them, so that the
/// same settings give the same group in both.
///
/// Everything is off by default; the version is 1, which every player understands.
#[derive(Debug, Clone)]
pub struct GroupSpecBuilder {
    name: String,
    version: u64,
    capabilities: Vec<u64>,
    publish: Option<Password>,
    posting: Option<Password>,
    unique: Option<[u8; 32]>,
    multicast: Vec<IpMulticastAddress>,
    bootstrap: Vec<Fingerprint>,
}

#[derive(Debug, Clone)]
struct Password {
    password: String,
    salt: String,
}

impl GroupSpecBuilder {
    /// A builder for the group `name`, on which all members must agree.
    ///
    /// # Errors
    /// [`GroupSpecError::EmptyName`].
    pub fn new(name: &str) -> Result<Self, GroupSpecError> {
        if name.is_empty() {
            return Err(GroupSpecError::EmptyName);
        }
        Ok(Self {
            name: name.to_owned(),
            version: 1,
            capabilities: Vec::new(),
            publish: None,
            posting: None,
            unique: None,
            multicast: Vec::new(),
            bootstrap: Vec::new(),
        })
    }

    /// The groupspec version to write, clamped to 1 and 2. Flash Player 10.3 knows only 1.
    pub fn version(mut self, version: u64) -> Self {
        self.version = version.clamp(1, super::MAX_VERSION);
        self
    }

    /// Allows directed routing.
    pub fn routing(self, enabled: bool) -> Self {
        self.capability(kind::ROUTING, enabled)
    }

    /// Allows streams.
    pub fn multicast(self, enabled: bool) -> Self {
        self.capability(kind::MULTICAST, enabled)
    }

    /// Allows object replication.
    pub fn object_replication(self, enabled: bool) -> Self {
        self.capability(kind::OBJECT_REPLICATION, enabled)
    }

    /// Allows posting.
    pub fn posting(self, enabled: bool) -> Self {
        self.capability(kind::POSTING, enabled)
    }

    /// Lets members join at the server, which then introduces them to each other.
    pub fn server_channel(self, enabled: bool) -> Self {
        self.capability(kind::SERVER_CHANNEL, enabled)
    }

    /// Forbids neighbor connections.
    pub fn peer_to_peer_disabled(self, disabled: bool) -> Self {
        self.capability(kind::PEER_TO_PEER_DISABLED, disabled)
    }

    /// Lets members announce themselves on the IP multicast addresses.
    pub fn ip_multicast_member_updates(self, enabled: bool) -> Self {
        self.capability(kind::MEMBER_UPDATES, enabled)
    }

    /// Requires a password from members that publish. `salt` should be random or empty; an empty
    /// password removes the requirement.
    pub fn publish_password(mut self, password: &str, salt: &str) -> Self {
        self.publish = Password::new(password, salt);
        self
    }

    /// Requires a password from members that post. `salt` should be random or empty; an empty
    /// password removes the requirement.
    pub fn posting_password(mut self, password: &str, salt: &str) -> Self {
        self.posting = Password::new(password, salt);
        self
    }

    /// Makes the group distinct from every other of the same name. `tag` must come from a strong
    /// random source.
    pub fn make_unique(mut self, tag: [u8; 32]) -> Self {
        self.unique = Some(tag);
        self
    }

    /// Adds an IP multicast address to listen on. One that is none is an error of
    /// [`build`](Self::build).
    pub fn ip_multicast_address(mut self, address: IpMulticastAddress) -> Self {
        self.multicast.push(address);
        self
    }

    /// Adds a peer to connect to at once after joining.
    pub fn bootstrap_peer(mut self, peer: Fingerprint) -> Self {
        self.bootstrap.push(peer);
        self
    }

    /// The groupspec, with the authorizations for the passwords that were set.
    ///
    /// # Errors
    /// [`GroupSpecError::IpMulticast`], [`GroupSpecError::TooLong`], or too many options.
    pub fn build(&self) -> Result<GroupSpec, GroupSpecError> {
        if let Some(wrong) = self.multicast.iter().find(|address| !address.is_valid()) {
            return Err(GroupSpecError::IpMulticast(*wrong));
        }
        let mut text =
            format!("G:{}00{}", encode_hex(&self.canonical()), encode_hex(&self.extras()));
        for (kind, password) in
            [(kind::PUBLISH_PASSWORD, &self.publish), (kind::POSTING_PASSWORD, &self.posting)]
        {
            if let Some(p) = password {
                text.push_str(&password::authorization(kind, &p.password));
            }
        }
        GroupSpec::parse(&text)
    }

    fn capability(mut self, kind: u64, enabled: bool) -> Self {
        self.capabilities.retain(|&k| k != kind);
        if enabled {
            self.capabilities.push(kind);
        }
        self
    }

    fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.version > 1 {
            encode_vlu_option(kind::VERSION, self.version, &mut out);
        }
        self.flags(
            &[kind::ROUTING, kind::MULTICAST, kind::OBJECT_REPLICATION, kind::POSTING],
            &mut out,
        );
        for (kind, password) in
            [(kind::PUBLISH_HASH, &self.publish), (kind::POSTING_HASH, &self.posting)]
        {
            if let Some(p) = password {
                encode_option(kind, &password::hash(&p.password, &p.salt), &mut out);
            }
        }
        self.flags(&[kind::SERVER_CHANNEL, kind::PEER_TO_PEER_DISABLED], &mut out);
        encode_option(kind::TAG, self.name.as_bytes(), &mut out);
        if let Some(tag) = &self.unique {
            encode_option(kind::TAG, tag, &mut out);
        }
        self.flags(&[kind::MEMBER_UPDATES], &mut out);
        out
    }

    fn extras(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for address in &self.multicast {
            encode_option(kind::IP_MULTICAST, &address.value(), &mut out);
        }
        for peer in &self.bootstrap {
            encode_option(kind::BOOTSTRAP_PEER, &peer.0, &mut out);
        }
        out
    }

    fn flags(&self, kinds: &[u64], out: &mut Vec<u8>) {
        for &kind in kinds.iter().filter(|kind| self.capabilities.contains(kind)) {
            encode_option(kind, &[], out);
        }
    }
}

impl Password {
    fn new(password: &str, salt: &str) -> Option<Self> {
        let some = Self { password: password.to_owned(), salt: salt.to_owned() };
        (!password.is_empty()).then_some(some)
    }
}
