//! [`Late`]: the messages that a late subscriber gets first.

use crate::flash::{Body, ConfigurationPart, Message};

/// The codec configuration and metadata of a stream, as they were last published.
#[derive(Debug, Default)]
pub struct Late {
    metadata: Option<Body>,
    video: Option<Body>,
    audio: Option<Body>,
    timestamp: u32,
}

impl Late {
    /// Notes a message that is published.
    pub fn note(&mut self, message: &Message) {
        self.timestamp = message.timestamp;
        let slot = match ConfigurationPart::of(&message.body) {
            Some(ConfigurationPart::Metadata) => &mut self.metadata,
            Some(ConfigurationPart::Video) => &mut self.video,
            Some(ConfigurationPart::Audio) => &mut self.audio,
            None => return,
        };
        *slot = Some(message.body.clone());
    }

    /// What was noted, with the time of the last message.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        self.messages_at(self.timestamp)
    }

    /// The same with another timestamp, in milliseconds.
    pub fn messages_at(&self, timestamp: u32) -> impl Iterator<Item = Message> {
        let parts = [&self.metadata, &self.video, &self.audio];
        parts.into_iter().flatten().map(move |body| Message::new(timestamp, body.clone()))
    }

    /// The timestamp of the last message, in milliseconds.
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }
}
