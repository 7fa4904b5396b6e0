//! Counts over decoded datagrams.

use super::decoder::{Decoded, Sender, Undecoded};
use crate::wire::chunk::{OPTION_METADATA, kind};
use crate::wire::{Chunk, OptionList};
use std::collections::BTreeMap;

/// Different flow metadata that are counted; further ones are not.
const MAX_METADATA: usize = 65_536;

/// What a capture contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
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
    /// Chunks by type code in all packets. Padding does not count.
    pub chunks: BTreeMap<u8, u64>,
    /// User Data chunks (not Next User Data) by their User's Per-Flow Metadata option, if they have
    /// one.
    pub flow_metadata: BTreeMap<Vec<u8>, u64>,
}

impl Stats {
    /// Counts one datagram.
    pub fn add(&mut self, decoded: &Decoded) {
        self.datagrams += 1;
        let packet = match decoded {
            Decoded::Packet(packet) => packet,
            Decoded::Undecoded(Undecoded::TooShort) => {
                self.too_short += 1;
                return;
            }
            Decoded::Undecoded(_) => {
                self.undecoded += 1;
                return;
            }
        };
        match packet.sender {
            Sender::Startup => self.startup += 1,
            Sender::Initiator(_) | Sender::Responder(_) => self.session += 1,
        }
        self.sessions += u64::from(packet.keying.is_some_and(|keying| keying.has_secret));
        for (code, payload) in packet.raw_chunks() {
            if matches!(code, kind::PADDING_00 | kind::PADDING_FF) {
                continue;
            }
            *self.chunks.entry(code).or_default() += 1;
            if let Some(metadata) = flow_metadata(code, payload)
                && (self.flow_metadata.len() < MAX_METADATA
                    || self.flow_metadata.contains_key(&metadata))
            {
                *self.flow_metadata.entry(metadata).or_default() += 1;
            }
        }
    }
}

fn flow_metadata(code: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let Ok(Chunk::UserData(data)) = Chunk::parse(code, payload) else { return None };
    let (options, _) = OptionList::parse(data.options?).ok()?;
    options.find(OPTION_METADATA).map(<[u8]>::to_vec)
}
