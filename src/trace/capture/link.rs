//! Link layers, by their LINKTYPE numbers (<https://www.tcpdump.org/linktypes.html>).

use super::layers::{Cursor, Layer};
use super::unread::Unread;

const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const PPP: u32 = 9;
const PPP_SERIAL: u32 = 50;
const PPP_ETHERNET: u32 = 51;
const RAW: u32 = 101;
/// Raw IP of BSDs, whose number depends on the system.
const RAW_BSD: [u32; 2] = [12, 14];
const CISCO_HDLC: u32 = 104;
const WIRELESS: u32 = 105;
const LOOP: u32 = 108;
const LINUX_COOKED: u32 = 113;
const RADIOTAP: u32 = 127;
const PPP_PPPD: u32 = 166;
const PPI: u32 = 192;
const PPP_WITH_DIRECTION: u32 = 204;
const MPLS: u32 = 219;
const IPV4: u32 = 228;
const IPV6: u32 = 229;
const NFLOG: u32 = 239;
const PKTAP: u32 = 258;
/// For private use; in captures of macOS it is PKTAP.
const USER2: u32 = 149;
const LINUX_COOKED_2: u32 = 276;
/// The number for packets whose interface a pcapng file does not describe.
pub(super) const NO_INTERFACE: u32 = u32::MAX;

pub(super) const ETHER_TYPE_IPV4: u16 = 0x0800;
pub(super) const ETHER_TYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad (QinQ), and what was in use before it.
const ETHER_TYPE_VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
const ETHER_TYPE_MPLS: [u16; 2] = [0x8847, 0x8848];
const ETHER_TYPE_PPPOE: u16 = 0x8864;
const ETHER_TYPE_PPP: u16 = 0x880b;
const ETHER_TYPE_ETHERNET: u16 = 0x6558;
/// Up to this value an EtherType is a length, and LLC follows.
const MAX_LENGTH: u16 = 1500;
const COOKED_LLC: u16 = 0x0004;

const VLAN_TAG: usize = 4;
const ETHERNET_HEADER: usize = 14;

/// The unnumbered information of LLC.
const UI: u8 = 0x03;
const SAP_SNAP: u8 = 0xaa;
const SAP_IP: u8 = 0x06;
/// Encapsulated Ethernet, and as bridge tunnels have it.
const OUI_ETHERNET: [u32; 2] = [0x00_0000, 0x00_00f8];

const PKTAP_HEADER: usize = 108;
const PKTAP_PACKET: u32 = 1;

const NFLOG_HEADER: usize = 4;
const NFLOG_PAYLOAD: u16 = 9;
/// There are not that many kinds of attributes.
const MAX_ATTRIBUTES: usize = 64;

/// The layer inside the link layer with this number.
pub(super) fn link(cursor: &mut Cursor<'_>, number: u32) -> Result<Layer, Unread> {
    match number {
        ETHERNET => ethernet(cursor),
        RAW | IPV4 | IPV6 => Ok(Layer::Ip),
        other if RAW_BSD.contains(&other) => Ok(Layer::Ip),
        NULL | LOOP => family(cursor),
        LINUX_COOKED => {
            let protocol = cursor.word(14, "Linux cooked")?;
            cursor.skip(16, "Linux cooked")?;
            cooked(protocol)
        }
        LINUX_COOKED_2 => {
            let protocol = cursor.word(0, "Linux cooked")?;
            cursor.skip(20, "Linux cooked")?;
            cooked(protocol)
        }
        PPP => Ok(Layer::Ppp),
        PPP_ETHERNET => Ok(Layer::Pppoe),
        // The first two bytes show if this is PPP or Cisco's HDLC.
        PPP_SERIAL if matches!(cursor.peek(0, "PPP")?, 0x0f | 0x8f) => hdlc(cursor),
        PPP_SERIAL => Ok(Layer::Ppp),
        PPP_PPPD => {
            cursor.skip(2, "PPP")?;
            Ok(Layer::Ppp)
        }
        PPP_WITH_DIRECTION => {
            cursor.skip(1, "PPP")?;
            Ok(Layer::Ppp)
        }
        CISCO_HDLC => hdlc(cursor),
        MPLS => Ok(Layer::Mpls),
        NFLOG => nflog(cursor),
        PKTAP | USER2 => pktap(cursor, number),
        WIRELESS => Ok(Layer::Wireless { is_padded: false }),
        RADIOTAP => radiotap(cursor),
        PPI => ppi(cursor),
        NO_INTERFACE => Err(Unread::Interface),
        other => Err(Unread::LinkType(other)),
    }
}

