//! Frames without a datagram: reasons and counters.

use std::collections::BTreeMap;
use std::fmt;

/// Different reasons that are counted separately; frames for further ones are counted together.
pub const MAX_REASONS: usize = 256;

/// The reason why a frame gives no UDP datagram: its contents, or an error in it. Of nested layers
/// the innermost one that was reached counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unread {
    /// A link layer that is not read, by its LINKTYPE number.
    LinkType(u32),
    /// A packet of an interface that a pcapng file does not describe.
    Interface,
    /// An EtherType other than those of IP and of what IP is carried in.
    EtherType(u16),
    /// A service access point of IEEE 802.2 LLC.
    Sap(u8),
    /// An organization (OUI) of SNAP.
    Snap(u32),
    /// A protocol in PPP.
    Ppp(u16),
    /// An address family of a BSD loopback interface.
    Family(u32),
    /// A frame of IEEE 802.11 without data: its type in the high, its subtype in the low four bits.
    Wireless(u8),
    /// Encrypted data of IEEE 802.11.
    WirelessEncrypted,
    /// Data of IEEE 802.11 in pieces, or several frames in one.
    WirelessPieces,
    /// An MPLS label that carries neither IP nor Ethernet.
    Mpls(u32),
    /// An IP version other than 4 and 6.
    IpVersion(u8),
    /// An IP protocol other than UDP and what IP is carried in.
    IpProtocol(u8),
    /// Headers of this protocol that contradict themselves or end too early.
    Malformed(&'static str),
    /// The capture has too little of the frame (snap length).
    Cut,
    /// More nested layers than are followed.
    TooDeep,
}

impl Unread {
    /// The kind of reason, as in JSON.
    pub fn kind(self) -> &'static str {
        match self {
            Self::LinkType(_) => "link_type",
            Self::Interface => "interface",
            Self::EtherType(_) => "ethertype",
            Self::Sap(_) => "llc_sap",
            Self::Snap(_) => "snap_oui",
            Self::Ppp(_) => "ppp_protocol",
            Self::Family(_) => "address_family",
            Self::Wireless(_) => "ieee80211_type",
            Self::WirelessEncrypted => "ieee80211_encrypted",
            Self::WirelessPieces => "ieee80211_pieces",
            Self::Mpls(_) => "mpls_label",
            Self::IpVersion(_) => "ip_version",
            Self::IpProtocol(_) => "ip_protocol",
            Self::Malformed(_) => "malformed",
            Self::Cut => "cut",
            Self::TooDeep => "too_deep",
        }
    }

    /// The number of the protocol, if it has one.
    pub fn number(self) -> Option<u32> {
        match self {
            Self::LinkType(number)
            | Self::Snap(number)
            | Self::Family(number)
            | Self::Mpls(number) => Some(number),
            Self::EtherType(number) | Self::Ppp(number) => Some(number.into()),
            Self::Sap(number)
            | Self::Wireless(number)
            | Self::IpVersion(number)
            | Self::IpProtocol(number) => Some(number.into()),
            _ => None,
        }
    }

    /// The name of the protocol, if it is known.
    pub fn name(self) -> Option<&'static str> {
        let names: &[(u32, &str)] = match self {
            Self::LinkType(number @ 147..=162) => return USER.get(number as usize - 147).copied(),
            Self::LinkType(_) => LINK_TYPES,
            Self::EtherType(_) => ETHER_TYPES,
            Self::Sap(_) => SAPS,
            Self::Ppp(_) => PPP_PROTOCOLS,
            Self::IpProtocol(_) => IP_PROTOCOLS,
            Self::Wireless(code) => return Some(wireless(code)),
            Self::Malformed(protocol) => return Some(protocol),
            _ => return None,
        };
        let number = self.number()?;
        names.iter().find(|(other, _)| *other == number).map(|(_, name)| *name)
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LinkType(number) => write!(f, "link type {number}")?,
            Self::Interface => f.write_str("an interface that the file does not describe")?,
            Self::EtherType(number) => write!(f, "EtherType 0x{number:04x}")?,
            Self::Sap(number) => write!(f, "LLC SAP 0x{number:02x}")?,
            Self::Snap(number) => write!(f, "SNAP OUI 0x{number:06x}")?,
            Self::Ppp(number) => write!(f, "PPP protocol 0x{number:04x}")?,
            Self::Family(number) => write!(f, "address family {number}")?,
            Self::Wireless(number) => write!(f, "IEEE 802.11 type 0x{number:02x}")?,
            Self::WirelessEncrypted => f.write_str("encrypted IEEE 802.11 data")?,
            Self::WirelessPieces => f.write_str("IEEE 802.11 data in pieces or aggregated")?,
            Self::Mpls(number) => write!(f, "MPLS label {number} with neither IP nor Ethernet")?,
            Self::IpVersion(number) => write!(f, "IP version {number}")?,
            Self::IpProtocol(number) => write!(f, "IP protocol {number}")?,
            Self::Malformed(protocol) => return write!(f, "malformed {protocol} headers"),
            Self::Cut => f.write_str("headers cut off by the snap length")?,
            Self::TooDeep => f.write_str("too many layers in each other")?,
        }
        match self.name() {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

const USER: [&str; 16] = [
    "USER0", "USER1", "USER2", "USER3", "USER4", "USER5", "USER6", "USER7", "USER8", "USER9",
    "USER10", "USER11", "USER12", "USER13", "USER14", "USER15",
];

/// From the list of link-layer header types of tcpdump.org.
const LINK_TYPES: &[(u32, &str)] = &[
    (6, "Token Ring"),
    (8, "SLIP"),
    (10, "FDDI"),
    (99, "Symantec firewall"),
    (100, "ATM"),
    (107, "Frame Relay"),
    (109, "OpenBSD enc"),
    (117, "OpenBSD pflog"),
    (119, "Prism"),
    (122, "IP over Fibre Channel"),
    (123, "SunATM"),
    (138, "IP over FireWire"),
    (143, "DOCSIS"),
    (144, "Linux IrDA"),
    (163, "AVS"),
    (187, "Bluetooth HCI"),
    (189, "Linux USB"),
    (195, "IEEE 802.15.4"),
    (201, "Bluetooth HCI"),
    (220, "Linux USB"),
    (227, "Linux SocketCAN"),
    (240, "netANALYZER"),
    (242, "IP over InfiniBand"),
    (247, "InfiniBand"),
    (249, "USBPcap"),
    (251, "Bluetooth LE"),
    (252, "Wireshark upper PDU"),
    (253, "Linux netlink"),
    (271, "vsock"),
    (288, "DisplayPort AUX"),
];

const ETHER_TYPES: &[(u32, &str)] = &[
    (0x0806, "ARP"),
    (0x0842, "Wake-on-LAN"),
    (0x2000, "CDP"),
    (0x22f0, "AVTP"),
    (0x8035, "RARP"),
    (0x8137, "IPX"),
    (0x8808, "Ethernet flow control"),
    (0x8809, "slow protocols, LACP"),
    (0x8863, "PPPoE discovery"),
    (0x886d, "Intel ANS probe"),
    (0x887b, "HomePlug"),
    (0x888e, "EAPOL"),
    (0x8892, "PROFINET"),
    (0x88a4, "EtherCAT"),
    (0x88cc, "LLDP"),
    (0x88e1, "HomePlug AV"),
    (0x88e5, "MACsec"),
    (0x88e7, "provider backbone bridging"),
    (0x88f7, "PTP"),
    (0x8902, "CFM"),
    (0x8906, "FCoE"),
    (0x893a, "IEEE 1905.1"),
    (0x9000, "loopback test"),
];

const SAPS: &[(u32, &str)] = &[
    (0x42, "spanning tree"),
    (0xaa, "SNAP in another form"),
    (0xe0, "IPX"),
    (0xf0, "NetBIOS"),
    (0xfe, "OSI, IS-IS"),
    (0xff, "IPX"),
];

const PPP_PROTOCOLS: &[(u32, &str)] = &[
    (0x002b, "IPX"),
    (0x002d, "compressed TCP"),
    (0x002f, "uncompressed TCP"),
    (0x003d, "multilink"),
    (0x00fd, "compressed"),
    (0x8021, "IPCP"),
    (0x8057, "IPv6CP"),
    (0x80fd, "CCP"),
    (0xc021, "LCP"),
    (0xc023, "PAP"),
    (0xc223, "CHAP"),
];

const IP_PROTOCOLS: &[(u32, &str)] = &[
    (1, "ICMP"),
    (2, "IGMP"),
    (6, "TCP"),
    (33, "DCCP"),
    (50, "ESP"),
    (58, "ICMPv6"),
    (59, "none"),
    (88, "EIGRP"),
    (89, "OSPF"),
    (103, "PIM"),
    (108, "IPComp"),
    (112, "VRRP"),
    (115, "L2TP"),
    (132, "SCTP"),
    (136, "UDP-Lite"),
];

fn wireless(code: u8) -> &'static str {
    match code {
        0x08 => "beacon",
        0x00..=0x0f => "management",
        0x10..=0x1f => "control",
        0x20..=0x2f => "no data",
        _ => "extension",
    }
}

