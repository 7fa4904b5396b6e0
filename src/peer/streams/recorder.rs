//! [`Recorder`]: messages into an FLV that begins where it can be shown.

use crate::flash::{Body, ConfigurationPart, Message};
use crate::media::flv::{self, Tag, TagKind};
use bytes::Bytes;

/// Time without video after which a stream counts as one of audio or data alone, in milliseconds.
const AUDIO_ALONE: u32 = 2000;
/// Messages that are kept until that is known.
const MAX_HELD: usize = 512;
/// A step of timestamps up to this is a gap; a larger one is another stream. In milliseconds.
const MAX_GAP: i32 = 60_000;
/// Audio and video may be interleaved by as much. In milliseconds.
const MAX_BACK: u32 = 5_000;
/// The step from the last tag to the first of another stream, in milliseconds.
const SEAM: u32 = 40;
/// The name of a handler, and the one that tells a server to keep what follows it.
const SET_DATA_FRAME: &[u8] = b"\x02\0\x0d@setDataFrame";

/// What a recording waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// Any message.
    Anything,
    /// A key frame, with which video begins.
    KeyFrame,
    /// The configuration of the codec, which the publisher sends at the beginning; those of this
    /// crate repeat it.
    Configuration,
}

/// Makes an FLV of the messages of a stream: header, metadata, codec configuration, then everything
/// from a key frame on, or from the first message if there is no video. Timestamps begin at 0 and go
/// on where the stream does.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    metadata: Option<Bytes>,
    video: Option<Bytes>,
    audio: Option<Bytes>,
    /// Audio and data that came before it is known whether there is video.
    held: Vec<Tag>,
    has_video: bool,
    lacks_configuration: bool,
    /// Video was skipped on the way to a key frame, and audio beside it.
    has_skipped: bool,
    has_header: bool,
    is_running: bool,
    /// What is subtracted from timestamps.
    base: u32,
    /// The timestamp of the first message, before the recording runs.
    first: Option<u32>,
    /// The timestamp of the last tag, as it came and as it was written.
    last: Option<(u32, u32)>,
}

impl Recorder {
    /// What is waited for; `None` while the recording runs.
    pub(super) fn missing(&self) -> Option<Missing> {
        match self {
            Self { is_running: true, .. } => None,
            Self { lacks_configuration: true, .. } => Some(Missing::Configuration),
            Self { first: None, .. } => Some(Missing::Anything),
            Self { .. } => Some(Missing::KeyFrame),
        }
    }

    /// The timestamp of the last tag that was written, in milliseconds.
    pub(super) fn position(&self) -> u32 {
        self.last.map_or(0, |(_, written)| written)
    }

    /// Something is missing before the next message: video begins again at a key frame.
    pub(super) fn reset(&mut self) {
        self.is_running = false;
        self.first = None;
        self.has_skipped = false;
        self.held.clear();
    }

