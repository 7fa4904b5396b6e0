//! Counts over decoded datagrams.

use super::analyzer::{PacketView, Status};
use super::capture::Frames;
use super::decoder::{Decoded, Keying, Undecoded};
use super::sender::Sender;
use crate::wire::chunk::{OPTION_METADATA, kind};
use crate::wire::{Chunk, OptionList};
use std::collections::BTreeMap;

/// Different flow metadata that are counted; further ones are not.
const MAX_METADATA: usize = 4096;

/// The longest metadata that is counted, in bytes.
const MAX_METADATA_LEN: usize = 1024;

/// Counters of the contents of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// All datagrams.
    pub datagrams: u64,
    /// Packets under the Default Session Key.
    pub startup: u64,
    /// Packets under a session's keys.
    pub session: u64,
    /// Answered keyings whose secret is known, repetitions not counted.
    pub sessions: u64,
    /// Datagrams that are too short to carry a packet.
    pub too_short: u64,
    /// All other datagrams.
    pub undecoded: u64,
    /// Frames of the captures, of any content, as far as they were [added](Frames::merge).
    pub frames: Frames,
    /// Packets with bytes behind the last chunk that are no padding; among `startup` and `session`.
    pub trailing: u64,
    /// Chunks by type code in all packets. Padding does not count.
    pub chunks: BTreeMap<u8, u64>,
    /// User Data chunks (not Next User Data) by their User's Per-Flow Metadata option, if they have
    /// one.
    pub flow_metadata: BTreeMap<Vec<u8>, u64>,
}

impl CaptureStats {
    /// Counts one datagram.
    pub fn add(&mut self, decoded: &Decoded) {
        match decoded {
            Decoded::Undecoded(reason) => self.count_undecoded(*reason),
            Decoded::Packet(packet) => {
                let is_startup = packet.sender == Sender::Startup;
                self.trailing += u64::from(packet.trailing > 0);
                self.count_packet(is_startup, packet.keying, packet.raw_chunks());
            }
        }
    }

    /// Counts one datagram of an [`Analyzer`](super::Analyzer).
    pub fn count(&mut self, packet: &PacketView<'_>) {
        self.trailing += u64::from(packet.trailing > 0);
        match packet.status {
            Status::Undecoded(reason) => self.count_undecoded(reason),
            Status::Startup => self.count_packet(true, packet.keying, packet.raw_chunks()),
            Status::Session(..) => self.count_packet(false, packet.keying, packet.raw_chunks()),
        }
    }

    fn count_undecoded(&mut self, reason: Undecoded) {
        self.datagrams += 1;
        match reason {
            Undecoded::TooShort => self.too_short += 1,
            _ => self.undecoded += 1,
        }
    }

    fn count_packet<'a>(
        &mut self,
        is_startup: bool,
        keying: Option<Keying>,
        chunks: impl Iterator<Item = (u8, &'a [u8])>,
    ) {
        self.datagrams += 1;
        match is_startup {
            true => self.startup += 1,
            false => self.session += 1,
        }
        self.sessions += u64::from(keying.is_some_and(|keying| keying.has_secret));
        for (code, payload) in chunks {
            if matches!(code, kind::PADDING_00 | kind::PADDING_FF) {
                continue;
            }
            *self.chunks.entry(code).or_default() += 1;
            // The first bit is set if there are options.
            if code == kind::USER_DATA && payload.first().is_some_and(|flags| flags & 0x80 != 0) {
                self.count_metadata(payload);
            }
        }
    }

    fn count_metadata(&mut self, payload: &[u8]) {
        let Some(metadata) = flow_metadata(kind::USER_DATA, payload) else { return };
        if metadata.len() > MAX_METADATA_LEN {
            return;
        }
        if self.flow_metadata.len() < MAX_METADATA || self.flow_metadata.contains_key(&metadata) {
            *self.flow_metadata.entry(metadata).or_default() += 1;
        }
    }
}

fn flow_metadata(code: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let Ok(Chunk::UserData(data)) = Chunk::parse(code, payload) else { return None };
    let (options, _) = OptionList::parse(data.options?).ok()?;
    options.find(OPTION_METADATA).map(<[u8]>::to_vec)
}