/// Frames for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadCount {
    /// Number of frames.
    pub frames: u64,
    /// The number of the first in its file.
    pub first: u64,
}

/// Counters of the frames of captures. Each frame is in exactly one of `read`, `pieces` and `unread`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frames {
    /// Records of any kind.
    pub total: u64,
    /// Frames that gave datagrams: one each, or several that were joined.
    pub read: u64,
    /// Pieces of fragmented IP packets but those that completed one.
    pub pieces: u64,
    /// Frames that gave nothing.
    pub unread: u64,
    reasons: BTreeMap<Unread, UnreadCount>,
}

impl Frames {
    /// The reasons why frames gave nothing, the most frequent first. More than [`MAX_REASONS`] are not
    /// listed: their frames are in `unread` only.
    pub fn reasons(&self) -> Vec<(Unread, UnreadCount)> {
        let mut reasons: Vec<_> = self.reasons.iter().map(|(why, count)| (*why, *count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(count.frames));
        reasons
    }

    /// Adds the counters of another capture.
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.read += other.read;
        self.pieces += other.pieces;
        self.unread += other.unread;
        for (why, count) in &other.reasons {
            self.add_reason(*why, *count);
        }
    }

    /// The last frame gave nothing.
    pub(super) fn add_unread(&mut self, why: Unread) {
        self.unread += 1;
        self.add_reason(why, UnreadCount { frames: 1, first: self.total });
    }

    fn add_reason(&mut self, why: Unread, count: UnreadCount) {
        let has_space = self.reasons.len() < MAX_REASONS;
        match self.reasons.get_mut(&why) {
            Some(known) => known.frames += count.frames,
            None if has_space => drop(self.reasons.insert(why, count)),
            None => {}
        }
    }
}
