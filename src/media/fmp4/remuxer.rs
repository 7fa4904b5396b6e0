//! [`Remuxer`]: tags of FLV in, fragments of MP4 out.

use super::codec::{AacConfig, AudioConfig, AvcConfig};
use super::finder::Tracks;
use super::fragment::{self, Run, Sample};
use super::{AUDIO, VIDEO};
use crate::media::flv::{AudioPacket, Tag, TagKind, VideoPacket};
use bytes::Bytes;

/// Milliseconds of a fragment without a keyframe. What is shorter costs more for its boxes, and what is
/// longer is shown later.
const FRAGMENT_TIME: u64 = 1_000;
/// Milliseconds of sound after which it is written without pictures, which are late.
const AUDIO_TIME: u64 = 2_000;
/// Bytes after which a fragment is written however short it is.
const FRAGMENT_BYTES: usize = 512 << 10;
/// The time of the last picture of all, in milliseconds, which no other ends.
const LAST_PICTURE: u64 = 40;

/// Makes fragments of the tags of an FLV, from any tag on. Pictures before the first keyframe are left
/// out. It holds the samples of one fragment.
#[derive(Debug)]
pub struct Remuxer {
    tracks: Tracks,
    sequence: u32,
    /// A keyframe was there.
    has_begun: bool,
    video: Vec<Sample>,
    audio: Vec<Sample>,
    /// The end of the sound so far, in its samples.
    audio_end: Option<u64>,
    bytes: usize,
}

impl Remuxer {
    /// A remuxer for a film with these tracks.
    pub fn new(tracks: Tracks) -> Self {
        let (video, audio) = (Vec::new(), Vec::new());
        Self { tracks, sequence: 0, has_begun: false, video, audio, audio_end: None, bytes: 0 }
    }

    /// Takes the next tag, and appends what is finished by it: no fragment or one, and a new
    /// initialization segment if a decoder is configured anew.
    pub fn push(&mut self, tag: &Tag, out: &mut Vec<u8>) {
        let time = self.tracks.time(tag);
        match tag.kind {
            TagKind::Script => {}
            TagKind::Video => self.push_video(time, tag, out),
            TagKind::Audio => self.push_audio(time, tag, out),
        }
    }

    /// Appends the last fragment.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let end = self.video.last().map_or(0, |last| last.time + LAST_PICTURE);
        self.write(end, out);
    }

    fn push_video(&mut self, time: u64, tag: &Tag, out: &mut Vec<u8>) {
        match VideoPacket::parse(&tag.data) {
            Some(VideoPacket::AvcConfig(record)) => {
                let config = AvcConfig::parse(&record);
                if config.is_some() && self.tracks.has_video() && config != self.tracks.video {
                    self.write(time, out);
                    self.tracks.video = config;
                    out.extend_from_slice(&self.tracks.init_segment());
                }
            }
            Some(VideoPacket::Avc { is_key, composition, data }) if !data.is_empty() => {
                self.has_begun |= is_key;
                if !self.has_begun || self.tracks.video.is_none() {
                    return;
                }
                let first = self.video.first().map_or(time, |first| first.time);
                let time = time.max(self.video.last().map_or(0, |last| last.time));
                if is_key || time - first >= FRAGMENT_TIME || self.bytes >= FRAGMENT_BYTES {
                    self.write(time, out);
                }
                self.bytes += data.len();
                self.video.push(Sample { time, composition, is_key, data });
            }
            _ => {}
        }
    }

    fn push_audio(&mut self, time: u64, tag: &Tag, out: &mut Vec<u8>) {
        match AudioPacket::parse(&tag.data) {
            Some(AudioPacket::AacConfig(specific)) => {
                let config = AacConfig::parse(&specific).map(AudioConfig::Aac);
                if config.is_some() && self.tracks.audio.is_some() && config != self.tracks.audio {
                    self.write(self.video.last().map_or(0, |last| last.time + LAST_PICTURE), out);
                    self.tracks.audio = config;
                    self.audio_end = None;
                    out.extend_from_slice(&self.tracks.init_segment());
                }
            }
            Some(AudioPacket::Aac(data)) => self.push_sound(time, data, out),
            Some(AudioPacket::Mp3(data)) => self.push_sound(time, data, out),
            _ => {}
        }
    }

    fn push_sound(&mut self, time: u64, data: Bytes, out: &mut Vec<u8>) {
        let Some(config) = self.tracks.audio.as_ref() else { return };
        if data.is_empty() {
            return;
        }
        let rate = u64::from(config.sample_rate());
        let by_timestamp = time * rate / 1000;
        // Timestamps are rounded to milliseconds: the sound follows them only over a gap.
        let time = match self.audio_end {
            Some(end) if by_timestamp < end + rate / 10 => end,
            _ => by_timestamp,
        };
        let end = time + u64::from(config.frame());
        let begin = self.audio.first().map_or(time, |first| first.time);
        let limit = if self.tracks.has_video() { AUDIO_TIME } else { FRAGMENT_TIME };
        if (time - begin) * 1000 / rate >= limit || self.bytes >= 2 * FRAGMENT_BYTES {
            self.write_audio(out);
        }
        self.audio_end = Some(end);
        self.bytes += data.len();
        self.audio.push(Sample { time, composition: 0, is_key: true, data });
    }

    /// Appends all samples; the last picture ends at `end`.
    fn write(&mut self, end: u64, out: &mut Vec<u8>) {
        if self.video.is_empty() && self.audio.is_empty() {
            return;
        }
        let (video, audio) = (std::mem::take(&mut self.video), std::mem::take(&mut self.audio));
        let runs = [
            Run { track: VIDEO, samples: &video, end },
            Run { track: AUDIO, samples: &audio, end: self.audio_end.unwrap_or(0) },
        ];
        self.sequence = self.sequence.wrapping_add(1);
        fragment::write(out, self.sequence, &runs);
        self.bytes = 0;
    }

    /// Appends the sound; how long the last picture is shown is not known yet.
    fn write_audio(&mut self, out: &mut Vec<u8>) {
        let video = std::mem::take(&mut self.video);
        self.write(0, out);
        self.bytes = video.iter().map(|sample| sample.data.len()).sum();
        self.video = video;
    }
}
