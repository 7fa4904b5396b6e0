//! UDP datagrams are found behind every link layer and in every tunnel that is read, and of every
//! other frame has a reason why it is not.

use rtmfp::trace::{Capture, Datagram, Frames, Unread};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ETHERNET: u32 = 1;
const RAW: u32 = 101;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures")
}

/// The first IP packets of a capture on Ethernet.
fn packets() -> Vec<Vec<u8>> {
    let file = fs::read(folder().join("flash-startup.pcap")).unwrap();
    let mut rest = &file[24..];
    let mut packets = Vec::new();
    while packets.len() < 5 {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        packets.push(rest[16 + 14..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    packets
}

/// A little-endian capture file; of frames that were cut the original length stands with them.
fn pcap(link: u32, frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link] {
        file.extend_from_slice(&u32::to_le_bytes(word));
    }
    for (second, (frame, original)) in (1u32..).zip(frames) {
        for word in [second, 0, frame.len() as u32, *original as u32] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

fn whole(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<(Vec<u8>, usize)> {
    frames.into_iter().map(|frame| (frame.clone(), frame.len())).collect()
}

fn read(file: Vec<u8>) -> (Vec<Datagram>, Frames) {
    let mut capture = Capture::open(Cursor::new(file)).unwrap();
    let mut found = Vec::new();
    while let Some(datagram) = capture.advance().unwrap() {
        found.push(Datagram::from(datagram));
    }
    let frames = capture.frames().clone();
    let listed: u64 = frames.reasons().iter().map(|(_, count)| count.frames).sum();
    assert_eq!(frames.total, frames.read + frames.pieces + frames.unread, "{frames:?}");
    assert_eq!(frames.unread, listed);
    (found, frames)
}

/// Payloads with their addresses.
fn contents(datagrams: &[Datagram]) -> Vec<(String, &[u8])> {
    let ends = |d: &Datagram| format!("{} {}", d.source, d.destination);
    datagrams.iter().map(|datagram| (ends(datagram), &datagram.payload[..])).collect()
}

fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip4_piece(protocol, payload, 0)
}

/// `word` has the flags and the offset.
fn ip4_piece(protocol: u8, payload: &[u8], word: u16) -> Vec<u8> {
    let [high, low] = ((20 + payload.len()) as u16).to_be_bytes();
    let [a, b] = word.to_be_bytes();
    let head = [0x45, 0, high, low, 0, 7, a, b, 64, protocol, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
    [&head[..], payload].concat()
}

fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, high, low, next, 64];
    [&head[..], &[0xfd; 16], &[0xfe; 16], payload].concat()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let [port_high, port_low] = port.to_be_bytes();
    let [high, low] = ((8 + payload.len()) as u16).to_be_bytes();
    [&[0xc0, 0, port_high, port_low, high, low, 0, 0], payload].concat()
}

fn ether(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &kind.to_be_bytes(), payload].concat()
}

fn behind(head: &[u8], payload: &[u8]) -> Vec<u8> {
    [head, payload].concat()
}

/// Attributes before and behind the payload, as netfilter writes them.
fn nflog(packet: &[u8], word: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        let mut out = [&word(4 + value.len() as u16)[..], &word(kind), value].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    };
    let parts = [attribute(1, &[8, 0, 3, 0]), attribute(10, b"a\0"), attribute(9, packet)];
    [&[2, 0, 0, 30][..], &parts.concat()].concat()
}

fn pktap(link: u32, frame: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 108];
    for (at, word) in [(0, 108), (4, 1), (8, link)] {
        head[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
    }
    behind(&head, frame)
}

/// Flags in a radiotap header with a time stamp and two masks, then data of an access point.
fn radiotap(flags: u8, quality: bool, packet: &[u8]) -> Vec<u8> {
    let mut head = vec![0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
    head.extend([9; 8]);
    head.push(flags);
    let mut frame = vec![if quality { 0x88 } else { 0x08 }, 0x02];
    frame.resize(24, 0);
    frame.extend_from_slice(if quality { &[0, 0] } else { &[] });
    frame.resize(if flags & 0x20 != 0 { frame.len().next_multiple_of(4) } else { frame.len() }, 0);
    frame.extend([0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
    [head, frame, packet.to_vec()].concat()
}

const VXLAN: [u8; 8] = [8, 0, 0, 0, 0, 0, 42, 0];

/// Name, link type, how a packet is wrapped, and whether tshark 4.0 can be asked to confirm it.
type Wrapping = (&'static str, u32, fn(&[u8]) -> Vec<u8>, bool);

const WRAPPINGS: &[Wrapping] = &[
    ("Ethernet", ETHERNET, |p| ether(0x800, p), true),
    ("padded", ETHERNET, |p| [ether(0x800, p), vec![0xee; 40]].concat(), true),
    ("VLAN", ETHERNET, |p| ether(0x8100, &behind(&[0, 9, 8, 0], p)), true),
    ("QinQ", ETHERNET, |p| ether(0x88a8, &behind(&[0, 1, 0x81, 0, 0, 9, 8, 0], p)), true),
    (
        "SNAP",
        ETHERNET,
        |p| ether(8 + p.len() as u16, &behind(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], p)),
        true,
    ),
    ("LLC", ETHERNET, |p| ether(3 + p.len() as u16, &behind(&[6, 6, 3], p)), true),
    (
        "PPPoE",
        ETHERNET,
        |p| {
            let [high, low] = (2 + p.len() as u16).to_be_bytes();
            ether(0x8864, &behind(&[0x11, 0, 0, 1, high, low, 0, 0x21], p))
        },
        true,
    ),
    ("MPLS", ETHERNET, |p| ether(0x8847, &behind(&[0, 1, 0, 64, 0, 2, 1, 64], p)), true),
    ("MPLS multicast", ETHERNET, |p| ether(0x8848, &behind(&[0, 2, 1, 64], p)), true),
    (
        "pseudowire",
        ETHERNET,
        |p| ether(0x8847, &behind(&[0, 2, 1, 64, 0, 0, 0, 0], &ether(0x800, p))),
        true,
    ),
    ("4in4", ETHERNET, |p| ether(0x800, &ip4(4, p)), true),
    ("4in6", ETHERNET, |p| ether(0x86dd, &ip6(4, p)), true),
    ("4in6in4", RAW, |p| ip4(41, &ip6(4, p)), true),
    ("4in6 behind options", RAW, |p| ip6(60, &behind(&[4, 0, 1, 4, 0, 0, 0, 0], p)), true),
    ("GRE", RAW, |p| ip4(47, &behind(&[0, 0, 8, 0], p)), true),
    ("GRE in IPv6", RAW, |p| ip6(47, &behind(&[0, 0, 8, 0], p)), true),
    (
        "GRE with all fields",
        RAW,
        |p| {
            let head = [0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
            ip4(47, &behind(&head, p))
        },
        true,
    ),
    ("GRE with Ethernet", RAW, |p| ip4(47, &behind(&[0, 0, 0x65, 0x58], &ether(0x800, p))), true),
    ("GRE with MPLS", RAW, |p| ip4(47, &behind(&[0, 0, 0x88, 0x47, 0, 2, 1, 64], p)), true),
    (
        "PPTP",
        RAW,
        |p| {
            let [high, low] = (4 + p.len() as u16).to_be_bytes();
            let head = [0x30, 0x81, 0x88, 0x0b, high, low, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
            ip4(47, &behind(&behind(&head, &[0xff, 3, 0, 0x21]), p))
        },
        true,
    ),
    ("VXLAN", RAW, |p| ip4(17, &udp(4789, &behind(&VXLAN, &ether(0x800, p)))), true),
    ("VXLAN of old Linux", RAW, |p| ip4(17, &udp(8472, &behind(&VXLAN, &ether(0x800, p)))), false),
    ("VXLAN in IPv6", RAW, |p| ip6(17, &udp(4789, &behind(&VXLAN, &ether(0x800, p)))), true),
    ("EtherIP", RAW, |p| ip4(97, &behind(&[0x30, 0], &ether(0x800, p))), true),
    ("AH", RAW, |p| ip4(51, &behind(&[4, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2], p)), true),
    (
        "GRE in VXLAN in PPPoE",
        ETHERNET,
        |p| {
            let gre = ip4(47, &behind(&[0, 0, 8, 0], p));
            let vxlan = ip4(17, &udp(4789, &behind(&VXLAN, &ether(0x800, &gre))));
            let [high, low] = (2 + vxlan.len() as u16).to_be_bytes();
            ether(0x8864, &behind(&[0x11, 0, 0, 1, high, low, 0, 0x21], &vxlan))
        },
        true,
    ),
    ("PPP", 9, |p| behind(&[0xff, 3, 0, 0x21], p), true),
    ("PPP without address", 9, |p| behind(&[0, 0x21], p), true),
    ("PPP with a short protocol", 9, |p| behind(&[0x21], p), true),
    ("PPP, serial", 50, |p| behind(&[0xff, 3, 0, 0x21], p), true),
    ("HDLC on PPP, serial", 50, |p| behind(&[0x0f, 0, 8, 0], p), true),
    ("PPPoE alone", 51, |p| behind(&[0x11, 0, 0, 1, 0, 0, 0, 0x21], p), false),
    ("HDLC", 104, |p| behind(&[0x0f, 0, 8, 0], p), true),
    ("PPP of pppd", 166, |p| behind(&[1, 3, 0, 0x21], p), false),
    ("PPP with direction", 204, |p| behind(&[0, 0xff, 3, 0, 0x21], p), true),
    ("MPLS alone", 219, |p| behind(&[0, 2, 1, 64], p), false),
    ("raw", RAW, |p| p.to_vec(), true),
    ("BSD raw", 12, |p| p.to_vec(), true),
    ("IPv4", 228, |p| p.to_vec(), true),
    ("null", 0, |p| behind(&[2, 0, 0, 0], p), true),
    ("null, big-endian", 0, |p| behind(&[0, 0, 0, 2], p), true),
    ("loop", 108, |p| behind(&[0, 0, 0, 2], p), true),
    ("cooked", 113, |p| behind(&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0], p), true),
    (
        "cooked with VLAN",
        113,
        |p| behind(&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x81, 0, 0, 9, 8, 0], p),
        true,
    ),
    (
        "cooked with LLC",
        113,
        |p| {
            let head =
                [0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0, 4, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
            behind(&head, p)
        },
        true,
    ),
    (
        "cooked 2",
        276,
        |p| behind(&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0], p),
        true,
    ),
    ("NFLOG", 239, |p| nflog(p, u16::to_le_bytes), true),
    ("NFLOG, big-endian", 239, |p| nflog(p, u16::to_be_bytes), false),
    ("PKTAP", 258, |p| pktap(ETHERNET, &ether(0x800, p)), true),
    ("PKTAP of macOS", 149, |p| pktap(ETHERNET, &ether(0x800, p)), false),
    ("PKTAP with loopback", 149, |p| pktap(0, &behind(&[2, 0, 0, 0], p)), false),
    ("radiotap", 127, |p| radiotap(0, false, p), true),
    ("radiotap, QoS", 127, |p| radiotap(0, true, p), true),
    ("radiotap, QoS, padded", 127, |p| radiotap(0x20, true, p), true),
    ("IEEE 802.11", 105, |p| radiotap(0, false, p).split_off(25), true),
    ("PPI", 192, |p| behind(&[0, 0, 8, 0, 105, 0, 0, 0], &radiotap(0, true, p)[25..]), true),
];

#[test]
fn every_wrapping_gives_the_same_datagrams() {
    let packets = packets();
    let (expected, _) = read(pcap(RAW, &whole(packets.clone())));
    assert_eq!(expected.len(), 5);
    for (name, link, wrap, _) in WRAPPINGS {
        let frames = packets.iter().map(|packet| wrap(packet));
        let (found, frames) = read(pcap(*link, &whole(frames)));
        assert_eq!(contents(&found), contents(&expected), "{name}: {frames:?}");
        assert_eq!((frames.read, frames.unread), (5, 0), "{name}");
    }
}

/// A pcapng file with an interface for each wrapping that tshark can read, and its link layer.
fn pcapng(packets: &[Vec<u8>]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let len = ((12 + padded) as u32).to_le_bytes();
        let padding = vec![0; padded - body.len()];
        [&kind.to_le_bytes()[..], &len, body, &padding, &len].concat()
    };
    let section = [&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat();
    let mut file = block(0x0a0d_0d0a, &section);
    let wrappings = || WRAPPINGS.iter().filter(|(.., is_confirmed)| *is_confirmed);
    for (_, link, ..) in wrappings() {
        file.extend(block(1, &[link.to_le_bytes(), [0; 4]].concat()));
    }
    for packet in packets {
        for (interface, (_, _, wrap, _)) in (0u32..).zip(wrappings()) {
            let frame = wrap(packet);
            let len = (frame.len() as u32).to_le_bytes();
            let fields = [interface.to_le_bytes(), [0; 4], [0; 4], len, len].concat();
            file.extend(block(6, &behind(&fields, &frame)));
        }
    }
    file
}

/// Skipped where there is no tshark, unless the environment variable RTMFP_REQUIRE_TSHARK is set.
#[test]
fn tshark_finds_the_same_datagrams() {
    if let Err(error) = Command::new("tshark").arg("-v").stdout(Stdio::null()).status() {
        let is_required = std::env::var_os("RTMFP_REQUIRE_TSHARK").is_some();
        assert!(!is_required, "tshark is required and does not run: {error}");
        eprintln!("SKIPPED: tshark is not installed ({error})");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrapped.pcapng");
    let file = pcapng(&packets());
    fs::write(&path, &file).unwrap();
    // The innermost datagrams.
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&path).args(["-T", "fields", "-E", "occurrence=l"]);
    for field in ["frame.number", "udp.srcport", "udp.dstport", "udp.length"] {
        command.args(["-e", field]);
    }
    let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let (found, frames) = read(file);
    let line = |(number, d): (usize, &Datagram)| {
        let (from, to) = (d.source.port(), d.destination.port());
        format!("{number}\t{from}\t{to}\t{}", d.payload.len() + 8)
    };
    let ours: Vec<_> = (1..).zip(&found).map(line).collect();
    assert!(frames.unread == 0 && ours.len() > 200);
    assert_eq!(shown.lines().collect::<Vec<_>>(), ours);
}

#[test]
fn recorded_link_layers() {
    let (expected, _) = read(pcap(RAW, &whole(packets())));
    for name in ["pppoe", "ppp", "pktap149"] {
        let file = fs::read(folder().join("links").join(name).with_extension("pcap")).unwrap();
        let (found, frames) = read(file);
        assert_eq!(contents(&found), contents(&expected), "{name}");
        assert_eq!(frames.unread, 0);
    }
}

/// What is in a frame that is not read, or wrong with it.
#[test]
fn frames_that_are_not_read_are_named() {
    let packet = &packets()[0];
    let tcp = ip4(6, &[0; 20]);
    let deep = (0..20).fold(packet.clone(), |inner, _| ip4(4, &inner));
    let cases: Vec<(u32, Vec<u8>, Unread, &str)> = vec![
        (ETHERNET, ether(0x806, &[0; 28]), Unread::EtherType(0x806), "EtherType 0x0806 (ARP)"),
        (ETHERNET, ether(0x8863, &[0; 20]), Unread::EtherType(0x8863), "PPPoE discovery"),
        (ETHERNET, ether(38, &[0x42, 0x42, 3, 0]), Unread::Sap(0x42), "0x42 (spanning tree)"),
        (ETHERNET, ether(40, &[0xaa, 0xaa, 3, 0, 0, 0xc, 0x20, 0]), Unread::Snap(0xc), "0x00000c"),
        (ETHERNET, ether(0x800, &tcp), Unread::IpProtocol(6), "IP protocol 6 (TCP)"),
        (ETHERNET, ether(0x86dd, &ip6(58, &[0; 8])), Unread::IpProtocol(58), "58 (ICMPv6)"),
        (ETHERNET, ether(0x800, &ip4_piece(1, &[0; 8], 0x2000)), Unread::IpProtocol(1), "ICMP"),
        (ETHERNET, ether(0x800, &[0x50; 20]), Unread::IpVersion(5), "IP version 5"),
        (ETHERNET, vec![2; 9], Unread::Malformed("Ethernet"), "malformed Ethernet headers"),
        (ETHERNET, ether(0x8847, &[0, 2, 1, 64, 0x90, 0]), Unread::Mpls(32), "MPLS label 32"),
        (ETHERNET, ether(0x8864, &[0x11, 0, 0, 1, 0, 4, 0xc0, 0x21]), Unread::Ppp(0xc021), "LCP"),
        (ETHERNET, ether(0x8864, &[0x22, 0, 0, 1]), Unread::Malformed("PPPoE"), "PPPoE"),
        (RAW, ip4(47, &behind(&[0x40, 0, 8, 0], packet)), Unread::Malformed("GRE"), "GRE"),
        (RAW, ip4(47, &[0, 0, 0x88, 0xcc]), Unread::EtherType(0x88cc), "LLDP"),
        (RAW, ip4(17, &[0; 7]), Unread::Malformed("UDP"), "malformed UDP headers"),
        (RAW, ip4(17, &[0, 1, 0, 2, 0, 7, 0, 0]), Unread::Malformed("UDP"), "malformed UDP"),
        (RAW, deep, Unread::TooDeep, "too many layers"),
        (0, vec![30, 0, 0, 0, 0], Unread::Family(30), "address family 30"),
        (9, vec![0xff, 3, 0xc0, 0x21], Unread::Ppp(0xc021), "PPP protocol 0xc021 (LCP)"),
        (105, vec![0x80, 0], Unread::Wireless(8), "IEEE 802.11 type 0x08 (beacon)"),
        (105, vec![0x08, 0x42], Unread::WirelessEncrypted, "encrypted"),
        (149, vec![0; 120], Unread::LinkType(149), "link type 149 (USER2)"),
        (147, packet.clone(), Unread::LinkType(147), "link type 147 (USER0)"),
        (195, packet.clone(), Unread::LinkType(195), "link type 195 (IEEE 802.15.4)"),
        (299, packet.clone(), Unread::LinkType(299), "link type 299"),
    ];
    for (link, frame, why, text) in cases {
        let (found, frames) = read(pcap(link, &whole([packet[..9].to_vec(), frame])));
        assert!(found.is_empty(), "{why}");
        let reasons = frames.reasons();
        let (_, count) = reasons.iter().find(|(other, _)| *other == why).expect(text);
        assert!(count.first <= 2 && why.to_string().contains(text), "{why} against {text}");
        assert_eq!((frames.total, frames.unread), (2, 2));
    }
}

#[test]
fn frames_cut_by_the_snap_length_are_told_from_malformed_ones() {
    let frame = ether(0x800, &packets()[0]);
    for len in 0..42 {
        let (found, frames) = read(pcap(ETHERNET, &[(frame[..len].to_vec(), frame.len())]));
        assert!(found.is_empty() && frames.reasons()[0].0 == Unread::Cut, "{len}: {frames:?}");
    }
    // Inside a tunnel, too.
    let tunnel = ip4(47, &behind(&[0, 0, 8, 0], &packets()[0]));
    let (found, frames) = read(pcap(RAW, &[(tunnel[..40].to_vec(), tunnel.len())]));
    assert!(found.is_empty() && frames.reasons()[0].0 == Unread::Cut);
}

/// An outer packet in pieces, whose inner packet is a piece of another.
#[test]
fn fragments_in_fragments() {
    let packets = packets();
    let (expected, _) = read(pcap(RAW, &whole([packets[1].clone()])));
    let (header, payload) = packets[1].split_at(20);
    let inner = |range: std::ops::Range<usize>, word: u16| {
        let [high, low] = ((20 + range.len()) as u16).to_be_bytes();
        let [a, b] = word.to_be_bytes();
        let mut head = header.to_vec();
        (head[2], head[3], head[6], head[7]) = (high, low, a, b);
        behind(&head, &payload[range])
    };
    let inner = [inner(0..80, 0x2000), inner(80..payload.len(), 10)];
    let mut frames = Vec::new();
    for (id, inner) in (1u8..).zip(inner) {
        let (first, second) = inner.split_at(48);
        for (part, word) in [(second, 6), (first, 0x2000)] {
            let mut piece = ip4_piece(4, part, word);
            piece[5] = id;
            frames.push(ether(0x800, &[&piece[..], &[0; 9]].concat()));
        }
    }
    let (found, counts) = read(pcap(ETHERNET, &whole(frames)));
    assert_eq!(contents(&found), contents(&expected));
    assert_eq!((counts.read, counts.pieces, counts.unread), (1, 3, 0));
    // An IPv6 packet in pieces, with options in the fragmentable part.
    let body = behind(&[4, 0, 1, 4, 0, 0, 0, 0], &packets[1]);
    let piece = |range: std::ops::Range<usize>, more: u8| {
        let [high, low] = (range.start as u16).to_be_bytes();
        ip6(44, &behind(&[60, 0, high, low | more, 0, 0, 0, 3], &body[range]))
    };
    let (found, _) = read(pcap(RAW, &whole([piece(0..64, 1), piece(64..body.len(), 0)])));
    assert_eq!(contents(&found), contents(&expected));
}
