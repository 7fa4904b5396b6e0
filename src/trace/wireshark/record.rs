//! A packet as a record, big-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | [`MAGIC`] |
//! | 2 | length of the summary |
//! | | the summary: chunks and messages in a line |
//! | 4 | length of the bytes |
//! | | the bytes: the plain packet, behind it messages that it completes |
//! | | nodes of the tree, up to the end |
//!
//! A node: depth (1), kind (1), offset in the bytes (4), length there (4), the name in display
//! filters (1 + length), the text for people (2 + length), and the value: 8 bytes of a number, one
//! byte of a flag, text (2 + length), nothing for labels and bytes.

use super::names::{Kind, filter};
use crate::trace::analyzer::{PacketView, Status};
use crate::trace::fields;
use crate::trace::flows::Side;
use crate::trace::line;
use crate::trace::text::Ranges;
use crate::trace::tree::{FieldNode, FieldValue, Tree};
use std::fmt::Write as _;
use std::io;

/// The first bytes of a record.
pub(super) const MAGIC: &[u8; 8] = b"RTMFPdc1";

/// Bytes of the longest record; nodes that do not fit are left out.
pub const MAX_RECORD: usize = 60_000;

/// Bytes of messages in a record.
const MAX_MESSAGES: usize = 16 << 10;

/// Bytes of a text.
const MAX_TEXT: usize = 1024;

/// Writes the record of a packet, or of a datagram that could not be decrypted.
///
/// # Errors
///
/// Errors of formatting.
pub fn write_record(packet: &PacketView<'_>, out: &mut Vec<u8>) -> io::Result<()> {
    let begin = out.len();
    out.extend_from_slice(MAGIC);
    let mut summary = String::new();
    line::write_summary(packet, &mut summary).map_err(io::Error::other)?;
    push_text(&summary, out);
    let mut bytes = packet.plain[..packet.plain.len().min(MAX_RECORD / 2)].to_vec();
    let plain_len = bytes.len();
    // Where messages begin.
    let mut bases = Vec::new();
    for message in packet.messages {
        let data = packet.bytes(message);
        let space = MAX_MESSAGES.saturating_sub(bytes.len() - plain_len);
        bases.push(bytes.len());
        bytes.extend_from_slice(&data[..data.len().min(space)]);
    }
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(&bytes);
    let mut record = Record { out, end: begin + MAX_RECORD, available: bytes.len() };
    record.about(packet);
    record.tree(packet, &bases)
}

struct Record<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    /// Number of bytes that nodes may point to.
    available: usize,
}

/// A node but for its value.
struct Head<'a> {
    depth: usize,
    key: &'a str,
    label: &'a str,
    offset: usize,
    len: usize,
}

enum Leaf<'a> {
    Label,
    Number(u64),
    Flag(bool),
    Bytes,
    Text(&'a str),
}

