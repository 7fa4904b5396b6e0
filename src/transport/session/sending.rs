//! The sending flows of a session, and how much of them may be in flight.

use super::transmissions::Transmissions;
use super::{Context, Session};
use crate::transport::congestion::{Congestion, Pacer, SentPacket};
use crate::transport::send_flow::{FlowOptions, MessageOptions, SendFlow, Space};
use crate::transport::{Config, FlowId, SendError, Time};
use crate::wire::packet::MAX_HEADER_LEN;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// The observed player's control flow is always flow 2; ours begin there too.
const FIRST_FLOW: u64 = 2;

/// Bytes kept free for session sequence numbers that are longer when a fragment is sent again.
const SEQUENCE_MARGIN: usize = 2;
/// Space for chunks that a packet has at least, in bytes.
const SMALLEST: usize = 96;

/// Sending state of a session.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) flows: BTreeMap<u64, SendFlow>,
    /// Bytes that `flows` hold.
    memory: u64,
    next_flow: u64,
    /// The flow that was served last, for taking turns.
    last_served: u64,
    pub(super) transmissions: Transmissions,
    /// User data in flight, in bytes.
    pub(super) outstanding: u64,
    /// Packets with user data sent since the last acknowledgement.
    pub(super) burst: u32,
    /// Bytes acknowledged since then.
    pub(super) released: u64,
    /// Bytes acknowledged that the endpoint has not taken account of.
    pub(super) delivered: u64,
    pub(super) congestion: Box<dyn Congestion>,
    /// Bytes of a datagram as `congestion` knows it.
    segment: u64,
    pub(super) pacer: Pacer,
    /// The retransmission timer.
    pub(super) timeout: Option<Time>,
}

impl Sending {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            flows: BTreeMap::new(),
            memory: 0,
            next_flow: FIRST_FLOW,
            last_served: 0,
            transmissions: Transmissions::new(),
            outstanding: 0,
            burst: 0,
            released: 0,
            delivered: 0,
            congestion: config.controller.start(config.max_datagram as u64),
            segment: config.max_datagram.max(1) as u64,
            pacer: Pacer::default(),
            timeout: None,
        }
    }

    /// Bytes of memory of all flows.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    /// Takes account of a flow that may have changed.
    pub(super) fn charge(&mut self, flow: u64) {
        if let Some(flow) = self.flows.get_mut(&flow) {
            let (before, after) = flow.charge();
            self.memory = self.memory + after - before;
        }
    }

    /// True if a flow may be named as the one that a new flow of the far end answers.
    pub(super) fn is_open(&self, flow: FlowId) -> bool {
        self.flows.get(&flow.0).is_some_and(SendFlow::is_open)
    }

    fn open(&mut self, metadata: &[u8], options: FlowOptions) -> Result<FlowId, SendError> {
        let id = FlowId(self.next_flow);
        let flow = SendFlow::new(id, metadata, options)?;
        self.next_flow += 1;
        self.flows.insert(id.0, flow);
        self.charge(id.0);
        Ok(id)
    }

    /// Changes a flow and takes account of it.
    fn change<R>(
        &mut self,
        id: FlowId,
        change: impl FnOnce(&mut SendFlow) -> R,
    ) -> Result<R, SendError> {
        let result = change(self.flows.get_mut(&id.0).ok_or(SendError::NoFlow)?);
        self.charge(id.0);
        Ok(result)
    }

    /// Drops a flow that has nothing left to be acknowledged. True if it was one.
    pub(super) fn remove_if_done(&mut self, flow: u64) -> bool {
        let done = self.flows.get(&flow).is_some_and(SendFlow::is_done);
        if done {
            let charged = self.flows.remove(&flow).map_or(0, |flow| flow.charged());
            self.memory -= charged;
        }
        done
    }

    /// The session is closed: drops every flow, and what is in flight.
    pub(super) fn end(&mut self) {
        self.flows.clear();
        self.memory = 0;
        self.transmissions.clear();
        self.outstanding = 0;
        self.timeout = None;
    }

    /// Abandons messages past their deadline. Returns the flows whose buffer probe is due
    /// (§3.6.2.9.1).
    pub(super) fn on_flow_timers(&mut self, now: Time, timeout: Duration) -> Vec<u64> {
        let mut probes = Vec::new();
        for (&id, flow) in &mut self.flows {
            flow.expire(now);
            let (before, after) = flow.charge();
            self.memory = self.memory + after - before;
            if flow.probe_due(now, timeout) {
                probes.push(id);
            }
        }
        probes
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let flows = self.flows.values().filter_map(SendFlow::next_timeout);
        flows.chain([self.timeout, self.pacer.due()].into_iter().flatten()).min()
    }

    /// True if user data may leave now: some waits, and window, burst and pace allow it.
    pub(super) fn may_send(&mut self, now: Time, config: &Config, own_queue: u64) -> bool {
        let space = self.congestion.window_with(own_queue).saturating_sub(self.outstanding);
        // Once a batch has begun it goes on until the window is full.
        let begun = self.burst > 0;
        if space == 0 || (!begun && space < self.congestion.batch()) {
            return false;
        }
        let rate = self.congestion.pacing_rate();
        // Pacing avoids bursts as well.
        if rate.is_none() && self.burst >= self.burst_limit(config) {
            return false;
        }
        if !self.has_ready() {
            self.on_app_limited();
            return false;
        }
        let burst = self.congestion.burst();
        rate.is_none_or(|rate| self.pacer.hold(now, rate, burst).is_none())
    }

    /// Datagrams have up to so many bytes.
    pub(super) fn set_segment(&mut self, segment: usize) {
        let segment = segment.max(1) as u64;
        if self.segment != segment {
            self.segment = segment;
            self.congestion.set_segment(segment);
        }
    }

    /// True if user data waits to leave, for the congestion window, the pace or its turn.
    pub(super) fn has_ready(&mut self) -> bool {
        self.flows.values_mut().any(SendFlow::is_ready)
    }

    /// Less is sent than the path would take.
    fn on_app_limited(&mut self) {
        self.congestion.on_app_limited(self.outstanding);
        // What was acknowledged meanwhile allows no burst later.
        self.released = 0;
    }

    /// Packets that may leave before the next acknowledgement: the RFC's few, or, where a far end
    /// acknowledges many at once, twice what it has just taken off the network, which is what slow
    /// start asks for and no burst that the path has not just carried.
    fn burst_limit(&self, config: &Config) -> u32 {
        let released = 2 * self.released / self.segment;
        config.burst_packets.max(u32::try_from(released).unwrap_or(u32::MAX))
    }

    /// Appends fragments until the packet, which begins at `start` and ends at `end`, or the window
    /// is full. Returns whether the packet is time critical, or `None` if there is no fragment.
    fn assemble(
        &mut self,
        own_queue: u64,
        (start, end): (usize, usize),
        out: &mut Vec<u8>,
    ) -> Option<bool> {
        let whole = (end - start).saturating_sub(MAX_HEADER_LEN + SEQUENCE_MARGIN).max(SMALLEST);
        let mut previous: Option<(u64, u64)> = None;
        let mut time_critical = false;
        let mut full = false;
        let window = self.congestion.window_with(own_queue);
        while !full
            && let Some(id) = self.next_to_serve()
            && let Some(flow) = self.flows.get_mut(&id)
        {
            let mut before = None;
            while !full && self.outstanding < window && flow.is_ready() {
                // A fragment cut for a larger packet goes out all the same, alone.
                let alone = previous.is_none() && out.len() <= start + MAX_HEADER_LEN;
                let left = if alone { usize::MAX } else { end.saturating_sub(out.len()) };
                let space = Space { left, whole };
                match flow.assemble(before, space, self.transmissions.next(), out) {
                    Some((sequence, size)) => {
                        self.transmissions.push(id, sequence);
                        self.outstanding += size;
                        self.last_served = id;
                        time_critical |= flow.options.time_critical;
                        before = Some(sequence);
                        previous = Some((id, sequence));
                    }
                    None => full = true,
                }
            }
            full |= self.outstanding >= window;
        }
        previous.map(|_| time_critical)
    }

    /// The ready flow of the highest priority; among equals the one after the last that was
    /// served, so that they take turns.
    fn next_to_serve(&mut self) -> Option<u64> {
        let last = self.last_served;
        let ready = self.flows.iter_mut().filter_map(|(&id, flow)| {
            let turn = (flow.options.priority, id > last, Reverse(id));
            flow.is_ready().then_some(turn)
        });
        ready.max().map(|(_, _, Reverse(id))| id)
    }

    /// A packet with user data is complete.
    fn on_packet(&mut self, now: Time, outstanding_before: u64, timeout: Duration) {
        self.burst += 1;
        let bytes = self.outstanding - outstanding_before;
        let tsn = self.transmissions.next() - 1;
        self.congestion.on_sent(&SentPacket { now, tsn, bytes, outstanding_before });
        if let Some(rate) = self.congestion.pacing_rate() {
            self.pacer.on_sent(now, bytes, rate);
        }
        self.timeout = Some(now + timeout);
    }
}

