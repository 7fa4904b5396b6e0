//! Datagrams in; packets, sessions, flows, messages and groups out.

use super::capture::DatagramRef;
use super::decoder::{Decoder, Keying, OpenedPacket, Undecoded};
use super::flows::{Completed, FlowKey, FlowMessage, Flows, Side};
use super::groups::Groups;
use super::keylog::KeyLog;
use super::message::FlowClass;
use super::recognize::{self, Pairs};
use super::sender::Sender;
use super::sessions::{IntroductionRecord, Sessions};
use crate::group::FlowKind;
use crate::wire::chunk::{
    BitmapAck, CookieChange, ForwardedHello, InitiatorHello, NextUserData, RangeAck, Redirect,
    ResponderHello, UserData, kind,
};
use crate::wire::multiplex::session_id;
use crate::wire::packet::{Chunks, chunks};
use crate::wire::{Chunk, Mode, PacketHeader};
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

/// Reads the datagrams of captures in their order, and keeps the state of sessions, flows and groups.
///
/// RTMFP is recognised by content, whatever the ports: by packets under the Default Session Key,
/// and after that by the sessions and addresses that these made known. The state is
/// bounded; see [`Sessions`], [`Flows`] and [`Groups`].
#[derive(Debug)]
pub struct Analyzer {
    decoder: Decoder,
    pairs: Pairs,
    sessions: Sessions,
    flows: Flows,
    groups: Groups,
    completed: Completed,
    begin: Option<Duration>,
}

/// The result of analyzing a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A packet under the Default Session Key.
    Startup,
    /// A packet of a session, by this end of it.
    Session(u64, Side),
    /// An unreadable datagram.
    Undecoded(Undecoded),
}

/// A datagram with its packet and messages.
#[derive(Debug, Clone, Copy)]
pub struct PacketView<'a> {
    /// Information about the datagram.
    pub info: PacketInfo,
    /// The plain packet with its padding; empty if it cannot be read.
    pub plain: &'a [u8],
    /// Messages that it completes.
    pub messages: &'a [FlowMessage],
    bytes: &'a [u8],
}

/// Information about a datagram.
#[derive(Debug, Clone, Copy)]
pub struct PacketInfo {
    /// Number of the frame.
    pub frame: u64,
    /// Time of capture, since 1970.
    pub time: Duration,
    /// Time of capture, since the first datagram.
    pub relative: Duration,
    /// Source address.
    pub source: SocketAddr,
    /// Destination address.
    pub destination: SocketAddr,
    /// Bytes of the UDP payload.
    pub len: usize,
    /// Bytes of it that were not captured.
    pub missing: usize,
    /// True if it is recognised as RTMFP.
    pub is_rtmfp: bool,
    /// The result.
    pub status: Status,
    /// The session that it belongs to, also if it cannot be read, and the sender.
    pub session: Option<(u64, Side)>,
    /// The session ID; absent if the datagram is too short.
    pub session_id: Option<u32>,
    /// The keying that it completes.
    pub keying: Option<Keying>,
    /// Bytes behind the last chunk of the packet that are no padding as programs make it: the sender
    /// is wrong, or the key, if there is only a checksum to verify it.
    pub trailing: usize,
}

impl Deref for PacketView<'_> {
    type Target = PacketInfo;

    fn deref(&self) -> &PacketInfo {
        &self.info
    }
}

impl<'a> PacketView<'a> {
    /// The bytes of one of the messages.
    pub fn bytes(&self, message: &FlowMessage) -> &'a [u8] {
        self.bytes.get(message.bytes.clone()).unwrap_or_default()
    }

    /// The header, if there is a packet.
    pub fn header(&self) -> Option<PacketHeader> {
        PacketHeader::parse(self.plain).ok().map(|(header, _)| header)
    }

    /// True if the packet claims to be from another sender than the one whose key it has.
    pub fn has_wrong_mode(&self) -> bool {
        let sender = match self.status {
            Status::Startup => Mode::Startup,
            Status::Session(_, Side::Initiator) => Mode::Initiator,
            Status::Session(_, Side::Responder) => Mode::Responder,
            Status::Undecoded(_) => return false,
        };
        self.header().is_none_or(|header| header.mode != sender)
    }

    /// The chunks; those that cannot be parsed are left out.
    pub fn chunks(&self) -> Chunks<'a> {
        chunks(PacketHeader::parse(self.plain).map_or(&[], |(_, rest)| rest))
    }

    /// All chunks but padding as type code and payload.
    pub fn raw_chunks(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        raw_chunks(self.plain)
    }
}

