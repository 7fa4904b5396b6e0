//! Commands as bytes, for members on other machines.
//!
//! A command is its number and its fields one after the other: numbers as VLUs, everything of
//! variable length behind its length, values in AMF0 and AMF3. A time is an age: a receiver takes it
//! back from its own clock, so that the clocks of machines need not agree. It appears later than it
//! was by the time that the command took.
//!
//! What another version adds has a new number; a command of an unknown number, and one that is too
//! short, too long or invalid, can't be decoded and is to be ignored.

use super::{
    Candidate, Candidates, ClientId, Command, Feed, Lane, Located, MemberId, Offer, Opened, Parcel,
    PublicationId, Relay, Seek, StreamName,
};
use crate::amf::{Encoding, Reader, Value, Writer};
use crate::crypto::{Epd, Fingerprint};
use crate::flash::group_channel::GroupId;
use crate::flash::shared_object::{MAX_EVENTS, SharedObjectMessage};
use crate::flash::{Body, Format, Message};
use crate::transport::{FlowId, Interface, IntroductionRequest, Path, SessionId, Time};
use crate::wire::{Address, Origin, vlu};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The longest command in bytes.
pub const MAX_ENCODED: usize = 1_000_000;
/// Elements for which there is space before they are read.
const MAX_RESERVED: usize = 256;

impl Command {
    /// The command as bytes. `None` if it is longer than [`MAX_ENCODED`], or has values that AMF can't
    /// express.
    pub fn encode(&self, now: Time) -> Option<Vec<u8>> {
        let mut out = Output { bytes: Vec::new(), now, failed: false };
        self.put(&mut out);
        (!out.failed && out.bytes.len() <= MAX_ENCODED).then_some(out.bytes)
    }

    /// Reads a command, all of `bytes`.
    pub fn decode(now: Time, bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_ENCODED {
            return None;
        }
        let mut input = Input { bytes, now };
        let command = Self::take(&mut input)?;
        input.bytes.is_empty().then_some(command)
    }
}

/// What has been written so far.
struct Output {
    bytes: Vec<u8>,
    now: Time,
    failed: bool,
}

/// What is left to be read.
struct Input<'a> {
    bytes: &'a [u8],
    now: Time,
}

impl<'a> Input<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = vlu::parse("number", self.bytes).ok()?;
        self.bytes = rest;
        Some(number)
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let (slice, rest) = vlu::parse_prefixed("bytes", self.bytes).ok()?;
        self.bytes = rest;
        Some(slice)
    }
}

/// What a command can consist of.
trait Field: Sized {
    fn put(&self, out: &mut Output);
    fn take(input: &mut Input<'_>) -> Option<Self>;
}

/// Structures: all their fields in this order.
macro_rules! structures {
    ($($name:ident { $($field:ident),+ })*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Output) {
                let Self { $($field),+ } = self;
                $($field.put(out);)+
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                Some(Self { $($field: Field::take(input)?),+ })
            }
        }
    )*};
}

/// Enumerations: a number and the fields of its variant.
macro_rules! variants {
    ($name:ident { $($number:literal => $variant:ident { $($key:tt : $field:ident),* })* }) => {
        impl Field for $name {
            fn put(&self, out: &mut Output) {
                match self {$(
                    Self::$variant { $($key: $field),* } => {
                        vlu::encode($number, &mut out.bytes);
                        $($field.put(out);)*
                    }
                )*}
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                Some(match input.number()? {
                    $($number => Self::$variant { $($key: Field::take(input)?),* },)*
                    _ => return None,
                })
            }
        }
    };
}

/// Names of 32 bytes.
macro_rules! hashes {
    ($($name:ident)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Output) {
                out.bytes.extend_from_slice(&self.0);
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                let (hash, rest) = input.bytes.split_first_chunk::<32>()?;
                input.bytes = rest;
                Some(Self(*hash))
            }
        }
    )*};
}

/// Numbers, which must fit.
macro_rules! numbers {
    ($($name:ident)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Output) {
                vlu::encode(u64::from(*self), &mut out.bytes);
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                input.number()?.try_into().ok()
            }
        }
    )*};
}

