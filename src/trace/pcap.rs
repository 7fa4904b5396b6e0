//! Capture files: pcap and pcapng, to the UDP datagrams in them.
//!
//! Link layers: Ethernet (with VLAN tags), Linux cooked (both versions), null and loopback, raw IP.
//! IP fragments are skipped, they are not reassembled; so is everything that is not UDP.

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use std::fmt;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

/// Bytes of a capture file that are held in memory; a longer block is refused.
const BUFFER: usize = 1 << 20;

/// Interfaces of a pcapng section that are remembered; packets of further ones are skipped.
const MAX_INTERFACES: usize = 1024;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];
const MAX_VLAN_TAGS: usize = 2;
const PROTOCOL_UDP: u8 = 17;
/// Hop-by-hop options, routing, destination options.
const IPV6_EXTENSIONS: [u8; 3] = [0, 43, 60];
const MAX_IPV6_EXTENSIONS: usize = 8;

/// A UDP datagram of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// When it was captured, since 1970.
    pub time: Duration,
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// The UDP payload, cut if the capture was taken with a snap length.
    pub payload: Vec<u8>,
}

/// A capture file that cannot be read (further).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Neither pcap nor pcapng.
    #[error("not a capture file")]
    NotACapture,
    /// The file ends inside a block, as after a crash of the capturing program.
    #[error("capture file ends inside a packet")]
    Truncated,
    /// A block is damaged or too large.
    #[error("capture file is damaged")]
    Damaged,
    /// The reader failed.
    #[error("cannot read the capture file")]
    Io,
}

/// The datagrams of a capture file, in its order. After an error the iterator ends.
pub struct Capture {
    reader: Box<dyn PcapReaderIterator + Send>,
    /// Nanosecond timestamps in a pcap file.
    nanoseconds: bool,
    interfaces: Vec<Interface>,
    ended: bool,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    /// Ticks per second.
    resolution: u64,
    offset_seconds: i64,
}

impl Capture {
    /// Recognises the format of a file.
    pub fn open(file: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let reader = create_reader(BUFFER, file).map_err(|error| match error {
            PcapError::ReadError => CaptureError::Io,
            _ => CaptureError::NotACapture,
        })?;
        Ok(Self { reader, nanoseconds: false, interfaces: Vec::new(), ended: false })
    }

    /// The next datagram of the file.
    fn advance(&mut self) -> Result<Option<Datagram>, CaptureError> {
        loop {
            let have = self.reader.data().len();
            match self.reader.next() {
                Ok((offset, block)) => {
                    let datagram = take_block(block, &mut self.interfaces, &mut self.nanoseconds);
                    self.reader.consume(offset);
                    if datagram.is_some() {
                        return Ok(datagram);
                    }
                }
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::Incomplete(_)) => {
                    self.reader.refill().map_err(|_| CaptureError::Io)?;
                    match (self.reader.data().len() == have, self.reader.reader_exhausted()) {
                        (false, _) => {}
                        (true, true) if have == 0 => return Ok(None),
                        (true, true) => return Err(CaptureError::Truncated),
                        (true, false) => return Err(CaptureError::Damaged),
                    }
                }
                Err(PcapError::UnexpectedEof) => return Err(CaptureError::Truncated),
                Err(PcapError::ReadError) => return Err(CaptureError::Io),
                Err(_) => return Err(CaptureError::Damaged),
            }
        }
    }
}

impl Iterator for Capture {
    type Item = Result<Datagram, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.advance().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("ended", &self.ended).finish_non_exhaustive()
    }
}

fn take_block(
    block: PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    nanoseconds: &mut bool,
) -> Option<Datagram> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *nanoseconds = header.is_nanosecond_precision();
            let interface = Interface { link: header.network, resolution: 1, offset_seconds: 0 };
            interfaces.push(interface);
            None
        }
        PcapBlockOwned::Legacy(packet) => {
            let unit = if *nanoseconds { 1 } else { 1000 };
            let time = Duration::from_secs(packet.ts_sec.into())
                + Duration::from_nanos(u64::from(packet.ts_usec) * unit);
            datagram(time, interfaces.first()?.link, packet.data)
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            if interfaces.len() < MAX_INTERFACES {
                interfaces.push(Interface {
                    link: description.linktype,
                    resolution: description.ts_resolution().unwrap_or(1_000_000).max(1),
                    offset_seconds: description.ts_offset(),
                });
            }
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = interfaces.get(packet.if_id as usize)?;
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let data = packet.data.get(..packet.caplen as usize)?;
            datagram(interface.time(ticks), interface.link, data)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let len = packet.data.len().min(packet.origlen as usize);
            datagram(Duration::ZERO, interfaces.first()?.link, &packet.data[..len])
        }
        PcapBlockOwned::NG(_) => None,
    }
}