impl Record<'_> {
    /// The nodes about the datagram as a whole.
    fn about(&mut self, packet: &PacketView<'_>) {
        let session = packet.session.map(|(number, _)| number);
        for (key, title, number) in [
            ("frame", "Original frame", Some(packet.frame)),
            ("len", "Original length", Some(packet.len as u64)),
            ("session", "Session", session),
        ] {
            if let Some(number) = number {
                self.number(key, &format!("{title}: {number}"), number);
            }
        }
        if let Some(id) = packet.session_id {
            self.number("session_id", &format!("Session ID: 0x{id:08x}"), id.into());
        }
        let sender = match (packet.status, packet.session) {
            (Status::Startup, _) => Some("startup"),
            (_, Some((_, Side::Initiator))) => Some("initiator"),
            (_, Some((_, Side::Responder))) => Some("responder"),
            (_, None) => None,
        };
        if let Some(sender) = sender {
            self.text("sender", &format!("Sender: {sender}"), sender);
        }
        if packet.trailing > 0 {
            let text = format!("Neither chunks nor padding: {} bytes", packet.trailing);
            self.number("trailing", &text, packet.trailing as u64);
        }
        if let Status::Undecoded(reason) = packet.status {
            self.text("undecoded", &format!("Undecoded: {reason}"), &reason.to_string());
        }
    }

    fn tree(&mut self, packet: &PacketView<'_>, bases: &[usize]) -> io::Result<()> {
        let tree = Tree::of(packet);
        let (mut base, mut bases) = (0, bases.iter());
        let mut message_depth = None;
        let mut label = Vec::new();
        for node in tree.nodes() {
            if std::ptr::eq(node.field, &fields::MESSAGE) {
                base = bases.next().copied().unwrap_or(self.available);
                message_depth = Some(node.depth);
            } else if message_depth.is_some_and(|depth| node.depth <= depth) {
                (base, message_depth) = (0, None);
            }
            label.clear();
            node.write_label(&mut label)?;
            self.node(node, &String::from_utf8_lossy(&label), base + node.offset);
        }
        Ok(())
    }

    fn node(&mut self, node: &FieldNode<'_>, label: &str, offset: usize) {
        let (depth, key) = (usize::from(node.depth), node.field.key);
        let head = Head { depth, key, label, offset, len: node.len };
        match &node.value {
            FieldValue::None => self.push(&head, Leaf::Label),
            FieldValue::Flag(is_set) => self.push(&head, Leaf::Flag(*is_set)),
            FieldValue::Number(number) => self.push(&head, Leaf::Number(*number)),
            FieldValue::Named(number, name) => {
                self.push(&head, Leaf::Number(*number));
                let named = match key {
                    "chunks" => "chunk_name",
                    "messages" => "message_name",
                    "options" => "option_name",
                    _ => return,
                };
                let label = format!("Type: {name}");
                let head = Head { depth: depth + 1, key: named, label: &label, ..head };
                self.push(&head, Leaf::Text(name));
            }
            FieldValue::Bytes(_) => self.push(&head, Leaf::Bytes),
            FieldValue::Text(text) => self.push(&head, Leaf::Text(text)),
            FieldValue::Malformed(why) => self.push(&head, Leaf::Text(why)),
            FieldValue::Ranges(ranges) => {
                self.push(&head, Leaf::Text(&Ranges(ranges).to_string()));
            }
            FieldValue::Keys(_) | FieldValue::Addresses(_) => {
                let value = label.split_once(": ").map_or(label, |(_, value)| value);
                self.push(&head, Leaf::Text(value));
            }
            FieldValue::Amf(value) => {
                self.push(&head, Leaf::Text(&format!("{value:.MAX_TEXT$}")));
                let name = fields::AMF_MEMBER.key;
                let mut text = String::new();
                for member in node.members() {
                    text.clear();
                    let _ = write!(text, "{member}");
                    let head =
                        Head { depth: depth + member.depth, key: name, label: &text, ..head };
                    self.push(&head, Leaf::Text(&text));
                }
            }
        }
    }

    fn number(&mut self, key: &str, label: &str, number: u64) {
        self.push(&Head { depth: 0, key, label, offset: 0, len: 0 }, Leaf::Number(number));
    }

    fn text(&mut self, key: &str, label: &str, text: &str) {
        self.push(&Head { depth: 0, key, label, offset: 0, len: 0 }, Leaf::Text(text));
    }

    fn push(&mut self, head: &Head<'_>, leaf: Leaf<'_>) {
        let before = self.out.len();
        let offset = head.offset.min(self.available);
        let len = head.len.min(self.available - offset);
        let kind = leaf.kind();
        let name = filter(head.key, kind);
        self.out.push(u8::try_from(head.depth).unwrap_or(u8::MAX));
        self.out.push(kind as u8);
        self.out.extend_from_slice(&(offset as u32).to_be_bytes());
        self.out.extend_from_slice(&(len as u32).to_be_bytes());
        self.out.push(name.len() as u8);
        self.out.extend_from_slice(name.as_bytes());
        push_text(head.label, self.out);
        match leaf {
            Leaf::Label | Leaf::Bytes => {}
            Leaf::Number(number) => self.out.extend_from_slice(&number.to_be_bytes()),
            Leaf::Flag(is_set) => self.out.push(is_set.into()),
            Leaf::Text(text) => push_text(text, self.out),
        }
        if self.out.len() > self.end {
            self.out.truncate(before);
            // Nothing shorter that follows takes its place.
            self.end = before;
        }
    }
}

impl Leaf<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Label => Kind::Label,
            Self::Number(_) => Kind::Number,
            Self::Flag(_) => Kind::Flag,
            Self::Bytes => Kind::Bytes,
            Self::Text(_) => Kind::Text,
        }
    }
}

/// A text with its length, cut where it is too long.
fn push_text(text: &str, out: &mut Vec<u8>) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    // A zero would end the text in Wireshark.
    out.extend(text.bytes().map(|byte| if byte == 0 { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::writer::startup_packet;
    use crate::trace::{Analyzer, DatagramRef, Decoder, KeyLog};
    use crate::wire::chunk::InitiatorHello;
    use crate::wire::{Chunk, Mode};
    use std::time::Duration;

    fn record(payload: &[u8]) -> Vec<u8> {
        let mut analyzer = Analyzer::new(Decoder::new(KeyLog::default()));
        let address = |port| std::net::SocketAddr::from(([192, 0, 2, 1], port));
        let datagram = DatagramRef {
            frame: 7,
            time: Duration::ZERO,
            source: address(1),
            destination: address(2),
            payload,
            missing: 0,
        };
        let mut out = Vec::new();
        write_record(&analyzer.feed(&datagram), &mut out).unwrap();
        out
    }

    #[test]
    fn a_hostile_number_of_options_makes_no_longer_record() {
        // Options of a type that is not known, without value.
        let hello = InitiatorHello { epd: &[1, 0x55].repeat(2000), tag: b"tag" };
        let payload = startup_packet(0, Mode::Startup, &[Chunk::InitiatorHello(hello)]);
        let record = record(&payload);
        assert!(record.starts_with(MAGIC));
        assert!((MAX_RECORD - 200..=MAX_RECORD).contains(&record.len()), "{}", record.len());
    }

    #[test]
    fn what_cannot_be_decrypted_has_a_record_too() {
        let record = record(&[0x5a; 40]);
        let reason = b"rtmfp.undecoded";
        assert!(record.windows(reason.len()).any(|window| window == reason));
    }
}
