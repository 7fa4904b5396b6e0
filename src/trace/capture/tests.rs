use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::{Cursor, Write};
use std::net::{IpAddr, Ipv6Addr};

const PROTOCOL_UDP: u8 = 17;
const ETHERNET: i32 = 1;
const RAW: i32 = 101;

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
        (ETHERNET, behind(&ethernet_head(&[0x08, 0x00]), &v4)),
        (ETHERNET, behind(&ethernet_head(&[0x86, 0xdd]), &v6)),
        (ETHERNET, behind(&ethernet_head(&[0x81, 0, 0, 9, 0x08, 0x00]), &v4)),
        (ETHERNET, behind(&ethernet_head(&[0x88, 0xa8, 0, 1, 0x81, 0, 0, 9, 0x86, 0xdd]), &v6)),
        (14, v4.clone()),
        (113, behind(&sll, &v4)),
        (276, behind(&sll2, &v6)),
        (0, behind(&[2, 0, 0, 0], &v4)),
        (108, behind(&[0, 0, 0, 30], &v6)),
        (RAW, v4.clone()),
        (228, v4.clone()),
        (229, ip6(&[0, 60])),
        (12, v6.clone()),
    ] {
        // Trailing bytes as Ethernet pads short frames.
        let padded = behind(&frame, &[0; 9]);
        for big_endian in [false, true] {
            let found = read(pcap(link, big_endian, false, &[frame.clone(), padded.clone()]));
            assert_eq!(found.len(), 2, "{link}");
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

/// As written by patched versions of libpcap long ago, with more in the header of a record.
#[test]
fn modified_files() {
    let original = pcap(101, false, false, &[ip4(17, 0), ip4(17, 0)]);
    let len = (original.len() - 24) / 2;
    let mut file = original[..24].to_vec();
    file[..4].copy_from_slice(&0xa1b2_cd34u32.to_le_bytes());
    for record in original[24..].chunks(len) {
        file.extend_from_slice(&record[..16]);
        file.extend_from_slice(&[3, 0, 0, 0, 8, 0, 4, 0]);
        file.extend_from_slice(&record[16..]);
    }
    let found = read(file);
    assert_eq!(found.len(), 2);
    found.iter().for_each(assert_is_ours);
    assert_eq!(found[1].time, Duration::new(2, 5_000));
}

#[test]
fn other_packets_are_skipped() {
    let arp = behind(&ethernet_head(&[0x08, 0x06]), &[0; 28]);
    assert!(read(pcap(1, false, false, &[arp, vec![], vec![0; 14]])).is_empty());
    let frames = [ip4(6, 0), ip4(17, 0x2000), ip4(17, 7), ip6(&[59]), vec![0x50; 40]];
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
    let empty = Capture::open(Cursor::new(Vec::new()));
    assert!(matches!(empty, Err(CaptureError::Empty)));
    for bad in [&b"x"[..], b"this is not a capture file at all, but long enough"] {
        let result = Capture::open(Cursor::new(bad.to_vec()));
        assert!(matches!(result, Err(CaptureError::NotACapture)));
    }
}

#[test]
fn a_truncated_file_gives_what_it_has() {
    let file = pcap(101, false, false, &[ip4(17, 0), ip4(17, 0)]);
    let mut capture = Capture::open(Cursor::new(file[..file.len() - 1].to_vec())).unwrap();
    assert_is_ours(&capture.next().unwrap().unwrap());
    assert!(matches!(capture.next(), Some(Err(CaptureError::Truncated { frame: 1 }))));
    assert!(capture.next().is_none());
}

#[test]
fn a_block_beyond_the_buffer_is_refused() {
    let mut file = pcap(101, false, false, &[vec![0; MAX_RECORD + 1]]);
    file.extend_from_slice(&[0; 100]);
    let mut capture = Capture::open(Cursor::new(file)).unwrap();
    assert!(matches!(capture.next(), Some(Err(_))));
    assert!(capture.next().is_none());
}

/// Pieces of a UDP datagram in IPv4, each with its offset in the payload.
fn pieces(id: u8, cuts: &[usize]) -> Vec<Vec<u8>> {
    let udp = udp();
    let ends = cuts.iter().copied().skip(1).chain([udp.len()]);
    let piece = |(start, end): (usize, usize)| {
        let more = if end < udp.len() { 0x2000u16 } else { 0 };
        let word = (more | (start / 8) as u16).to_be_bytes();
        let len = 20 + (end - start) as u8;
        let mut out = vec![0x45, 0, 0, len, 0, id, word[0], word[1], 64, 17, 0, 0];
        out.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        out.extend_from_slice(&udp[start..end]);
        out
    };
    cuts.iter().copied().zip(ends).map(piece).collect()
}

#[test]
fn fragments_in_any_order() {
    let (a, b) = (pieces(1, &[0, 8]), pieces(2, &[0, 8]));
    for order in [[&a[0], &a[1], &b[0], &b[1]], [&a[1], &b[0], &b[1], &a[0]]] {
        let found = read(pcap(RAW, false, false, &order.map(Clone::clone)));
        assert_eq!(found.len(), 2);
        found.iter().for_each(assert_is_ours);
    }
    let twice = [&a[0], &a[0], &a[1]].map(Clone::clone);
    assert_eq!(read(pcap(RAW, false, false, &twice)).len(), 1);
}

#[test]
fn ipv6_fragments() {
    let udp = udp();
    let piece = |offset: u16, more: u8, data: &[u8]| {
        let mut out = vec![0x60, 0, 0, 0, 0, 8 + data.len() as u8, 44, 64];
        out.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
        out.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).octets());
        let word = (offset | u16::from(more)).to_be_bytes();
        out.extend_from_slice(&[17, 0, word[0], word[1], 0, 0, 0, 9]);
        out.extend_from_slice(data);
        out
    };
    let frames = [piece(8, 0, &udp[8..]), piece(0, 1, &udp[..8]), piece(0, 0, &udp)];
    let found = read(pcap(RAW, false, false, &frames));
    assert_eq!(found.len(), 2, "put together, and one that is whole with a fragment header");
    found.iter().for_each(assert_is_ours);
}

