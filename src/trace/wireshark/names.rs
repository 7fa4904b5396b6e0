//! The field table under Wireshark's names.

use crate::trace::fields::{self, Base, Field, FieldLayout, Inside, OptionType, Wire};
use std::collections::HashSet;

/// The type of a field's values in Wireshark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// None.
    Label,
    /// Numbers of up to 64 bits.
    Number,
    /// Yes or no.
    Flag,
    /// Bytes.
    Bytes,
    /// Text.
    Text,
}

/// A field as Wireshark knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name in display filters: `rtmfp.flow`.
    pub filter: String,
    /// The name for people.
    pub title: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// The display of numbers.
    pub base: Base,
    /// A sentence about it.
    pub description: &'static str,
}

/// Every field, once for each kind of value. Fields of the same key and kind are one in Wireshark;
/// one of the same key and another kind has the kind behind its name (`rtmfp.data_number`).
pub fn names() -> Vec<Name> {
    let mut table = Table { seen: HashSet::new(), names: Vec::new() };
    table.about();
    for field in [&fields::HEADER, &fields::FLAGS, &fields::TIMESTAMP, &fields::TIMESTAMP_ECHO] {
        table.field(field);
    }
    let lists = [&fields::CHUNK, &fields::MESSAGE, &fields::OPTION, &fields::RECORD];
    lists.iter().for_each(|field| table.field(field));
    table.layouts(fields::CHUNKS);
    for layouts in [
        fields::RTMP,
        fields::EVENTS,
        fields::GROUP_SERVER,
        fields::MEMBERSHIP,
        fields::REPLICATION,
        fields::POSTING_KEYS,
        fields::MULTICAST_CONTROL,
        fields::MULTICAST_DATA,
    ] {
        table.layouts(layouts);
    }
    table.layouts(std::slice::from_ref(&fields::STREAM_END));
    table.options(fields::REPORT_OPTION_TYPES);
    for field in [
        &fields::MESSAGE_FLOW,
        &fields::MESSAGE_CLASS,
        &fields::MESSAGE_FIRST,
        &fields::MESSAGE_LAST,
        &fields::MESSAGE_GROUP,
        &fields::RECORD_EPD,
        &fields::AGE,
        &fields::AMF,
        &fields::AMF_MEMBER,
        &fields::OPTION_VALUE,
        &fields::PAYLOAD,
        &fields::MALFORMED,
    ] {
        table.field(field);
    }
    table.names
}

/// The name under which Wireshark knows a value of this kind.
pub(super) fn filter(key: &str, kind: Kind) -> String {
    let key = match key {
        "chunks" | "messages" | "options" | "records" => &key[..key.len() - 1],
        _ => key,
    };
    match suffix(key, kind) {
        None => format!("rtmfp.{key}"),
        Some(suffix) => format!("rtmfp.{key}_{suffix}"),
    }
}

/// The keys that have values of several kinds, each with the kind that needs no suffix.
const AMBIGUOUS: [(&str, Kind); 4] =
    [("group", Kind::Bytes), ("value", Kind::Number), ("data", Kind::Bytes), ("key", Kind::Bytes)];

fn suffix(key: &str, kind: Kind) -> Option<&'static str> {
    let (_, plain) = AMBIGUOUS.iter().find(|(ambiguous, _)| *ambiguous == key)?;
    (*plain != kind).then_some(match kind {
        Kind::Label => "label",
        Kind::Number => "number",
        Kind::Flag => "flag",
        Kind::Bytes => "bytes",
        Kind::Text => "text",
    })
}

struct Table {
    seen: HashSet<(String, Kind)>,
    names: Vec<Name>,
}

