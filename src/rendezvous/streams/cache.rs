//! [`Cache`]: what is kept of a stream for those who come late.

use super::Backlog;
use crate::flash::stream::Late;
use crate::flash::{Body, ConfigurationPart, Message};
use bytes::Bytes;

/// The longest metadata or codec configuration that is kept, in bytes.
const MAX_PART: usize = 64 << 10;
/// What a kept message costs beside its bytes.
const OVERHEAD: usize = 96;

/// Metadata, codec configuration, and audio and video since the last key frame.
#[derive(Debug, Default)]
pub(super) struct Cache {
    late: Late,
    /// The first is a key frame.
    frames: Vec<(Message, Bytes)>,
    /// Bytes in `frames`.
    bytes: usize,
    /// Frames behind those were not kept.
    is_cut: bool,
}

impl Cache {
    /// Bytes that count.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes a message, of which no more than `space` bytes are kept together with those before it.
    /// True if that is too little from this message on.
    pub(super) fn note(&mut self, message: &Message, encoded: &Bytes, space: usize) -> bool {
        if ConfigurationPart::of(&message.body).is_some() {
            if encoded.len() <= MAX_PART {
                self.late.note(message);
            }
            return false;
        }
        self.late.note(message);
        let is_key_frame = message.body.is_key_frame();
        if is_key_frame {
            self.clear();
        }
        let is_media = matches!(message.body, Body::Audio(_) | Body::Video(_));
        if self.is_cut || !is_media || self.frames.is_empty() && !is_key_frame {
            return false;
        }
        let cost = encoded.len() + OVERHEAD;
        if self.bytes + cost <= space {
            self.bytes += cost;
            self.frames.push((message.clone(), encoded.clone()));
            return false;
        }
        self.cut(space);
        true
    }

    /// Keeps the key frame alone, if there is space.
    fn cut(&mut self, space: usize) {
        let first = self.frames.drain(..).next();
        self.clear();
        self.is_cut = true;
        if let Some((message, encoded)) = first
            && encoded.len() + OVERHEAD <= space
        {
            self.bytes = encoded.len() + OVERHEAD;
            self.frames.push((message, encoded));
        }
    }

    /// A message is missing: frames before it are kept, and none behind it.
    pub(super) fn interrupt(&mut self) {
        self.is_cut = true;
    }

    fn clear(&mut self) {
        self.frames = Vec::new();
        (self.bytes, self.is_cut) = (0, false);
    }

    /// What somebody who comes late is sent.
    pub(super) fn backlog(&self) -> Backlog {
        let first = self.frames.first();
        let timestamp = first.map_or(self.late.timestamp(), |(frame, _)| frame.timestamp);
        let parts = self.late.messages_at(timestamp);
        let parts = parts.map(|message| (message.encode().into_bytes(), message));
        let mut messages: Vec<_> = parts.map(|(encoded, message)| (message, encoded)).collect();
        messages.extend(self.frames.iter().cloned());
        Backlog { messages, is_cut: self.is_cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Format;

    const LOTS: usize = 1 << 20;

    fn video(at: u32, bytes: &[u8]) -> Message {
        Message::new(at, Body::Video(Bytes::copy_from_slice(bytes)))
    }

    fn audio(at: u32, last: u8) -> Message {
        Message::new(at, Body::Audio(Bytes::copy_from_slice(&[0xaf, 1, last])))
    }

    fn note(cache: &mut Cache, message: &Message, space: usize) {
        cache.note(message, &message.encode().into_bytes(), space);
    }

    /// The last byte and the time of each message.
    fn kept(cache: &Cache) -> String {
        let messages = cache.backlog().messages;
        let text = messages.iter().map(|(message, encoded)| {
            format!("{}{} ", char::from(*encoded.last().unwrap()), message.timestamp)
        });
        text.collect()
    }

    #[test]
    fn configuration_and_everything_since_the_last_key_frame() {
        let mut cache = Cache::default();
        note(&mut cache, &audio(0, b'x'), LOTS);
        assert_eq!(kept(&cache), "", "nothing before the first key frame");
        let metadata = Body::Data(Format::Plain, Bytes::from_static(b"\x02\0\x0aonMetaDataM"));
        note(&mut cache, &Message::new(5, metadata), LOTS);
        for (at, bytes) in [(10, b"\x17\0H"), (10, b"\x17\x01K"), (20, b"\x27\x01I")] {
            note(&mut cache, &video(at, bytes), LOTS);
        }
        note(&mut cache, &audio(25, b'a'), LOTS);
        let data = Body::Data(Format::Plain, Bytes::from_static(b"\x02\0\x01c"));
        note(&mut cache, &Message::new(26, data), LOTS);
        assert_eq!(kept(&cache), "M10 H10 K10 I20 a25 ");
        note(&mut cache, &video(50, b"\x17\x01L"), LOTS);
        assert_eq!(kept(&cache), "M50 H50 L50 ");
        assert!(!cache.backlog().is_cut);
    }

    #[test]
    fn hostile_streams_keep_a_bounded_number_of_bytes() {
        let mut cache = Cache::default();
        let space = 3 * OVERHEAD + 100;
        note(&mut cache, &video(0, b"\x17\x01K"), space);
        for at in 1..100 {
            note(&mut cache, &video(at, b"\x27\x01I"), space);
            assert!(cache.bytes() <= space);
        }
        assert_eq!((kept(&cache), cache.backlog().is_cut), ("K0 ".into(), true));
        let mut large = vec![0x17, 1];
        large.resize(space, 0);
        note(&mut cache, &video(200, &large), space);
        note(&mut cache, &video(201, b"\x27\x01I"), space);
        assert_eq!((kept(&cache), cache.bytes(), cache.backlog().is_cut), ("".into(), 0, true));
        let mut long = b"\x02\0\x0aonMetaData".to_vec();
        long.resize(MAX_PART + 1, 0);
        note(&mut cache, &Message::new(0, Body::Data(Format::Plain, long.into())), space);
        assert!(cache.backlog().messages.is_empty());
    }
}
