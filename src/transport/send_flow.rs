//! One sending flow (RFC 7016 §3.6.2): messages that wait, sequence numbers, fragments in flight.

mod fragment;
mod options;
mod waiting;

pub use options::{FlowOptions, MessageOptions, Priority, QueueOrder};

use super::{FlowId, SendError, Time};
use crate::wire::chunk::{
    AckRange, CHUNK_HEADER_LEN, FragmentControl, NextUserData, OPTION_METADATA,
    OPTION_RETURN_ASSOCIATION, UserData,
};
use crate::wire::option::{encode_option, encode_vlu_option};
use crate::wire::vlu;
use bytes::Bytes;
use fragment::{Delivery, Fragment, State};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use waiting::{MESSAGE_OVERHEAD, Part, Waiting};

/// Longest metadata that a flow may have, in bytes (RFC 7016 §2.3.11.1.1).
pub const MAX_METADATA: usize = 512;
/// Window of a receiver before its first acknowledgement, in bytes.
const INITIAL_WINDOW: u64 = 65_536;
/// A flow whose queue was longer than this is reported writable when it has drained to this many
/// bytes, unless a message was refused.
pub(crate) const LOW_WATER: u64 = 65_536;
/// First period between buffer probes (§3.6.2.9.1).
const PROBE_INITIAL: Duration = Duration::from_secs(1);
/// Longest period between buffer probes.
const PROBE_MAX: Duration = Duration::from_secs(60);
/// Bytes of a chunk that continues the one before it, its data aside: header and flags.
const NEXT_OVERHEAD: usize = CHUNK_HEADER_LEN + 1;
/// Memory that a queued fragment costs beside its data.
const FRAGMENT_OVERHEAD: u64 = size_of::<Fragment>() as u64;
/// Memory of a flow and of its place among the others, whose nodes may be half empty.
const PLACE: u64 = 2 * size_of::<SendFlow>() as u64;
/// Fragments for which memory is kept while none waits.
const KEPT_FRAGMENTS: usize = 64;

/// A fragment in flight that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acked {
    pub(crate) tsn: u64,
    pub(crate) size: u64,
}

/// Space for chunks, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    /// What this packet has left.
    pub(crate) left: usize,
    /// What a packet has that carries nothing else.
    pub(crate) whole: usize,
}

#[derive(Debug)]
pub(crate) struct SendFlow {
    pub(crate) id: FlowId,
    pub(crate) options: FlowOptions,
    /// Encoded option list until the flow is acknowledged for the first time.
    startup_options: Option<Vec<u8>>,
    /// Messages, or the rest of one, that have no sequence numbers yet.
    waiting: Waiting,
    /// Fragments that were cut.
    queue: VecDeque<Fragment>,
    /// Sequence number of the front of `queue`.
    first: u64,
    /// Everything from here on was never sent.
    next_unsent: u64,
    /// Lost, to be sent again: all of them may be.
    lost: BTreeSet<u64>,
    /// Messages that expire: when, whether only if not started, and their numbers.
    deadlines: BTreeSet<(Time, bool, u64)>,
    outstanding: u64,
    window: u64,
    final_sequence: Option<u64>,
    closing: bool,
    rejected: bool,
    queued: u64,
    /// Bytes that the session has accounted for.
    charged: u64,
    /// Steps that acknowledgements have cost.
    #[cfg(test)]
    steps: u64,
    /// The owner waits for the queue to drain to this many bytes.
    writable_at: Option<u64>,
    probe: Option<(Time, Duration)>,
}

/// What of a flow may be sent next.
#[derive(Debug, Clone, Copy)]
enum Eligible {
    /// The fragment with this sequence number.
    Fragment(u64),
    /// The next part of a message.
    Waiting,
}