impl Interface {
    fn time(&self, ticks: u64) -> Duration {
        let seconds = (ticks / self.resolution).saturating_add_signed(self.offset_seconds);
        let fraction = u128::from(ticks % self.resolution) * 1_000_000_000;
        let nanoseconds = fraction / u128::from(self.resolution);
        Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds as u64)
    }
}

/// The UDP datagram in a frame.
fn datagram(time: Duration, link: Linktype, frame: &[u8]) -> Option<Datagram> {
    let ip = network_layer(link, frame)?;
    let (source, destination, udp) = match ip.first()? >> 4 {
        4 => ipv4(ip)?,
        6 => ipv6(ip)?,
        _ => return None,
    };
    let (header, payload) = udp.split_first_chunk::<8>()?;
    let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // A length of zero stands for a jumbogram or for an offloaded checksum.
    let len = match field(4) {
        0 => payload.len(),
        len => usize::from(len).checked_sub(header.len())?,
    };
    Some(Datagram {
        time,
        source: SocketAddr::new(source, field(0)),
        destination: SocketAddr::new(destination, field(2)),
        payload: payload[..len.min(payload.len())].to_vec(),
    })
}

/// The IP packet in a frame.
fn network_layer(link: Linktype, frame: &[u8]) -> Option<&[u8]> {
    let (ether_type, rest) = match link {
        Linktype::ETHERNET => return ethernet(frame),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | Linktype(12 | 14) => return Some(frame),
        // An address family of the capturing system before the packet; the packet tells as well.
        Linktype::NULL | Linktype::LOOP => return frame.get(4..),
        Linktype::LINUX_SLL => (frame.get(14..16)?, frame.get(16..)?),
        Linktype::LINUX_SLL2 => (frame.get(..2)?, frame.get(20..)?),
        _ => return None,
    };
    behind_ether_type(u16::from_be_bytes(ether_type.try_into().ok()?), rest)
}

fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    let ether_type = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    behind_ether_type(ether_type, frame.get(14..)?)
}

fn behind_ether_type(mut ether_type: u16, mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..MAX_VLAN_TAGS {
        if !ETHERTYPE_VLAN.contains(&ether_type) {
            break;
        }
        ether_type = u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?);
        rest = rest.get(4..)?;
    }
    [ETHERTYPE_IPV4, ETHERTYPE_IPV6].contains(&ether_type).then_some(rest)
}

type Parts<'a> = (IpAddr, IpAddr, &'a [u8]);

fn ipv4(packet: &[u8]) -> Option<Parts<'_>> {
    let (header, _) = packet.split_first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if header[9] != PROTOCOL_UDP || fragment != 0 {
        return None;
    }
    let total = match u16::from_be_bytes([header[2], header[3]]) {
        0 => packet.len(),
        total => packet.len().min(total.into()),
    };
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Some((address(12).into(), address(16).into(), packet.get(header_len.max(20)..total)?))
}

fn ipv6(packet: &[u8]) -> Option<Parts<'_>> {
    let (header, mut rest) = packet.split_first_chunk::<40>()?;
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    let (source, destination) = (address(8)?, address(24)?);
    match u16::from_be_bytes([header[4], header[5]]) {
        0 => {}
        len => rest = &rest[..rest.len().min(len.into())],
    }
    let mut next = header[6];
    for _ in 0..MAX_IPV6_EXTENSIONS {
        if !IPV6_EXTENSIONS.contains(&next) {
            break;
        }
        next = *rest.first()?;
        rest = rest.get(8 + 8 * usize::from(*rest.get(1)?)..)?;
    }
    (next == PROTOCOL_UDP).then_some((source, destination, rest))
}

#[cfg(test)]
mod tests;
