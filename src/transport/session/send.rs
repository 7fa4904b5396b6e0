//! Putting packets together.

use super::receive::recent;
use super::{Context, Sent, Session, State};
use crate::transport::congestion::SentPacket;
use crate::transport::transmit::MAX_BATCH;
use crate::transport::{Config, Path, Time, Transmit, TransmitBuf};
use crate::wire::PacketHeader;
use crate::wire::chunk::kind;
use crate::wire::packet::{CHUNK_HEADER_LEN, MAX_HEADER_LEN};
use std::cmp::Reverse;
use std::ops::Range;

/// What a fragment's chunk costs beside its data: header 3, flags 1, and the three VLUs of a flow
/// ID up to 2^14, a sequence number up to 2^42 and an offset up to 2^28, less than which no
/// session lasts.
const CHUNK_OVERHEAD: usize = 3 + 1 + 2 + 6 + 4;
/// Room kept for session sequence numbers that grow while fragments wait.
const SEQUENCE_MARGIN: usize = 4;
const FLAG_TIME_CRITICAL: u8 = 0x80;

impl Session {
    /// User data bytes of a fragment that fits into a datagram together with every header.
    pub(super) fn fragment_size(&self) -> usize {
        let plain = self.sealer.plain_capacity(self.path_mtu.size());
        plain.saturating_sub(MAX_HEADER_LEN + CHUNK_OVERHEAD + SEQUENCE_MARGIN).max(64)
    }

    /// Payload bytes of a chunk that fits into a datagram on its own.
    pub(crate) fn control_capacity(&self) -> usize {
        let plain = self.sealer.plain_capacity(self.path_mtu.base());
        plain.saturating_sub(MAX_HEADER_LEN + CHUNK_HEADER_LEN + SEQUENCE_MARGIN)
    }

    /// Puts the next batch into the empty `buf` and says where and how it goes.
    pub(crate) fn fill(&mut self, cx: &mut Context<'_>, buf: &mut TransmitBuf) -> Option<Transmit> {
        let path = self.outbox.front().and_then(|c| c.path).unwrap_or(self.path);
        let mut transmit = Transmit::to(path);
        if path == self.path && self.state == State::Open && self.path_mtu.has_probe() {
            self.assemble_probe(buf);
            transmit.alone = true;
            return Some(self.seal(cx, buf, transmit));
        }
        let burst = self.burst;
        let mut time_critical = false;
        while buf.datagrams.len() < MAX_BATCH && self.has_packet(cx, path) {
            time_critical |= self.assemble(cx, path, buf);
        }
        if buf.datagrams.is_empty() {
            return None;
        }
        if self.burst != burst {
            transmit.ecn = self.ecn.outgoing();
        }
        transmit.dscp = match cx.config.time_critical_dscp {
            Some(dscp) if time_critical => dscp,
            _ => cx.config.dscp,
        };
        Some(self.seal(cx, buf, transmit))
    }

    fn seal(&mut self, cx: &Context<'_>, buf: &mut TransmitBuf, transmit: Transmit) -> Transmit {
        self.sealer.seal(self.far_id, &mut buf.bytes, &buf.datagrams);
        self.stats.datagrams_sent += buf.datagrams.len() as u64;
        self.stats.bytes_sent += buf.bytes.len() as u64;
        self.path_mtu.on_sent(cx.now, self.stats.bytes_sent);
        Transmit { session: self.far_id, ..transmit }
    }

    fn has_packet(&mut self, cx: &Context<'_>, path: Path) -> bool {
        if path != self.path {
            return self.outbox.front().is_some_and(|c| c.path == Some(path));
        }
        self.outbox.front().is_some_and(|c| c.path.is_none())
            || (self.ack_now && !self.ack_queue.is_empty())
            || self.may_send_data(cx)
    }

