//! IPv4, IPv6 with its extension headers, and UDP.

use super::layers::{Cursor, Fragment, Layer, Outcome, Transport};
use super::unread::Unread;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const IPV4: u8 = 4;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const ETHERNET: u8 = 97;
const MPLS: u8 = 137;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// Hop-by-hop options, routing, destination options: all with a length of their own.
const EXTENSIONS: [u8; 3] = [0, 43, 60];

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// Bytes of the UDP header.
pub(super) const UDP_HEADER: usize = 8;

/// VXLAN by RFC 7348, and as Linux had it before.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const VXLAN_HEADER: usize = 8;

impl Transport {
    /// True if a UDP datagram may be inside.
    fn may_have_udp(self) -> bool {
        matches!(self.protocol, UDP | IPV4 | IPV6 | GRE | ETHERNET | MPLS | AUTHENTICATION)
            || (self.source.is_ipv6() && EXTENSIONS.contains(&self.protocol))
    }
}

/// An IP packet of either version.
pub(super) fn packet(cursor: &mut Cursor<'_>) -> Result<Outcome, Unread> {
    match cursor.peek(0, "IP")? >> 4 {
        4 => ipv4(cursor),
        6 => ipv6(cursor),
        other => Err(Unread::IpVersion(other)),
    }
}

fn ipv4(cursor: &mut Cursor<'_>) -> Result<Outcome, Unread> {
    let malformed = Err(Unread::Malformed("IPv4"));
    let header = cursor.head::<IPV4_HEADER>("IPv4")?;
    let len = usize::from(header[0] & 0x0f) * 4;
    // A length of zero is that of a packet that its sender's hardware was to cut up.
    match u16::from_be_bytes([header[2], header[3]]) {
        0 => {}
        total if usize::from(total) < len => return malformed,
        total => cursor.limit(total.into()),
    }
    if len < IPV4_HEADER {
        return malformed;
    }
    cursor.skip(len, "IPv4")?;
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let transport = Transport {
        source: address(12).into(),
        destination: address(16).into(),
        protocol: header[9],
    };
    let word = u16::from_be_bytes([header[6], header[7]]);
    if word & 0x3fff == 0 {
        return Ok(Outcome::Next(Layer::Transport(transport)));
    }
    let fragment = Fragment {
        id: u16::from_be_bytes([header[4], header[5]]).into(),
        offset: usize::from(word & 0x1fff) * 8,
        more: word & 0x2000 != 0,
    };
    piece(transport, fragment)
}

fn ipv6(cursor: &mut Cursor<'_>) -> Result<Outcome, Unread> {
    let header = cursor.head::<IPV6_HEADER>("IPv6")?;
    // A length of zero is that of a jumbogram, or as with IPv4.
    match u16::from_be_bytes([header[4], header[5]]) {
        0 => {}
        len => cursor.limit(IPV6_HEADER + usize::from(len)),
    }
    cursor.skip(IPV6_HEADER, "IPv6")?;
    let address = |at: usize| {
        let octets = std::array::from_fn::<u8, 16, _>(|i| header[at + i]);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let (source, destination, protocol) = (address(8), address(24), header[6]);
    Ok(Outcome::Next(Layer::Transport(Transport { source, destination, protocol })))
}

/// The protocol that an IP header names.
pub(super) fn transport(cursor: &mut Cursor<'_>, transport: Transport) -> Result<Outcome, Unread> {
    let protocol = transport.protocol;
    let next = |protocol| Ok(Outcome::Next(Layer::Transport(Transport { protocol, ..transport })));
    match protocol {
        UDP => udp(cursor, transport),
        IPV4 | IPV6 => Ok(Outcome::Next(Layer::Ip)),
        GRE => Ok(Outcome::Next(Layer::Gre)),
        MPLS => Ok(Outcome::Next(Layer::Mpls)),
        ETHERNET => {
            cursor.skip(2, "EtherIP")?;
            Ok(Outcome::Next(Layer::Ethernet))
        }
        AUTHENTICATION => {
            let [follows, len] = cursor.head("AH")?;
            cursor.skip(8 + 4 * usize::from(len), "AH")?;
            next(follows)
        }
        FRAGMENT if transport.source.is_ipv6() => {
            let field = cursor.head::<8>("IPv6 fragment")?;
            cursor.skip(8, "IPv6 fragment")?;
            let word = u16::from_be_bytes([field[2], field[3]]);
            let fragment = Fragment {
                id: u32::from_be_bytes([field[4], field[5], field[6], field[7]]),
                offset: usize::from(word & 0xfff8),
                more: word & 1 != 0,
            };
            // A header of an unfragmented packet.
            if fragment.offset == 0 && !fragment.more {
                return next(field[0]);
            }
            piece(Transport { protocol: field[0], ..transport }, fragment)
        }
        other if transport.source.is_ipv6() && EXTENSIONS.contains(&other) => {
            let [follows, len] = cursor.head("IPv6 extension")?;
            cursor.skip(8 + 8 * usize::from(len), "IPv6 extension")?;
            next(follows)
        }
        other => Err(Unread::IpProtocol(other)),
    }
}

fn piece(transport: Transport, fragment: Fragment) -> Result<Outcome, Unread> {
    match transport.may_have_udp() {
        true => Ok(Outcome::Piece(transport, fragment)),
        false => Err(Unread::IpProtocol(transport.protocol)),
    }
}

fn udp(cursor: &mut Cursor<'_>, transport: Transport) -> Result<Outcome, Unread> {
    let header = cursor.head::<UDP_HEADER>("UDP")?;
    let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // A length of zero stands for a jumbogram or for an offloaded checksum.
    match field(4) {
        0 => {}
        len if usize::from(len) < UDP_HEADER => return Err(Unread::Malformed("UDP")),
        // A packet that is shorter than this lacks something, too.
        len => cursor.limit(len.into()),
    }
    cursor.skip(UDP_HEADER, "UDP")?;
    if VXLAN_PORTS.contains(&field(2)) && is_vxlan(cursor.rest()) {
        cursor.skip(VXLAN_HEADER, "VXLAN")?;
        return Ok(Outcome::Next(Layer::Ethernet));
    }
    Ok(Outcome::Datagram {
        source: (transport.source, field(0)).into(),
        destination: (transport.destination, field(2)).into(),
    })
}

/// Nothing but the flag for a valid network identifier is set, and the reserved byte is zero.
fn is_vxlan(payload: &[u8]) -> bool {
    payload.first_chunk::<VXLAN_HEADER>().is_some_and(|h| h[..4] == [8, 0, 0, 0] && h[7] == 0)
}
