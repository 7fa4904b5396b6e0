//! The description of a stream.

use crate::wire::option::{Item, encode_option, encode_vlu_option, items};
use crate::wire::{Reason, WireError, vlu};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// The longest description, in bytes. A longer one is not accepted.
pub const MAX_DESCRIPTION: usize = 1024;

mod option {
    pub(super) const NAME: u64 = 0x00;
    pub(super) const KEY: u64 = 0x01;
    /// Empty; always sent, its meaning is not known.
    pub(super) const UNKNOWN: u64 = 0x02;
    pub(super) const WINDOW: u64 = 0x03;
    /// 300,000; always sent. It reads like a time of five minutes.
    pub(super) const LIFETIME: u64 = 0x04;
    pub(super) const UPDATE_PERIOD: u64 = 0x05;
    pub(super) const SEND_TO_ALL: u64 = 0x06;
    pub(super) const FETCH_PERIOD: u64 = 0x07;
}

const LIFETIME: u64 = 300_000;

/// The identity of a published stream: random for each publication.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(pub [u8; 32]);

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The settings of a stream that its publisher chooses and everybody follows. Flash's names are
/// those of the fields with `multicast` before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamSettings {
    /// How long a member tries to get a fragment before it does without.
    pub window_duration: Duration,
    /// The time from one map to the next.
    pub availability_update_period: Duration,
    /// Maps go to all neighbors at once, not to one at a time.
    pub availability_send_to_all: bool,
    /// The time from the first map that names a fragment to the request for it.
    pub fetch_period: Duration,
}

impl Default for StreamSettings {
    /// Flash's: 8 s, 100 ms, one at a time, 2.5 s.
    fn default() -> Self {
        Self {
            window_duration: Duration::from_secs(8),
            availability_update_period: Duration::from_millis(100),
            availability_send_to_all: false,
            fetch_period: Duration::from_millis(2500),
        }
    }
}

/// A description of a stream: the bytes as they came, and what they mean. Every member passes it on
/// as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    bytes: Bytes,
    name: String,
    key: StreamKey,
    settings: StreamSettings,
}

impl Description {
    /// The description that Flash sends for such a stream.
    pub fn new(name: &str, key: StreamKey, settings: StreamSettings) -> Self {
        let mut out = Vec::with_capacity(64 + name.len());
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        encode_option(option::NAME, name.as_bytes(), &mut out);
        encode_option(option::KEY, &key.0, &mut out);
        encode_option(option::UNKNOWN, &[], &mut out);
        if settings.availability_send_to_all {
            encode_option(option::SEND_TO_ALL, &[], &mut out);
        }
        encode_vlu_option(option::WINDOW, millis(settings.window_duration), &mut out);
        encode_vlu_option(option::LIFETIME, LIFETIME, &mut out);
        let update_period = millis(settings.availability_update_period);
        encode_vlu_option(option::UPDATE_PERIOD, update_period, &mut out);
        encode_vlu_option(option::FETCH_PERIOD, millis(settings.fetch_period), &mut out);
        Self { bytes: out.into(), name: name.to_owned(), key, settings }
    }

