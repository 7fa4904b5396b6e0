//! A stream without meaning: video messages that carry a number and the time when they were sent.

use rtmfp::proto::flash::{Body, Message};
use rtmfp::proto::transport::Time;
use std::time::Duration;

/// Video messages in a second.
const RATE: u64 = 25;
/// Every so many messages one is a key frame: two seconds.
const KEY_FRAME: u64 = 50;
/// AVC: the sequence header, key frames, other frames; then packet type and composition time.
const HEADER: [u8; 5] = [0x17, 0, 0, 0, 0];
const KEY: [u8; 5] = [0x17, 1, 0, 0, 0];
const INTER: [u8; 5] = [0x27, 1, 0, 0, 0];

/// A stream that is being published.
#[derive(Debug)]
pub(crate) struct Source {
    begun: Time,
    /// Bytes of a message.
    size: usize,
    next: u64,
}

impl Source {
    pub(crate) fn new(now: Time, kbit: u32) -> Self {
        let size = (u64::from(kbit) * 1000 / 8 / RATE) as usize;
        Self { begun: now, size: size.max(32), next: 0 }
    }

    /// When the next message is due.
    pub(crate) fn due(&self) -> Time {
        self.begun + Duration::from_micros(self.next * 1_000_000 / RATE)
    }

    /// The message that is due.
    pub(crate) fn next(&mut self, now: Time) -> Message {
        let number = self.next;
        self.next += 1;
        let mut payload = Vec::with_capacity(self.size);
        payload.extend(match number {
            0 => HEADER,
            number if (number - 1).is_multiple_of(KEY_FRAME) => KEY,
            _ => INTER,
        });
        payload.extend(number.to_be_bytes());
        payload.extend(now.as_micros().to_be_bytes());
        payload.resize(self.size, 0x5a);
        let timestamp = (number * 1000 / RATE) as u32;
        Message::new(timestamp, Body::Video(payload.into()))
    }
}

/// A message of a [`Source`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) sent: Time,
    pub(crate) bytes: usize,
}

/// Reads a message of a stream that is played.
pub(crate) fn read(message: &Message) -> Option<Seen> {
    let Body::Video(payload) = &message.body else { return None };
    let rest = payload.get(HEADER.len()..)?;
    let (number, rest) = rest.split_first_chunk()?;
    let sent = u64::from_be_bytes(*rest.first_chunk()?);
    let sent = Time::ZERO + Duration::from_micros(sent);
    Some(Seen { number: u64::from_be_bytes(*number), sent, bytes: payload.len() })
}
