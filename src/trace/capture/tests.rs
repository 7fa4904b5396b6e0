use super::*;
use proptest::prelude::*;
use std::io::Cursor;

const PAYLOAD: &[u8] = b"payload";

fn udp() -> Vec<u8> {
    let mut out = vec![0x10, 0x00, 0x07, 0x8f, 0, 8 + PAYLOAD.len() as u8, 0, 0];
    out.extend_from_slice(PAYLOAD);
    out
}

fn ip4(protocol: u8, fragment: u16) -> Vec<u8> {
    let udp = udp();
    // A header with four bytes of options.
    let mut out = vec![0x46, 0, 0, 24 + udp.len() as u8, 0, 0];
    out.extend_from_slice(&fragment.to_be_bytes());
    out.extend_from_slice(&[64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 1, 1]);
    out.extend_from_slice(&udp);
    out
}

fn ip6(extensions: &[u8]) -> Vec<u8> {
    let udp = udp();
    let len = (8 * extensions.len() + udp.len()) as u8;
    let first = extensions.first().copied().unwrap_or(PROTOCOL_UDP);
    let mut out = vec![0x60, 0, 0, 0, 0, len, first, 64];
    out.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
    out.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).octets());
    for i in 0..extensions.len() {
        let next = extensions.get(i + 1).copied().unwrap_or(PROTOCOL_UDP);
        out.extend_from_slice(&[next, 0, 0, 0, 0, 0, 0, 0]);
    }
    out.extend_from_slice(&udp);
    out
}

fn behind(head: &[u8], packet: &[u8]) -> Vec<u8> {
    [head, packet].concat()
}

fn ethernet_head(types: &[u8]) -> Vec<u8> {
    [&[0; 12], types].concat()
}

/// A pcap file in host order `swap`ped or not, with these frames at 1 s, 2 s and so on.
fn pcap(link: i32, big_endian: bool, nanoseconds: bool, frames: &[Vec<u8>]) -> Vec<u8> {
    let u32s = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let u16s = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut out = [u32s(magic).to_vec(), u16s(2).to_vec(), u16s(4).to_vec()].concat();
    for field in [0, 0, 65_535, link as u32] {
        out.extend_from_slice(&u32s(field));
    }
    for (second, frame) in (1..).zip(frames) {
        for field in [second, 5, frame.len() as u32, frame.len() as u32] {
            out.extend_from_slice(&u32s(field));
        }
        out.extend_from_slice(frame);
    }
    out
}

