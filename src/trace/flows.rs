//! Flows: fragments to messages, and the traffic of each flow.
//!
//! An observer sees less than the ends, and cannot ask again: missing fragments are skipped
//! as soon as the sender declares that it will no longer send them (the forward sequence number).
//!
//! Bounds: [`MAX_FLOWS`] flows, beyond which the oldest is dropped; [`MAX_HELD`] bytes of fragments
//! that wait for others; messages of [`MAX_MESSAGE`] bytes. Anything beyond is counted as skipped.

use super::fields::FieldLayout;
use super::message::FlowClass;
use crate::flash::group_channel::GroupId;
use crate::wire::chunk::{
    BitmapAck, FragmentControl, OPTION_METADATA, OPTION_RETURN_ASSOCIATION, RangeAck, UserData,
};
use crate::wire::option::{Item, items};
use crate::wire::vlu;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// Flows that are remembered; beyond this, the oldest is dropped.
pub const MAX_FLOWS: usize = 16_384;

/// Bytes of fragments that wait for others, in all flows together; beyond this, a flow skips
/// what it waits for.
pub const MAX_HELD: usize = 64 << 20;

/// Fragments of a flow that wait for one before them.
const MAX_AHEAD: usize = 8192;

/// The longest message that is put together, in bytes.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Bytes of metadata that are remembered.
const MAX_METADATA: usize = 256;

/// An end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The end that asked for the session.
    Initiator,
    /// The end that was asked.
    Responder,
}

impl Side {
    /// The far end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }

    /// `initiator` or `responder`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }
}

/// The identity of a flow: session, sender, flow ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Number of the session.
    pub session: u64,
    /// The sender of the flow.
    pub side: Side,
    /// The sender's ID of the flow.
    pub flow: u64,
}

/// Round trip times, from the capturing host to the receiver and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtt {
    /// Number of round trips.
    pub samples: u64,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    sum: Duration,
}

impl Rtt {
    fn add(&mut self, sample: Duration) {
        self.min = if self.samples == 0 { sample } else { self.min.min(sample) };
        self.max = self.max.max(sample);
        self.sum = self.sum.saturating_add(sample);
        self.samples += 1;
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        let samples = u32::try_from(self.samples).unwrap_or(u32::MAX);
        self.sum.checked_div(samples).unwrap_or_default()
    }
}

/// A message that a packet completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMessage {
    /// The flow.
    pub key: FlowKey,
    /// The class of the flow.
    pub class: FlowClass,
    /// The type of the message, if it is known.
    pub layout: Option<&'static FieldLayout>,
    /// The sequence number of its first fragment.
    pub first: u64,
    /// The sequence number of its last fragment.
    pub last: u64,
    /// Index of the chunk of the packet that completed it, from 0.
    pub chunk: usize,
    /// The group that it is of.
    pub group: Option<GroupId>,
    /// The key of the group's stream that it is of.
    pub stream: Option<[u8; 32]>,
    /// The range of its bytes among those of all messages of the packet.
    pub bytes: Range<usize>,
}

/// A flow and its traffic.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Its class.
    pub class: FlowClass,
    /// The metadata of its first fragment, at most 256 bytes of it.
    pub metadata: Vec<u8>,
    /// The flow of the far end that it answers.
    pub association: Option<u64>,
    /// Time of its first fragment.
    pub begun: Duration,
    /// Time of its last fragment.
    pub latest: Duration,
    /// Chunks with fragments, retransmissions included.
    pub chunks: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Messages that are complete.
    pub messages: u64,
    /// Bytes in them.
    pub message_bytes: u64,
    /// Fragments that were seen before.
    pub retransmitted: u64,
    /// Fragments that came after later ones for the first time.
    pub reordered: u64,
    /// Sequence numbers that the sender gave up or that the capture lacks.
    pub skipped: u64,
    /// Acknowledgements of the far end.
    pub acks: u64,
    /// Time from a fragment to its acknowledgement.
    pub rtt: Rtt,
    /// The sender ended it.
    pub finished: bool,
    /// The far end rejected it, with this code.
    pub exception: Option<u64>,
    /// The next sequence number in order.
    next: u64,
    highest: u64,
    /// Sending time of this sequence number, for the round trip time.
    probe: Option<(u64, Duration)>,
    partial: Vec<u8>,
    /// The sequence number of the first fragment in `partial`.
    partial_first: Option<u64>,
    ahead: BTreeMap<u64, Fragment>,
    /// Memory of the fragments in `ahead`.
    ahead_bytes: usize,
    /// Bytes that all flows together may still hold.
    space: usize,
}

