//! Clients that all use the same shared objects, and change them as fast as they can: whatever one of them
//! does, the others are told. Half of them acknowledge nothing, and some have object encoding 0, for which
//! values are converted.

use super::amf::send_whole;
use super::line::Line;
use super::packets::message;
use super::puppet::{Acks, CONTROL, Puppets};
use super::{Attack, Setting};
use bytes::Bytes;
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::flash::shared_object::{
    MAX_EVENTS, MAX_NAME, SharedObjectEvent, SharedObjectMessage,
};
use rtmfp::proto::flash::{Format, ObjectEncoding};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SESSIONS: usize = 64;
/// Objects that a client may use.
const OBJECTS: usize = 64;
/// Events of most messages: one place is left.
const EVENTS: usize = MAX_EVENTS - 1;
/// Bytes of the longest values: a few fill an object.
const LONG: usize = 240 << 10;
/// Every other client acknowledges nothing, and every fourth has object encoding 0.
const SILENT: usize = 2;
const OLD: usize = 4;

/// Looks without anything new, after which nothing more comes.
const QUIET: usize = 5;
/// The longest time to wait for it.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Objects {
    puppets: Puppets,
    messages: Vec<Vec<SharedObjectEvent>>,
    /// The next sequence number of each.
    sequences: Vec<u64>,
    next: usize,
}

fn object(number: usize) -> Arc<str> {
    format!("attack{number}").into()
}

/// What a client says about an object, of which it knows this version.
fn say(number: usize, version: u32, events: Vec<SharedObjectEvent>) -> Vec<u8> {
    let said = SharedObjectMessage::new(object(number), false, version, events);
    message(said.encode(Format::Extended))
}

/// A string of this length in AMF0.
fn text(len: usize) -> Bytes {
    let head = [&[0x0c][..], &(len as u32).to_be_bytes()].concat();
    [head, vec![b'a'; len]].concat().into()
}

/// A string in AMF3, and as many references to it as it has bytes: in AMF0 each is the string.
fn references(len: usize) -> Bytes {
    let vlu = |value: usize| {
        let value = (value << 1) | 1;
        [0x80 | (value >> 14) as u8, 0x80 | (value >> 7) as u8, (value & 0x7f) as u8]
    };
    let mut value = [&[0x11, 0x09][..], &vlu(len + 1), &[0x01, 0x06], &vlu(len)].concat();
    value.extend(vec![b'a'; len]);
    value.extend([0x06, 0x00].repeat(len));
    value.into()
}

/// What is said about an object, in turn.
fn messages() -> Vec<Vec<SharedObjectEvent>> {
    let set = |slot: String, value| SharedObjectEvent::RequestChange { slot: slot.into(), value };
    let short = || Bytes::from_static(&[0x05]);
    let long_name = |number: usize| format!("{number:0>MAX_NAME$}");
    // Long values, of which each takes the place of the one before it.
    let long = (0..4).map(|number| set(format!("long{number}"), text(LONG))).collect();
    // The first of these are slots, the others beyond what there may be.
    let many = (0..EVENTS).map(|number| set(number.to_string(), short())).collect();
    let names = (0..EVENTS).map(|number| set(long_name(number), short())).collect();
    let one = (0..EVENTS).map(|_| set("one".to_owned(), short())).collect();
    let remove = |slot: String| SharedObjectEvent::RequestRemove { slot: slot.into() };
    let gone = (0..EVENTS).map(|number| remove(number.to_string())).collect();
    let gone_names = (0..EVENTS).map(|number| remove(long_name(number))).collect();
    let sends = (0..EVENTS).map(|_| SharedObjectEvent::Send(text(200))).collect();
    // Each asks for all that is there.
    let uses = vec![SharedObjectEvent::Use; EVENTS];
    let again = vec![[SharedObjectEvent::Release, SharedObjectEvent::Use]; EVENTS / 2].concat();
    // Changes that come too late: each is told the long value.
    let late = (0..EVENTS).map(|_| set("long0".to_owned(), short())).collect();
    let referred = (0..16).map(|number| set(format!("refer{number}"), references(8000))).collect();
    vec![long, many, uses, names, one, late, gone, sends, again, referred, gone_names]
}

impl Objects {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let (offer, count) = (Negotiation::default(), setting.sessions.unwrap_or(SESSIONS));
        let encoding = |number: usize| match number % OLD {
            0 => ObjectEncoding::Amf0,
            _ => ObjectEncoding::Amf3,
        };
        let mut puppets = Puppets::connect_with(line, &setting.uri, (count, 1), &offer, encoding)?;
        let mut sequences = vec![2; puppets.all.len()];
        for number in 0..OBJECTS {
            for (puppet, sequence) in puppets.all.iter_mut().zip(&mut sequences) {
                let begin = say(number, 0, vec![SharedObjectEvent::Use]);
                let packet = puppet.message(CONTROL, *sequence, None, &begin);
                *sequence += 1;
                line.send(puppet.at, &packet);
            }
            puppets.serve(line)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        for (number, puppet) in puppets.all.iter_mut().enumerate() {
            puppet.acks = if number % SILENT == 1 { Acks::None } else { Acks::All };
        }
        Ok(Self { puppets, messages: messages(), sequences, next: 0 })
    }
}

impl Attack for Objects {
    fn sessions(&self) -> usize {
        self.puppets.all.len()
    }

    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let index = self.next % self.puppets.all.len();
        let (round, kind) = (self.next / self.messages.len(), self.next % self.messages.len());
        self.next += 1;
        // All is said about one object, each by another client, then about another object.
        let said = say(round % OBJECTS, 0, self.messages[kind].clone());
        let (puppet, sequence) = (&mut self.puppets.all[index], &mut self.sequences[index]);
        send_whole(line, puppet, (CONTROL, sequence), None, &said);
        // Those that acknowledge do it until nothing more comes: too much at once would end them.
        let (mut quiet, begun) = (0, Instant::now());
        while quiet < QUIET && begun.elapsed() < PATIENCE {
            match self.puppets.serve(line)? {
                0 => quiet += 1,
                _ => quiet = 0,
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}
