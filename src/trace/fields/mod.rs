//! The field table: the fields of packets and messages, in the order of the wire.
//!
//! The tree output and the JSON output are made from it, and a dissector for another program can
//! be. A [`FieldLayout`] is a chunk or message type with its [`Field`]s one behind the other; a field
//! has its encoding and the fields inside of it.

mod chunks;
mod messages;

pub use chunks::CHUNKS;
pub use messages::{
    EVENTS, GROUP_SERVER, MEMBERSHIP, MULTICAST_CONTROL, MULTICAST_DATA, POSTING_KEYS, REPLICATION,
    RTMP,
};

pub(super) use chunks::*;
pub(super) use messages::*;

/// A field: its names, its encoding and the fields inside.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Name in filters, JSON and other programs: lower case, unique within its container.
    pub key: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// The encoding.
    pub wire: Wire,
    /// The display of numbers.
    pub base: Base,
    /// The fields inside.
    pub inside: Inside,
    /// A sentence about it.
    pub description: &'static str,
}

/// The encoding of a field. Numbers are big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// No bytes of its own: the fields inside have them.
    Group,
    /// The same, and there may be several: an array in JSON.
    List,
    /// Part of another field.
    Bits,
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// A variable length unsigned integer (RFC 7016 §2.1.2).
    Vlu,
    /// A VLU length and as many bytes.
    Prefixed,
    /// Bytes up to the end of the container.
    Rest,
    /// UTF-8 up to the end of the container.
    Text,
    /// Data of an application, up to the end of the container: only its length is in JSON.
    Data,
    /// So many bytes.
    Fixed(usize),
    /// A socket address (RFC 7016 §2.1.5).
    Address,
    /// Socket addresses up to the end of the container.
    Addresses,
    /// An option list with its marker (RFC 7016 §2.1.4).
    Options,
    /// The same, present if the container's first byte has the bit 0x80.
    OptionsIfFlagged,
    /// Runs of acknowledged sequence numbers (RFC 7016 §2.3.14).
    AckRuns,
    /// Acknowledged sequence numbers as bits (RFC 7016 §2.3.13).
    AckBits,
    /// Ranges of object indices.
    Ranges,
    /// Keys of 8 bytes up to the end of the container.
    Keys,
    /// Records of a group report up to the end of the container.
    Records,
    /// AMF values up to the end of the container.
    Amf,
    /// The two-byte number of a User Control event and its fields.
    Event,
}

/// The display of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// In decimal.
    Dec,
    /// In hexadecimal.
    Hex,
}

/// The contents of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// Nothing that is known.
    Nothing,
    /// Options of these types.
    Options(&'static [OptionType]),
    /// Bits: a mask, the field, and the names of its values.
    Flags(&'static [Flag]),
    /// Names of its values.
    Values(&'static [(u64, &'static str)]),
}

/// Bits of a field.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    /// The bits.
    pub mask: u8,
    /// Their meaning.
    pub field: &'static Field,
    /// Names of the values, from 0; none if it is a yes or no.
    pub values: &'static [&'static str],
}

/// A type of options in some list.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionType {
    /// The type code.
    pub code: u64,
    /// Short name.
    pub key: &'static str,
    /// The fields of its value; none for an option that is only present or not.
    pub fields: &'static [&'static Field],
}

/// A type of chunks or messages.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldLayout {
    /// The type code.
    pub code: u16,
    /// Short name, in lines, filters and JSON.
    pub key: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Its fields in their order, behind the type code (and the length, for chunks).
    pub fields: &'static [&'static Field],
}

/// The layout with this code.
pub fn find(layouts: &'static [FieldLayout], code: u16) -> Option<&'static FieldLayout> {
    layouts.iter().find(|layout| layout.code == code)
}

impl Field {
    pub(super) const fn new(
        key: &'static str,
        name: &'static str,
        wire: Wire,
        description: &'static str,
    ) -> Self {
        Self { key, name, wire, base: Base::Dec, inside: Inside::Nothing, description }
    }

    pub(super) const fn hex(mut self) -> Self {
        self.base = Base::Hex;
        self
    }

    pub(super) const fn flags(mut self, flags: &'static [Flag]) -> Self {
        self.inside = Inside::Flags(flags);
        self.base = Base::Hex;
        self
    }

    pub(super) const fn options(mut self, options: &'static [OptionType]) -> Self {
        self.inside = Inside::Options(options);
        self
    }

    pub(super) const fn values(mut self, values: &'static [(u64, &'static str)]) -> Self {
        self.inside = Inside::Values(values);
        self
    }

    /// True if it is an array in JSON.
    pub fn is_list(&self) -> bool {
        matches!(self.wire, Wire::List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chunk;
    use std::collections::HashSet;

    const TABLES: [&[FieldLayout]; 9] = [
        CHUNKS,
        GROUP_SERVER,
        MEMBERSHIP,
        MULTICAST_CONTROL,
        MULTICAST_DATA,
        POSTING_KEYS,
        REPLICATION,
        RTMP,
        EVENTS,
    ];

    #[test]
    fn chunks_are_those_of_the_codec() {
        for code in 0..=u8::MAX {
            let key = find(CHUNKS, code.into()).map_or("Unknown", |layout| layout.key);
            assert_eq!(key, chunk::name(code), "{code:02x}");
        }
    }

    #[test]
    fn names_are_unique_where_they_stand() {
        for table in TABLES {
            let codes: HashSet<_> = table.iter().map(|layout| layout.code).collect();
            assert_eq!(codes.len(), table.len());
            for layout in table {
                let keys: HashSet<_> = layout.fields.iter().map(|field| field.key).collect();
                assert_eq!(keys.len(), layout.fields.len(), "{}", layout.key);
                for field in layout.fields {
                    assert!(field.key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
                    assert!(field.description.ends_with('.'), "{}", field.key);
                }
            }
        }
    }

    /// A field that takes the rest is the last.
    #[test]
    fn nothing_follows_a_field_without_an_end() {
        let endless = |wire| {
            use Wire::{
                AckBits, AckRuns, Addresses, Amf, Data, Event, Keys, Ranges, Records, Rest, Text,
            };
            matches!(
                wire,
                Rest | Text
                    | Data
                    | Addresses
                    | AckRuns
                    | AckBits
                    | Ranges
                    | Keys
                    | Records
                    | Amf
                    | Event
            )
        };
        for layout in TABLES.into_iter().flatten() {
            let before = layout.fields.len().saturating_sub(1);
            assert!(!layout.fields[..before].iter().any(|f| endless(f.wire)), "{}", layout.key);
        }
    }
}
