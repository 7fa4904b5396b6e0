//! Internet socket addresses (RFC 7016 §2.1.5).

use super::{Reason, WireError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const INET6: u8 = 0x80;
const ORIGIN_MASK: u8 = 0x03;

/// Origin of an address: how its sender learned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Origin {
    /// Unknown, unspecified or other (0).
    #[default]
    Unknown,
    /// An interface address that the owner reported (1).
    Local,
    /// Seen as the source of a packet: a reflexive address (2).
    Reflexive,
    /// A relay, proxy or introducer (3).
    Relay,
}

/// A socket address with its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// Origin of the address.
    pub origin: Origin,
    /// IP address and UDP port. IPv6 flow information and scope are not on the wire.
    pub socket: SocketAddr,
}

impl Address {
    /// An address with its origin.
    pub const fn new(socket: SocketAddr, origin: Origin) -> Self {
        Self { origin, socket }
    }

    /// Reads one address from the front of `input`. Reserved bits are ignored.
    pub fn parse(input: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let truncated = |offset| WireError::new("address", offset, Reason::Truncated);
        let (&flags, rest) = input.split_first().ok_or(truncated(0))?;
        let (ip, rest) = if flags & INET6 != 0 {
            let (ip, rest) = rest.split_first_chunk::<16>().ok_or(truncated(1))?;
            (IpAddr::V6(Ipv6Addr::from(*ip)), rest)
        } else {
            let (ip, rest) = rest.split_first_chunk::<4>().ok_or(truncated(1))?;
            (IpAddr::V4(Ipv4Addr::from(*ip)), rest)
        };
        let (port, rest) = rest.split_first_chunk::<2>().ok_or(truncated(input.len()))?;
        let origin = match flags & ORIGIN_MASK {
            0 => Origin::Unknown,
            1 => Origin::Local,
            2 => Origin::Reflexive,
            _ => Origin::Relay,
        };
        let socket = SocketAddr::new(ip, u16::from_be_bytes(*port));
        Ok((Self { origin, socket }, rest))
    }

    /// Number of bytes that [`encode`](Self::encode) appends: 7 for IPv4, 19 for IPv6.
    pub const fn encoded_len(&self) -> usize {
        if self.socket.is_ipv6() { 19 } else { 7 }
    }

    /// Appends the address.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let origin = self.origin as u8;
        match self.socket.ip() {
            IpAddr::V4(ip) => {
                out.push(origin);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(origin | INET6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&self.socket.port().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literal_bytes() {
        let bytes = [0x02, 0x7f, 0x00, 0x00, 0x01, 0x88, 0x4c, 0x99];
        let (address, rest) = Address::parse(&bytes).unwrap();
        assert_eq!(rest, [0x99]);
        assert_eq!(address, Address::new("127.0.0.1:34892".parse().unwrap(), Origin::Reflexive));
        let mut out = Vec::new();
        address.encode(&mut out);
        assert_eq!(out, bytes[..7]);

        let v6 = Address::new("[::1]:1935".parse().unwrap(), Origin::Relay);
        let mut out = Vec::new();
        v6.encode(&mut out);
        assert_eq!(out.len(), v6.encoded_len());
        assert_eq!(out[0], 0x83);
        assert_eq!(out[16..], [1, 0x07, 0x8f]);
        assert_eq!(Address::parse(&out), Ok((v6, &[][..])));
    }

    #[test]
    fn hostile_every_truncation() {
        let mut bytes = Vec::new();
        Address::new("[2001:db8::1]:1".parse().unwrap(), Origin::Local).encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(Address::parse(&bytes[..cut]).unwrap_err().reason, Reason::Truncated);
        }
    }

    #[test]
    fn reserved_bits_are_ignored() {
        let (address, _) = Address::parse(&[0x7e, 1, 2, 3, 4, 0, 80]).unwrap();
        assert_eq!(address, Address::new("1.2.3.4:80".parse().unwrap(), Origin::Reflexive));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Address::parse(&bytes);
        }
    }
}
