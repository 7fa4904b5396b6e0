//! Link layers: how many bytes of a frame come before the IP packet.

const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const RAW: u32 = 101;
/// Raw IP of BSDs, whose number depends on the system.
const RAW_BSD: [u32; 2] = [12, 14];
const LOOP: u32 = 108;
const LINUX_COOKED: u32 = 113;
const IPV4: u32 = 228;
const IPV6: u32 = 229;
const LINUX_COOKED_2: u32 = 276;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad (QinQ), and what was in use before it.
const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const VLAN_TAG: usize = 4;
/// Tags one behind the other.
const MAX_VLAN_TAGS: usize = 4;

/// Whether frames of this link layer can be read at all.
pub(super) fn is_known(link: u32) -> bool {
    matches!(link, NULL | ETHERNET | RAW | LOOP | LINUX_COOKED | IPV4 | IPV6 | LINUX_COOKED_2)
        || RAW_BSD.contains(&link)
}

/// Where in `frame` the IP packet begins, if there is one.
pub(super) fn strip(link: u32, frame: &[u8]) -> Option<usize> {
    let (ether_type, start) = match link {
        ETHERNET => (12, 14),
        LINUX_COOKED => (14, 16),
        LINUX_COOKED_2 => (0, 20),
        RAW | IPV4 | IPV6 => return Some(0),
        // An address family of the capturing system before the packet; the packet tells as well.
        NULL | LOOP => return Some(4),
        other if RAW_BSD.contains(&other) => return Some(0),
        _ => return None,
    };
    let mut ether_type = word(frame, ether_type)?;
    let mut start = start;
    for _ in 0..MAX_VLAN_TAGS {
        if !ETHERTYPE_VLAN.contains(&ether_type) {
            break;
        }
        ether_type = word(frame, start + 2)?;
        start += VLAN_TAG;
    }
    [ETHERTYPE_IPV4, ETHERTYPE_IPV6].contains(&ether_type).then_some(start)
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}