/// Names that are numbers.
macro_rules! names {
    ($($name:ident)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Output) {
                self.0.put(out);
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                Field::take(input).map(Self)
            }
        }
    )*};
}

// The numbers of variants stay as they are: they are what other versions know.
variants! {
    Command {
        1 => LookUp { 0: request }
        2 => Located { 0: located }
        3 => Forward { session: session, request: request, by_client: by_client }
        4 => Opened { 0: opened }
        5 => Seek { 0: seek }
        6 => Candidates { 0: found }
        7 => Left { group: group, members: members }
        8 => Probe { sessions: sessions }
        9 => Ask { newcomer: newcomer, sessions: sessions }
        10 => Seen { newcomer: newcomer, seen: seen }
        11 => Relay { 0: relay }
        12 => Relayed { number: number, outcome: outcome }
        13 => Claim { stream: stream, publication: publication }
        14 => Claimed {
            stream: stream, publication: publication, is_taken: is_taken, players: players
        }
        15 => Published { 0: streams }
        16 => Subscribe { stream: stream, receiving: receiving, players: players }
        17 => Unsubscribe { stream: stream, publication: publication }
        18 => Feed { 0: feed }
        19 => Received { stream: stream, publication: publication, bytes: bytes }
        20 => Unpublished { stream: stream, publication: publication }
        21 => Parcels { lane: lane, epoch: epoch, first: first, parcels: parcels }
        22 => Receipt { lane: lane, epoch: epoch, next: next }
    }
}

variants! {
    Lane {
        1 => Requests {}
        2 => Deliveries {}
    }
}

variants! {
    Parcel {
        1 => Request { app: app, session: session, message: message }
        2 => Deliver { app: app, sessions: sessions, message: message }
        3 => Offer { 0: offer }
        4 => Complete {}
    }
}

structures! {
    Offer { app, name, persistent, version, slots }
    MemberId { server, worker }
    ClientId { member, session }
    Located { request, session, addresses, certificate }
    Opened { peer, at, ip, proven }
    Seek { group, newcomer, count, except, members }
    Candidates { group, newcomer, candidates, members }
    Candidate { peer, session, joined, seen }
    Relay { number, from, to, args }
    StreamName { app, name }
    PublicationId { member, number }
    Feed { stream, publication, offset, is_start, is_cut, messages }
}

hashes! { Fingerprint GroupId }
numbers! { u16 u32 u64 }
names! { SessionId FlowId Interface }

/// A count. Those of several members can be added without overflow.
impl Field for usize {
    fn put(&self, out: &mut Output) {
        vlu::encode((*self).min(u32::MAX as Self) as u64, &mut out.bytes);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        u32::take(input)?.try_into().ok()
    }
}

impl Field for bool {
    fn put(&self, out: &mut Output) {
        out.bytes.push(u8::from(*self));
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Some(input.number()? != 0)
    }
}

impl Field for Time {
    fn put(&self, out: &mut Output) {
        let age = out.now.since(*self).as_micros();
        vlu::encode(u64::try_from(age).unwrap_or(u64::MAX), &mut out.bytes);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        let age = Duration::from_micros(input.number()?);
        Some(Self::ZERO + input.now.since(Self::ZERO).saturating_sub(age))
    }
}

impl Field for Bytes {
    fn put(&self, out: &mut Output) {
        vlu::encode_prefixed(self, &mut out.bytes);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        input.slice().map(Self::copy_from_slice)
    }
}

impl Field for String {
    fn put(&self, out: &mut Output) {
        vlu::encode_prefixed(self.as_bytes(), &mut out.bytes);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        std::str::from_utf8(input.slice()?).ok().map(Self::from)
    }
}

impl Field for Arc<str> {
    fn put(&self, out: &mut Output) {
        vlu::encode_prefixed(self.as_bytes(), &mut out.bytes);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        std::str::from_utf8(input.slice()?).ok().map(Self::from)
    }
}