impl Analyzer {
    /// An analyzer with this decoder.
    pub fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            pairs: Pairs::default(),
            sessions: Sessions::default(),
            flows: Flows::default(),
            groups: Groups::default(),
            completed: Completed::default(),
            begin: None,
        }
    }

    /// The secrets, to add some. Sessions that were keyed before stay as they are.
    pub fn keys_mut(&mut self) -> &mut KeyLog {
        self.decoder.keys_mut()
    }

    /// True if this datagram belongs to a session that is known, or to the startup of one; for
    /// [`Capture::advance_with`](super::Capture::advance_with).
    pub fn knows(&mut self, datagram: &DatagramRef<'_>) -> bool {
        let ends = (datagram.source, datagram.destination);
        let is_known = self.pairs.contains(ends.0, ends.1);
        (is_known && self.decoder.has_session_id(datagram.payload))
            || self.decoder.can_open(ends, datagram.payload)
    }

    /// Takes the next datagram.
    pub fn feed(&mut self, datagram: &DatagramRef<'_>) -> PacketView<'_> {
        let now = datagram.time;
        let begin = *self.begin.get_or_insert(now);
        self.completed.clear();
        let is_known = self.pairs.contains(datagram.source, datagram.destination);
        let ends = (datagram.source, datagram.destination);
        let opened = match session_id(datagram.payload).filter(|_| datagram.missing > 0) {
            Some(id) => Err(Undecoded::Cut(id)),
            None => self.decoder.open(now, ends, datagram.payload),
        };
        let (status, keying, session_id, trailing) = match opened {
            Ok(opened) => {
                let status = status(&opened, is_known);
                (status, opened.keying, Some(opened.session_id), opened.trailing)
            }
            Err(reason @ (Undecoded::NoSecret(id) | Undecoded::NoKey(id) | Undecoded::Cut(id))) => {
                (Status::Undecoded(reason), None, Some(id), 0)
            }
            Err(reason) => (Status::Undecoded(reason), None, None, 0),
        };
        let mut info = PacketInfo {
            frame: datagram.frame,
            time: now,
            relative: now.saturating_sub(begin),
            source: datagram.source,
            destination: datagram.destination,
            len: datagram.payload.len() + datagram.missing,
            missing: datagram.missing,
            is_rtmfp: true,
            status,
            session: None,
            session_id,
            keying,
            trailing: if matches!(status, Status::Undecoded(_)) { 0 } else { trailing },
        };
        match status {
            Status::Startup => {
                let mut reader = Startup { sessions: &mut self.sessions, now };
                let chunks = raw_chunks(self.decoder.plain());
                chunks.for_each(|(code, payload)| reader.chunk(code, payload));
            }
            Status::Session(number, side) => {
                info.session = Some((number, side));
                let mut reader = InSession {
                    sessions: &mut self.sessions,
                    flows: &mut self.flows,
                    completed: &mut self.completed,
                    number,
                    side,
                    now,
                    frame: info.frame,
                    previous: None,
                };
                for (i, (code, payload)) in raw_chunks(self.decoder.plain()).enumerate() {
                    reader.completed.chunk = i;
                    reader.chunk(code, payload);
                }
            }
            Status::Undecoded(reason) => {
                info.session = self.unreadable(reason, info.source, info.destination);
                info.is_rtmfp = is_known || info.session.is_some();
            }
        }
        if info.is_rtmfp && !is_known {
            self.pairs.insert(info.source, info.destination);
        }
        self.finish(info)
    }

    /// The session of a packet that was cut: the one between these addresses. If the secret is missing:
    /// the session that was keyed between these addresses, or else the newest.
    fn unreadable(
        &self,
        reason: Undecoded,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Option<(u64, Side)> {
        let side_of = |of_initiator| if of_initiator { Side::Initiator } else { Side::Responder };
        if let Undecoded::Cut(id) = reason {
            let found = self.decoder.session_between(id, (source, destination));
            return found.map(|(number, of_initiator)| (number, side_of(of_initiator)));
        }
        let Undecoded::NoSecret(id) = reason else { return None };
        let mut newest = None;
        for (number, to_responder) in self.decoder.sessions_without_secret(id) {
            let keyed_between = self.sessions.find(number).and_then(|s| s.keyed_between);
            if keyed_between == Some((source, destination)) {
                return Some((number, Side::Initiator));
            }
            if keyed_between == Some((destination, source)) {
                return Some((number, Side::Responder));
            }
            newest = newest.or(Some((number, side_of(to_responder))));
        }
        newest
    }

    /// Updates the state with a whole packet.
    fn finish(&mut self, info: PacketInfo) -> PacketView<'_> {
        let is_readable = !matches!(info.status, Status::Undecoded(_));
        if let Some((number, side)) = info.session {
            self.sessions.packet(number, side, info.source, info.len, info.time, is_readable);
        }
        if let Some(keying) = &info.keying
            && let Some(handshake) = self.decoder.take_handshake(keying.session)
        {
            let addresses = (info.destination, info.source);
            self.sessions.keyed(keying, handshake, addresses, info.time);
        }
        for message in &mut self.completed.messages {
            let bytes = self.completed.bytes.get(message.bytes.clone()).unwrap_or_default();
            let (flows, sessions) = (&self.flows, &self.sessions);
            message.group = self.groups.message(message, bytes, flows, sessions, info.relative);
            if message.class == FlowClass::Group(FlowKind::MulticastData) {
                message.stream = self.groups.stream_of(&message.key, flows);
            }
        }
        PacketView {
            info,
            plain: if is_readable { self.decoder.plain() } else { &[] },
            messages: &self.completed.messages,
            bytes: &self.completed.bytes,
        }
    }

    /// The sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// The groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Time of capture of the first datagram, since 1970.
    pub fn begin(&self) -> Option<Duration> {
        self.begin
    }
}

