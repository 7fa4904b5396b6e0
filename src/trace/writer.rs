//! Capture files written: pcap with nanoseconds and raw IP, for tests, simulations and
//! [`wireshark`](super::wireshark).

use crate::crypto::Sealer;
use crate::wire::{Chunk, Mode, PacketHeader};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const SNAP_LEN: u32 = 1 << 18;
const RAW_IP: u32 = 101;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const HOPS: u8 = 64;

/// Writes datagrams to a capture file. A capture ends with its last record: nothing needs closing.
#[derive(Debug)]
pub struct CaptureWriter<W> {
    out: W,
    frame: Vec<u8>,
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn new(out: W) -> io::Result<Self> {
        Self::with_link(out, RAW_IP)
    }

    /// The same with another link layer, for what has more than IP packets in it.
    pub(super) fn with_link(mut out: W, link: u32) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend_from_slice(&MAGIC.to_le_bytes());
        VERSION.iter().for_each(|v| header.extend_from_slice(&v.to_le_bytes()));
        for field in [0, 0, SNAP_LEN, link] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        out.write_all(&header)?;
        Ok(Self { out, frame: Vec::new() })
    }

    /// Writes a datagram.
    ///
    /// # Errors
    ///
    /// Errors of `out`; [`io::ErrorKind::InvalidInput`] if the payload is longer than a datagram
    /// can be or the addresses are of different families.
    pub fn write(
        &mut self,
        time: Duration,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        self.write_with(time, source, destination, payload, &[])
    }

    /// Writes a datagram, and more bytes after the IP packet.
    pub(super) fn write_with(
        &mut self,
        time: Duration,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
        appendix: &[u8],
    ) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let udp_len = u16::try_from(UDP_HEADER + payload.len()).map_err(|_| invalid())?;
        self.frame.clear();
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let total = udp_len.checked_add(20).ok_or_else(invalid)?.to_be_bytes();
                let head = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, HOPS, UDP, 0, 0];
                self.frame.extend_from_slice(&head);
                self.frame.extend_from_slice(&from.octets());
                self.frame.extend_from_slice(&to.octets());
                let sum = header_checksum(&self.frame).to_be_bytes();
                self.frame[10..12].copy_from_slice(&sum);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let len = udp_len.to_be_bytes();
                self.frame.extend_from_slice(&[0x60, 0, 0, 0, len[0], len[1], UDP, HOPS]);
                self.frame.extend_from_slice(&from.octets());
                self.frame.extend_from_slice(&to.octets());
            }
            _ => return Err(invalid()),
        }
        let udp = self.frame.len();
        for field in [source.port(), destination.port(), udp_len, 0] {
            self.frame.extend_from_slice(&field.to_be_bytes());
        }
        self.frame.extend_from_slice(payload);
        if source.is_ipv6() {
            // Not optional there (RFC 8200 §8.1). The addresses stand before the UDP header.
            let sum = udp_checksum(&self.frame[udp - 32..]).to_be_bytes();
            self.frame[udp + 6..udp + 8].copy_from_slice(&sum);
        }
        self.frame.extend_from_slice(appendix);
        let len = self.frame.len() as u32;
        let mut record = Vec::with_capacity(16);
        for field in [time.as_secs() as u32, time.subsec_nanos(), len, len] {
            record.extend_from_slice(&field.to_le_bytes());
        }
        self.out.write_all(&record)?;
        self.out.write_all(&self.frame)
    }

    /// The writer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Gives the writer back.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn header_checksum(header: &[u8]) -> u16 {
    !folded(sum(header))
}

/// The checksum of both IPv6 addresses and the UDP datagram after them, whose checksum is 0.
fn udp_checksum(addresses_and_datagram: &[u8]) -> u16 {
    let len = addresses_and_datagram.len() - 32;
    match !folded(sum(addresses_and_datagram) + len as u32 + u32::from(UDP)) {
        0 => u16::MAX,
        sum => sum,
    }
}

/// The sum of 16-bit words, the last one filled up with a zero. No datagram is long enough to overflow.
fn sum(bytes: &[u8]) -> u32 {
    let (words, odd) = bytes.as_chunks::<2>();
    let words = words.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    words.sum::<u32>() + odd.iter().map(|byte| u32::from(*byte) << 8).sum::<u32>()
}

fn folded(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The payload of a datagram with these chunks under the Default Session Key. A chunk that is too
/// long is left out.
pub fn startup_packet(session_id: u32, mode: Mode, chunks: &[Chunk<'_>]) -> Vec<u8> {
    packet(&mut Sealer::default_key(), session_id, mode, chunks)
}

/// The payload of a datagram with these chunks under the keys of a session. A chunk that is too
/// long is left out.
pub fn packet(sealer: &mut Sealer, session_id: u32, mode: Mode, chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut buf = Vec::new();
    let start = sealer.begin(&mut buf);
    PacketHeader::new(mode).encode(&mut buf);
    for chunk in chunks {
        let _ = chunk.encode(&mut buf);
    }
    let range = sealer.finish(&mut buf, start);
    sealer.seal(session_id, &mut buf, &[range]);
    buf
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Capture, Datagram};
    use std::io::Cursor;

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = CaptureWriter::new(Vec::new()).unwrap();
        let v4 = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let v6 = |port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port));
        let time = Duration::new(7, 123_456_789);
        let wanted = [(v4(1), v4(2)), (v6(3), v6(4))].map(|(source, destination)| {
            let payload = b"payload".to_vec();
            writer.write(time, source, destination, &payload).unwrap();
            Datagram { time, source, destination, payload }
        });
        assert!(writer.write(time, v4(1), v6(2), b"").is_err());
        assert!(writer.write(time, v4(1), v4(2), &[0; 65_536]).is_err());
        let file = Cursor::new(writer.into_inner());
        let found: Vec<_> = Capture::open(file).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, wanted);
    }

    /// The example of RFC 1071's usual illustration.
    #[test]
    fn checksum_of_a_header() {
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        assert_eq!(header_checksum(&header), 0xb861);
    }
}
