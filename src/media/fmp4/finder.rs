//! [`TrackFinder`]: what is in an FLV.

use super::codec::{AacConfig, AudioConfig, AvcConfig, Mp3Config, media_type};
use super::init;
use crate::media::flv::{AudioPacket, Tag, TagKind, VideoPacket};
use thiserror::Error;

/// Milliseconds of the film in which a track has to begin, if it is to be found.
const SEARCH_TIME: u32 = 3_000;
/// Bytes of tags after which no further track is looked for.
const SEARCH_BYTES: usize = 8 << 20;

/// Why a film in FLV cannot become MP4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotRemuxable {
    /// The codec of the pictures is not H.264.
    #[error("its pictures are coded in {0}, which browsers cannot show")]
    Video(&'static str),
    /// The codec of the sound is neither AAC nor MP3.
    #[error("its sound is coded in {0}, which browsers cannot play")]
    Audio(&'static str),
    /// There is neither sound nor picture.
    #[error("it has neither sound nor picture at its beginning")]
    Nothing,
}

/// The tracks of a film.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracks {
    /// The timestamp that is the film's beginning.
    pub(super) origin: u32,
    pub(super) video: Option<AvcConfig>,
    pub(super) audio: Option<AudioConfig>,
}

impl Tracks {
    /// The initialization segment.
    pub fn init_segment(&self) -> Vec<u8> {
        let mut out = Vec::new();
        init::write(&mut out, self);
        out
    }

    /// The media type with the codecs.
    pub fn media_type(&self) -> String {
        media_type(self.video.as_ref(), self.audio.as_ref())
    }

    /// The time of a tag from the film's beginning, in milliseconds. One that is earlier by its
    /// timestamp counts as at the beginning.
    pub fn time(&self, tag: &Tag) -> u64 {
        let time = tag.timestamp.wrapping_sub(self.origin);
        i32::try_from(time).map_or(0, |time| time as u64)
    }

    /// True if there are pictures.
    pub fn has_video(&self) -> bool {
        self.video.is_some()
    }
}

/// Finds the tracks of an FLV in the tags from its beginning on.
#[derive(Debug, Default)]
pub struct TrackFinder {
    tracks: Tracks,
    /// A tag with sound or picture was there.
    has_begun: bool,
    bytes: usize,
    last: u32,
}

impl TrackFinder {
    /// A finder before the first tag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next tag. True if all tracks are known.
    ///
    /// # Errors
    ///
    /// A codec that no browser has.
    pub fn push(&mut self, tag: &Tag) -> Result<bool, NotRemuxable> {
        match tag.kind {
            TagKind::Script => return Ok(false),
            TagKind::Video => self.look_at_video(tag)?,
            TagKind::Audio => self.look_at_audio(tag)?,
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            self.tracks.origin = tag.timestamp;
        }
        self.bytes += tag.data.len();
        self.last = tag.timestamp;
        let Tracks { origin, video, audio } = &self.tracks;
        let is_late = self.last.wrapping_sub(*origin) > SEARCH_TIME || self.bytes > SEARCH_BYTES;
        Ok(match (video, audio) {
            (Some(_), Some(_)) => true,
            (None, None) => false,
            _ => is_late,
        })
    }

    /// True if no more tags are worth looking at.
    pub fn is_exhausted(&self) -> bool {
        self.bytes > SEARCH_BYTES
    }

    /// The tracks that were found.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn finish(self) -> Result<Tracks, NotRemuxable> {
        match (&self.tracks.video, &self.tracks.audio) {
            (None, None) => Err(NotRemuxable::Nothing),
            _ => Ok(self.tracks),
        }
    }

    fn look_at_video(&mut self, tag: &Tag) -> Result<(), NotRemuxable> {
        match VideoPacket::parse(&tag.data) {
            Some(VideoPacket::Other(codec)) => Err(NotRemuxable::Video(codec)),
            Some(VideoPacket::AvcConfig(record)) => {
                self.tracks.video = AvcConfig::parse(&record).or(self.tracks.video.take());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn look_at_audio(&mut self, tag: &Tag) -> Result<(), NotRemuxable> {
        let found = match AudioPacket::parse(&tag.data) {
            Some(AudioPacket::Other(codec)) => return Err(NotRemuxable::Audio(codec)),
            Some(AudioPacket::AacConfig(specific)) => {
                AacConfig::parse(&specific).map(AudioConfig::Aac)
            }
            Some(AudioPacket::Mp3(frame)) => Mp3Config::parse(&frame).map(AudioConfig::Mp3),
            _ => None,
        };
        self.tracks.audio = found.or(self.tracks.audio.take());
        Ok(())
    }
}