pub(super) fn ethernet(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let number = cursor.word(12, "Ethernet")?;
    cursor.skip(ETHERNET_HEADER, "Ethernet")?;
    // The usual case, without another step.
    match number {
        ETHER_TYPE_IPV4 | ETHER_TYPE_IPV6 => Ok(Layer::Ip),
        other => Ok(Layer::EtherType(other)),
    }
}

/// The layer after an EtherType.
pub(super) fn ether_type(cursor: &mut Cursor<'_>, number: u16) -> Result<Layer, Unread> {
    match number {
        ETHER_TYPE_IPV4 | ETHER_TYPE_IPV6 => Ok(Layer::Ip),
        ETHER_TYPE_PPPOE => Ok(Layer::Pppoe),
        ETHER_TYPE_PPP => Ok(Layer::Ppp),
        ETHER_TYPE_ETHERNET => Ok(Layer::Ethernet),
        other if ETHER_TYPE_MPLS.contains(&other) => Ok(Layer::Mpls),
        other if ETHER_TYPE_VLAN.contains(&other) => {
            let inner = cursor.word(2, "VLAN")?;
            cursor.skip(VLAN_TAG, "VLAN")?;
            Ok(Layer::EtherType(inner))
        }
        0..=MAX_LENGTH => Ok(Layer::Llc),
        other => Err(Unread::EtherType(other)),
    }
}

/// True if something that is read follows an EtherType.
pub(super) fn is_read(ether_type: u16) -> bool {
    matches!(ether_type, ETHER_TYPE_IPV4 | ETHER_TYPE_IPV6 | ETHER_TYPE_PPPOE)
        || ETHER_TYPE_MPLS.contains(&ether_type)
        || ETHER_TYPE_VLAN.contains(&ether_type)
}

/// The protocol of a Linux cooked capture: an EtherType, or a number of Linux's own.
fn cooked(protocol: u16) -> Result<Layer, Unread> {
    match protocol {
        COOKED_LLC => Ok(Layer::Llc),
        0..=MAX_LENGTH => Err(Unread::EtherType(protocol)),
        other => Ok(Layer::EtherType(other)),
    }
}

/// An address family of the capturing system before the packet; the packet shows it as well.
fn family(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let family = cursor.head::<4>("loopback")?;
    cursor.skip(4, "loopback")?;
    match cursor.peek(0, "loopback")? >> 4 {
        4 | 6 => Ok(Layer::Ip),
        _ => {
            // In the byte order of that system; families are small numbers.
            let orders = [u32::from_le_bytes(family), u32::from_be_bytes(family)];
            Err(Unread::Family(orders.into_iter().min().unwrap_or(0)))
        }
    }
}

fn hdlc(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let number = cursor.word(2, "HDLC")?;
    cursor.skip(4, "HDLC")?;
    match number {
        0..=MAX_LENGTH => Err(Unread::EtherType(number)),
        other => Ok(Layer::EtherType(other)),
    }
}

/// IEEE 802.2 (RFC 1042).
pub(super) fn llc(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let [destination, source, control] = cursor.head::<3>("LLC")?;
    cursor.skip(3, "LLC")?;
    match (destination, source, control) {
        (SAP_SNAP, SAP_SNAP, UI) => {
            let field = cursor.head::<5>("SNAP")?;
            cursor.skip(5, "SNAP")?;
            let oui = u32::from_be_bytes([0, field[0], field[1], field[2]]);
            match OUI_ETHERNET.contains(&oui) {
                true => Ok(Layer::EtherType(u16::from_be_bytes([field[3], field[4]]))),
                false => Err(Unread::Snap(oui)),
            }
        }
        (SAP_IP, SAP_IP, UI) => Ok(Layer::Ip),
        _ => Err(Unread::Sap(destination)),
    }
}

