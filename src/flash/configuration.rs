//! [`ConfigurationPart`]: the messages of a stream that whoever joins late needs first.

use super::Body;

/// The handler name of metadata, and the one with which a publisher asks a server to keep them.
const ON_META_DATA: &[u8] = b"\x02\0\x0aonMetaData";
const SET_DATA_FRAME: &[u8] = b"\x02\0\x0d@setDataFrame";

/// The parts of the configuration of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigurationPart {
    /// `onMetaData`.
    Metadata,
    /// The sequence header of AVC, or that of another codec in the extended form.
    Video,
    /// The sequence header of AAC.
    Audio,
}

impl ConfigurationPart {
    /// The part of the configuration that a message is, if it is one.
    pub fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Data(_, values)
                if values.starts_with(ON_META_DATA) || values.starts_with(SET_DATA_FRAME) =>
            {
                Some(Self::Metadata)
            }
            Body::Video(data) => match data[..] {
                // Frame type and codec 7, AVC packet type 0.
                [first, 0, ..] if first & 0x8f == 0x07 => Some(Self::Video),
                // The extended form: packet type 0 is a sequence start.
                [first, ..] if first & 0x8f == 0x80 => Some(Self::Video),
                _ => None,
            },
            // Codec 10, AAC packet type 0.
            Body::Audio(data) if matches!(data[..], [0xa0..=0xaf, 0, ..]) => Some(Self::Audio),
            _ => None,
        }
    }
}

impl Body {
    /// The data message that a publisher asks a server to keep, without that request
    /// (`@setDataFrame`). `None` for all else.
    pub fn data_frame(&self) -> Option<Self> {
        match self {
            Self::Data(format, values) if values.starts_with(SET_DATA_FRAME) => {
                Some(Self::Data(*format, values.slice(SET_DATA_FRAME.len()..)))
            }
            _ => None,
        }
    }

    /// True for a video message with a frame that needs no other frame. A sequence header is marked
    /// like one.
    pub fn is_key_frame(&self) -> bool {
        matches!(self, Self::Video(data) if data.first().is_some_and(|it| it & 0x70 == 0x10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Format;
    use bytes::Bytes;

    #[test]
    fn a_data_frame_is_the_message_in_it() {
        let data = |bytes: &'static [u8]| Body::Data(Format::Plain, Bytes::from_static(bytes));
        let framed = data(b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x08");
        assert_eq!(framed.data_frame(), Some(data(b"\x02\0\x0aonMetaData\x08")));
        assert_eq!(data(b"\x02\0\x0aonMetaData\x08").data_frame(), None);
    }

    #[test]
    fn parts_by_their_first_bytes() {
        let video = |bytes: &'static [u8]| Body::Video(Bytes::from_static(bytes));
        let audio = |bytes: &'static [u8]| Body::Audio(Bytes::from_static(bytes));
        let data = |bytes: &'static [u8]| Body::Data(Format::Plain, Bytes::from_static(bytes));
        let cases = [
            (video(b"\x17\0\0\0\0H"), Some(ConfigurationPart::Video), true),
            (video(b"\x17\x01\0\0\0K"), None, true),
            (video(b"\x27\x01\0\0\0I"), None, false),
            (video(b"\x90avc1"), Some(ConfigurationPart::Video), true),
            (video(b"\x12"), None, true),
            (video(b""), None, false),
            (audio(b"\xaf\0\x12\x10"), Some(ConfigurationPart::Audio), false),
            (audio(b"\xaf\x01"), None, false),
            (data(b"\x02\0\x0aonMetaData\x08"), Some(ConfigurationPart::Metadata), false),
            (data(b"\x02\0\x05hello"), None, false),
        ];
        for (body, part, is_key) in cases {
            assert_eq!((ConfigurationPart::of(&body), body.is_key_frame()), (part, is_key));
        }
    }
}
