//! Carriers of IP packets or Ethernet frames between link layer and IP: PPP, MPLS, GRE.

use super::layers::{Cursor, Layer};
use super::link::{self, ETHER_TYPE_IPV4, ETHER_TYPE_IPV6};
use super::unread::Unread;

const PPPOE_HEADER: usize = 6;
/// Version and type, which have always been 1.
const PPPOE_VERSION: u8 = 0x11;

/// "All stations" and "unnumbered information", which may be left out (RFC 1662 §3.1).
const PPP_ADDRESS: [u8; 2] = [0xff, 0x03];
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PPP_MPLS: [u16; 2] = [0x0281, 0x0283];

const LABEL: usize = 4;
const CONTROL_WORD: usize = 4;

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
/// Only in version 1, which is PPTP's (RFC 2637).
const GRE_ACKNOWLEDGEMENT: u16 = 0x0080;
const GRE_VERSION: u16 = 0x0007;

/// A PPPoE session (RFC 2516).
pub(super) fn pppoe(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let header = cursor.head::<PPPOE_HEADER>("PPPoE")?;
    if header[0] != PPPOE_VERSION || header[1] != 0 {
        return Err(Unread::Malformed("PPPoE"));
    }
    cursor.skip(PPPOE_HEADER, "PPPoE")?;
    Ok(Layer::Ppp)
}

pub(super) fn ppp(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    if cursor.rest().starts_with(&PPP_ADDRESS) {
        cursor.skip(PPP_ADDRESS.len(), "PPP")?;
    }
    // Of a protocol below 256 the first byte may be left out; the last one is odd.
    let first = cursor.peek(0, "PPP")?;
    let (protocol, len) = match first & 1 {
        1 => (u16::from(first), 1),
        _ => (cursor.word(0, "PPP")?, 2),
    };
    cursor.skip(len, "PPP")?;
    match protocol {
        PPP_IPV4 | PPP_IPV6 => Ok(Layer::Ip),
        other if PPP_MPLS.contains(&other) => Ok(Layer::Mpls),
        other => Err(Unread::Ppp(other)),
    }
}

/// One label of a stack (RFC 3032). It does not name what it carries; the first nibble does.
pub(super) fn mpls(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let entry = cursor.head::<LABEL>("MPLS")?;
    cursor.skip(LABEL, "MPLS")?;
    if entry[2] & 1 == 0 {
        return Ok(Layer::Mpls);
    }
    match cursor.peek(0, "MPLS")? >> 4 {
        4 | 6 => Ok(Layer::Ip),
        // An Ethernet frame (RFC 4448), often behind a control word.
        _ if has_ether_type(cursor, 0) => Ok(Layer::Ethernet),
        0 if has_ether_type(cursor, CONTROL_WORD) => {
            cursor.skip(CONTROL_WORD, "MPLS")?;
            Ok(Layer::Ethernet)
        }
        _ => Err(Unread::Mpls(u32::from_be_bytes(entry) >> 12)),
    }
}

/// True if an Ethernet frame at this place would carry something that is read.
fn has_ether_type(cursor: &Cursor<'_>, at: usize) -> bool {
    cursor.word(at + 12, "MPLS").is_ok_and(link::is_read)
}

/// RFC 2784 and 2890, RFC 2637.
pub(super) fn gre(cursor: &mut Cursor<'_>) -> Result<Layer, Unread> {
    let (flags, protocol) = (cursor.word(0, "GRE")?, cursor.word(2, "GRE")?);
    let has = |flag: u16| usize::from(flags & flag != 0);
    let fields = match flags & GRE_VERSION {
        // Source routes are long gone.
        0 if flags & GRE_ROUTING == 0 => has(GRE_CHECKSUM) + has(GRE_KEY) + has(GRE_SEQUENCE),
        1 => has(GRE_KEY) + has(GRE_SEQUENCE) + has(GRE_ACKNOWLEDGEMENT),
        _ => return Err(Unread::Malformed("GRE")),
    };
    cursor.skip(4 + 4 * fields, "GRE")?;
    // A PPTP acknowledgement carries nothing.
    if flags & GRE_VERSION == 1 && cursor.rest().is_empty() && cursor.missing() == 0 {
        return Err(Unread::EtherType(protocol));
    }
    match protocol {
        ETHER_TYPE_IPV4 | ETHER_TYPE_IPV6 => Ok(Layer::Ip),
        other => Ok(Layer::EtherType(other)),
    }
}