    /// The stream has ended: what was held until it is known whether there is video is written.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if let (false, Some(first)) = (self.is_running || self.has_video, self.held.first()) {
            self.start(first.timestamp, out);
        }
    }

    /// The bytes of the FLV that a message adds.
    pub(super) fn message(&mut self, message: &Message, out: &mut Vec<u8>) {
        let Some(tag) = message.tag() else { return };
        if let Some(part) = ConfigurationPart::of(&message.body) {
            return self.configuration(part, tag, out);
        }
        self.has_video |= tag.kind == TagKind::Video;
        if !self.is_running && !self.starts(&tag, &message.body) {
            return;
        }
        if !self.is_running {
            self.start(tag.timestamp, out);
        }
        self.write(tag, out);
    }

    /// Keeps a part of the configuration, and writes it if it has changed.
    fn configuration(&mut self, part: ConfigurationPart, mut tag: Tag, out: &mut Vec<u8>) {
        let slot = match part {
            ConfigurationPart::Metadata => &mut self.metadata,
            ConfigurationPart::Video => &mut self.video,
            ConfigurationPart::Audio => &mut self.audio,
        };
        if part == ConfigurationPart::Metadata
            && let Some(values) = tag.data.strip_prefix(SET_DATA_FRAME)
        {
            tag.data = tag.data.slice_ref(values);
        }
        if slot.replace(tag.data.clone()).as_ref() != Some(&tag.data) && self.is_running {
            self.write(tag, out);
        }
    }

    /// True if the recording can begin with this tag.
    fn starts(&mut self, tag: &Tag, body: &Body) -> bool {
        let first = *self.first.get_or_insert(tag.timestamp);
        match body {
            Body::Video(data) => {
                let is_key = body.is_key_frame();
                self.lacks_configuration =
                    is_key && needs_configuration(data) && self.video.is_none();
                let starts = is_key && !self.lacks_configuration;
                self.has_skipped |= !starts;
                starts
            }
            Body::Audio(_) | Body::Data(..) if self.has_video => false,
            Body::Audio(_) | Body::Data(..) if tag.timestamp.wrapping_sub(first) >= AUDIO_ALONE => {
                true
            }
            Body::Audio(_) | Body::Data(..) => {
                if self.held.len() < MAX_HELD {
                    self.held.push(tag.clone());
                }
                false
            }
            _ => false,
        }
    }

    /// Writes what the first tag needs before it.
    fn start(&mut self, timestamp: u32, out: &mut Vec<u8>) {
        self.is_running = true;
        let held = std::mem::take(&mut self.held);
        let held = if self.has_skipped { Vec::new() } else { held };
        let timestamp = held.first().map_or(timestamp, |tag| tag.timestamp);
        match self.last {
            None => self.base = timestamp,
            Some((came, written)) => {
                let step = timestamp.wrapping_sub(came) as i32;
                if !(-(MAX_BACK as i32)..=MAX_GAP).contains(&step) {
                    self.base = timestamp.wrapping_sub(written.wrapping_add(SEAM));
                }
            }
        }
        if !std::mem::replace(&mut self.has_header, true) {
            out.extend_from_slice(&flv::header(true, self.has_video));
        }
        let parts = [
            (TagKind::Script, self.metadata.clone()),
            (TagKind::Video, self.video.clone()),
            (TagKind::Audio, self.audio.clone()),
        ];
        for (kind, data) in parts {
            if let Some(data) = data {
                self.write(Tag { kind, timestamp, data }, out);
            }
        }
        for tag in held {
            self.write(tag, out);
        }
    }

    fn write(&mut self, mut tag: Tag, out: &mut Vec<u8>) {
        let came = tag.timestamp;
        let written = came.wrapping_sub(self.base);
        // What is older than the beginning is at the beginning.
        let written = if written > u32::MAX - MAX_BACK { 0 } else { written };
        tag.timestamp = written;
        // A message is shorter than the longest tag: `MulticastLimits::max_message`.
        if tag.encode(out).is_ok() {
            self.last = Some((came, written));
        }
    }
}

