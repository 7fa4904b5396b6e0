//! IP multicast addresses in a groupspec (option type 0x0A).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// An IP multicast group with its UDP port and, for source-specific multicast, the only source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpMulticastAddress {
    /// The multicast address and port.
    pub group: SocketAddr,
    /// The source to which reception is restricted; of the same family as the group.
    pub source: Option<IpAddr>,
}

/// A text that is not a multicast address with a port.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an IP multicast address with a port: {0:?}")]
pub struct ParseIpMulticastError(String);

impl IpMulticastAddress {
    /// The address that this program takes when none is given: one that routers keep within a site (RFC
    /// 2365), with the port that Adobe's examples have.
    pub const LAN: Self = Self {
        group: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 19, 35)), 30_303),
        source: None,
    };

    /// Parses an option value: address, port and optional source address, distinguished by length.
    pub(super) fn from_value(value: &[u8]) -> Option<Self> {
        let (ip, rest) = match value.len() {
            6 | 10 => split_v4(value)?,
            18 | 34 => split_v6(value)?,
            _ => return None,
        };
        let (port, source) = rest.split_first_chunk::<2>()?;
        let source = match source.len() {
            4 => Some(split_v4(source)?.0),
            16 => Some(split_v6(source)?.0),
            _ => None,
        };
        Some(Self { group: SocketAddr::new(ip, u16::from_be_bytes(*port)), source })
    }

    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(34);
        push_ip(self.group.ip(), &mut value);
        value.extend_from_slice(&self.group.port().to_be_bytes());
        if let Some(source) = self.source {
            push_ip(source, &mut value);
        }
        value
    }

    /// True if the address is a multicast address and the source, if any, of the same family.
    pub fn is_valid(&self) -> bool {
        let same_family = self.source.is_none_or(|s| s.is_ipv4() == self.group.is_ipv4());
        self.group.ip().is_multicast() && self.group.port() != 0 && same_family
    }
}

impl FromStr for IpMulticastAddress {
    type Err = ParseIpMulticastError;

    /// Parses `a.b.c.d:port` or `[v6]:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIpMulticastError(text.to_owned());
        let address = Self { group: text.parse().map_err(|_| error())?, source: None };
        if address.is_valid() { Ok(address) } else { Err(error()) }
    }
}

impl fmt::Display for IpMulticastAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(source) => write!(f, "{} from {source}", self.group),
            None => write!(f, "{}", self.group),
        }
    }
}

fn split_v4(bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    bytes.split_first_chunk::<4>().map(|(ip, rest)| (Ipv4Addr::from(*ip).into(), rest))
}

fn split_v6(bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    bytes.split_first_chunk::<16>().map(|(ip, rest)| (Ipv6Addr::from(*ip).into(), rest))
}

fn push_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
}