/// The format of `tcpdump -i any` on macOS: the link layer of the interface after a header whose
/// fields are little-endian.
fn pktap(cursor: &mut Cursor<'_>, number: u32) -> Result<Layer, Unread> {
    let header = cursor.head::<12>("PKTAP")?;
    let field = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (len, kind, link) = (field(0) as usize, field(4), field(8));
    if len < PKTAP_HEADER || kind != PKTAP_PACKET {
        return Err(match number {
            PKTAP => Unread::Malformed("PKTAP"),
            other => Unread::LinkType(other),
        });
    }
    cursor.skip(len, "PKTAP")?;
    Ok(Layer::Link(link))
}

/// Attributes of Linux' netfilter, in the byte order of that system; one is the IP packet.
fn nflog(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    cursor.skip(NFLOG_HEADER, "NFLOG")?;
    let payload = |word: fn([u8; 2]) -> u16| {
        let mut at = 0;
        for _ in 0..MAX_ATTRIBUTES {
            let head = cursor.rest().get(at..)?.first_chunk::<4>()?;
            let (len, kind) = (word([head[0], head[1]]), word([head[2], head[3]]));
            let len = usize::from(len);
            if len < 4 {
                return None;
            }
            if kind & 0x7fff == NFLOG_PAYLOAD {
                return Some((at + 4, len - 4));
            }
            at += len.next_multiple_of(4);
        }
        None
    };
    let found = payload(u16::from_le_bytes).or_else(|| payload(u16::from_be_bytes));
    let cut = if cursor.missing() > 0 { Unread::Cut } else { Unread::Malformed("NFLOG") };
    let (start, len) = found.ok_or(cut)?;
    cursor.skip(start, "NFLOG")?;
    cursor.limit(len);
    Ok(Layer::Ip)
}

/// A header with measurements of the radio, in fields whose presence is in a mask.
fn radiotap(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let header = cursor.head::<8>("radiotap")?;
    let len = usize::from(u16::from_le_bytes([header[2], header[3]]));
    let mask = |at: usize| {
        let bytes = cursor.rest().get(at..at + 4)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let present = mask(4).unwrap_or(0);
    // The highest bit means that another mask follows.
    let mut fields = 4;
    while fields + 4 <= len && mask(fields).is_some_and(|mask| mask >> 31 == 1) {
        fields += 4;
    }
    fields += 4;
    if present & 1 != 0 {
        fields = fields.next_multiple_of(8) + 8;
    }
    let flags = if present & 2 == 0 { 0 } else { cursor.peek(fields, "radiotap")? };
    cursor.skip(len, "radiotap")?;
    Ok(Layer::Wireless { is_padded: flags & 0x20 != 0 })
}

/// Another header before a frame, mostly of IEEE 802.11.
fn ppi(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let header = cursor.head::<8>("PPI")?;
    cursor.skip(u16::from_le_bytes([header[2], header[3]]).into(), "PPI")?;
    Ok(Layer::Link(u32::from_le_bytes([header[4], header[5], header[6], header[7]])))
}

/// A frame of IEEE 802.11: only data that is neither encrypted nor in pieces nor aggregated.
pub(super) fn wireless(cursor: &mut Cursor<'_>, is_padded: bool) -> Result<Layer, Unread> {
    const PROTOCOL: &str = "IEEE 802.11";
    let [control, flags] = cursor.head::<2>(PROTOCOL)?;
    let (kind, subtype) = (control >> 2 & 3, control >> 4);
    // Bit 2 of the subtype of data: there is none.
    if kind != 2 || subtype & 4 != 0 {
        return Err(Unread::Wireless(kind << 4 | subtype));
    }
    if flags & 0x40 != 0 {
        return Err(Unread::WirelessEncrypted);
    }
    let sequence = cursor.peek(22, PROTOCOL)?;
    // From access point to access point there is a fourth address.
    let mut len = if flags & 3 == 3 { 30 } else { 24 };
    let mut is_aggregate = false;
    if subtype & 8 != 0 {
        is_aggregate = cursor.peek(len, PROTOCOL)? & 0x80 != 0;
        len += if flags & 0x80 != 0 { 6 } else { 2 };
    }
    if flags & 4 != 0 || sequence & 0x0f != 0 || is_aggregate {
        return Err(Unread::WirelessPieces);
    }
    cursor.skip(if is_padded { len.next_multiple_of(4) } else { len }, PROTOCOL)?;
    Ok(Layer::Llc)
}