impl Session {
    /// Opens a sending flow (§3.6.2.1). Nothing leaves until a message is queued.
    pub(crate) fn open_flow(
        &mut self,
        metadata: &[u8],
        options: FlowOptions,
    ) -> Result<FlowId, SendError> {
        self.must_be_open()?;
        self.sending.open(metadata, options)
    }

    /// Queues a message.
    pub(crate) fn send(
        &mut self,
        now: Time,
        max_queue: u64,
        flow: FlowId,
        message: Bytes,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        self.must_be_open()?;
        self.sending.change(flow, |flow| flow.push(now, message, options, max_queue))?
    }

    /// Finishes a sending flow.
    pub(crate) fn close_flow(&mut self, flow: FlowId) -> Result<(), SendError> {
        self.must_be_open()?;
        self.sending.change(flow, SendFlow::close)
    }

    /// Bytes queued in a sending flow and not yet acknowledged.
    pub(crate) fn queued(&self, flow: FlowId) -> u64 {
        self.sending.flows.get(&flow.0).map_or(0, SendFlow::queued)
    }

    /// A limit of the endpoint holds user data back.
    pub(crate) fn on_limited(&mut self) {
        self.sending.on_app_limited();
    }

    /// True if the flow that is served next has time critical data.
    pub(crate) fn is_next_time_critical(&mut self) -> bool {
        let next = self.sending.next_to_serve();
        let flow = next.and_then(|id| self.sending.flows.get(&id));
        flow.is_some_and(|flow| flow.options.time_critical)
    }

    /// Congestion window, and user data in flight, in bytes.
    pub(crate) fn window(&self) -> (u64, u64) {
        (self.sending.congestion.window(), self.sending.outstanding)
    }

    /// Fragments until the packet is full. Returns whether the packet is time critical.
    pub(super) fn assemble_data(
        &mut self,
        cx: &mut Context<'_>,
        start: usize,
        end: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let outstanding_before = self.sending.outstanding;
        let Some(time_critical) = self.sending.assemble(cx.own_queue, (start, end), out) else {
            return false;
        };
        self.sending.on_packet(cx.now, outstanding_before, self.rtt.timeout());
        self.keepalive.on_data_sent(cx.now);
        if time_critical {
            self.note_time_critical_sent(cx);
        }
        time_critical
    }
}