#[test]
fn hostile_fragments_are_bounded() {
    let mut capture = {
        let frames: Vec<_> = (0..=255)
            .flat_map(|id| {
                let mut first = pieces(id, &[0, 8])[0].clone();
                let mut other = first.clone();
                other[15] = 77;
                // Pieces that end beyond what a packet may have, or overlap.
                first[6] = 0x3f;
                first[7] = 0xff;
                [first, other, pieces(id, &[0, 8])[0].clone()]
            })
            .collect();
        Capture::open(Cursor::new(pcap(RAW, false, false, &frames))).unwrap()
    };
    assert!(capture.next().is_none());
    let frames = capture.frames();
    assert_eq!((frames.total, frames.read, frames.pieces), (768, 0, 512));
    assert_eq!(frames.reasons()[0].0, Unread::Malformed("IP fragment"));
    assert_eq!(capture.counts().incomplete, 512);
    assert!(capture.fragments.len() <= MAX_FRAGMENTED);
}

#[test]
fn packets_that_were_cut() {
    let whole = ip4(17, 0);
    let mut file = pcap(RAW, false, false, &[]);
    for len in [whole.len(), whole.len() - 3, 30, 0] {
        let words = [1u32, 5, len as u32, whole.len() as u32];
        words.iter().for_each(|word| file.extend_from_slice(&word.to_le_bytes()));
        file.extend_from_slice(&whole[..len]);
    }
    let mut capture = Capture::open(Cursor::new(file)).unwrap();
    let mut found = Vec::new();
    while let Some(datagram) = capture.advance().unwrap() {
        found.push((datagram.payload.to_vec(), datagram.missing, datagram.frame));
    }
    assert_eq!(found, [(PAYLOAD.to_vec(), 0, 1), (PAYLOAD[..4].to_vec(), 3, 2)]);
    assert_eq!(capture.counts().cut, 1);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_files() {
    let file = pcap(RAW, false, false, &[ip4(17, 0), ip6(&[])]);
    // Also in two members, as when files are joined.
    let joined = [gzip(&file[..30]), gzip(&file[30..])].concat();
    for compressed in [gzip(&file), joined] {
        let found = read(compressed.clone());
        assert_eq!(found.len(), 2);
        found.iter().for_each(assert_is_ours);
        for cut in 0..compressed.len() {
            if let Ok(capture) = Capture::open(Cursor::new(compressed[..cut].to_vec())) {
                assert!(capture.filter(Result::is_ok).count() <= 2);
            }
        }
    }
}

/// Bytes that come one at a time, as from a pipe.
struct Slow(Cursor<Vec<u8>>);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(1);
        self.0.read(&mut buffer[..len])
    }
}

