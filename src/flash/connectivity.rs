//! The results of a connectivity check, which a server sends its client as
//! `NetConnection.ConnectivityCheck.Results` (`protocol-notes/connectivity.md`).

use crate::amf::{Object, Value};
use std::net::SocketAddr;

/// `code` of the NetStatus event.
pub const CODE: &str = "NetConnection.ConnectivityCheck.Results";
/// The method by which a client of our server asks for a check.
pub const METHOD: &str = "checkConnectivity";

/// The host of Adobe's checker: who connects to it by this name wants a check.
pub const ADOBE_HOST: &str = "cc.rtmfp.net";
/// The application of our server that stands for it.
pub const APPLICATION: &str = "cc";

/// What a server has found out about the way to a client. `None` is what was not tested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connectivity {
    /// The client's address as the server sees it.
    pub public_address: Option<SocketAddr>,
    /// The addresses that the client has reported.
    pub local_addresses: Vec<SocketAddr>,
    /// The public address is one of those: there is no address translator.
    pub public_address_is_local: Option<bool>,
    /// The port of the public address is that of a reported one: a translator, if there is one, has kept
    /// it.
    pub public_port_matches_local_port: Option<bool>,
    /// A datagram that the client had not asked for has arrived there, from the server's address and
    /// another port.
    pub receive_same_address_different_port: Option<bool>,
    /// The same, from another address.
    pub receive_different_address_different_port: Option<bool>,
    /// The client was introduced to another address of the server (to another port, if the server has
    /// one address), and a datagram of it has arrived there.
    pub send_after_introduction: Option<bool>,
    /// That datagram came from the client's public address and port.
    pub preserves_source_address: Option<bool>,
    /// It came from the port of that.
    pub preserves_source_port: Option<bool>,
    /// The client's address as another port of the same server sees it. Only from our server.
    pub seen_from_other_port: Option<SocketAddr>,
    /// The client's address as another address of the server sees it. Only from our server.
    pub seen_from_other_address: Option<SocketAddr>,
}

/// On what the behavior of an address translator depends (RFC 4787 §4.1 and §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dependence {
    /// On nothing: one public port for all far ends, or a port that is open to all.
    EndpointIndependent,
    /// On nothing or on the far address, but not on its port. A server with one address can't tell.
    PortIndependent,
    /// On the far address.
    AddressDependent,
    /// On the far address and port.
    AddressAndPortDependent,
    /// On the far address, or on address and port.
    Dependent,
}

impl Dependence {
    /// As it is called in RFC 4787.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::PortIndependent => "port-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Dependent => "dependent",
        }
    }
}

/// `None` where nothing was tested, or nothing arrived.
impl Connectivity {
    /// On what the public address of the client depends.
    pub fn mapping(&self) -> Option<Dependence> {
        let public = self.public_address?;
        let port = self.seen_from_other_port.map(|seen| seen == public);
        match self.seen_from_other_address.map(|seen| seen == public) {
            Some(true) => return Some(Dependence::EndpointIndependent),
            Some(false) if port == Some(true) => return Some(Dependence::AddressDependent),
            Some(false) if port == Some(false) => return Some(Dependence::AddressAndPortDependent),
            Some(false) => return Some(Dependence::Dependent),
            None => {}
        }
        match port {
            Some(true) => return Some(Dependence::PortIndependent),
            Some(false) => return Some(Dependence::AddressAndPortDependent),
            None => {}
        }
        let kept =
            self.preserves_source_address.filter(|_| self.send_after_introduction == Some(true))?;
        Some(if kept { Dependence::EndpointIndependent } else { Dependence::Dependent })
    }

    /// On what it depends whether a datagram gets in.
    pub fn filtering(&self) -> Option<Dependence> {
        let other_port = self.receive_same_address_different_port;
        match (self.receive_different_address_different_port, other_port) {
            (Some(true), _) => Some(Dependence::EndpointIndependent),
            (Some(false), Some(true)) => Some(Dependence::AddressDependent),
            (_, Some(false)) => Some(Dependence::AddressAndPortDependent),
            (None, Some(true)) => Some(Dependence::PortIndependent),
            (Some(false), None) => Some(Dependence::Dependent),
            (None, None) => None,
        }
    }

    /// The information object of the NetStatus event: the members of Adobe's, and two more.
    pub fn to_info(&self) -> Value {
        let flag = |flag: Option<bool>| flag.map_or(Value::Null, Value::from);
        let address = |address: Option<SocketAddr>| {
            address.map_or(Value::Null, |address| Value::from(address.to_string().as_str()))
        };
        let local = self.local_addresses.iter().map(|it| Value::from(it.to_string().as_str()));
        Object::new()
            .with("level", "status")
            .with("code", CODE)
            .with("description", "Connectivity Check results")
            .with("publicAddress", address(self.public_address))
            .with("localAddresses", Value::array(local))
            .with("publicAddressIsLocal", flag(self.public_address_is_local))
            .with("publicPortMatchesLocalPort", flag(self.public_port_matches_local_port))
            // It connected.
            .with("receiveSameAddressSamePortAllowed", true)
            .with(SAME_ADDRESS, flag(self.receive_same_address_different_port))
            .with(DIFFERENT_ADDRESS, flag(self.receive_different_address_different_port))
            .with("sendAfterIntroductionAllowed", flag(self.send_after_introduction))
            .with(PRESERVES_ADDRESS, flag(self.preserves_source_address))
            .with(PRESERVES_PORT, flag(self.preserves_source_port))
            .with("seenFromOtherPort", address(self.seen_from_other_port))
            .with("seenFromOtherAddress", address(self.seen_from_other_address))
            .into()
    }

