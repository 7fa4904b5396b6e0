//! Messages of a stream as tags of an FLV, whose data are their payloads.

use super::{Body, Format, Message};
use crate::media::flv::{Tag, TagKind};

impl From<Tag> for Message {
    fn from(tag: Tag) -> Self {
        let body = match tag.kind {
            TagKind::Audio => Body::Audio(tag.data),
            TagKind::Video => Body::Video(tag.data),
            TagKind::Script => Body::Data(Format::Plain, tag.data),
        };
        Self::new(tag.timestamp, body)
    }
}

impl Message {
    /// The tag of audio, video or data. `None` for other messages, which a file does not have.
    pub fn tag(&self) -> Option<Tag> {
        let (kind, data) = match &self.body {
            Body::Audio(data) => (TagKind::Audio, data),
            Body::Video(data) => (TagKind::Video, data),
            Body::Data(_, data) => (TagKind::Script, data),
            _ => return None,
        };
        Some(Tag { kind, timestamp: self.timestamp, data: data.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_tag_is_the_payload_of_a_message() {
        for kind in [TagKind::Audio, TagKind::Video, TagKind::Script] {
            let tag = Tag { kind, timestamp: 7, data: Bytes::from_static(b"data") };
            assert_eq!(Message::from(tag.clone()).tag(), Some(tag));
        }
        let command = Message::new(0, Body::Command(Format::Plain, Bytes::new()));
        assert_eq!(command.tag(), None);
    }

    #[test]
    fn the_selector_of_an_extended_message_is_not_in_the_tag() {
        let message = Message::new(0, Body::Data(Format::Extended, Bytes::from_static(b"\x02")));
        assert_eq!(message.tag().unwrap().data, &b"\x02"[..]);
    }
}
