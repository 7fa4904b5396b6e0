//! The class of a flow, and its messages by type.

use super::fields::{
    self, DIRECTED, FieldLayout, GROUP_SERVER, MEMBERSHIP, MULTICAST_CONTROL, MULTICAST_DATA, POST,
    POSTING_KEYS, REPLICATION, RTMP, STREAM_END, UNCOUNTED_FIRST,
};
use crate::group::FlowKind;
use crate::group::message::{MAX_END, MulticastData};
use crate::{amf, flash};
use bytes::Bytes;
use std::fmt;

/// The longest value in AMF that is read, in bytes: values take many times the memory of their
/// encoding.
pub(super) const MAX_AMF: usize = 2 << 20;

/// The value at the front of `bytes`, unless it is too long.
pub(super) fn amf(bytes: &[u8]) -> Option<amf::Value> {
    if bytes.len() > MAX_AMF {
        return None;
    }
    amf::Reader::new(Bytes::copy_from_slice(bytes)).read_value().ok()
}

/// True for the first fragment of a message that does not state how many follow.
fn lacks_remaining(message: &[u8]) -> bool {
    let parsed = MulticastData::parse(&Bytes::copy_from_slice(message));
    matches!(parsed, Ok(MulticastData::Fragment(fragment)) if fragment.remaining().is_none())
}

/// The kind of a flow, by its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FlowClass {
    /// The metadata was not captured, or is not known.
    #[default]
    Unknown,
    /// RTMP messages of a stream (`TC`).
    Tc(u32),
    /// A group's messages between member and server (`GC`).
    GroupServer,
    /// A group's messages between members (`GR`).
    Group(FlowKind),
}

impl FlowClass {
    /// The class of a flow with this metadata.
    pub fn of(metadata: &[u8]) -> Self {
        if let Some(kind) = FlowKind::from_metadata(metadata) {
            return Self::Group(kind);
        }
        match flash::FlowMetadata::parse(metadata) {
            Some(flash::FlowMetadata::Tc { stream, .. }) => Self::Tc(stream),
            Some(flash::FlowMetadata::GroupServer) => Self::GroupServer,
            _ => Self::Unknown,
        }
    }

    /// The layout of a message of such a flow, if its type is known.
    pub fn layout(self, message: &[u8]) -> Option<&'static FieldLayout> {
        let table = match self {
            Self::Unknown => return None,
            Self::Group(FlowKind::PostingValues) => return Some(&POST),
            Self::Group(FlowKind::Routing) => return Some(&DIRECTED),
            Self::Tc(_) => RTMP,
            Self::GroupServer => GROUP_SERVER,
            Self::Group(FlowKind::Membership) => MEMBERSHIP,
            Self::Group(FlowKind::Replication) => REPLICATION,
            Self::Group(FlowKind::PostingKeys) => POSTING_KEYS,
            Self::Group(FlowKind::MulticastControl) => MULTICAST_CONTROL,
            Self::Group(FlowKind::MulticastData) => MULTICAST_DATA,
        };
        let layout = fields::find(table, (*message.first()?).into())?;
        let is_end = self == Self::Group(FlowKind::MulticastControl)
            && layout.code == STREAM_END.code
            && message.len() <= MAX_END;
        let is_uncounted = self == Self::Group(FlowKind::MulticastData)
            && layout.code == UNCOUNTED_FIRST.code
            && lacks_remaining(message);
        Some(match () {
            () if is_end => &STREAM_END,
            () if is_uncounted => &UNCOUNTED_FIRST,
            () => layout,
        })
    }

    /// True if messages begin with a byte for their type.
    pub(super) fn has_type(self) -> bool {
        let bare = [FlowKind::PostingValues, FlowKind::Routing].map(Self::Group);
        self != Self::Unknown && !bare.contains(&self)
    }

    /// The name of a message of such a flow.
    pub fn name(self, message: &[u8]) -> &'static str {
        self.layout(message).map_or("Unknown", |layout| layout.key)
    }
}

/// Prints the class as in the metadata: `TC 1` (the stream), `GC`, `GR 15`; `?` if unknown.
impl fmt::Display for FlowClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.pad("?"),
            Self::Tc(stream) => f.pad(&format!("TC {stream}")),
            Self::GroupServer => f.pad("GC"),
            Self::Group(kind) => f.pad(&format!("GR {:02X}", kind.metadata()[2])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_by_metadata() {
        for (metadata, label) in [
            (&b"TC\x04\x00"[..], "TC 0"),
            (b"TC\x05\x07", "TC 7"),
            (b"GC", "GC"),
            (b"GR\x1c", "GR 1C"),
            (b"GR\x16", "?"),
            (b"", "?"),
        ] {
            assert_eq!(FlowClass::of(metadata).to_string(), label);
        }
    }

    #[test]
    fn names_by_type() {
        let control = FlowClass::of(b"GR\x11");
        assert_eq!(control.name(&[&[0x21][..], &[0; 36]].concat()), "Stream");
        assert_eq!(control.name(&[0x21, 0x81, 0x00]), "StreamEnd");
        assert_eq!(FlowClass::of(b"GR\x19").name(&[2, 0, 1, b'x']), "Post");
        assert_eq!(FlowClass::of(b"GC").name(&[0x0b]), "Connect");
        assert_eq!(FlowClass::of(b"GC").name(&[]), "Unknown");
        assert_eq!(FlowClass::Unknown.name(&[0x14]), "Unknown");
    }

    #[test]
    fn a_first_fragment_has_a_count_or_not() {
        let fields = |message| {
            let layout = FlowClass::of(b"GR\x12").layout(message).unwrap();
            layout.fields.iter().map(|field| field.key).collect::<Vec<_>>()
        };
        let counted = fields(b"\x30\x01\x02\x09\0\0\0\x01ab");
        let mut uncounted = fields(b"\x30\x01\x09\0\0\0\x01ab");
        uncounted.insert(1, counted[1]);
        assert_eq!((counted.len(), counted), (5, uncounted));
    }
}