/// Memory that a waiting fragment takes besides its bytes.
const FRAGMENT_OVERHEAD: usize = 64;

/// Memory that a flow keeps for its next message of several fragments.
const MAX_SPARE: usize = 1 << 10;

#[derive(Debug, Clone)]
struct Fragment {
    control: FragmentControl,
    abandoned: bool,
    data: Vec<u8>,
}

/// Memory that is kept from packet to packet.
const MAX_ARENA: usize = 1 << 20;

/// The destination of completed messages.
#[derive(Debug, Default)]
pub(super) struct Completed {
    pub(super) messages: Vec<FlowMessage>,
    pub(super) bytes: Vec<u8>,
    /// Index of the chunk being read.
    pub(super) chunk: usize,
}

impl Completed {
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes.clear();
        self.bytes.shrink_to(MAX_ARENA);
    }
}

/// All flows.
#[derive(Debug, Default)]
pub struct Flows {
    flows: HashMap<FlowKey, Flow>,
    order: VecDeque<FlowKey>,
    held: usize,
    dropped: u64,
}

impl Flows {
    /// The flows, by session, sender and ID.
    pub fn sorted(&self) -> Vec<(FlowKey, &Flow)> {
        let mut all: Vec<_> = self.flows.iter().map(|(key, flow)| (*key, flow)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// A flow.
    pub fn find(&self, key: &FlowKey) -> Option<&Flow> {
        self.flows.get(key)
    }

    /// Flows that were dropped for others.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn data(
        &mut self,
        key: FlowKey,
        chunk: &UserData<'_>,
        now: Duration,
        out: &mut Completed,
    ) {
        if !self.flows.contains_key(&key) {
            self.make_space();
            self.order.push_back(key);
        }
        let flow = self.flows.entry(key).or_insert_with(|| Flow {
            begun: now,
            next: chunk.forward_sequence().saturating_add(1),
            ..Flow::default()
        });
        if let Some(options) = chunk.options
            && flow.metadata.is_empty()
        {
            flow.note_options(options);
        }
        let before = flow.held();
        let space = MAX_HELD.saturating_sub(self.held);
        flow.take(key, chunk, now, space, out);
        self.held = self.held - before + flow.held();
    }

    pub(super) fn bitmap_ack(&mut self, key: FlowKey, ack: &BitmapAck<'_>, now: Duration) {
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.acknowledged(ack.cumulative, ack.ranges(), now);
        }
    }

    pub(super) fn range_ack(&mut self, key: FlowKey, ack: &RangeAck<'_>, now: Duration) {
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.acknowledged(ack.cumulative, ack.ranges(), now);
        }
    }

    pub(super) fn exception(&mut self, key: FlowKey, code: u64) {
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.exception = flow.exception.or(Some(code));
        }
    }

    fn make_space(&mut self) {
        while self.order.len() >= MAX_FLOWS
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(flow) = self.flows.remove(&oldest) {
                self.held -= flow.held();
                self.dropped += 1;
            }
        }
    }
}

impl Flow {
    fn held(&self) -> usize {
        self.partial.capacity() + self.ahead_bytes
    }

    fn note_options(&mut self, options: &[u8]) {
        for item in items(options) {
            let Ok(Item::Option(option)) = item else { return };
            match option.kind {
                OPTION_METADATA => {
                    self.class = FlowClass::of(option.value);
                    let len = option.value.len().min(MAX_METADATA);
                    self.metadata = option.value[..len].to_vec();
                }
                OPTION_RETURN_ASSOCIATION => {
                    let parsed = vlu::parse("association", option.value);
                    self.association = parsed.ok().map(|(flow, _)| flow);
                }
                _ => {}
            }
        }
    }

    fn take(
        &mut self,
        key: FlowKey,
        chunk: &UserData<'_>,
        now: Duration,
        space: usize,
        out: &mut Completed,
    ) {
        self.space = space;
        self.latest = now;
        self.chunks += 1;
        self.bytes += chunk.data.len() as u64;
        self.finished |= chunk.flags.last;
        let sequence = chunk.sequence;
        self.note_probe(sequence, now);
        // An abandoned fragment may be at the forward sequence number itself.
        let forward = chunk.forward_sequence().saturating_add(1).min(sequence);
        self.skip_to(key, forward, out);
        if sequence < self.next || self.ahead.contains_key(&sequence) {
            self.retransmitted += 1;
            return;
        }
        let control = chunk.flags.fragment;
        let abandoned = chunk.flags.abandon || (chunk.flags.last && chunk.data.is_empty());
        if sequence == self.next {
            self.consume(key, control, abandoned, chunk.data, out);
            self.drain(key, out);
            return;
        }
        if self.ahead.len() >= MAX_AHEAD || chunk.data.len() > space {
            let first = self.ahead.keys().next().copied().unwrap_or(sequence);
            self.skip_to(key, first, out);
            self.drain(key, out);
        }
        match sequence == self.next {
            true => self.consume(key, control, abandoned, chunk.data, out),
            false => {
                let data = chunk.data.to_vec();
                self.ahead_bytes += FRAGMENT_OVERHEAD + data.len();
                self.ahead.insert(sequence, Fragment { control, abandoned, data });
            }
        }
    }