    /// Parses the bytes after the type. Unknown options are kept; of several of a type the first
    /// counts.
    pub(super) fn parse(bytes: Bytes) -> Result<Self, WireError> {
        if bytes.len() > MAX_DESCRIPTION {
            return Err(WireError::new("stream", 1, Reason::TooLarge));
        }
        let (mut name, mut key) = (None, None);
        let mut settings =
            StreamSettings { availability_send_to_all: false, ..StreamSettings::default() };
        let mut times = [None; 3];
        for item in items(&bytes) {
            let Item::Option(found) = item.map_err(|e| e.within(1))? else { continue };
            match found.kind {
                option::NAME => {
                    name.get_or_insert_with(|| String::from_utf8_lossy(found.value).into_owned());
                }
                option::KEY => key = key.or(<[u8; 32]>::try_from(found.value).ok()),
                option::SEND_TO_ALL => settings.availability_send_to_all = true,
                option::WINDOW => set(&mut times[0], found.value),
                option::UPDATE_PERIOD => set(&mut times[1], found.value),
                option::FETCH_PERIOD => set(&mut times[2], found.value),
                _ => {}
            }
        }
        let key = key.ok_or(WireError::new("stream.key", 1, Reason::Invalid))?;
        let [window, update, fetch] = times;
        settings.window_duration = window.unwrap_or(settings.window_duration);
        settings.availability_update_period = update.unwrap_or(settings.availability_update_period);
        settings.fetch_period = fetch.unwrap_or(settings.fetch_period);
        let name = name.unwrap_or_default();
        // A copy of its own: the message may be part of something larger.
        let bytes = Bytes::copy_from_slice(&bytes);
        Ok(Self { bytes, name, key: StreamKey(key), settings })
    }

    /// The bytes after the type.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream's identity.
    pub fn key(&self) -> StreamKey {
        self.key
    }

    /// The settings that the publisher chose.
    pub fn settings(&self) -> StreamSettings {
        self.settings
    }
}

/// Sets a time in milliseconds, unless it is set or the value is none.
fn set(time: &mut Option<Duration>, value: &[u8]) {
    if let (None, Ok((millis, []))) = (&time, vlu::parse("stream.time", value)) {
        *time = Some(Duration::from_millis(millis));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::multicast::message::MulticastControl;

    const KEY: &str = "d53e1b51b396437a4b69ac77971e3a4a2ce78fc0697153012799ca7734a5056f";

    fn bytes(hex: &str) -> Bytes {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn the_players_descriptions_are_written_as_it_does() {
        let key = StreamKey(<[u8; 32]>::try_from(&bytes(KEY)[..]).unwrap());
        let flash = format!("2104007374312101{KEY}01020303be40040492a76002056403079344");
        let ours = Description::new("st1", key, StreamSettings::default());
        assert_eq!(MulticastControl::Description(ours.clone()).to_bytes(), bytes(&flash));
        assert_eq!(
            MulticastControl::parse(&bytes(&flash)),
            Ok(MulticastControl::Description(ours))
        );
        let all = format!("210200732101{KEY}0102010603039f20040492a760030583740307 8962");
        let settings = StreamSettings {
            window_duration: Duration::from_millis(4000),
            availability_update_period: Duration::from_millis(500),
            availability_send_to_all: true,
            fetch_period: Duration::from_millis(1250),
        };
        let ours = Description::new("s", key, settings);
        let flash = bytes(&all.replace(' ', ""));
        assert_eq!(MulticastControl::Description(ours.clone()).to_bytes(), flash);
        assert_eq!(ours.settings(), settings);
        let Ok(MulticastControl::Description(parsed)) = MulticastControl::parse(&flash) else {
            panic!("a description");
        };
        assert_eq!((parsed.name(), parsed.key(), parsed.settings()), ("s", key, settings));
    }

    #[test]
    fn unknown_options_are_kept() {
        let odd = bytes(&format!("2102007821 01{KEY}0301abcd05770102030480").replace(' ', ""));
        // An option of type 0x77, and one that claims more than there is.
        assert!(MulticastControl::parse(&odd).is_err());
        let odd = bytes(&format!("210200782101{KEY}0577010203 04").replace(' ', ""));
        let parsed = MulticastControl::parse(&odd).unwrap();
        assert_eq!(parsed.to_bytes(), odd);
    }

    #[test]
    fn hostile_descriptions() {
        let without_key = bytes(&format!("2102007822 01{KEY}00").replace(' ', ""));
        assert!(MulticastControl::parse(&without_key).is_err());
        let mut long = bytes(&format!("210200782101{KEY}")).to_vec();
        long.extend_from_slice(&[0x01, 0x33].repeat(600));
        assert!(MulticastControl::parse(&long.into()).is_err());
    }
}
