//! Bytes to nodes, by the field table.

use super::{FieldNode, FieldValue, MAX_NODES};
use crate::amf;
use crate::group::message::RangeList;
use crate::trace::analyzer::PacketView;
use crate::trace::fields::{self, Field, FieldLayout, Flag, Inside, OptionType, Wire};
use crate::trace::flows::FlowMessage;
use crate::trace::message::MAX_AMF;
use crate::wire::chunk::CHUNK_HEADER_LEN;
use crate::wire::chunk::{BitmapAck, RangeAck, kind};
use crate::wire::option::{Item, parse_item};
use crate::wire::packet::chunks;
use crate::wire::{Address, PacketHeader, Reason, WireError, vlu};
use bytes::Bytes;

/// Values of an AMF message that are shown.
const MAX_VALUES: usize = 256;

/// Ranges of an acknowledgement or a set of objects that are shown.
const MAX_RANGES: usize = 4096;

/// The deepest container that is looked into.
const MAX_DEPTH: u8 = 16;

const OPTIONS_PRESENT: u8 = 0x80;

pub(super) fn packet<'a>(packet: &PacketView<'a>) -> Vec<FieldNode<'a>> {
    let mut tree = Builder { nodes: Vec::with_capacity(48) };
    let plain = packet.plain;
    let Ok((_, body)) = PacketHeader::parse(plain) else {
        if !plain.is_empty() {
            tree.push(
                0,
                &fields::MALFORMED,
                0..plain.len(),
                FieldValue::Malformed("no header".into()),
            );
        }
        return tree.nodes;
    };
    tree.header(plain, plain.len() - body.len());
    let mut walk = chunks(body);
    let mut messages = packet.messages.iter().peekable();
    for index in 0.. {
        let at = plain.len() - walk.rest().len();
        let Some((code, payload)) = walk.raw() else { break };
        if matches!(code, kind::PADDING_00 | kind::PADDING_FF) {
            break;
        }
        tree.chunk(code, payload, at);
        while let Some(message) = messages.next_if(|message| message.chunk == index) {
            tree.message(message, packet.bytes(message));
        }
    }
    tree.nodes
}

struct Builder<'a> {
    nodes: Vec<FieldNode<'a>>,
}

/// The rest of a container, and its beginning.
struct Cursor<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    base: usize,
}

impl<'a> Cursor<'a> {
    fn new(whole: &'a [u8], base: usize) -> Self {
        Self { whole, rest: whole, base }
    }

    fn offset(&self) -> usize {
        self.base + self.whole.len() - self.rest.len()
    }

