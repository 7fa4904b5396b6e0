//! IPv4, IPv6 and UDP headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

const UDP: u8 = 17;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// Hop-by-hop options, routing, destination options: all with a length of their own.
const IPV6_EXTENSIONS: [u8; 3] = [0, 43, 60];
const IPV6_AUTHENTICATION: u8 = 51;
const IPV6_FRAGMENT: u8 = 44;
const MAX_IPV6_EXTENSIONS: usize = 8;

/// Bytes of the UDP header.
pub(super) const UDP_HEADER: usize = 8;

/// An IP packet that carries UDP, or a piece of it.
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What follows the headers, as much of it as was captured.
    pub(super) payload: Range<usize>,
    /// Bytes of the payload that were not captured.
    pub(super) missing: usize,
    pub(super) fragment: Option<Fragment>,
}

/// Which piece of a packet this is.
#[derive(Clone, Copy)]
pub(super) struct Fragment {
    pub(super) id: u32,
    /// Where the piece belongs, in bytes.
    pub(super) offset: usize,
    /// More pieces follow.
    pub(super) more: bool,
}

/// A UDP datagram: its ports and the length of its payload.
pub(super) struct Udp {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    /// Bytes of the payload that are there.
    pub(super) len: usize,
    /// Bytes of it that are not.
    pub(super) missing: usize,
}

/// Reads the headers of a packet that carries UDP.
pub(super) fn parse(packet: &[u8]) -> Option<Packet> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Packet> {
    let header = packet.first_chunk::<IPV4_HEADER>()?;
    let start = (usize::from(header[0] & 0x0f) * 4).max(IPV4_HEADER);
    if header[9] != UDP {
        return None;
    }
    let total = match u16::from_be_bytes([header[2], header[3]]) {
        // The length of a packet that its sender's hardware was to cut up.
        0 => packet.len(),
        total => usize::from(total),
    };
    let end = total.min(packet.len()).max(start);
    let word = u16::from_be_bytes([header[6], header[7]]);
    let fragment = (word & 0x3fff != 0).then_some(Fragment {
        id: u16::from_be_bytes([header[4], header[5]]).into(),
        offset: usize::from(word & 0x1fff) * 8,
        more: word & 0x2000 != 0,
    });
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Some(Packet {
        source: address(12).into(),
        destination: address(16).into(),
        payload: start.min(packet.len())..end.min(packet.len()),
        missing: total.saturating_sub(packet.len()),
        fragment,
    })
}

fn ipv6(packet: &[u8]) -> Option<Packet> {
    let header = packet.first_chunk::<IPV6_HEADER>()?;
    let address = |at: usize| {
        let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    let total = match u16::from_be_bytes([header[4], header[5]]) {
        0 => packet.len(),
        len => IPV6_HEADER + usize::from(len),
    };
    let end = total.min(packet.len());
    let mut start = IPV6_HEADER;
    let mut next = header[6];
    let mut fragment = None;
    for _ in 0..MAX_IPV6_EXTENSIONS {
        let rest = packet.get(start..end)?;
        let len = match next {
            IPV6_FRAGMENT if fragment.is_none() => {
                let field = rest.first_chunk::<8>()?;
                let word = u16::from_be_bytes([field[2], field[3]]);
                fragment = Some(Fragment {
                    id: u32::from_be_bytes([field[4], field[5], field[6], field[7]]),
                    offset: usize::from(word & 0xfff8),
                    more: word & 1 != 0,
                });
                8
            }
            IPV6_AUTHENTICATION => 8 + 4 * usize::from(*rest.get(1)?),
            other if IPV6_EXTENSIONS.contains(&other) => 8 + 8 * usize::from(*rest.get(1)?),
            _ => break,
        };
        next = *rest.first()?;
        start += len;
        // What follows in a later piece is the middle of something.
        if fragment.is_some_and(|f| f.offset > 0) {
            break;
        }
    }
    if next != UDP || start > end {
        return None;
    }
    // A fragment header that says that the packet is whole.
    let fragment = fragment.filter(|f| f.offset > 0 || f.more);
    let missing = total.saturating_sub(packet.len());
    Some(Packet {
        source: address(8)?,
        destination: address(24)?,
        payload: start..end,
        missing,
        fragment,
    })
}

/// Reads the UDP header. `missing` bytes of the packet were not captured.
pub(super) fn udp(bytes: &[u8], missing: usize) -> Option<Udp> {
    let (header, payload) = bytes.split_first_chunk::<UDP_HEADER>()?;
    let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let whole = payload.len() + missing;
    // A length of zero stands for a jumbogram or for an offloaded checksum.
    let said = match field(4) {
        0 => whole,
        len => usize::from(len).checked_sub(UDP_HEADER)?,
    };
    let len = said.min(payload.len());
    // A packet that is shorter than its UDP header says lacks something, too.
    Some(Udp { source_port: field(0), destination_port: field(2), len, missing: said - len })
}
