//! A stream that is published here: its messages become fragments.

use super::message::{MulticastData, cut};
use crate::amf::Value;
use crate::flash::{
    Body, Command, ConfigurationPart as Part, FlashError, Format, Message, MessageBytes,
    ObjectEncoding,
};
use crate::transport::Time;
use std::time::Duration;

/// Codec configuration is repeated before a key frame, but not more often than this.
const REPEAT: Duration = Duration::from_secs(1);

/// Metadata are repeated with it, but not more often than this: applications see each of them.
const REPEAT_METADATA: Duration = Duration::from_secs(10);

/// They are repeated after this whether or not there is a key frame.
const REPEAT_ALWAYS: Duration = Duration::from_secs(4);

/// The messages that whoever joins late needs, as they were last sent.
#[derive(Debug, Default)]
struct Configuration {
    metadata: Option<Body>,
    video: Option<Body>,
    audio: Option<Body>,
    sent: Option<Time>,
    metadata_sent: Option<Time>,
}

/// What is known of a publication beside its fragments.
#[derive(Debug)]
pub(super) struct Publication {
    next: u64,
    timestamp: u32,
    configuration: Option<Configuration>,
}

impl Publication {
    /// A publication before its first message. With `repeats`, codec configuration and metadata are
    /// sent again for those who join late.
    pub(super) fn new(repeats: bool) -> Self {
        let configuration = repeats.then(Configuration::default);
        Self { next: 1, timestamp: 0, configuration }
    }

    /// The number of the next fragment.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The fragments of a message, and before them those of what is to be repeated.
    pub(super) fn send(&mut self, now: Time, message: &Message) -> Vec<(u64, MulticastData)> {
        self.timestamp = message.timestamp;
        let repeated = self.configuration.as_mut().map(|it| it.before(now, &message.body));
        let mut out = Vec::new();
        for body in repeated.unwrap_or_default() {
            self.cut(&Message::new(message.timestamp, body).encode(), &mut out);
        }
        self.cut(&message.encode(), &mut out);
        out
    }

    /// The fragments with which a stream ends: two commands, and the end.
    pub(super) fn end(&mut self, name: &str) -> Vec<(u64, MulticastData)> {
        let mut out = Vec::new();
        // The values are small, so that there is an encoding.
        for body in ending(name).unwrap_or_default() {
            self.cut(&Message::new(self.timestamp, body).encode(), &mut out);
        }
        out.push((self.next, MulticastData::End(self.next)));
        self.next += 1;
        out
    }

    fn cut(&mut self, message: &MessageBytes, out: &mut Vec<(u64, MulticastData)>) {
        for fragment in cut(message, self.next) {
            if let Ok(data) = MulticastData::parse(&fragment) {
                out.push((self.next, data));
            }
            self.next += 1;
        }
    }
}

/// What Flash says at the end: `onStatus` with `NetStream.Play.UnpublishNotify`, and `closeStream`.
fn ending(name: &str) -> Result<Vec<Body>, FlashError> {
    let status = Value::object([
        ("level", Value::from("status")),
        ("code", Value::from("NetStream.Play.UnpublishNotify")),
        ("description", Value::from(format!("{name} is now unpublished.").as_str())),
    ]);
    let commands =
        [Command::new("onStatus", 0.0, vec![status]), Command::new("closeStream", 0.0, Vec::new())];
    let extended = |command: Command| match command.encode(ObjectEncoding::Amf0)? {
        Body::Command(_, values) => Ok(Body::Command(Format::Extended, values)),
        other => Ok(other),
    };
    commands.into_iter().map(extended).collect()
}

impl Configuration {
    /// Remembers a message that is configuration. Otherwise returns what is to be repeated before it.
    fn before(&mut self, now: Time, body: &Body) -> Vec<Body> {
        let part = match Part::of(body) {
            Some(Part::Metadata) => &mut self.metadata,
            Some(Part::Video) => &mut self.video,
            Some(Part::Audio) => &mut self.audio,
            None => return self.repeated(now, body),
        };
        *part = Some(body.clone());
        self.sent = Some(now);
        if Part::of(body) == Some(Part::Metadata) {
            self.metadata_sent = Some(now);
        }
        Vec::new()
    }