    fn take(&mut self, field: &'static Field, len: usize) -> Result<&'a [u8], WireError> {
        let short = WireError::new(field.key, self.offset(), Reason::Truncated);
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn vlu(&mut self, field: &'static Field) -> Result<u64, WireError> {
        let offset = self.offset();
        let (value, rest) = vlu::parse(field.key, self.rest).map_err(|e| e.within(offset))?;
        self.rest = rest;
        Ok(value)
    }
}

impl<'a> Builder<'a> {
    fn push(
        &mut self,
        depth: u8,
        field: &'static Field,
        at: std::ops::Range<usize>,
        value: FieldValue<'a>,
    ) {
        if self.nodes.len() < MAX_NODES {
            self.nodes.push(FieldNode { depth, field, offset: at.start, len: at.len(), value });
        }
    }

    fn header(&mut self, plain: &'a [u8], len: usize) {
        self.push(0, &fields::HEADER, 0..len, FieldValue::None);
        let mut cursor = Cursor::new(&plain[..len], 0);
        let _ = self.field(1, &fields::FLAGS, &mut cursor);
        let flags = plain.first().copied().unwrap_or(0);
        for (mask, field) in [(0x08, &fields::TIMESTAMP), (0x04, &fields::TIMESTAMP_ECHO)] {
            if flags & mask != 0 {
                let _ = self.field(1, field, &mut cursor);
            }
        }
    }

    fn chunk(&mut self, code: u8, payload: &'a [u8], at: usize) {
        let layout = fields::find(fields::CHUNKS, code.into());
        let value = FieldValue::Named(code.into(), layout.map_or("Unknown", |layout| layout.key));
        let end = at + CHUNK_HEADER_LEN + payload.len();
        self.push(0, &fields::CHUNK, at..end, value);
        let base = at + CHUNK_HEADER_LEN;
        self.layout(1, layout, payload, base);
    }

    fn message(&mut self, message: &FlowMessage, bytes: &'a [u8]) {
        let (class, layout) = (message.class, message.layout);
        let code = bytes.first().filter(|_| class.has_type()).copied().unwrap_or(0);
        let name = layout.map_or("Unknown", |layout| layout.key);
        self.push(1, &fields::MESSAGE, 0..bytes.len(), FieldValue::Named(code.into(), name));
        let mut about = |field, value| self.push(2, field, 0..0, value);
        about(&fields::MESSAGE_CLASS, FieldValue::Text(class.to_string().into()));
        about(&fields::MESSAGE_FLOW, FieldValue::Number(message.key.flow));
        about(&fields::MESSAGE_FIRST, FieldValue::Number(message.first));
        about(&fields::MESSAGE_LAST, FieldValue::Number(message.last));
        if let Some(group) = message.group {
            about(&fields::MESSAGE_GROUP, FieldValue::Text(group.to_string().into()));
        }
        let skip = usize::from(class.has_type() && !bytes.is_empty());
        self.layout(2, layout, &bytes[skip..], skip);
    }

    fn layout(
        &mut self,
        depth: u8,
        layout: Option<&'static FieldLayout>,
        data: &'a [u8],
        base: usize,
    ) {
        let mut cursor = Cursor::new(data, base);
        match layout {
            Some(layout) => self.all(depth, layout.fields, &mut cursor),
            None => {
                let end = base + data.len();
                self.push(depth, &fields::PAYLOAD, base..end, FieldValue::Bytes(data));
            }
        }
    }

    /// These fields one behind the other, up to the first that cannot be read.
    fn all(&mut self, depth: u8, fields: &[&'static Field], cursor: &mut Cursor<'a>) {
        for field in fields {
            let start = cursor.offset();
            if let Err(error) = self.field(depth, field, cursor) {
                let end = cursor.base + cursor.whole.len();
                self.push(depth, &fields::MALFORMED, start..end, error.into());
                return;
            }
        }
    }

    fn field(
        &mut self,
        depth: u8,
        field: &'static Field,
        cursor: &mut Cursor<'a>,
    ) -> Result<(), WireError> {
        let start = cursor.offset();
        let value = match field.wire {
            Wire::Group | Wire::List | Wire::Bits => return Ok(()),
            Wire::U8 => number(cursor.take(field, 1)?),
            Wire::U16 => number(cursor.take(field, 2)?),
            Wire::U32 => number(cursor.take(field, 4)?),
            Wire::Vlu => FieldValue::Number(cursor.vlu(field)?),
            Wire::Prefixed => {
                let len = cursor.vlu(field)?;
                FieldValue::Bytes(cursor.take(field, usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            Wire::Fixed(len) => FieldValue::Bytes(cursor.take(field, len)?),
            Wire::Rest | Wire::Data => FieldValue::Bytes(cursor.all()),
            Wire::Text => FieldValue::Text(String::from_utf8_lossy(cursor.all())),
            Wire::Keys => FieldValue::Keys(cursor.all()),
            Wire::Address => {
                let parsed = Address::parse(cursor.rest).map_err(|e| e.within(start))?;
                cursor.rest = parsed.1;
                FieldValue::Addresses(vec![parsed.0])
            }
            Wire::Addresses => FieldValue::Addresses(addresses(cursor)?),
            Wire::AckRuns | Wire::AckBits => FieldValue::Ranges(acknowledged(field.wire, cursor)),
            Wire::Ranges => {
                let list = RangeList::parse(cursor.all()).map_err(|e| e.within(start))?;
                FieldValue::Ranges(list.ranges)
            }
            Wire::Options => return self.options(depth, field, cursor),
            Wire::OptionsIfFlagged if cursor.whole.first().is_some_and(has_options) => {
                return self.options(depth, field, cursor);
            }
            Wire::OptionsIfFlagged => return Ok(()),
            Wire::Records => return self.records(depth, cursor),
            Wire::Amf => return self.values(depth, cursor),
            Wire::Event => return self.event(depth, field, cursor),
        };
        self.leaf(depth, field, start..cursor.offset(), value);
        Ok(())
    }

    /// A field with its value and what is inside.
    fn leaf(
        &mut self,
        depth: u8,
        field: &'static Field,
        at: std::ops::Range<usize>,
        value: FieldValue<'a>,
    ) {
        match (field.inside, value) {
            (Inside::Values(names), FieldValue::Number(number)) => {
                let name = names.iter().find(|(value, _)| *value == number);
                let name = name.map_or("Unknown", |(_, name)| name);
                self.push(depth, field, at, FieldValue::Named(number, name));
            }
            (Inside::Flags(flags), FieldValue::Number(byte)) => {
                self.push(depth, field, at.clone(), FieldValue::Number(byte));
                self.flags(depth + 1, flags, byte as u8, at);
            }
            (Inside::Options(types), FieldValue::Bytes(bytes)) => {
                let base = at.end - bytes.len();
                self.push(depth, field, at, FieldValue::Bytes(bytes));
                let mut cursor = Cursor::new(bytes, base);
                if let Err(error) = self.option_items(depth + 1, types, &mut cursor, false) {
                    let at = error.offset..base + bytes.len().max(error.offset - base);
                    self.push(depth + 1, &fields::MALFORMED, at, error.into());
                }
            }
            (_, value) => self.push(depth, field, at, value),
        }
    }

    fn flags(&mut self, depth: u8, flags: &[Flag], byte: u8, at: std::ops::Range<usize>) {
        for flag in flags {
            let bits = (byte & flag.mask) >> flag.mask.trailing_zeros();
            let value = match flag.values.get(usize::from(bits)) {
                Some(name) => FieldValue::Named(bits.into(), name),
                None => FieldValue::Flag(bits != 0),
            };
            self.push(depth, flag.field, at.clone(), value);
        }
    }

    /// Options up to and including the marker.
    fn options(
        &mut self,
        depth: u8,
        field: &'static Field,
        cursor: &mut Cursor<'a>,
    ) -> Result<(), WireError> {
        let types = match field.inside {
            Inside::Options(types) => types,
            _ => &[],
        };
        self.option_items(depth, types, cursor, true)
    }

    fn option_items(
        &mut self,
        depth: u8,
        types: &'static [OptionType],
        cursor: &mut Cursor<'a>,
        until_marker: bool,
    ) -> Result<(), WireError> {
        while !cursor.rest.is_empty() {
            let start = cursor.offset();
            let (item, rest) = parse_item(cursor.rest).map_err(|e| e.within(start))?;
            cursor.rest = rest;
            match item {
                Item::Marker if until_marker => return Ok(()),
                Item::Marker => {}
                Item::Option(option) => {
                    self.option(depth, types, option.kind, option.value, start..cursor.offset());
                }
            }
        }
        Ok(())
    }

    fn option(
        &mut self,
        depth: u8,
        types: &'static [OptionType],
        code: u64,
        value: &'a [u8],
        at: std::ops::Range<usize>,
    ) {
        let known = types.iter().find(|kind| kind.code == code);
        let base = at.end - value.len();
        let name = known.map_or("unknown", |kind| kind.key);
        self.push(depth, &fields::OPTION, at, FieldValue::Named(code, name));
        if depth >= MAX_DEPTH {
            return;
        }
        let mut cursor = Cursor::new(value, base);
        match known {
            Some(kind) => self.all(depth + 1, kind.fields, &mut cursor),
            None => self.all(depth + 1, &[&fields::OPTION_VALUE], &mut cursor),
        }
    }

    fn records(&mut self, depth: u8, cursor: &mut Cursor<'a>) -> Result<(), WireError> {
        while !cursor.rest.is_empty() {
            let index = self.nodes.len();
            let start = cursor.offset();
            self.push(depth, &fields::RECORD, start..start, FieldValue::None);
            self.field(depth + 1, &fields::RECORD_EPD, cursor)?;
            self.field(depth + 1, &fields::AGE, cursor)?;
            self.option_items(depth + 1, fields::REPORT_OPTION_TYPES, cursor, true)?;
            if let Some(node) = self.nodes.get_mut(index) {
                node.len = cursor.offset() - start;
            }
        }
        Ok(())
    }

    fn values(&mut self, depth: u8, cursor: &mut Cursor<'a>) -> Result<(), WireError> {
        let base = cursor.offset();
        let bytes = cursor.all();
        if bytes.len() > MAX_AMF {
            self.push(depth, &fields::PAYLOAD, base..base + bytes.len(), FieldValue::Bytes(bytes));
            return Ok(());
        }
        let mut reader = amf::Reader::new(Bytes::copy_from_slice(bytes));
        for _ in 0..MAX_VALUES {
            let start = reader.position();
            if reader.is_empty() {
                break;
            }
            match reader.read_value() {
                Ok(value) => {
                    let at = base + start..base + reader.position();
                    self.push(depth, &fields::AMF, at, FieldValue::Amf(value));
                }
                Err(error) => {
                    let at = base + start..base + reader.position();
                    let text = FieldValue::Malformed(error.to_string().into());
                    self.push(depth, &fields::MALFORMED, at, text);
                    break;
                }
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        depth: u8,
        field: &'static Field,
        cursor: &mut Cursor<'a>,
    ) -> Result<(), WireError> {
        let start = cursor.offset();
        let FieldValue::Number(code) = number(cursor.take(field, 2)?) else { return Ok(()) };
        let layout = fields::find(fields::EVENTS, code as u16);
        let name = layout.map_or("Unknown", |layout| layout.key);
        self.push(depth, field, start..start + 2, FieldValue::Named(code, name));
        let end = cursor.offset();
        self.layout(depth + 1, layout, cursor.all(), end);
        Ok(())
    }
}

fn has_options(flags: &u8) -> bool {
    flags & OPTIONS_PRESENT != 0
}

fn number(bytes: &[u8]) -> FieldValue<'static> {
    FieldValue::Number(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn addresses(cursor: &mut Cursor<'_>) -> Result<Vec<Address>, WireError> {
    let mut found = Vec::new();
    while !cursor.rest.is_empty() {
        let offset = cursor.offset();
        let (address, rest) = Address::parse(cursor.rest).map_err(|e| e.within(offset))?;
        found.push(address);
        cursor.rest = rest;
    }
    Ok(found)
}

/// The ranges of an acknowledgement, whose fixed fields were read before.
fn acknowledged(wire: Wire, cursor: &mut Cursor<'_>) -> Vec<std::ops::RangeInclusive<u64>> {
    let whole = cursor.whole;
    cursor.all();
    match wire {
        Wire::AckBits => BitmapAck::parse(whole).map(|ack| ack.ranges().take(MAX_RANGES).collect()),
        _ => RangeAck::parse(whole).map(|ack| ack.ranges().take(MAX_RANGES).collect()),
    }
    .unwrap_or_default()
}