impl SendFlow {
    pub(crate) fn new(
        id: FlowId,
        metadata: &[u8],
        options: FlowOptions,
    ) -> Result<Self, SendError> {
        if metadata.len() > MAX_METADATA {
            return Err(SendError::MetadataTooLong);
        }
        let mut startup = Vec::with_capacity(metadata.len() + 16);
        encode_option(OPTION_METADATA, metadata, &mut startup);
        if let Some(flow) = options.association {
            encode_vlu_option(OPTION_RETURN_ASSOCIATION, flow.0, &mut startup);
        }
        startup.push(0);
        Ok(Self {
            id,
            options,
            startup_options: Some(startup),
            waiting: Waiting::default(),
            queue: VecDeque::new(),
            first: 1,
            next_unsent: 1,
            lost: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            outstanding: 0,
            window: INITIAL_WINDOW,
            final_sequence: None,
            closing: false,
            rejected: false,
            queued: 0,
            charged: 0,
            #[cfg(test)]
            steps: 0,
            writable_at: None,
            probe: None,
        })
    }

    /// Queues `message`. It is cut into fragments when there are packets for them.
    pub(crate) fn push(
        &mut self,
        now: Time,
        message: Bytes,
        options: MessageOptions,
        max_queue: u64,
    ) -> Result<(), SendError> {
        if self.closing {
            return Err(SendError::NoFlow);
        }
        if self.queued > 0 && self.queued.saturating_add(message.len() as u64) > max_queue {
            // Half is left, so that the path stays busy until more comes, or less if this message
            // takes more.
            let space = max_queue.saturating_sub(message.len() as u64);
            self.writable_at = Some(space.min(max_queue / 2));
            return Err(SendError::Full);
        }
        let delivery = if options.retransmit { Delivery::Reliable } else { Delivery::Once };
        // Messages that expire are known by their numbers, which stay as they are.
        let order = if self.deadlines.is_empty() { options.order } else { QueueOrder::Queued };
        let number = self.wait(message, delivery, order);
        if let Some(within) = options.start_within {
            self.deadlines.insert((now + within, true, number));
        }
        if let Some(within) = options.finish_within {
            self.deadlines.insert((now + within, false, number));
        }
        Ok(())
    }

    fn wait(&mut self, message: Bytes, delivery: Delivery, order: QueueOrder) -> u64 {
        self.queued += message.len() as u64 + MESSAGE_OVERHEAD;
        if self.queued > LOW_WATER {
            self.writable_at.get_or_insert(LOW_WATER);
        }
        self.waiting.push(message, delivery, order)
    }

    /// No further messages; the flow is done when everything is acknowledged (§3.6.2.11).
    ///
    /// The last fragment carries the final flag if it was never sent and is not empty. Otherwise
    /// an abandoned fragment is added: the final flag on an empty fragment that is not abandoned
    /// would be an empty message, which ends the observed player's process.
    pub(crate) fn close(&mut self) {
        if self.closing {
            return;
        }
        self.closing = true;
        if !self.waiting.ends_in_data() {
            self.wait(Bytes::new(), Delivery::Abandoned, QueueOrder::Queued);
        }
    }

    /// The receiver rejected the flow: abandons everything and closes. True the first time.
    pub(crate) fn on_rejected(&mut self) -> bool {
        let first_time = !self.rejected;
        self.rejected = true;
        if first_time {
            // Close before abandoning, so that the final fragment is chosen by what was sent;
            // whatever it is, it leaves abandoned.
            self.close();
            for fragment in &mut self.queue {
                self.queued -= fragment.abandon();
            }
            self.queued -= self.waiting.abandon_all();
            let last = self.final_sequence;
            self.lost.retain(|&sequence| Some(sequence) == last);
            self.deadlines.clear();
        }
        first_time
    }

    /// Abandons the messages past their deadline.
    pub(crate) fn expire(&mut self, now: Time) {
        while let Some(&(at, only_unstarted, number)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if !only_unstarted || self.waiting.is_unstarted(number) {
                self.abandon_message(number);
            }
        }
    }

    fn abandon_message(&mut self, number: u64) {
        let begin = self.queue.partition_point(|fragment| fragment.message < number);
        for (sequence, fragment) in (self.first + begin as u64..).zip(self.queue.range_mut(begin..))
        {
            if fragment.message != number {
                break;
            }
            if !fragment.is_acknowledged() {
                self.queued -= fragment.abandon();
                if self.final_sequence != Some(sequence) {
                    self.lost.remove(&sequence);
                }
            }
        }
        self.queued -= self.waiting.abandon(number);
    }

