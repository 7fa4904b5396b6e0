//! Processing of packets of an open or closing session.

use super::mobility::MOBILITY_PING;
use super::{Context, Session};
use crate::crypto::Opened;
use crate::transport::congestion::AckReport;
use crate::transport::recv_flow::{Delivery, Received, RecvFlow};
use crate::transport::{Ecn, Event, FlowId, Path, Time};
use crate::wire::chunk::{
    ForwardedHello, OPTION_METADATA, OPTION_RETURN_ASSOCIATION, RangeAck, UserDataFlags, kind,
};
use crate::wire::multiplex::SESSION_ID_LEN;
use crate::wire::packet::chunks;
use crate::wire::{Chunk, OptionList, PacketHeader, vlu};
use bytes::Bytes;

/// A flow option with a type below this must be understood (§2.3.11.1).
const FIRST_IGNORABLE_OPTION: u64 = 8192;
/// A Forwarded Initiator Hello that should be answered.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) epd: Vec<u8>,
    pub(crate) reply: std::net::SocketAddr,
    pub(crate) tag: Vec<u8>,
}

/// Results of the chunks of one packet so far.
#[derive(Default)]
pub(super) struct Packet {
    report: AckReport,
    data: bool,
    /// Flow, sequence number and forward sequence number of the last fragment.
    last_fragment: Option<(u64, u64, u64)>,
    forwarded: Vec<Forwarded>,
    /// The far end has received congestion marks.
    congested: bool,
}

impl Session {
    /// Verifies and decrypts datagrams, given without their session IDs.
    pub(crate) fn open_packets(&mut self, encrypted: &mut [&mut [u8]], opened: &mut [Opened]) {
        self.opener.open_batch(encrypted, opened);
    }