impl Field for Address {
    fn put(&self, out: &mut Output) {
        self.encode(&mut out.bytes);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        let (address, rest) = Self::parse(input.bytes).ok()?;
        input.bytes = rest;
        Some(address)
    }
}

impl Field for SocketAddr {
    fn put(&self, out: &mut Output) {
        Address::new(*self, Origin::Unknown).put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Address::take(input).map(|address| address.socket)
    }
}

impl Field for IpAddr {
    fn put(&self, out: &mut Output) {
        SocketAddr::new(*self, 0).put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        SocketAddr::take(input).map(|address| address.ip())
    }
}

/// The interface comes back in the answer.
impl Field for Path {
    fn put(&self, out: &mut Output) {
        self.interface.put(out);
        self.remote.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Some(Self { interface: Field::take(input)?, remote: Field::take(input)? })
    }
}

impl Field for IntroductionRequest {
    fn put(&self, out: &mut Output) {
        vlu::encode_prefixed(self.epd.as_bytes(), &mut out.bytes);
        self.tag.put(out);
        self.from.put(out);
        self.received.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        let epd = Epd::parse(input.slice()?).ok()?;
        let wanted = epd.fingerprint()?;
        let (tag, from) = (Field::take(input)?, Field::take(input)?);
        // The bytes of a datagram.
        let received = u16::take(input)?.into();
        Some(Self { epd, wanted, tag, from, received })
    }
}

/// Values of calls, with their references among each other.
impl Field for Vec<Value> {
    fn put(&self, out: &mut Output) {
        let mut writer = Writer::new(Encoding::Amf3);
        out.failed |= self.iter().any(|value| writer.write(value).is_err());
        vlu::encode_prefixed(writer.as_bytes(), &mut out.bytes);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        let bytes = Bytes::take(input)?;
        Reader::new(bytes).read_all().ok()
    }
}

/// Vectors of what takes at least a byte.
macro_rules! vectors {
    ($($element:ty),+) => {$(
        impl Field for Vec<$element> {
            fn put(&self, out: &mut Output) {
                self.len().put(out);
                self.iter().for_each(|element| element.put(out));
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                let count = usize::take(input).filter(|&count| count <= input.bytes.len())?;
                let mut elements = Self::with_capacity(count.min(MAX_RESERVED));
                for _ in 0..count {
                    elements.push(Field::take(input)?);
                }
                Some(elements)
            }
        }
    )+};
}

vectors!(
    Address,
    Bytes,
    Candidate,
    ClientId,
    Parcel,
    SessionId,
    (SessionId, Time),
    (StreamName, PublicationId),
    (Arc<str>, Bytes)
);