    fn may_send_data(&mut self, cx: &Context<'_>) -> bool {
        let room = self.congestion.window().saturating_sub(self.outstanding);
        // Once a batch has begun it goes on until the window is full.
        let begun = self.burst > 0;
        if self.state != State::Open || room == 0 || (!begun && room < self.congestion.batch()) {
            return false;
        }
        let rate = self.congestion.pacing_rate();
        // Pacing avoids bursts as well.
        if rate.is_none() && self.burst >= self.burst_limit(cx.config) {
            return false;
        }
        if !self.send_flows.values_mut().any(|flow| flow.is_ready()) {
            self.congestion.on_app_limited(self.outstanding);
            // What was acknowledged while nothing waited allows no burst later.
            self.released = 0;
            return false;
        }
        let segment = cx.config.max_datagram as u64;
        rate.is_none_or(|rate| self.pacer.hold(cx.now, rate, segment).is_none())
    }

    /// Packets that may leave before the next acknowledgement: the RFC's few, or, where a far end
    /// acknowledges many at once, twice what it has just taken off the network, which is what slow
    /// start asks for and no burst that the path has not just carried.
    fn burst_limit(&self, config: &Config) -> u32 {
        let released = 2 * self.released / config.max_datagram.max(1) as u64;
        config.burst_packets.max(u32::try_from(released).unwrap_or(u32::MAX))
    }

    /// The transmission sequence number of the next fragment (§3.6.2.5).
    pub(super) fn next_tsn(&self) -> u64 {
        self.first_tsn + self.sent.len() as u64
    }

    /// One packet: control chunks, acknowledgements, user data. Returns whether it is time
    /// critical.
    fn assemble(&mut self, cx: &mut Context<'_>, path: Path, buf: &mut TransmitBuf) -> bool {
        let mtu = if path == self.path { self.path_mtu.size() } else { self.path_mtu.base() };
        let capacity = self.sealer.plain_capacity(mtu);
        let packet = self.sealer.begin(&mut buf.bytes);
        let start = buf.bytes.len();
        self.header(cx).encode(&mut buf.bytes);
        let end = start + capacity;
        self.assemble_control(path, start, end, &mut buf.bytes);
        let mut time_critical = false;
        if path == self.path {
            let wants_data = self.may_send_data(cx);
            if self.ack_now || wants_data {
                self.assemble_acks(cx, start, end, &mut buf.bytes);
            }
            time_critical = wants_data && self.assemble_data(cx, start, end, &mut buf.bytes);
            if time_critical {
                buf.bytes[start] |= FLAG_TIME_CRITICAL;
            }
        }
        if buf.bytes.len() > end && self.path_mtu.has_shrunk() {
            let plain = buf.bytes[start..].to_vec();
            self.sealer.abandon(&mut buf.bytes, packet);
            self.push_in_pieces(&plain, mtu, buf);
            return time_critical;
        }
        let before = buf.datagrams.last().map_or(0, Range::len);
        let datagram = self.sealer.finish_alike(&mut buf.bytes, packet, before);
        buf.datagrams.push(datagram);
        time_critical
    }

    fn header(&mut self, cx: &Context<'_>) -> PacketHeader {
        let (timestamp, timestamp_echo) = self.rtt.stamp(cx.now);
        let elsewhere = cx.time_critical.received.filter(|(_, session)| *session != self.id);
        PacketHeader {
            time_critical_reverse: recent(cx.now, elsewhere.map(|(at, _)| at)),
            timestamp,
            timestamp_echo,
            ..PacketHeader::new(self.near_mode())
        }
    }

    fn assemble_control(&mut self, path: Path, start: usize, end: usize, out: &mut Vec<u8>) {
        let wanted = (path != self.path).then_some(path);
        let empty = out.len();
        debug_assert!(empty > start);
        while let Some(control) = self.outbox.front()
            && control.path == wanted
            && (out.len() == empty || out.len() + control.chunk.len() <= end)
        {
            out.extend_from_slice(&control.chunk);
            self.outbox.pop_front();
        }
    }

