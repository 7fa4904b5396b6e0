//! Extraction of streams, objects and posts as files.
//!
//! | file | content |
//! | --- | --- |
//! | `session-N-SENDER-stream-S.flv` | audio, video and data messages of an RTMP stream |
//! | `group-ID-stream-KEY.flv` | the same of a stream in a group, put together from its fragments |
//! | `group-ID-object-INDEX.bin` | an object that is a byte array |
//! | `group-ID-object-INDEX.amf` | any other object, in AMF |
//! | `group-ID-post-KEY.amf` | a posted value, in AMF |
//!
//! `ID` and `KEY` are the first eight bytes. Objects and posts are written once each.
//!
//! Bounds: [`MAX_FILES`] files; [`MAX_WINDOW`] fragments of a stream wait for those before them.

use super::analyzer::PacketView;
use super::flows::FlowMessage;
use super::message::{self, FlowClass};
use super::text::Hex;
use crate::amf;
use crate::flash::Message;
use crate::group::message::{Fragment, MulticastData, ReplicationMessage};
use crate::group::{FlowKind, MessageId};
use crate::media::flv;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

/// Files that are written; further ones are counted only.
pub const MAX_FILES: usize = 100_000;

/// Fragments of a group's stream that wait for those before them, and what they may take together.
pub const MAX_WINDOW: usize = 4096;
const MAX_WINDOW_BYTES: usize = 2 << 20;

/// Streams of groups that are put together at a time.
const MAX_STREAMS: usize = 32;

/// The longest message that is put together, in bytes.
const MAX_MESSAGE: usize = 2 << 20;

const AUDIO: u8 = 0x08;
const VIDEO: u8 = 0x09;
const DATA: u8 = 0x12;
const DATA_EXTENDED: u8 = 0x0f;

/// The receiver of the files.
pub trait Sink {
    /// Appends to the file with this name, which is plain: no directories, no odd characters.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// Takes messages, and writes their streams, objects and posts to files.
#[derive(Debug)]
pub struct Extractor<S> {
    sink: S,
    names: HashSet<String>,
    skipped: u64,
    streams: HashMap<[u8; 32], Assembly>,
    scratch: Vec<u8>,
}

/// The fragments of a group's stream.
#[derive(Debug, Default)]
struct Assembly {
    name: String,
    /// The next fragment in order; absent before the first.
    next: Option<u64>,
    waiting: BTreeMap<u64, Fragment>,
    waiting_bytes: usize,
    /// Type, timestamp and payload of the message that is being put together.
    message: Vec<u8>,
    in_message: bool,
}

impl<S: Sink> Extractor<S> {
    /// An extractor that writes to `sink`.
    pub fn new(sink: S) -> Self {
        let (names, streams) = (HashSet::new(), HashMap::new());
        Self { sink, names, skipped: 0, streams, scratch: Vec::new() }
    }

    /// Takes the messages that a packet completes.
    ///
    /// # Errors
    ///
    /// Errors of the sink.
    pub fn packet(&mut self, packet: &PacketView<'_>) -> io::Result<()> {
        for message in packet.messages {
            self.message(message, packet.bytes(message))?;
        }
        Ok(())
    }

    /// Files that were written, and files that were not as there were too many.
    pub fn counts(&self) -> (usize, u64) {
        (self.names.len(), self.skipped)
    }