/// RTMP messages, each with as many events as one can have.
impl Field for SharedObjectMessage {
    fn put(&self, out: &mut Output) {
        let mut parts: Vec<Bytes> = Vec::new();
        for events in self.events.chunks(MAX_EVENTS) {
            let part = Self { events: events.to_vec(), name: self.name.clone(), ..*self };
            parts.push(Message::new(0, part.encode(Format::Extended)).encode().into_bytes());
        }
        parts.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        let mut all: Option<Self> = None;
        for part in Vec::<Bytes>::take(input)? {
            let message = Message::parse(&part).ok()?;
            let Body::Other { .. } = &message.body else { return None };
            let part = Self::parse(&message.body)?;
            match &mut all {
                Some(all) => all.events.extend(part.events),
                None => all = Some(part),
            }
        }
        all
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Output) {
        self.is_some().put(out);
        if let Some(it) = self {
            it.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        if bool::take(input)? { T::take(input).map(Some) } else { Some(None) }
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Output) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

impl<T: Field> Field for Box<T> {
    fn put(&self, out: &mut Output) {
        T::put(self, out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        T::take(input).map(Self::new)
    }
}

impl Field for Result<(), String> {
    fn put(&self, out: &mut Output) {
        self.is_ok().put(out);
        if let Err(reason) = self {
            reason.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        if bool::take(input)? { Some(Ok(())) } else { String::take(input).map(Err) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::shared_object::SharedObjectEvent;
    use proptest::prelude::*;

    const NOW: Time = Time::from_millis(10_000);

    fn request() -> Box<IntroductionRequest> {
        let wanted = Fingerprint([3; 32]);
        let from = Path { interface: Interface(1), remote: ([192, 0, 2, 7], 1935).into() };
        let (epd, tag) = (Epd::for_fingerprint(wanted), Bytes::from_static(b"0123456789abcdef"));
        Box::new(IntroductionRequest { epd, wanted, tag, from, received: 68 })
    }

    fn parcels() -> Vec<Parcel> {
        let (app, name): (Arc<str>, Arc<str>) = ("chat".into(), "room".into());
        let value = Bytes::from_static(b"\x05");
        let mut events = vec![
            SharedObjectEvent::UseSuccess,
            SharedObjectEvent::Clear,
            SharedObjectEvent::RequestChange { slot: "x".into(), value: value.clone() },
            SharedObjectEvent::Success { slot: "x".into() },
        ];
        let session = SessionId(9);
        let message = SharedObjectMessage::new(name.clone(), true, 5, events.clone());
        let request = Parcel::Request { app: app.clone(), session, message };
        let slot = |n: usize| SharedObjectEvent::Remove { slot: n.to_string().into() };
        events.extend((0..MAX_EVENTS).map(slot));
        let message = SharedObjectMessage::new(name.clone(), false, 5, events);
        let sessions = vec![session, SessionId(10)];
        let deliver = Parcel::Deliver { app: app.clone(), sessions, message };
        let slots = vec![("x".into(), value)];
        let offer = Offer { app, name, persistent: true, version: 6, slots };
        vec![request, deliver, Parcel::Offer(offer), Parcel::Complete]
    }

    /// One of each.
    fn commands() -> Vec<Command> {
        let (peer, group, session) = (Fingerprint([1; 32]), GroupId([2; 32]), SessionId(77));
        let newcomer = (SessionId(5), FlowId(6));
        let at = Time::from_millis(9_000);
        let member = MemberId { server: 0xdead_beef, worker: 3 };
        let addresses = vec![Address::new("[2001:db8::1]:7".parse().unwrap(), Origin::Local)];
        let located = Located { request: *request(), session, addresses, certificate: 300 };
        let except = vec![ClientId { member, session }];
        let seek = Seek { group, newcomer, count: 12, except, members: 900 };
        let candidates = vec![Candidate { peer, session, joined: at, seen: NOW }];
        let found = Candidates { group, newcomer, candidates, members: 2 };
        let args = vec![Value::from("invite"), Value::object([("name", Value::from("Ann"))])];
        let relay = Relay { number: 9, from: peer, to: peer, args };
        let stream = StreamName { app: "live".into(), name: "cam".into() };
        let publication = PublicationId { member, number: 300 };
        let feed = Feed {
            stream: stream.clone(),
            publication,
            offset: 70_000,
            is_start: true,
            is_cut: false,
            messages: vec![Bytes::from_static(b"\x09abcd"), Bytes::new()],
        };
        let receiving = Some((publication, 5));
        let of = |make: fn(StreamName, PublicationId) -> Command| make(stream.clone(), publication);
        vec![
            Command::LookUp(request()),
            Command::Located(Box::new(located)),
            Command::Forward { session, request: request(), by_client: true },
            Command::Opened(Opened { peer, at, ip: [192, 0, 2, 1].into(), proven: true }),
            Command::Seek(Box::new(seek)),
            Command::Candidates(Box::new(found)),
            Command::Left { group, members: 4 },
            Command::Probe { sessions: vec![session, SessionId(78)] },
            Command::Ask { newcomer, sessions: vec![session] },
            Command::Seen { newcomer, seen: vec![(session, at)] },
            Command::Relay(Box::new(relay)),
            Command::Relayed { number: 9, outcome: Ok(()) },
            Command::Relayed { number: 9, outcome: Err("no".into()) },
            of(|stream, publication| Command::Claim { stream, publication }),
            of(|stream, publication| Command::Claimed {
                stream,
                publication,
                is_taken: true,
                players: 3,
            }),
            of(|stream, publication| Command::Published(vec![(stream, publication)])),
            Command::Subscribe { stream: stream.clone(), receiving, players: 4 },
            Command::Subscribe { stream: stream.clone(), receiving: None, players: 4 },
            of(|stream, publication| Command::Unsubscribe { stream, publication }),
            Command::Feed(Box::new(feed)),
            of(|stream, publication| Command::Received { stream, publication, bytes: 9 }),
            of(|stream, publication| Command::Unpublished { stream, publication }),
            Command::Parcels { lane: Lane::Requests, epoch: 300, first: 7, parcels: parcels() },
            Command::Receipt { lane: Lane::Deliveries, epoch: 1, next: 99 },
        ]
    }

    #[test]
    fn literal_bytes() {
        let command = Command::Left { group: GroupId([2; 32]), members: 300 };
        let bytes = command.encode(NOW).unwrap();
        assert_eq!(bytes, [&[7][..], &[2; 32], &[0x82, 0x2c]].concat());
    }

    #[test]
    fn every_command_comes_back() {
        for command in commands() {
            let bytes = command.encode(NOW).unwrap();
            let decoded = Command::decode(NOW, &bytes).unwrap();
            assert_eq!(format!("{decoded:?}"), format!("{command:?}"));
        }
    }

    #[test]
    fn times_are_ages_on_the_clock_of_the_receiver() {
        let seen = |at| Command::Seen {
            newcomer: (SessionId(1), FlowId(2)),
            seen: vec![(SessionId(3), at)],
        };
        let at = |now, bytes: &[u8]| match Command::decode(now, bytes).unwrap() {
            Command::Seen { seen, .. } => seen[0].1,
            other => panic!("{other:?}"),
        };
        let bytes = seen(Time::from_millis(7_000)).encode(NOW).unwrap();
        assert_eq!(at(Time::from_millis(5_500), &bytes), Time::from_millis(2_500));
        assert_eq!(at(Time::from_millis(10), &bytes), Time::ZERO, "before the receiver's start");
        let future = seen(Time::from_millis(11_000)).encode(NOW).unwrap();
        assert_eq!(at(NOW, &future), NOW);
    }

    #[test]
    fn hostile_truncations_and_other_bytes_are_refused() {
        for command in commands() {
            let mut bytes = command.encode(NOW).unwrap();
            for cut in 0..bytes.len() {
                assert!(Command::decode(NOW, &bytes[..cut]).is_none(), "{command:?} {cut}");
            }
            bytes.push(0);
            assert!(Command::decode(NOW, &bytes).is_none(), "{command:?}");
        }
        assert!(Command::decode(NOW, &[0x7f]).is_none(), "a command of a later version");
        assert!(Command::decode(NOW, &vec![0; MAX_ENCODED + 1]).is_none());
        // A list that claims four thousand million elements.
        assert!(Command::decode(NOW, &[8, 0x8f, 0xff, 0xff, 0xff, 0x7f, 1]).is_none());
    }

    #[test]
    fn too_long_commands_are_not_encoded() {
        let args = vec![Value::from("x".repeat(MAX_ENCODED).as_str())];
        let peer = Fingerprint([1; 32]);
        let relay = Relay { number: 1, from: peer, to: peer, args };
        assert!(Command::Relay(Box::new(relay)).encode(NOW).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(number in 0u8..24, mut bytes: Vec<u8>) {
            bytes.insert(0, number);
            let _ = Command::decode(NOW, &bytes);
        }

        #[test]
        fn changed_commands_never_panic(
            which in 0usize..commands().len(),
            changes: Vec<(prop::sample::Index, u8)>,
        ) {
            let mut bytes = commands()[which].encode(NOW).unwrap();
            for (index, byte) in changes {
                *index.get_mut(&mut bytes[..]) = byte;
            }
            if let Some(command) = Command::decode(NOW, &bytes) {
                prop_assert!(command.encode(NOW).is_some());
            }
        }
    }
}