impl Table {
    /// The fields of the packet as a whole.
    fn about(&mut self) {
        use Base::{Dec, Hex};
        use Kind::{Number, Text};
        for (key, title, kind, base, description) in [
            ("frame", "Original frame", Number, Dec, "Number of the frame in the first capture."),
            ("len", "Original length", Number, Dec, "Bytes of the encrypted datagram."),
            ("session_id", "Session ID", Number, Hex, "The one before the packet, or in a keying."),
            ("session", "Session", Number, Dec, "Number of the session in the capture."),
            ("sender", "Sender", Text, Dec, "startup, initiator or responder."),
            ("undecoded", "Undecoded", Text, Dec, "Why it could not be decrypted."),
            ("trailing", "Trailing", Number, Dec, "Bytes that are neither chunks nor padding."),
            ("chunk_name", "Chunk name", Text, Dec, "The chunk's type."),
            ("message_name", "Message name", Text, Dec, "The message's type."),
            ("option_name", "Option name", Text, Dec, "The option's type."),
        ] {
            self.add(Name { filter: filter(key, kind), title, kind, base, description });
        }
    }

    fn layouts(&mut self, layouts: &[FieldLayout]) {
        layouts.iter().flat_map(|layout| layout.fields).for_each(|field| self.field(field));
    }

    fn options(&mut self, types: &[OptionType]) {
        types.iter().flat_map(|kind| kind.fields).for_each(|field| self.field(field));
    }

    fn field(&mut self, field: &'static Field) {
        if let Some(kind) = kind(field) {
            self.name(field, kind);
        }
        match field.inside {
            Inside::Options(types) => self.options(types),
            Inside::Flags(flags) => {
                for flag in flags {
                    let kind = if flag.values.is_empty() { Kind::Flag } else { Kind::Number };
                    self.name(flag.field, kind);
                }
            }
            Inside::Nothing | Inside::Values(_) => {}
        }
    }

    fn name(&mut self, field: &'static Field, kind: Kind) {
        let (title, base, description) = (field.name, field.base, field.description);
        self.add(Name { filter: filter(field.key, kind), title, kind, base, description });
    }

    fn add(&mut self, name: Name) {
        if self.seen.insert((name.filter.clone(), name.kind)) {
            self.names.push(name);
        }
    }
}

/// The kind of a field's values; none for one that only has fields inside.
fn kind(field: &'static Field) -> Option<Kind> {
    let is = |other: &'static Field| std::ptr::eq(field, other);
    Some(match field.wire {
        Wire::U8 | Wire::U16 | Wire::U32 | Wire::Vlu | Wire::Event => Kind::Number,
        Wire::Prefixed | Wire::Rest | Wire::Data | Wire::Fixed(_) => Kind::Bytes,
        Wire::Text
        | Wire::Address
        | Wire::Addresses
        | Wire::AckRuns
        | Wire::AckBits
        | Wire::Ranges
        | Wire::Keys => Kind::Text,
        Wire::Options | Wire::OptionsIfFlagged | Wire::Records | Wire::Amf | Wire::Bits => {
            return None;
        }
        Wire::Group | Wire::List => match field {
            _ if is(&fields::HEADER) || is(&fields::RECORD) => Kind::Label,
            _ if is(&fields::CHUNK) || is(&fields::MESSAGE) || is(&fields::OPTION) => Kind::Number,
            _ if is(&fields::MESSAGE_FLOW) => Kind::Number,
            _ if is(&fields::MESSAGE_FIRST) || is(&fields::MESSAGE_LAST) => Kind::Number,
            _ => Kind::Text,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_name_has_one_kind() {
        let mut kinds: HashMap<String, Kind> = HashMap::new();
        for name in names() {
            assert_eq!(
                *kinds.entry(name.filter.clone()).or_insert(name.kind),
                name.kind,
                "{name:?}"
            );
        }
        assert_eq!(kinds["rtmfp.flow"], Kind::Number);
        assert_eq!(kinds["rtmfp.chunk"], Kind::Number);
        assert_eq!(kinds["rtmfp.metadata"], Kind::Bytes);
        assert_eq!(kinds["rtmfp.malformed"], Kind::Text);
    }
}