    fn repeated(&mut self, now: Time, body: &Body) -> Vec<Body> {
        let Some(age) = self.sent.map(|sent| now.since(sent)) else { return Vec::new() };
        let begins = match body {
            Body::Video(_) => body.is_key_frame(),
            Body::Audio(_) => self.video.is_none(),
            _ => false,
        };
        if age < REPEAT || age < REPEAT_ALWAYS && !begins {
            return Vec::new();
        }
        self.sent = Some(now);
        let is_due = self.metadata_sent.is_some_and(|sent| now.since(sent) >= REPEAT_METADATA);
        let metadata = self.metadata.as_ref().filter(|_| is_due);
        if metadata.is_some() {
            self.metadata_sent = Some(now);
        }
        let parts = [metadata, self.video.as_ref(), self.audio.as_ref()];
        parts.into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn video(bytes: &'static [u8]) -> Body {
        Body::Video(Bytes::from_static(bytes))
    }

    fn sent(publication: &mut Publication, at: u64, body: &Body) -> Vec<u8> {
        let message = Message::new(at as u32, body.clone());
        let fragments = publication.send(Time::from_millis(at), &message);
        let last = |data: &MulticastData| *data.to_bytes().last().unwrap();
        fragments.iter().map(|(_, data)| last(data)).collect()
    }

    #[test]
    fn configuration_is_repeated_before_key_frames() {
        let header = video(b"\x17\0\0\0\0H");
        let (key, inter) = (video(b"\x17\x01\0\0\0K"), video(b"\x27\x01\0\0\0I"));
        let aac = Body::Audio(Bytes::from_static(b"\xaf\0A"));
        let mut publication = Publication::new(true);
        assert_eq!(sent(&mut publication, 0, &header), b"H");
        assert_eq!(sent(&mut publication, 0, &aac), b"A");
        assert_eq!(sent(&mut publication, 40, &key), b"K");
        assert_eq!(sent(&mut publication, 1200, &inter), b"I");
        assert_eq!(sent(&mut publication, 1240, &key), b"HAK");
        assert_eq!(sent(&mut publication, 5300, &inter), b"HAI", "no key frame for long");
        assert_eq!(publication.next(), 11);
        let mut once = Publication::new(false);
        assert_eq!(sent(&mut once, 0, &header), b"H");
        assert_eq!(sent(&mut once, 9000, &key), b"K");
    }

    #[test]
    fn metadata_are_repeated_less_often() {
        let values = Bytes::from_static(b"\x02\0\x0aonMetaDataM");
        let metadata = Body::Data(Format::Extended, values);
        let (header, key) = (video(b"\x17\0\0\0\0H"), video(b"\x17\x01\0\0\0K"));
        let mut publication = Publication::new(true);
        assert_eq!(sent(&mut publication, 0, &metadata), b"M");
        assert_eq!(sent(&mut publication, 0, &header), b"H");
        assert_eq!(sent(&mut publication, 5000, &key), b"HK");
        assert_eq!(sent(&mut publication, 9990, &key), b"HK");
        assert_eq!(sent(&mut publication, 11_000, &key), b"MHK");
        assert_eq!(sent(&mut publication, 12_500, &key), b"HK");
    }

    #[test]
    fn the_end_is_that_of_the_player() {
        let mut publication = Publication { next: 0x29, timestamp: 0x55ea, configuration: None };
        let end = publication.end("st1");
        let bytes: Vec<Bytes> = end.iter().map(|(_, data)| data.to_bytes()).collect();
        let status = b"\x20\x29\x11\0\0\x55\xea\0\x02\0\x08onStatus\0\0\0\0\0\0\0\0\0\x05\
            \x03\0\x05level\x02\0\x06status\0\x04code\x02\0\x1eNetStream.Play.UnpublishNotify\
            \0\x0bdescription\x02\0\x17st1 is now unpublished.\0\0\x09";
        assert_eq!(bytes[0], &status[..]);
        let close = b"\x20\x2a\x11\0\0\x55\xea\0\x02\0\x0bcloseStream\0\0\0\0\0\0\0\0\0\x05";
        assert_eq!(bytes[1], &close[..]);
        assert_eq!(bytes[2], &[0x21, 0x2b][..]);
    }
}