    /// Acknowledgements of every flow that is ready for one (§3.6.3.4.5, §3.6.3.4.6).
    fn assemble_acks(&mut self, cx: &Context<'_>, start: usize, end: usize, out: &mut Vec<u8>) {
        let mut first = true;
        if let Some(count) = self.ecn.report().filter(|_| !self.ack_queue.is_empty()) {
            out.extend_from_slice(&[kind::ECN_REPORT, 0, 1, count]);
            self.ecn.on_report_sent();
        }
        while let Some(&flow) = self.ack_queue.front() {
            let room = end.saturating_sub(out.len());
            debug_assert!(out.len() > start);
            let fits = self.recv_flows.change(flow, |f| {
                let wanted = f.should_ack;
                let bitmaps = cx.config.bitmap_acks;
                let fits = !wanted || f.assemble_ack(room, first, bitmaps, cx.now, out);
                f.ack_queued &= !fits;
                first &= !(wanted && fits);
                fits
            });
            if fits == Some(false) {
                return;
            }
            self.ack_queue.pop_front();
        }
        self.ack_now = false;
        self.delayed_ack = None;
        self.data_packets = 0;
    }

    /// Fragments until the packet is full. Returns whether the packet is time critical.
    fn assemble_data(
        &mut self,
        cx: &mut Context<'_>,
        start: usize,
        end: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut previous: Option<(u64, u64)> = None;
        let mut time_critical = false;
        let mut full = false;
        let outstanding_before = self.outstanding;
        let window = self.congestion.window();
        while !full
            && let Some(id) = self.next_flow_to_serve()
            && let Some(flow) = self.send_flows.get_mut(&id)
        {
            let mut before = None;
            while !full && self.outstanding < window && flow.is_ready() {
                // A fragment queued before the session sequence number grew may exceed the packet
                // by a byte or two; alone in a packet it goes out all the same.
                let alone = previous.is_none() && out.len() <= start + MAX_HEADER_LEN;
                let room = if alone { usize::MAX } else { end.saturating_sub(out.len()) };
                let tsn = self.first_tsn + self.sent.len() as u64;
                match flow.assemble(before, room, tsn, out) {
                    Some((sequence, size)) => {
                        let record = Sent { flow: id, sequence, in_flight: true, naks: 0 };
                        self.sent.push_back(record);
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
        if previous.is_some() {
            self.note_data_sent(cx, outstanding_before, time_critical);
        }
        time_critical
    }

    fn note_data_sent(
        &mut self,
        cx: &mut Context<'_>,
        outstanding_before: u64,
        time_critical: bool,
    ) {
        self.burst += 1;
        let bytes = self.outstanding - outstanding_before;
        let tsn = self.next_tsn() - 1;
        self.congestion.on_sent(&SentPacket { now: cx.now, tsn, bytes, outstanding_before });
        if let Some(rate) = self.congestion.pacing_rate() {
            self.pacer.on_sent(cx.now, bytes, rate);
        }
        self.timeout = Some(cx.now + self.rtt.timeout());
        self.unanswered_since.get_or_insert(cx.now);
        if time_critical {
            self.time_critical_sent = Some(cx.now);
            cx.time_critical.sent = Some(cx.now);
        }
    }

    /// The ready flow of the highest priority; among equals the one after the last that was
    /// served, so that they take turns.
    fn next_flow_to_serve(&mut self) -> Option<u64> {
        let last = self.last_served;
        let ready = self.send_flows.iter_mut().filter_map(|(&id, flow)| {
            let turn = (flow.options.priority, id > last, Reverse(id));
            flow.is_ready().then_some(turn)
        });
        ready.max().map(|(_, _, Reverse(id))| id)
    }

    /// A retransmission timeout (§3.6.2.6): everything in flight counts as lost.
    pub(super) fn on_retransmission_timeout(&mut self, now: Time) {
        let outstanding = self.outstanding;
        let large = self.large_fragment();
        self.first_tsn += self.sent.len() as u64;
        for record in self.sent.drain(..).filter(|record| record.in_flight) {
            if let Some(flow) = self.send_flows.get_mut(&record.flow) {
                let size = flow.on_lost(record.sequence);
                self.outstanding -= size;
                self.path_mtu.on_lost(now, size, large);
            }
        }
        let lost = outstanding - self.outstanding;
        self.ecn.on_timeout();
        self.burst = 0;
        self.timeout = None;
        if lost > 0 {
            self.stats.timeouts += 1;
            self.rtt.back_off();
            self.seek(now);
        }
        self.congestion.on_timeout(lost);
    }
}