#[test]
fn files_cut_at_every_byte() {
    let frames = [ip4(17, 0), ip6(&[0])];
    let ng = pcapng_file(false, &frames);
    for file in [pcap(RAW, true, true, &frames), ng] {
        for cut in 0..=file.len() {
            let part = file[..cut].to_vec();
            let Ok(mut capture) = Capture::open(Slow(Cursor::new(part))) else {
                assert!(cut < 24);
                continue;
            };
            let mut good = 0;
            let end = loop {
                match capture.advance() {
                    Ok(Some(datagram)) => {
                        assert_eq!(datagram.payload, PAYLOAD);
                        good += 1;
                    }
                    end => break end.map(|_| ()),
                }
            };
            assert!(matches!(end, Ok(()) | Err(CaptureError::Truncated { .. })), "{cut}");
            assert_eq!(good == 2, cut == file.len());
        }
    }
}

/// A pcapng file with a block of secrets and one of an unknown type before the packets.
fn pcapng_file(big_endian: bool, frames: &[Vec<u8>]) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let block = |kind: u32, body: &[u8]| {
        let len = word((12 + body.len()) as u32);
        [&word(kind)[..], &len, body, &len].concat()
    };
    let section = [&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat();
    // Raw IP, resolution 2^-10, 100 s later.
    let options = [
        &half(9)[..],
        &half(1),
        &[0x8a, 0, 0, 0],
        &half(14),
        &half(8),
        &if big_endian { 100i64.to_be_bytes() } else { 100i64.to_le_bytes() },
        &half(0),
        &half(0),
    ]
    .concat();
    let interface = [&half(101)[..], &half(0), &word(0), &options].concat();
    let mut file = [
        block(0x0a0d_0d0a, &section),
        block(10, &[b'x'; 16]),
        block(0x8000_0001, &[]),
        block(1, &interface),
    ]
    .concat();
    for (second, frame) in (1u32..).zip(frames) {
        let len = word(frame.len() as u32);
        let ticks = word(second * 1024 + 512);
        let mut body = [&word(0)[..], &word(0), &ticks, &len, &len, frame].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend_from_slice(&block(6, &body));
    }
    file
}

#[test]
fn pcapng_in_both_orders() {
    let frames = [ip4(17, 0), ip6(&[])];
    for big_endian in [false, true] {
        let file = pcapng_file(big_endian, &frames);
        // Two sections, of different orders.
        let found = read([file, pcapng_file(!big_endian, &frames)].concat());
        assert_eq!(found.len(), 4);
        found.iter().for_each(assert_is_ours);
        assert_eq!(found[3].time, Duration::new(102, 500_000_000));
    }
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(link in 0i32..300, frame: Vec<u8>) {
        for head in [&[][..], &[0x45], &[0x60]] {
            read(pcap(link, false, false, &[behind(head, &frame)]));
        }
    }

    #[test]
    fn arbitrary_files_end(body: Vec<u8>) {
        let mut file = pcap(101, false, false, &[]);
        file.extend_from_slice(&body);
        prop_assert!(Capture::open(Cursor::new(file)).unwrap().count() <= body.len());
    }
}