/// True if a video message cannot be decoded without configuration that was sent before.
fn needs_configuration(video: &Bytes) -> bool {
    // AVC, or a codec of the extended form.
    video.first().is_some_and(|first| first & 0x80 != 0 || first & 0x0f == 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Format;

    const HEADER: &[u8] = b"\x17\0\0\0\0H";
    const KEY: &[u8] = b"\x17\x01\0\0\0K";
    const INTER: &[u8] = b"\x27\x01\0\0\0I";
    const AAC: &[u8] = b"\xaf\0A";
    const SOUND: &[u8] = b"\xaf\x01S";

    fn video(at: u32, bytes: &'static [u8]) -> Message {
        Message::new(at, Body::Video(Bytes::from_static(bytes)))
    }

    fn audio(at: u32, bytes: &'static [u8]) -> Message {
        Message::new(at, Body::Audio(Bytes::from_static(bytes)))
    }

    /// The last byte of each tag, with its timestamp.
    fn tags(file: &[u8]) -> Vec<(u32, char)> {
        let mut reader = flv::Reader::new();
        reader.push(file);
        let tags = std::iter::from_fn(|| reader.next_tag().unwrap());
        tags.map(|tag| (tag.timestamp, char::from(*tag.data.last().unwrap()))).collect()
    }

    fn record(recorder: &mut Recorder, messages: &[Message]) -> Vec<u8> {
        let mut out = Vec::new();
        messages.iter().for_each(|message| recorder.message(message, &mut out));
        out
    }

    #[test]
    fn a_recording_begins_with_configuration_and_a_key_frame() {
        let mut recorder = Recorder::default();
        assert_eq!(recorder.missing(), Some(Missing::Anything));
        let began = [
            audio(5000, SOUND),
            video(5010, INTER),
            video(5040, KEY),
            video(5050, HEADER),
            audio(5050, AAC),
            audio(5060, SOUND),
        ];
        assert_eq!(record(&mut recorder, &began), b"");
        assert_eq!(recorder.missing(), Some(Missing::Configuration));
        let goes_on =
            [video(5100, KEY), audio(5110, SOUND), video(5140, INTER), audio(5090, SOUND)];
        let file = record(&mut recorder, &goes_on);
        assert_eq!(file[..5], *b"FLV\x01\x05");
        let expected = [(0, 'H'), (0, 'A'), (0, 'K'), (10, 'S'), (40, 'I'), (0, 'S')];
        assert_eq!(tags(&file), expected);
        assert_eq!(recorder.missing(), None);
    }

    #[test]
    fn sound_before_the_first_frame_of_all_is_kept() {
        let mut recorder = Recorder::default();
        let messages = [video(0, HEADER), audio(5, SOUND), audio(28, SOUND), video(40, KEY)];
        let file = record(&mut recorder, &messages);
        assert_eq!(tags(&file), [(0, 'H'), (0, 'S'), (23, 'S'), (35, 'K')]);
    }

    #[test]
    fn configuration_that_is_repeated_is_written_once() {
        let mut recorder = Recorder::default();
        let messages = [video(0, HEADER), video(0, KEY), video(900, HEADER), video(1000, KEY)];
        assert_eq!(tags(&record(&mut recorder, &messages)), [(0, 'H'), (0, 'K'), (1000, 'K')]);
        let changed = [video(1100, b"\x17\0\0\0\0N"), video(1200, KEY)];
        let mut file = flv::header(true, true).to_vec();
        file.extend(record(&mut recorder, &changed));
        assert_eq!(tags(&file), [(1100, 'N'), (1200, 'K')]);
    }

    #[test]
    fn audio_alone_begins_with_its_first_message() {
        let mut recorder = Recorder::default();
        let messages: Vec<_> = (0..=100).map(|n| audio(700 + 23 * n, SOUND)).collect();
        let file = record(&mut recorder, &messages);
        assert_eq!(file[..5], *b"FLV\x01\x04");
        let found = tags(&file);
        assert_eq!(found.len(), 101);
        assert_eq!((found[0], found[100]), ((0, 'S'), (2300, 'S')));
    }

    #[test]
    fn data_alone_begin_with_their_first_message() {
        let mut recorder = Recorder::default();
        let data = |at| Message::new(at, Body::Data(Format::Extended, Bytes::from_static(b"D")));
        let file = record(&mut recorder, &[data(50), data(1050), data(2050), data(2100)]);
        assert_eq!(tags(&file), [(0, 'D'), (1000, 'D'), (2000, 'D'), (2050, 'D')]);
    }

    #[test]
    fn a_short_stream_of_data_is_written_at_its_end() {
        let mut recorder = Recorder::default();
        let data = |at| Message::new(at, Body::Data(Format::Extended, Bytes::from_static(b"D")));
        let mut file = record(&mut recorder, &[data(50), data(70)]);
        assert_eq!(file, b"");
        recorder.end(&mut file);
        assert_eq!(tags(&file), [(0, 'D'), (20, 'D')]);
        recorder.end(&mut file);
        assert_eq!(tags(&file).len(), 2);
        let mut recorder = Recorder::default();
        let mut file = record(&mut recorder, &[video(0, INTER), data(10)]);
        recorder.end(&mut file);
        assert_eq!(file, b"", "video without a key frame");
    }

    #[test]
    fn after_a_gap_it_goes_on_at_a_key_frame_in_time() {
        let mut recorder = Recorder::default();
        let mut file = record(&mut recorder, &[video(100, HEADER), video(100, KEY)]);
        recorder.reset();
        let messages = [video(900, INTER), audio(910, SOUND), video(1100, KEY)];
        file.extend(record(&mut recorder, &messages));
        assert_eq!(tags(&file), [(0, 'H'), (0, 'K'), (1000, 'H'), (1000, 'K')]);
    }

    #[test]
    fn another_stream_follows_the_first() {
        let mut recorder = Recorder::default();
        let first = [video(90_000, HEADER), video(90_000, KEY), video(90_500, INTER)];
        let mut file = record(&mut recorder, &first);
        recorder.reset();
        file.extend(record(&mut recorder, &[video(0, HEADER), video(0, KEY), video(40, INTER)]));
        let expected = [(0, 'H'), (0, 'K'), (500, 'I'), (540, 'H'), (540, 'K'), (580, 'I')];
        assert_eq!(tags(&file), expected);
        assert_eq!(recorder.position(), 580);
    }

    #[test]
    fn metadata_lose_the_word_for_servers() {
        let mut recorder = Recorder::default();
        let values = b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x05M";
        let metadata = Message::new(0, Body::Data(Format::Plain, Bytes::from_static(values)));
        let file = record(&mut recorder, &[metadata, video(0, b"\x12K")]);
        let mut reader = flv::Reader::new();
        reader.push(&file);
        let first = reader.next_tag().unwrap().unwrap();
        assert_eq!(first.data, &b"\x02\0\x0aonMetaData\x05M"[..]);
        assert_eq!(reader.next_tag().unwrap().unwrap().data, &b"\x12K"[..]);
    }
}