    /// When [`expire`](Self::expire) or a probe has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let deadline = self.deadlines.first().map(|d| d.0);
        let probe = self.probe.map(|p| p.0);
        [deadline, probe].into_iter().flatten().min()
    }

    /// True if a fragment could be sent now, congestion aside.
    pub(crate) fn is_ready(&mut self) -> bool {
        (self.window > self.outstanding || self.rejected) && self.next_eligible().is_some()
    }

    /// What may be sent first (§3.6.2.3), abandoned fragments trimmed from the front.
    fn next_eligible(&mut self) -> Option<Eligible> {
        while let Some(mark) = self.waiting.take_abandoned() {
            self.queue_part(mark);
        }
        self.trim();
        if let Some(front) = self.queue.front() {
            if !front.is_in_flight() {
                return Some(Eligible::Fragment(self.first));
            }
            if let Some(&again) = self.lost.first() {
                return Some(Eligible::Fragment(again));
            }
        }
        let end = self.next_sequence();
        while self.next_unsent < end {
            if self.may_send(self.next_unsent) {
                return Some(Eligible::Fragment(self.next_unsent));
            }
            self.next_unsent += 1;
        }
        (!self.waiting.is_empty()).then_some(Eligible::Waiting)
    }

    /// Gives the next part of a message its sequence number, and returns that.
    fn queue_part(&mut self, part: Part) -> u64 {
        let sequence = self.next_sequence();
        self.queued += FRAGMENT_OVERHEAD;
        if matches!(part.control, FragmentControl::Whole | FragmentControl::End) {
            self.queued -= MESSAGE_OVERHEAD;
            if self.closing && self.waiting.is_empty() {
                self.final_sequence = Some(sequence);
            }
        }
        self.queue.push_back(Fragment::new(part));
        sequence
    }

    /// Cuts the next part of a message for a packet with so much space. `previous` is the sequence
    /// number that this flow put into the packet just before.
    fn cut(&mut self, previous: Option<u64>, space: Space) -> Option<u64> {
        let sequence = self.next_sequence();
        let fsn_offset = sequence - self.forward_sequence();
        let numbers = [self.id.0, sequence, fsn_offset];
        let header = NEXT_OVERHEAD + numbers.into_iter().map(vlu::encoded_len).sum::<usize>();
        let options = self.startup_options.as_ref().map_or(0, Vec::len);
        let here = match previous {
            Some(previous) if previous + 1 == sequence => NEXT_OVERHEAD,
            Some(_) => header,
            None => header + options,
        };
        // Sent again, it may be the first in a packet.
        let alone = space.whole.saturating_sub(header + options).max(1);
        let part = self.waiting.cut(space.left.checked_sub(here)?, alone)?;
        Some(self.queue_part(part))
    }

    fn may_send(&self, sequence: u64) -> bool {
        let is_final = self.final_sequence == Some(sequence);
        self.fragment(sequence).is_some_and(|fragment| fragment.is_waiting(is_final))
    }

    /// Drops what is done from the front. An abandoned fragment goes only if the next was never
    /// sent: then the next one's forward sequence number reports the gap. Otherwise
    /// it is sent itself (§3.6.2.7.1), since an earlier transmission of the next may have arrived
    /// that did not report it.
    fn trim(&mut self) {
        while let Some(front) = self.queue.front() {
            let abandoned = front.is_abandoned() && !front.is_in_flight();
            let next_reports_it =
                || self.queue.get(1).map_or(!self.waiting.is_empty(), Fragment::is_unsent);
            if !(front.is_acknowledged() || (abandoned && next_reports_it())) {
                return;
            }
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(fragment) = self.queue.pop_front() {
            self.lost.remove(&self.first);
            self.queued -= fragment.data.len() as u64 + FRAGMENT_OVERHEAD;
            self.first += 1;
            self.next_unsent = self.next_unsent.max(self.first);
        }
    }

    /// The forward sequence number for a chunk that is sent now.
    fn forward_sequence(&self) -> u64 {
        match self.queue.front() {
            Some(front) if front.is_abandoned() && front.state != State::DataInFlight => self.first,
            _ => self.first - 1,
        }
    }

    /// Appends the next eligible fragment as a chunk, if it fits into `space`, and notes it as sent
    /// with `tsn`. `previous` is the sequence number that this flow put into the packet
    /// just before. Returns the sequence number and the chunk's size.
    pub(crate) fn assemble(
        &mut self,
        previous: Option<u64>,
        space: Space,
        tsn: u64,
        out: &mut Vec<u8>,
    ) -> Option<(u64, u64)> {
        if self.window <= self.outstanding && !self.rejected {
            return None;
        }
        let sequence = match self.next_eligible()? {
            Eligible::Fragment(sequence) => sequence,
            Eligible::Waiting => self.cut(previous, space)?,
        };
        let forward = self.forward_sequence();
        let index = (sequence - self.first) as usize;
        let fragment = self.queue.get_mut(index)?;
        let flags = fragment.flags(self.final_sequence == Some(sequence));
        // Empty if the fragment was abandoned.
        let data: &[u8] = &fragment.data;
        let start = out.len();
        let next = previous.is_some_and(|p| p + 1 == sequence);
        let chunk = if next {
            crate::wire::Chunk::NextUserData(NextUserData { flags, options: None, data })
        } else {
            let options = self.startup_options.as_deref().filter(|_| previous.is_none());
            crate::wire::Chunk::UserData(UserData {
                flags,
                flow: self.id.0,
                sequence,
                fsn_offset: sequence - forward,
                options,
                data,
            })
        };
        if chunk.encoded_len() > space.left || chunk.encode(out).is_err() {
            return None;
        }
        let size = (out.len() - start) as u64;
        fragment.on_sent(tsn, size);
        self.lost.remove(&sequence);
        self.outstanding += size;
        self.next_unsent = self.next_unsent.max(sequence + 1);
        Some((sequence, size))
    }

    /// An acknowledgement arrived (§3.6.2.4). Calls `acked` for every fragment that was in flight.
    pub(crate) fn on_ack(
        &mut self,
        now: Time,
        blocks: u64,
        cumulative: u64,
        ranges: impl Iterator<Item = AckRange>,
        mut acked: impl FnMut(Acked),
    ) {
        self.startup_options = None;
        self.window = blocks.saturating_mul(1024);
        self.update_probe(now);
        let last_sent = self.next_unsent.saturating_sub(1);
        self.acknowledge(self.first..=cumulative.min(last_sent), &mut acked);
        for range in ranges {
            let (from, to) = range.into_inner();
            self.acknowledge(from.max(self.first)..=to.min(last_sent), &mut acked);
        }
        while self.queue.front().is_some_and(Fragment::is_acknowledged) {
            self.pop_front();
        }
        if self.queue.is_empty() && self.queue.capacity() > KEPT_FRAGMENTS {
            self.queue = VecDeque::new();
        }
    }

    /// Acknowledges a range of fragments. What was acknowledged before is passed over in leaps
    /// which grow longer each time (path halving), so that the work follows what is new.
    fn acknowledge(&mut self, range: AckRange, acked: &mut impl FnMut(Acked)) {
        let (mut sequence, to) = range.into_inner();
        while sequence <= to {
            self.count_step();
            let Some(fragment) = self.fragment_mut(sequence) else { return };
            if fragment.is_acknowledged() {
                sequence = self.leap(sequence);
                continue;
            }
            if !fragment.is_unsent() {
                let in_flight = fragment.is_in_flight();
                fragment.state = State::Acknowledged;
                fragment.next = sequence + 1;
                let (tsn, size) = (fragment.tsn, u64::from(fragment.size));
                self.lost.remove(&sequence);
                if in_flight {
                    self.outstanding -= size;
                    acked(Acked { tsn, size });
                }
            }
            sequence += 1;
        }
    }

    #[cfg(test)]
    fn count_step(&mut self) {
        self.steps += 1;
    }

    #[cfg(not(test))]
    const fn count_step(&self) {}

    /// The fragment that follows a run of acknowledged ones.
    fn leap(&mut self, sequence: u64) -> u64 {
        let next = self.fragment(sequence).map_or(sequence + 1, |f| f.next);
        let further = self.fragment(next).filter(|f| f.is_acknowledged()).map_or(next, |f| f.next);
        if let Some(fragment) = self.fragment_mut(sequence) {
            fragment.next = further;
        }
        further
    }

    /// A fragment in flight was lost. A message that is not to be sent again is abandoned. Returns
    /// the bytes that are no longer in flight.
    pub(crate) fn on_lost(&mut self, sequence: u64) -> u64 {
        let is_final = self.final_sequence == Some(sequence);
        let Some(fragment) = self.fragment_mut(sequence) else { return 0 };
        if !fragment.is_in_flight() {
            return 0;
        }
        fragment.state = State::Lost;
        let size = u64::from(fragment.size);
        let unreliable = (fragment.delivery == Delivery::Once).then_some(fragment.message);
        let again = !fragment.is_abandoned() || is_final;
        self.outstanding -= size;
        if again {
            self.lost.insert(sequence);
        }
        if let Some(message) = unreliable {
            self.abandon_message(message);
        }
        size
    }

    /// True if the receiver has closed its window and a probe is due; schedules the next one, not
    /// sooner than `timeout`, the effective retransmission timeout (§3.6.2.9.1).
    pub(crate) fn probe_due(&mut self, now: Time, timeout: Duration) -> bool {
        match self.probe {
            Some((at, interval)) if at <= now => {
                let interval = interval.max(timeout);
                let next = interval.mul_f64(std::f64::consts::SQRT_2).min(PROBE_MAX);
                self.probe = Some((now + interval, next));
                true
            }
            _ => false,
        }
    }

    fn update_probe(&mut self, now: Time) {
        let suspended = self.window == 0 && !self.rejected;
        if suspended && self.probe.is_none() {
            self.probe = Some((now, PROBE_INITIAL));
        } else if !suspended {
            self.probe = None;
        }
    }

    /// True once, when a fuller queue has drained.
    pub(crate) fn take_writable(&mut self) -> bool {
        let drained = self.writable_at.is_some_and(|mark| self.queued <= mark);
        drained && !self.closing && self.writable_at.take().is_some()
    }

    /// True if everything up to the final sequence number is acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.closing && self.queue.is_empty() && self.waiting.is_empty()
    }

    /// True if a return flow may be associated with it.
    pub(crate) const fn is_open(&self) -> bool {
        !self.closing
    }

    /// Bytes that wait, sent or not, until they are acknowledged.
    pub(crate) const fn queued(&self) -> u64 {
        self.queued
    }

    /// Accounts for the memory of the flow. Returns the bytes accounted for before and now.
    pub(crate) fn charge(&mut self) -> (u64, u64) {
        let fragments = self.queue.len() as u64 * FRAGMENT_OVERHEAD;
        let data = self.queued - fragments - self.waiting.len() * MESSAGE_OVERHEAD;
        let options = self.startup_options.as_ref().map_or(0, Vec::capacity) as u64;
        let places = self.queue.capacity() as u64 * FRAGMENT_OVERHEAD + self.waiting.places();
        let memory = PLACE + options + data + places;
        (std::mem::replace(&mut self.charged, memory), memory)
    }

    /// Bytes that the session has accounted for.
    pub(crate) const fn charged(&self) -> u64 {
        self.charged
    }

    fn fragment(&self, sequence: u64) -> Option<&Fragment> {
        self.queue.get(sequence.checked_sub(self.first)? as usize)
    }

    fn fragment_mut(&mut self, sequence: u64) -> Option<&mut Fragment> {
        self.queue.get_mut(sequence.checked_sub(self.first)? as usize)
    }

    fn next_sequence(&self) -> u64 {
        self.first + self.queue.len() as u64
    }
}

#[cfg(test)]
mod tests;