    /// Reads the information object; what it does not have, or has in another form, is `None`.
    pub fn from_info(info: &Value) -> Self {
        let flag = |name| info.property(name).and_then(Value::as_bool);
        let parse = |value: &Value| value.as_str()?.parse().ok();
        let address = |name| info.property(name).and_then(parse);
        let local = info.property("localAddresses").and_then(Value::elements).unwrap_or_default();
        Self {
            public_address: address("publicAddress"),
            local_addresses: local.iter().filter_map(parse).collect(),
            public_address_is_local: flag("publicAddressIsLocal"),
            public_port_matches_local_port: flag("publicPortMatchesLocalPort"),
            receive_same_address_different_port: flag(SAME_ADDRESS),
            receive_different_address_different_port: flag(DIFFERENT_ADDRESS),
            send_after_introduction: flag("sendAfterIntroductionAllowed"),
            preserves_source_address: flag(PRESERVES_ADDRESS),
            preserves_source_port: flag(PRESERVES_PORT),
            seen_from_other_port: address("seenFromOtherPort"),
            seen_from_other_address: address("seenFromOtherAddress"),
        }
    }
}

const SAME_ADDRESS: &str = "receiveSameAddressDifferentPortAllowed";
const DIFFERENT_ADDRESS: &str = "receiveDifferentAddressDifferentPortAllowed";
const PRESERVES_ADDRESS: &str = "sendAfterIntroductionPreservesSourceAddress";
const PRESERVES_PORT: &str = "sendAfterIntroductionPreservesSourcePort";

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        let results = Connectivity {
            public_address: socket("192.0.2.1:5"),
            local_addresses: vec![
                "10.0.0.1:5".parse().unwrap(),
                "[2001:db8::1]:5".parse().unwrap(),
            ],
            public_address_is_local: Some(false),
            receive_same_address_different_port: Some(true),
            seen_from_other_port: socket("192.0.2.1:6"),
            ..Connectivity::default()
        };
        assert_eq!(Connectivity::from_info(&results.to_info()), results);
    }

    #[test]
    fn hostile_results_are_nothing() {
        let info = Value::object([("publicAddress", "::"), ("localAddresses", "1.2.3.4:5")]);
        assert_eq!(Connectivity::from_info(&info), Connectivity::default());
        assert_eq!(Connectivity::from_info(&Value::Null), Connectivity::default());
    }

    #[test]
    fn mappings() {
        let (public, other) = (socket("192.0.2.1:5"), socket("192.0.2.1:6"));
        let mapping = |port, address| {
            let seen_from = (port, address);
            Connectivity {
                public_address: public,
                seen_from_other_port: seen_from.0,
                seen_from_other_address: seen_from.1,
                ..Connectivity::default()
            }
            .mapping()
        };
        assert_eq!(mapping(public, public), Some(Dependence::EndpointIndependent));
        assert_eq!(mapping(public, other), Some(Dependence::AddressDependent));
        assert_eq!(mapping(other, other), Some(Dependence::AddressAndPortDependent));
        assert_eq!(mapping(public, None), Some(Dependence::PortIndependent));
        assert_eq!(mapping(other, None), Some(Dependence::AddressAndPortDependent));
        assert_eq!(mapping(None, other), Some(Dependence::Dependent));
        assert_eq!(mapping(None, None), None);
    }

    /// As another server reports them, which has no addresses in its results.
    #[test]
    fn mappings_by_flags_alone() {
        let mapping = |arrived, kept| {
            Connectivity {
                public_address: socket("192.0.2.1:5"),
                send_after_introduction: arrived,
                preserves_source_address: kept,
                ..Connectivity::default()
            }
            .mapping()
        };
        assert_eq!(mapping(Some(true), Some(true)), Some(Dependence::EndpointIndependent));
        assert_eq!(mapping(Some(true), Some(false)), Some(Dependence::Dependent));
        assert_eq!(mapping(Some(false), Some(false)), None);
        assert_eq!(mapping(None, None), None);
    }

    #[test]
    fn filterings() {
        let filtering = |port, address| {
            Connectivity {
                receive_same_address_different_port: port,
                receive_different_address_different_port: address,
                ..Connectivity::default()
            }
            .filtering()
        };
        assert_eq!(filtering(Some(true), Some(true)), Some(Dependence::EndpointIndependent));
        assert_eq!(filtering(Some(true), Some(false)), Some(Dependence::AddressDependent));
        assert_eq!(filtering(Some(false), Some(false)), Some(Dependence::AddressAndPortDependent));
        assert_eq!(filtering(Some(true), None), Some(Dependence::PortIndependent));
        assert_eq!(filtering(Some(false), None), Some(Dependence::AddressAndPortDependent));
        assert_eq!(filtering(None, None), None);
    }
}