    /// Writes the rest at the end: fragments of streams that wait for others.
    ///
    /// # Errors
    ///
    /// Errors of the sink.
    pub fn finish(&mut self) -> io::Result<()> {
        for (_, mut assembly) in std::mem::take(&mut self.streams) {
            while assembly.skip() {
                self.deliver(&mut assembly)?;
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &FlowMessage, bytes: &[u8]) -> io::Result<()> {
        let group = message.group.map(|group| Hex(&group.0[..8]).to_string());
        match (message.class, group) {
            (FlowClass::Tc(stream), _) => {
                let (session, side) = (message.key.session, message.key.side.name());
                if is_media(bytes) {
                    let name = format!("session-{session}-{side}-stream-{stream}.flv");
                    self.flv(&name, bytes)?;
                }
                Ok(())
            }
            (FlowClass::Group(FlowKind::Replication), Some(group)) => self.object(&group, bytes),
            (FlowClass::Group(FlowKind::PostingValues), Some(group)) => {
                let key = MessageId::of(bytes).key();
                self.once(&format!("group-{group}-post-{}.amf", Hex(&key.0)), bytes)
            }
            (FlowClass::Group(FlowKind::MulticastData), Some(group)) => match message.stream {
                Some(stream) => self.fragment(&group, stream, bytes),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn object(&mut self, group: &str, bytes: &[u8]) -> io::Result<()> {
        let message = ReplicationMessage::parse(Bytes::copy_from_slice(bytes));
        let Ok(ReplicationMessage::Object { index, value }) = message else { return Ok(()) };
        let value = &value[..];
        let parsed = message::amf(value);
        match parsed.as_ref().and_then(amf::Value::as_bytes) {
            Some(content) => self.once(&format!("group-{group}-object-{index}.bin"), content),
            None => self.once(&format!("group-{group}-object-{index}.amf"), value),
        }
    }

    fn once(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if !self.names.contains(name) && self.is_new(name) {
            self.sink.append(name, bytes)?;
        }
        Ok(())
    }

    /// Remembers the name of a file. False if there are too many.
    fn is_new(&mut self, name: &str) -> bool {
        if self.names.len() >= MAX_FILES {
            self.skipped += 1;
            return false;
        }
        self.names.insert(name.to_owned())
    }

    /// Appends an RTMP message as a tag.
    fn flv(&mut self, name: &str, message: &[u8]) -> io::Result<()> {
        let message = Message::parse(&Bytes::copy_from_slice(message)).ok();
        let Some(tag) = message.and_then(|message| message.tag()) else { return Ok(()) };
        self.scratch.clear();
        if tag.encode(&mut self.scratch).is_err() {
            return Ok(());
        }
        if !self.names.contains(name) {
            if !self.is_new(name) {
                return Ok(());
            }
            self.sink.append(name, &flv::header(true, true))?;
        }
        self.sink.append(name, &self.scratch)
    }

    /// Takes a fragment of a group's stream, which may come several times.
    fn fragment(&mut self, group: &str, stream: [u8; 32], bytes: &[u8]) -> io::Result<()> {
        let Ok(MulticastData::Fragment(fragment)) =
            MulticastData::parse(&Bytes::copy_from_slice(bytes))
        else {
            return Ok(());
        };
        if self.streams.len() >= MAX_STREAMS && !self.streams.contains_key(&stream) {
            return Ok(());
        }
        let mut assembly = self.streams.remove(&stream).unwrap_or_else(|| Assembly {
            name: format!("group-{group}-stream-{}.flv", Hex(&stream[..8])),
            ..Assembly::default()
        });
        assembly.add(fragment);
        let mut delivered = self.deliver(&mut assembly);
        while delivered.is_ok() && assembly.is_full() && assembly.skip() {
            delivered = self.deliver(&mut assembly);
        }
        self.streams.insert(stream, assembly);
        delivered
    }

    /// Writes the messages that are complete and in order.
    fn deliver(&mut self, assembly: &mut Assembly) -> io::Result<()> {
        while let Some(fragment) = assembly.take() {
            if assembly.push(&fragment) {
                let message = std::mem::take(&mut assembly.message);
                if is_media(&message) {
                    self.flv(&assembly.name, &message)?;
                }
            }
        }
        Ok(())
    }
}

fn is_media(message: &[u8]) -> bool {
    matches!(message.first(), Some(&(AUDIO | VIDEO | DATA | DATA_EXTENDED)))
}

impl Assembly {
    fn add(&mut self, fragment: Fragment) {
        let number = fragment.number();
        if self.next.is_some_and(|next| number < next) || self.waiting.contains_key(&number) {
            return;
        }
        // The first to come is not the first of the stream: a member may join late, and fragments
        // are pushed by several neighbors.
        self.waiting_bytes += fragment.as_bytes().len();
        self.waiting.insert(number, fragment);
        if self.next.is_none() && number == 1 {
            self.next = Some(1);
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() > MAX_WINDOW || self.waiting_bytes > MAX_WINDOW_BYTES
    }

    /// Skips missing fragments before the first one that waits. False if none waits.
    fn skip(&mut self) -> bool {
        let Some(first) = self.waiting.keys().next().copied() else { return false };
        if self.next != Some(first) {
            self.in_message = false;
            self.message.clear();
            self.next = Some(first);
        }
        true
    }

    fn take(&mut self) -> Option<Fragment> {
        let next = self.next?;
        let fragment = self.waiting.remove(&next)?;
        self.waiting_bytes -= fragment.as_bytes().len();
        self.next = next.checked_add(1);
        Some(fragment)
    }

    /// Adds a fragment to the message. True if that completes it.
    fn push(&mut self, fragment: &Fragment) -> bool {
        if fragment.begins() {
            self.message.clear();
            self.in_message = true;
        }
        let payload = fragment.payload();
        if !self.in_message || self.message.len() + payload.len() > MAX_MESSAGE {
            self.in_message = false;
            self.message.clear();
            return false;
        }
        self.message.extend_from_slice(payload);
        self.in_message = fragment.has_more();
        !self.in_message
    }
}

#[cfg(test)]
mod tests;