/// The status of an opened datagram. A startup packet between addresses that are not known must look
/// like one, as its checksum may be right by chance.
fn status(opened: &OpenedPacket<'_>, is_known: bool) -> Status {
    let id = opened.session_id;
    match opened.sender {
        Sender::Startup if is_known || recognize::is_startup(opened.plain) => Status::Startup,
        Sender::Startup => Status::Undecoded(Undecoded::NoKey(id)),
        Sender::Initiator(number) => Status::Session(number, Side::Initiator),
        Sender::Responder(number) => Status::Session(number, Side::Responder),
    }
}

/// All chunks of a plain packet but padding.
fn raw_chunks(plain: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut walk = chunks(PacketHeader::parse(plain).map_or(&[], |(_, rest)| rest));
    std::iter::from_fn(move || walk.raw())
        .filter(|(code, _)| !matches!(*code, kind::PADDING_00 | kind::PADDING_FF))
}

/// Updates the sessions with a startup packet.
struct Startup<'a> {
    sessions: &'a mut Sessions,
    now: Duration,
}

impl Startup<'_> {
    fn chunk(&mut self, code: u8, payload: &[u8]) {
        match code {
            kind::INITIATOR_HELLO => {
                if let Ok(hello) = InitiatorHello::parse(payload) {
                    self.sessions.hello(&hello, self.now);
                }
            }
            kind::RESPONDER_HELLO => {
                if let Ok(hello) = ResponderHello::parse(payload) {
                    self.sessions.answer(&hello);
                }
            }
            kind::REDIRECT => {
                if let Ok(redirect) = Redirect::parse(payload) {
                    self.sessions.redirect(redirect.tag_echo);
                }
            }
            kind::COOKIE_CHANGE => {
                if let Ok(change) = CookieChange::parse(payload) {
                    self.sessions.cookie_change(&change);
                }
            }
            _ => {}
        }
    }
}

/// Updates flows and other sessions with a session's packet.
struct InSession<'a> {
    sessions: &'a mut Sessions,
    flows: &'a mut Flows,
    completed: &'a mut Completed,
    number: u64,
    side: Side,
    now: Duration,
    frame: u64,
    /// Flow, sequence number and forward sequence number of the data chunk before.
    previous: Option<(u64, u64, u64)>,
}

impl InSession<'_> {
    fn chunk(&mut self, code: u8, payload: &[u8]) {
        match code {
            kind::USER_DATA => {
                self.previous = None;
                if let Ok(data) = UserData::parse(payload) {
                    self.data(&data);
                }
            }
            kind::NEXT_USER_DATA => self.next_data(payload),
            _ => self.other(code, payload),
        }
    }

    fn data(&mut self, data: &UserData<'_>) {
        self.previous = Some((data.flow, data.sequence, data.forward_sequence()));
        let key = FlowKey { session: self.number, side: self.side, flow: data.flow };
        self.flows.data(key, data, self.now, self.completed);
    }

    /// The same flow's next sequence number (RFC 7016 §2.3.12).
    fn next_data(&mut self, payload: &[u8]) {
        let Some((flow, sequence, forward)) = self.previous else { return };
        let (Some(sequence), Ok(next)) = (sequence.checked_add(1), NextUserData::parse(payload))
        else {
            return;
        };
        let (flags, options, data) = (next.flags, next.options, next.data);
        let fsn_offset = sequence - forward;
        self.data(&UserData { flags, flow, sequence, fsn_offset, options, data });
    }

    fn other(&mut self, code: u8, payload: &[u8]) {
        let far = |flow| FlowKey { session: self.number, side: self.side.other(), flow };
        match code {
            kind::RANGE_ACK => {
                if let Ok(ack) = RangeAck::parse(payload) {
                    self.flows.range_ack(far(ack.flow), &ack, self.now);
                }
            }
            kind::BITMAP_ACK => {
                if let Ok(ack) = BitmapAck::parse(payload) {
                    self.flows.bitmap_ack(far(ack.flow), &ack, self.now);
                }
            }
            kind::FLOW_EXCEPTION => {
                if let Ok(Chunk::FlowException { flow, exception }) = Chunk::parse(code, payload) {
                    self.flows.exception(far(flow), exception);
                }
            }
            kind::CLOSE_REQUEST | kind::CLOSE_ACK => {
                self.sessions.close(self.number, self.side, self.now);
            }
            kind::FORWARDED_HELLO => {
                if let Ok(hello) = ForwardedHello::parse(payload) {
                    let (session, time, frame) = (self.number, self.now, self.frame);
                    self.sessions.forwarded(&hello, IntroductionRecord { session, time, frame });
                }
            }
            _ => {}
        }
    }
}
