//! The newer format: sections of blocks. Packets, interfaces and section headers are read; all
//! other blocks, secrets among them, are passed over.

use super::link::NO_INTERFACE;
use super::source::Source;
use super::{CaptureError, MAX_RECORD, Record};
use std::time::Duration;

/// Interfaces of a section that are remembered; packets of further ones are skipped.
pub const MAX_INTERFACES: usize = 1024;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];
/// Type and length before the body; the length stands once more behind it.
const BLOCK_HEADER: usize = 8;
const BLOCK_OVERHEAD: usize = 12;
/// Bytes of a packet block before the frame.
const PACKET_FIELDS: usize = 20;
const INTERFACE_FIELDS: usize = 8;

const OPTION_END: u16 = 0;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;

/// A section being read.
#[derive(Default)]
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    snap_len: u32,
    /// Ticks per second.
    resolution: u64,
    offset_seconds: i64,
}

impl Section {
    /// True if a section begins here.
    pub(super) fn is_next(source: &mut Source) -> Result<bool, CaptureError> {
        Ok(source.peek(4)? == SECTION.to_be_bytes())
    }

    /// The next packet. `frame` is the number of the one before it.
    pub(super) fn next(
        &mut self,
        source: &mut Source,
        frame: u64,
    ) -> Result<Option<Record>, CaptureError> {
        loop {
            let bytes = source.peek(BLOCK_HEADER + 4)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let header = *bytes.first_chunk::<12>().ok_or(CaptureError::Truncated { frame })?;
            // The type of a section header reads the same in both orders.
            if header[..4] == SECTION.to_be_bytes() {
                self.big_endian = header[8..] == BYTE_ORDER;
                if !self.big_endian && !header[8..].iter().eq(BYTE_ORDER.iter().rev()) {
                    return Err(CaptureError::Damaged { frame });
                }
                self.interfaces.clear();
            }
            let kind = self.u32(&header, 0);
            let len = self.u32(&header, 4) as usize;
            if len < BLOCK_OVERHEAD || !len.is_multiple_of(4) {
                return Err(CaptureError::Damaged { frame });
            }
            let read =
                matches!(kind, INTERFACE | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
            if !read {
                if !source.skip(len)? {
                    return Err(CaptureError::Truncated { frame });
                }
                continue;
            }
            if len > MAX_RECORD {
                return Err(CaptureError::Damaged { frame });
            }
            let block = source.peek(len)?;
            if block.len() < len {
                return Err(CaptureError::Truncated { frame });
            }
            let body = &block[BLOCK_HEADER..len - 4];
            let packet = match kind {
                INTERFACE => {
                    let interface = self.interface(body).ok_or(CaptureError::Damaged { frame })?;
                    if self.interfaces.len() < MAX_INTERFACES {
                        self.interfaces.push(interface);
                    }
                    source.consume(len);
                    continue;
                }
                SIMPLE_PACKET => self.simple(body),
                _ => self.packet(kind, body),
            };
            let block = source.consume(len);
            // A packet of an interface that is not known still counts as a frame.
            let mut record = packet.unwrap_or(Record {
                time: Duration::ZERO,
                link: NO_INTERFACE,
                data: 0..0,
                missing: 0,
            });
            let base = block.start + BLOCK_HEADER;
            record.data = base + record.data.start..base + record.data.end;
            return Ok(Some(record));
        }
    }

    /// The frame of an enhanced packet block or of its obsolete form.
    fn packet(&self, kind: u32, body: &[u8]) -> Option<Record> {
        let fields = body.first_chunk::<PACKET_FIELDS>()?;
        let number = match kind {
            OBSOLETE_PACKET => usize::from(self.u16(fields, 0)),
            _ => self.u32(fields, 0) as usize,
        };
        let interface = self.interfaces.get(number)?;
        let ticks = u64::from(self.u32(fields, 4)) << 32 | u64::from(self.u32(fields, 8));
        let len = self.u32(fields, 12) as usize;
        let end = PACKET_FIELDS.checked_add(len).filter(|end| *end <= body.len())?;
        Some(Record {
            time: interface.time(ticks),
            link: interface.link,
            data: PACKET_FIELDS..end,
            missing: (self.u32(fields, 16) as usize).saturating_sub(len),
        })
    }

    /// The frame of a block without time or interface: it is of the first one.
    fn simple(&self, body: &[u8]) -> Option<Record> {
        let interface = self.interfaces.first()?;
        let original = self.u32(body.first_chunk::<4>()?, 0) as usize;
        let snap_len = match interface.snap_len {
            0 => usize::MAX,
            len => len as usize,
        };
        let len = original.min(snap_len).min(body.len() - 4);
        Some(Record {
            time: Duration::ZERO,
            link: interface.link,
            data: 4..4 + len,
            missing: original.saturating_sub(len),
        })
    }

    fn interface(&self, body: &[u8]) -> Option<Interface> {
        let (fields, mut options) = body.split_first_chunk::<INTERFACE_FIELDS>()?;
        let mut interface = Interface {
            link: self.u16(fields, 0).into(),
            snap_len: self.u32(fields, 4),
            resolution: 1_000_000,
            offset_seconds: 0,
        };
        while let Some((head, rest)) = options.split_first_chunk::<4>() {
            let (code, len) = (self.u16(head, 0), usize::from(self.u16(head, 2)));
            let Some((value, rest)) = rest.split_at_checked(len) else { break };
            match code {
                OPTION_END => break,
                OPTION_RESOLUTION => interface.resolution = resolution(*value.first()?),
                OPTION_OFFSET => {
                    let bytes = *value.first_chunk::<8>()?;
                    interface.offset_seconds = match self.big_endian {
                        true => i64::from_be_bytes(bytes),
                        false => i64::from_le_bytes(bytes),
                    };
                }
                _ => {}
            }
            options = rest.get(len.next_multiple_of(4) - len..).unwrap_or_default();
        }
        Some(interface)
    }

    fn u32<const N: usize>(&self, fields: &[u8; N], at: usize) -> u32 {
        let bytes = [fields[at], fields[at + 1], fields[at + 2], fields[at + 3]];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn u16<const N: usize>(&self, fields: &[u8; N], at: usize) -> u16 {
        let bytes = [fields[at], fields[at + 1]];
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }
}

/// Ticks per second: a power of ten, or of two if the high bit is set.
fn resolution(byte: u8) -> u64 {
    let exponent = u32::from(byte & 0x7f);
    let base: u64 = if byte & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent).unwrap_or(u64::MAX)
}

impl Interface {
    fn time(&self, ticks: u64) -> Duration {
        let seconds = (ticks / self.resolution).saturating_add_signed(self.offset_seconds);
        let fraction = u128::from(ticks % self.resolution) * 1_000_000_000;
        let nanoseconds = fraction / u128::from(self.resolution);
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds as u64))
    }
}