fn read(file: Vec<u8>) -> Vec<Datagram> {
    Capture::open(Cursor::new(file)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn assert_is_ours(datagram: &Datagram) {
    assert_eq!(datagram.payload, PAYLOAD);
    assert_eq!((datagram.source.port(), datagram.destination.port()), (4096, 1935));
    let last = |address: IpAddr| match address {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    };
    assert_eq!((last(datagram.source.ip()), last(datagram.destination.ip())), (1, 2));
}

#[test]
fn every_link_layer() {
    let mut sll = vec![0; 16];
    sll[14] = 0x08;
    let mut sll2 = vec![0; 20];
    sll2[..2].copy_from_slice(&[0x86, 0xdd]);
    let (v4, v6) = (ip4(17, 0x4000), ip6(&[]));
    for (link, frame) in [
        (Linktype::ETHERNET, behind(&ethernet_head(&[0x08, 0x00]), &v4)),
        (Linktype::ETHERNET, behind(&ethernet_head(&[0x86, 0xdd]), &v6)),
        (Linktype::ETHERNET, behind(&ethernet_head(&[0x81, 0, 0, 9, 0x08, 0x00]), &v4)),
        (Linktype::LINUX_SLL, behind(&sll, &v4)),
        (Linktype::LINUX_SLL2, behind(&sll2, &v6)),
        (Linktype::NULL, behind(&[2, 0, 0, 0], &v4)),
        (Linktype::LOOP, behind(&[0, 0, 0, 30], &v6)),
        (Linktype::RAW, v4.clone()),
        (Linktype::IPV4, v4.clone()),
        (Linktype::IPV6, ip6(&[0, 60])),
        (Linktype(12), v6.clone()),
    ] {
        // Trailing bytes as Ethernet pads short frames.
        let padded = behind(&frame, &[0; 9]);
        for big_endian in [false, true] {
            let found = read(pcap(link.0, big_endian, false, &[frame.clone(), padded.clone()]));
            assert_eq!(found.len(), 2, "{link:?}");
            found.iter().for_each(assert_is_ours);
            assert_eq!(found[1].time, Duration::new(2, 5_000));
        }
    }
}

#[test]
fn nanosecond_files() {
    let found = read(pcap(101, false, true, &[ip4(17, 0)]));
    assert_eq!(found[0].time, Duration::new(1, 5));
}

#[test]
fn other_packets_are_skipped() {
    let arp = behind(&ethernet_head(&[0x08, 0x06]), &[0; 28]);
    assert!(read(pcap(1, false, false, &[arp, vec![], vec![0; 14]])).is_empty());
    let frames = [ip4(6, 0), ip4(17, 0x2000), ip4(17, 7), ip6(&[44]), vec![0x50; 40]];
    assert!(read(pcap(101, false, false, &frames)).is_empty());
    assert!(read(pcap(9999, false, false, &[ip4(17, 0)])).is_empty());
}

#[test]
fn pcapng() {
    let block = |kind: u32, body: &[u8]| {
        let len = (12 + body.len()) as u32;
        let len = len.to_le_bytes();
        [&kind.to_le_bytes()[..], &len, body, &len].concat()
    };
    let section = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0].into_iter().chain([0xff; 8]);
    // Raw IP, no options; then Ethernet with a resolution of 10^-9.
    let raw = [101, 0, 0, 0, 0, 0, 0, 0];
    let ethernet = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let packet = |interface: u32, ticks: u64, frame: &[u8]| {
        let mut body = Vec::new();
        let words = [interface, (ticks >> 32) as u32, ticks as u32];
        words.iter().for_each(|word| body.extend_from_slice(&word.to_le_bytes()));
        let len = (frame.len() as u32).to_le_bytes();
        body.extend_from_slice(&[len, len].concat());
        body.extend_from_slice(frame);
        body.resize(body.len().next_multiple_of(4), 0);
        block(6, &body)
    };
    let file = [
        block(0x0a0d_0d0a, &section.collect::<Vec<_>>()),
        block(1, &raw),
        block(1, &ethernet),
        packet(0, 3_000_007, &ip4(17, 0)),
        packet(1, 3_000_000_007, &behind(&ethernet_head(&[0x86, 0xdd]), &ip6(&[43]))),
        packet(7, 0, &ip4(17, 0)),
    ]
    .concat();
    let found = read(file);
    assert_eq!(found.len(), 2);
    found.iter().for_each(assert_is_ours);
    assert_eq!(found[0].time, Duration::new(3, 7_000));
    assert_eq!(found[1].time, Duration::new(3, 7));
}

#[test]
fn files_that_are_none() {
    for bad in [&b""[..], b"x", b"this is not a capture file at all, but long enough"] {
        let result = Capture::open(Cursor::new(bad.to_vec()));
        assert!(matches!(result, Err(CaptureError::NotACapture)));
    }
}

#[test]
fn a_truncated_file_gives_what_it_has() {
    let file = pcap(101, false, false, &[ip4(17, 0), ip4(17, 0)]);
    let mut capture = Capture::open(Cursor::new(file[..file.len() - 1].to_vec())).unwrap();
    assert_is_ours(&capture.next().unwrap().unwrap());
    assert!(matches!(capture.next(), Some(Err(CaptureError::Truncated))));
    assert!(capture.next().is_none());
}

#[test]
fn a_block_beyond_the_buffer_is_refused() {
    let mut file = pcap(101, false, false, &[vec![0; 2 * BUFFER]]);
    file.extend_from_slice(&[0; 100]);
    let mut capture = Capture::open(Cursor::new(file)).unwrap();
    assert!(matches!(capture.next(), Some(Err(_))));
    assert!(capture.next().is_none());
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(link in 0i32..300, frame: Vec<u8>) {
        let _ = datagram(Duration::ZERO, Linktype(link), &frame);
        for head in [0x45u8, 0x60] {
            let _ = datagram(Duration::ZERO, Linktype::RAW, &behind(&[head], &frame));
        }
    }

    #[test]
    fn arbitrary_files_end(body: Vec<u8>) {
        let mut file = pcap(101, false, false, &[]);
        file.extend_from_slice(&body);
        prop_assert!(Capture::open(Cursor::new(file)).unwrap().count() <= body.len());
    }
}