    /// Takes what [`open_packets`](Self::open_packets) has made of a datagram: its header and its
    /// chunks, or `None` if it is not a valid packet of this session. The far end has the keys if
    /// it is one.
    pub(crate) fn accept<'a>(
        &mut self,
        now: Time,
        datagram: &'a [u8],
        opened: &Opened,
    ) -> Option<(PacketHeader, &'a [u8])> {
        let parsed = match opened {
            Ok(plain) => PacketHeader::parse(datagram.get(plain.clone())?).ok(),
            Err(error) => {
                tracing::trace!(session = %self.id, %error, "packet refused");
                None
            }
        };
        let Some((header, rest)) = parsed.filter(|(header, _)| self.expects(header)) else {
            self.stats.datagrams_refused += 1;
            return None;
        };
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += (datagram.len() + SESSION_ID_LEN) as u64;
        self.confirmed = true;
        self.keepalive.on_packet(now);
        Some((header, rest))
    }

    /// Processes what [`accept`](Self::accept) has taken. Returns the hellos that
    /// were forwarded in it.
    pub(crate) fn handle_packet(
        &mut self,
        cx: &mut Context<'_>,
        (path, ecn): (Path, Ecn),
        header: &PacketHeader,
        rest: &[u8],
    ) -> Vec<Forwarded> {
        self.note_header(cx, header);
        let mut packet = Packet::default();
        packet.report.outstanding_before = self.sending.outstanding;
        self.ecn.on_packet(ecn);
        self.handle_chunks(cx, path, &mut packet, rest, false);
        self.after_chunks(cx, path, &mut packet);
        packet.forwarded
    }

    /// Processes the chunks of a packet, or of one that came `in_pieces`, which itself contains no
    /// pieces.
    pub(super) fn handle_chunks(
        &mut self,
        cx: &mut Context<'_>,
        path: Path,
        packet: &mut Packet,
        rest: &[u8],
        in_pieces: bool,
    ) {
        for chunk in chunks(rest) {
            match chunk {
                Chunk::PacketFragment(_) if in_pieces || !self.is_open() => {}
                Chunk::PacketFragment(piece) => self.on_packet_fragment(cx, path, packet, &piece),
                chunk => self.handle_chunk(cx, path, packet, chunk),
            }
        }
    }

    fn expects(&self, header: &PacketHeader) -> bool {
        header.mode == self.far_mode()
    }

    pub(super) fn note_header(&mut self, cx: &mut Context<'_>, header: &PacketHeader) {
        self.rtt.on_packet(cx.now, header.timestamp, header.timestamp_echo);
        self.forward_delay.on_packet(cx.now, header.timestamp, header.timestamp_echo);
        self.note_time_critical(cx, header.time_critical, header.time_critical_reverse);
    }

    fn handle_chunk(
        &mut self,
        cx: &mut Context<'_>,
        path: Path,
        packet: &mut Packet,
        chunk: Chunk<'_>,
    ) {
        match chunk {
            Chunk::CloseRequest => return self.on_close_request(cx),
            Chunk::CloseAck => return self.on_close_ack(cx),
            _ if !self.is_open() => return,
            _ => {}
        }
        match chunk {
            // A ping that is longer than what may be sent has no identical answer.
            Chunk::Ping(message) if message.len() <= self.control_capacity() => {
                let elsewhere = (path != self.path).then_some(path);
                self.outbox.push(elsewhere, kind::PING_REPLY, message);
            }
            Chunk::PingReply(message) => self.on_ping_reply(cx, path, message),
            Chunk::UserData(data) => {
                let fragment =
                    received(data.sequence, data.forward_sequence(), data.flags, data.data);
                packet.last_fragment = Some((data.flow, data.sequence, fragment.forward));
                packet.data = true;
                self.on_fragment(cx, data.flow, data.options, fragment);
            }
            Chunk::NextUserData(data) => {
                let Some((flow, sequence, forward)) = packet.last_fragment else { return };
                let Some(sequence) = sequence.checked_add(1) else { return };
                packet.last_fragment = Some((flow, sequence, forward));
                let fragment = received(sequence, forward, data.flags, data.data);
                self.on_fragment(cx, flow, data.options, fragment);
            }
            Chunk::BitmapAck(ack) => {
                let state = (ack.buffer_blocks, ack.cumulative);
                self.on_ack(cx, &mut packet.report, ack.flow, state, ack.ranges());
            }
            Chunk::RangeAck(ack) => {
                let state = (ack.buffer_blocks, ack.cumulative);
                self.on_ack(cx, &mut packet.report, ack.flow, state, ack.ranges());
            }
            Chunk::BufferProbe(flow) => self.on_buffer_probe(flow),
            Chunk::FlowException { flow, exception } => self.on_exception(cx, flow, exception),
            Chunk::EcnReport(count) => packet.congested |= self.ecn.on_report(count),
            Chunk::ForwardedHello(hello) => self.on_forwarded_hello(cx, packet, &hello),
            _ => {}
        }
    }

    fn on_fragment(
        &mut self,
        cx: &mut Context<'_>,
        flow: u64,
        options: Option<&[u8]>,
        fragment: Received<'_>,
    ) {
        if !self.receiving.contains(flow) {
            if self.receiving.len() >= cx.config.max_flows && !self.drop_complete_flow() {
                cx.counters.flows_refused += 1;
                return self.refuse_flow(flow, &fragment);
            }
            self.start_flow(cx, flow, options);
        } else if options.is_some_and(|o| FlowStart::parse(o).is_none()) {
            self.reject_unasked(cx, flow);
        }
        // The rest is for messages in progress, which those out of order become.
        let space = (cx.config.max_session_memory / 2).saturating_sub(self.received_memory());
        let (session, flow_id, now) = (self.id, FlowId(flow), cx.now);
        let events = &mut *cx.events;
        let mut sink = |delivery: Delivery| events.push_back(delivery.into_event(session, flow_id));
        let receive = |f: &mut RecvFlow| f.receive(now, fragment, space, &mut sink);
        let Some(outcome) = self.receiving.change(flow, receive) else { return };
        cx.counters.fragments_refused += u64::from(outcome.refused);
        self.queue_ack(flow);
        self.acks.on_fragment(cx.now);
        self.note_outcome(cx, flow_id, &outcome);
        while self.received_memory() > cx.config.max_session_memory && self.reject_heaviest(cx) {}
    }

    /// Rejects the flow that costs most memory, because messages that come in order have used up
    /// what the session may hold: nothing that was acknowledged is dropped of a flow that goes on.
    /// False if there is none that could be rejected.
    fn reject_heaviest(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(flow) = self.receiving.heaviest() else { return false };
        let rejected = self.reject_flow(FlowId(flow), 0).is_ok();
        if rejected {
            cx.counters.flows_rejected += 1;
            tracing::debug!(session = %self.id, flow, "too much memory for messages in progress");
            cx.events.push_back(Event::FlowFinished { session: self.id, flow: FlowId(flow) });
        }
        rejected
    }

    /// Rejects a flow beyond the bound on flows, without keeping state for it: each of its
    /// fragments is answered by an exception, and its end is acknowledged, so that the far end is
    /// done with it.
    fn refuse_flow(&mut self, flow: u64, fragment: &Received<'_>) {
        let mut payload = Vec::new();
        vlu::encode(flow, &mut payload);
        vlu::encode(0, &mut payload);
        self.outbox.push(None, kind::FLOW_EXCEPTION, &payload);
        if fragment.last {
            let next = fragment.forward.checked_add(1) == Some(fragment.sequence);
            let cumulative = if next { fragment.sequence } else { fragment.forward };
            let ack = RangeAck { flow, buffer_blocks: 0, cumulative, runs: &[] };
            payload.clear();
            ack.encode(&mut payload);
            self.outbox.push(None, kind::RANGE_ACK, &payload);
        }
    }

    /// Makes space for a new receiving flow by dropping the complete one that has answered
    /// repetitions longest. False if there is none.
    fn drop_complete_flow(&mut self) -> bool {
        let Some(oldest) = self.receiving.oldest_complete() else { return false };
        self.receiving.remove(oldest);
        true
    }

    /// A new receiving flow (§3.6.3.1); rejected at once if the far end may not open it like this.
    fn start_flow(&mut self, cx: &mut Context<'_>, id: u64, options: Option<&[u8]>) {
        let flow = FlowId(id);
        // More could not be held: the far end is not invited to send it.
        let buffer = cx.config.receive_buffer.min(cx.config.max_session_memory / 2);
        let mut receiving = RecvFlow::new(flow, buffer, cx.config.max_message);
        let start = options
            .and_then(FlowStart::parse)
            .filter(|start| start.association.is_none_or(|to| self.sending.is_open(to)));
        match start {
            Some(FlowStart { metadata: Some(metadata), association }) => {
                let session = self.id;
                cx.events.push_back(Event::FlowOpened { session, flow, metadata, association });
            }
            _ => {
                receiving.reject(0);
            }
        }
        self.receiving.insert(receiving);
        self.acks.send_now();
    }

    /// An open flow sent an option that must be understood and is not.
    fn reject_unasked(&mut self, cx: &mut Context<'_>, flow: u64) {
        if self.reject_flow(FlowId(flow), 0).is_ok() {
            cx.events.push_back(Event::FlowFinished { session: self.id, flow: FlowId(flow) });
        }
    }

    fn on_buffer_probe(&mut self, flow: u64) {
        if self.receiving.change(flow, |f| f.should_ack = true).is_some() {
            self.queue_ack(flow);
            self.acks.send_now();
        }
    }

    fn on_forwarded_hello(
        &mut self,
        cx: &mut Context<'_>,
        packet: &mut Packet,
        hello: &ForwardedHello<'_>,
    ) {
        if self.budget.take_hello(cx.now, cx.config.forwarded_hellos_per_second) {
            packet.forwarded.push(Forwarded {
                epd: hello.epd.to_vec(),
                reply: hello.reply_address.socket,
                tag: hello.tag.to_vec(),
            });
        }
    }

    fn on_ping_reply(&mut self, cx: &mut Context<'_>, path: Path, message: &[u8]) {
        if path == self.path {
            self.path_mtu.on_reply(cx.now, self.rtt.timeout(), message);
        }
        if path != self.path && self.mobility.confirm(cx.now, path.remote, message) {
            tracing::debug!(session = %self.id, from = %self.path.remote, to = %path.remote, "far end moved");
            self.mobility.note(cx.now, self.path);
            self.path = path;
            self.path_mtu.on_moved(cx.now);
            self.outbox.on_moved(path);
            let address = path.remote;
            cx.events.push_back(Event::AddressChanged { session: self.id, address });
        }
    }

    fn after_chunks(&mut self, cx: &mut Context<'_>, path: Path, packet: &mut Packet) {
        if !self.is_open() {
            return;
        }
        if packet.data {
            let may_ride = self.sending.has_ready();
            self.acks.on_data_packet(cx.now, may_ride);
        }
        self.after_acks(cx, std::mem::take(&mut packet.report), packet.congested);
        if path != self.path {
            self.mobility.note(cx.now, path);
        }
        // The source may be forged.
        if path != self.path
            && self.credit() >= MOBILITY_PING
            && let Some(message) = self.mobility.challenge(cx.now, path.remote)
        {
            self.spend_credit(MOBILITY_PING);
            self.outbox.push(Some(path), kind::PING, &message);
        }
    }
}

/// Options that begin a flow.
struct FlowStart {
    metadata: Option<Bytes>,
    association: Option<FlowId>,
}

impl FlowStart {
    /// `None` if an option is malformed, repeated, or must be understood and is not.
    fn parse(encoded: &[u8]) -> Option<Self> {
        let (list, _) = OptionList::parse(encoded).ok()?;
        let mut start = Self { metadata: None, association: None };
        for option in list.0 {
            match option.kind {
                OPTION_METADATA if start.metadata.is_none() => start.metadata = Some(option.value),
                OPTION_RETURN_ASSOCIATION if start.association.is_none() => {
                    let (flow, _) = vlu::parse("association.flowID", &option.value).ok()?;
                    start.association = Some(FlowId(flow));
                }
                FIRST_IGNORABLE_OPTION.. => {}
                _ => return None,
            }
        }
        Some(start)
    }
}

fn received(sequence: u64, forward: u64, flags: UserDataFlags, data: &[u8]) -> Received<'_> {
    let UserDataFlags { fragment: control, abandon, last, .. } = flags;
    Received { sequence, forward, control, abandon, last, data }
}
