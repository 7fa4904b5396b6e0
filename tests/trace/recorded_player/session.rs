//! A session of the player: its recorded part is sent again under new keys.

mod receive;

use super::capture::{Fragment, Keying, Move, Options, What};
use super::client::Client;
use super::flows::{InFlow, OutFlow};
use super::member::Member;
use super::rules::Judge;
use rtmfp::proto::crypto::{Opener, Sealer, SessionKeys};
use rtmfp::proto::transport::Time;
use rtmfp::wire::chunk::{FragmentControl, NextUserData, UserDataFlags};
use rtmfp::wire::packet::TICK_MILLIS;
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// What a far end has to answer at once, with the network's delay both ways.
pub const ANSWER: Duration = Duration::from_millis(10);
/// How long the player waits for what the recorded far end did. The first unchoke takes 10 s.
const PATIENCE: Duration = Duration::from_secs(60);
const FINISHED: &str = "a flow that the player rejects is finished at once";
/// What to do with the next thing that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Say,
    /// Until the far end has done what it needs.
    Wait,
    LeaveOut(&'static str),
}

impl Verdict {
    pub fn say_if(ready: bool) -> Self {
        if ready { Self::Say } else { Self::Wait }
    }
}

/// With whom the session is.
#[derive(Debug)]
pub enum With {
    Server(Client),
    Peer(Box<Member>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    /// The player asked to close.
    Closing(Time),
    /// The player closed by a single 4C, or confirmed.
    Left(Time),
    /// The far end confirmed or closed.
    Closed(Time),
}

/// A hello that a server passed on.
pub struct Forwarded {
    pub epd: Vec<u8>,
    pub tag: Vec<u8>,
    pub reply: SocketAddr,
}

pub struct Session {
    pub near_id: u32,
    pub far_id: u32,
    mode: Mode,
    sealer: Sealer,
    opener: Opener,
    pub remote: SocketAddr,
    pub with: With,
    pub state: State,
    moves: VecDeque<Move>,
    far_flows: BTreeMap<u64, Vec<u8>>,
    /// When the last move was made, as recorded and in this run.
    anchor: (Duration, Time),
    waiting: Option<Time>,
    pub out: BTreeMap<u64, OutFlow>,
    pub inc: BTreeMap<u64, InFlow>,
    pings: Vec<(Vec<u8>, Time)>,
    far_timestamp: Option<(u16, Time)>,
    pub received: u64,
    ready: VecDeque<(SocketAddr, Vec<u8>)>,
    pub forwarded: Vec<Forwarded>,
}

impl Session {
    pub fn new(
        now: Time,
        mode: Mode,
        [near_id, far_id]: [u32; 2],
        remote: SocketAddr,
        keys: SessionKeys,
        keying: Option<&Keying>,
        with: With,
    ) -> Self {
        let script = keying.map(|keying| keying.script.clone()).unwrap_or_default();
        Self {
            near_id,
            far_id,
            mode,
            sealer: keys.sealer,
            opener: keys.opener,
            remote,
            with,
            state: State::Open,
            moves: script.moves.into(),
            far_flows: script.far_flows,
            anchor: (script.begin, now),
            waiting: None,
            out: BTreeMap::new(),
            inc: BTreeMap::new(),
            pings: Vec::new(),
            far_timestamp: None,
            received: 0,
            ready: VecDeque::new(),
            forwarded: Vec::new(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.moves.is_empty()
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Something that was not recorded, after everything that was.
    pub fn append(&mut self, what: What) {
        let at = self.moves.back().map_or(self.anchor.0, |last| last.at);
        self.moves.push_back(Move { at, packet: usize::MAX, what });
    }

    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.ready.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Time> {
        let next = match (self.waiting, self.moves.front()) {
            (Some(since), _) => Some(since + PATIENCE),
            (None, Some(next)) => Some(self.due(next)),
            (None, None) => None,
        };
        let acks = self.inc.values().filter_map(InFlow::ack_due).filter(|_| self.is_open());
        acks.chain(next).min()
    }

    fn due(&self, next: &Move) -> Time {
        self.anchor.1 + next.at.saturating_sub(self.anchor.0)
    }

    /// Sends what is due.
    pub fn process(&mut self, now: Time, judge: &mut Judge) {
        while let Some(next) = self.moves.front()
            && self.due(next) <= now
        {
            match self.verdict(next) {
                Verdict::Say => self.say_packet(now, judge),
                Verdict::LeaveOut(why) => {
                    judge.left_out(why);
                    self.pop(now);
                }
                Verdict::Wait => {
                    let since = *self.waiting.get_or_insert(now);
                    if now.since(since) < PATIENCE {
                        break;
                    }
                    let seen = format!("{:.200}", format!("{:?}", next.what));
                    judge.rule(now, "the player gets what it waits for", false, || seen);
                    self.moves.clear();
                }
            }
        }
        self.acknowledge(now);
    }

    fn pop(&mut self, now: Time) -> Option<Move> {
        let next = self.moves.pop_front()?;
        self.waiting = None;
        self.anchor = (next.at.max(self.anchor.0), now);
        Some(next)
    }

    fn verdict(&self, next: &Move) -> Verdict {
        match (&next.what, self.state) {
            (What::Close, State::Closing(_)) | (_, State::Open) => {}
            _ => return Verdict::LeaveOut("sent after the end of the session"),
        }
        match &next.what {
            What::Data(fragment) => self.data_verdict(fragment),
            What::Exception { flow, .. } => match self.mapped(*flow).map(|flow| &self.inc[&flow]) {
                None => Verdict::LeaveOut("exceptions for flows that this far end does not open"),
                Some(flow) if flow.finished.is_some() => {
                    Verdict::LeaveOut("exceptions repeated for want of an end of the flow")
                }
                Some(_) => Verdict::Say,
            },
            What::Probe(flow) if !self.out.contains_key(flow) => {
                Verdict::LeaveOut("probes of flows that were left out")
            }
            _ => Verdict::Say,
        }
    }

    fn data_verdict(&self, fragment: &Fragment) -> Verdict {
        let known = self.out.get(&fragment.flow);
        let metadata = match (known, &fragment.options) {
            (Some(flow), _) if flow.rejected => {
                return Verdict::LeaveOut("messages of flows that were rejected");
            }
            (Some(flow), _) => flow.metadata.clone(),
            (None, Some(options)) => {
                if options.association.is_some_and(|far| self.mapped(far).is_none()) {
                    return match options.metadata[..] {
                        [b'G', b'R', 0x12] => {
                            Verdict::LeaveOut("multicast data for a far end that takes no part")
                        }
                        _ => Verdict::Wait,
                    };
                }
                options.metadata.clone()
            }
            (None, None) => return Verdict::LeaveOut("messages of flows that were left out"),
        };
        match &self.with {
            With::Server(client) => client.verdict(fragment, &metadata),
            With::Peer(member) => member.verdict(fragment, &metadata),
        }
    }

    /// The flow of this far end that does the work of the recorded one.
    fn mapped(&self, recorded: u64) -> Option<u64> {
        let metadata = self.far_flows.get(&recorded)?;
        let earlier = self.far_flows.range(..recorded).filter(|(_, m)| *m == metadata).count();
        let mut same = self.inc.iter().filter(|(_, flow)| flow.options.metadata == *metadata);
        same.nth(earlier).map(|(&flow, _)| flow)
    }

    /// Sends the next chunks that were one packet and are due.
    fn say_packet(&mut self, now: Time, judge: &mut Judge) {
        let packet = self.moves.front().map(|next| next.packet);
        let (mut bytes, mut last) = (Vec::new(), None);
        let mut real_time = false;
        while self
            .moves
            .front()
            .is_some_and(|n| Some(n.packet) == packet && self.verdict(n) == Verdict::Say)
        {
            let Some(next) = self.pop(now) else { break };
            let mut put = |chunk: Chunk<'_>| chunk.encode(&mut bytes).unwrap();
            match next.what {
                What::Data(fragment) => {
                    real_time = true;
                    self.say_fragment(now, fragment, &mut last, &mut bytes, judge);
                }
                What::Exception { flow, code } => {
                    let flow = self.mapped(flow).expect("a verdict");
                    self.inc.get_mut(&flow).expect("it exists").rejected.get_or_insert(now);
                    put(Chunk::FlowException { flow, exception: code });
                    judge.replayed("exceptions");
                }
                What::Ping(payload) => {
                    put(Chunk::Ping(&payload));
                    self.pings.push((payload, now));
                    judge.replayed("pings");
                }
                What::Probe(flow) => put(Chunk::BufferProbe(flow)),
                What::Close => {
                    put(Chunk::CloseRequest);
                    self.state = State::Closing(now);
                    judge.replayed("closes by 0C");
                }
                What::CloseAck => {
                    put(Chunk::CloseAck);
                    self.state = State::Left(now);
                    judge.replayed("closes by a single 4C");
                }
            }
        }
        self.send(now, self.remote, &bytes, real_time);
        judge.replayed("packets");
    }

    fn say_fragment(
        &mut self,
        now: Time,
        fragment: Fragment,
        last: &mut Option<(u64, u64)>,
        bytes: &mut Vec<u8>,
        judge: &mut Judge,
    ) {
        let association = fragment.options.as_ref().and_then(|o| o.association);
        let association = association.and_then(|far| self.mapped(far));
        let flow = match &fragment.options {
            Some(options) => {
                self.out.entry(fragment.flow).or_insert_with(|| OutFlow::new(options, association))
            }
            None => self.out.get_mut(&fragment.flow).expect("a verdict"),
        };
        let (sequence, first) = flow.number(fragment.sequence);
        flow.finished |= fragment.flags.last;
        let metadata = flow.metadata.clone();
        let mut data = fragment.data.clone();
        if let With::Peer(member) = &mut self.with
            && fragment.flags.fragment == FragmentControl::Whole
        {
            data = member.rewrite(now, fragment.flow, &metadata, data, judge);
        }
        let flow = &self.out[&fragment.flow];
        let options = fragment.options.is_some().then(|| flow.options());
        let head =
            flow.user_data(fragment.flow, sequence, fragment.flags, options.as_deref(), &data);
        let follows = fragment.next && *last == Some((fragment.flow, sequence - 1));
        let chunk = match follows {
            true => Chunk::NextUserData(NextUserData {
                flags: head.flags,
                options: head.options,
                data: head.data,
            }),
            false => Chunk::UserData(head),
        };
        chunk.encode(bytes).unwrap();
        *last = Some((fragment.flow, sequence));
        if !first {
            return judge.replayed("fragments sent again");
        }
        if fragment.flags.last && data.is_empty() {
            judge.replayed("flows finished");
            if let With::Peer(member) = &mut self.with {
                member.finished(fragment.flow);
            }
        } else if super::flows::begins(&fragment).is_some() {
            judge.replayed("messages");
            match &mut self.with {
                With::Server(client) => client.sent(now, &fragment, judge),
                With::Peer(member) => member.sent(&metadata, &fragment.data, judge),
            }
        }
    }

    /// Sends something that was not recorded.
    fn say_extra(&mut self, now: Time, flow: u64, flags: UserDataFlags, data: &[u8]) {
        let Some(out) = self.out.get_mut(&flow) else { return };
        let sequence = out.extra();
        out.finished |= flags.last;
        let chunk = Chunk::UserData(out.user_data(flow, sequence, flags, None, data));
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes).unwrap();
        self.send(now, self.remote, &bytes, true);
    }

    fn acknowledge(&mut self, now: Time) {
        if !self.is_open() {
            return;
        }
        let mut bytes = Vec::new();
        for (&id, flow) in &mut self.inc {
            if let Some(ack) = flow.acknowledge(now, id) {
                Chunk::RangeAck(ack).encode(&mut bytes).unwrap();
            }
        }
        if !bytes.is_empty() {
            self.send(now, self.remote, &bytes, false);
        }
    }

    /// Seals chunks as the player does: with a timestamp, and an echo if there is something new.
    fn send(&mut self, now: Time, to: SocketAddr, chunks: &[u8], real_time: bool) {
        let ticks = |time: Time| (time.as_millis() / TICK_MILLIS) as u16;
        let echo = self.far_timestamp.take().map(|(timestamp, at)| {
            timestamp.wrapping_add((now.since(at).as_millis() as u64 / TICK_MILLIS) as u16)
        });
        let header = PacketHeader {
            time_critical: real_time,
            timestamp: Some(ticks(now)),
            timestamp_echo: echo,
            ..PacketHeader::new(self.mode)
        };
        let mut datagram = Vec::new();
        let start = self.sealer.begin(&mut datagram);
        header.encode(&mut datagram);
        datagram.extend_from_slice(chunks);
        let range = self.sealer.finish(&mut datagram, start);
        self.sealer.seal(self.far_id, &mut datagram, &[range]);
        self.ready.push_back((to, datagram));
    }

    /// What must be true in the end.
    pub fn finish(&mut self, now: Time, judge: &mut Judge) {
        let end = match self.state {
            State::Left(at) | State::Closed(at) | State::Closing(at) => at,
            State::Open => now,
        };
        for (id, flow) in self.inc.iter().filter(|(_, flow)| flow.finished.is_none()) {
            if flow.rejected.is_some_and(|at| at + ANSWER < end) {
                judge.rule(now, FINISHED, false, || format!("{id} {:02x?}", flow.options.metadata));
            }
        }
        if let With::Server(client) = &self.with {
            client.finish(now, judge);
        }
        if !self.is_open() {
            return;
        }
        judge.rule(now, "no ping is left without answer", self.pings.is_empty(), || {
            format!("{:?}", self.pings)
        });
        for (id, flow) in &self.out {
            judge.rule(
                now,
                "everything that the player sends is acknowledged",
                flow.acked == flow.last,
                || format!("flow {id}: {} of {}", flow.acked, flow.last),
            );
        }
        match &mut self.with {
            With::Server(client) => client.finish_open(now, judge),
            With::Peer(member) => member.finish(now, judge),
        }
    }
}

fn whole() -> UserDataFlags {
    UserDataFlags { fragment: FragmentControl::Whole, abandon: false, last: false, reserved: 0 }
}