    /// Measures from the first transmission of a sequence number only.
    fn note_probe(&mut self, sequence: u64, now: Duration) {
        if sequence > self.highest {
            self.highest = sequence;
            self.probe = self.probe.or(Some((sequence, now)));
            return;
        }
        if self.probe.is_some_and(|(probed, _)| probed == sequence) {
            self.probe = None;
        }
        if sequence >= self.next && !self.ahead.contains_key(&sequence) {
            self.reordered += 1;
        }
    }

    fn acknowledged(
        &mut self,
        cumulative: u64,
        mut ranges: impl Iterator<Item = RangeInclusive<u64>>,
        now: Duration,
    ) {
        self.acks += 1;
        let Some((sequence, sent)) = self.probe else { return };
        if sequence <= cumulative || ranges.any(|range| range.contains(&sequence)) {
            self.probe = None;
            self.rtt.add(now.saturating_sub(sent));
        }
    }

    /// Skips missing fragments below `sequence`.
    fn skip_to(&mut self, key: FlowKey, sequence: u64, out: &mut Completed) {
        while self.next < sequence {
            let first = self.ahead.keys().next().copied().unwrap_or(sequence).min(sequence);
            if first > self.next {
                self.skipped = self.skipped.saturating_add(first - self.next);
                self.next = first;
                self.drop_partial();
            }
            self.drain(key, out);
        }
    }

    /// Consumes waiting fragments that are in order now.
    fn drain(&mut self, key: FlowKey, out: &mut Completed) {
        while let Some(entry) = self.ahead.first_entry() {
            if *entry.key() != self.next {
                break;
            }
            let fragment = entry.remove();
            self.ahead_bytes -= FRAGMENT_OVERHEAD + fragment.data.len();
            self.consume(key, fragment.control, fragment.abandoned, &fragment.data, out);
        }
    }

    /// Takes the next fragment in order.
    fn consume(
        &mut self,
        key: FlowKey,
        control: FragmentControl,
        abandoned: bool,
        data: &[u8],
        out: &mut Completed,
    ) {
        let sequence = self.next;
        self.next = sequence.saturating_add(1);
        if abandoned {
            self.skipped += u64::from(!data.is_empty() || !self.finished);
            self.drop_partial();
            return;
        }
        match control {
            FragmentControl::Whole => {
                self.drop_partial();
                self.complete(key, sequence, data, out);
            }
            FragmentControl::Begin => {
                self.drop_partial();
                self.partial.extend_from_slice(data);
                self.partial_first = Some(sequence);
            }
            FragmentControl::Middle | FragmentControl::End => {
                if self.partial_first.is_none() {
                    return;
                }
                if data.len() > self.space || self.partial.len() + data.len() > MAX_MESSAGE {
                    self.skipped += 1;
                    self.drop_partial();
                    return;
                }
                self.partial.extend_from_slice(data);
                if control == FragmentControl::End {
                    let first = self.partial_first.take().unwrap_or(sequence);
                    let mut partial = std::mem::take(&mut self.partial);
                    self.complete(key, first, &partial, out);
                    partial.clear();
                    partial.shrink_to(MAX_SPARE);
                    self.partial = partial;
                }
            }
        }
    }

    fn complete(&mut self, key: FlowKey, first: u64, message: &[u8], out: &mut Completed) {
        self.messages += 1;
        self.message_bytes += message.len() as u64;
        let start = out.bytes.len();
        out.bytes.extend_from_slice(message);
        out.messages.push(FlowMessage {
            key,
            class: self.class,
            layout: self.class.layout(message),
            first,
            last: self.next - 1,
            chunk: out.chunk,
            group: None,
            stream: None,
            bytes: start..out.bytes.len(),
        });
    }

    fn drop_partial(&mut self) {
        self.partial_first = None;
        self.partial.clear();
        self.partial.shrink_to(MAX_SPARE);
    }
}
