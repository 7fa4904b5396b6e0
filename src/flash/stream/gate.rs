//! [`Gate`]: which audio and video of a live stream goes to one who plays it.

use crate::flash::{Body, ConfigurationPart};

/// What somebody who plays a live stream gets of it: not what it does not want, and no video that
/// cannot be shown because frames before it were left out.
#[derive(Debug)]
pub(in super::super) struct Gate {
    wants_audio: bool,
    wants_video: bool,
    is_paused: bool,
    /// Video is skipped up to the next key frame.
    lacks_key_frame: bool,
    is_blocked: bool,
}

impl Gate {
    /// Everything is wanted; video begins with a key frame.
    pub(in super::super) fn new() -> Self {
        Self {
            wants_audio: true,
            wants_video: true,
            is_paused: false,
            lacks_key_frame: true,
            is_blocked: false,
        }
    }

    /// True if a message is to be sent. Audio and video that would wait for long are not;
    /// codec configuration and data always are.
    pub(in super::super) fn admits(&mut self, body: &Body) -> bool {
        match body {
            Body::Audio(_) | Body::Video(_) if ConfigurationPart::of(body).is_some() => true,
            Body::Audio(_) => self.wants_audio && !self.is_paused,
            Body::Video(_) => self.takes_video(body),
            _ => true,
        }
    }

    fn takes_video(&mut self, body: &Body) -> bool {
        if !self.wants_video || self.is_paused || self.is_blocked {
            self.lacks_key_frame = true;
            return false;
        }
        self.lacks_key_frame &= !body.is_key_frame();
        !self.lacks_key_frame
    }

    /// A command of the NetStream that plays. Others than `pause`, `receiveAudio` and `receiveVideo`
    /// change nothing.
    pub(in super::super) fn on_command(&mut self, name: &str, flag: bool) {
        match name {
            "receiveAudio" => self.wants_audio = flag,
            "receiveVideo" => self.wants_video = flag,
            "pause" => self.is_paused = flag,
            _ => {}
        }
    }

    /// The flow's queue is full, or has space again.
    pub(in super::super) fn set_blocked(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
    }

    /// A message was left out: video goes on at the next key frame.
    pub(in super::super) fn miss(&mut self) {
        self.lacks_key_frame = true;
    }
}
