//! Assembly of packets.

use super::{Context, Session};
use crate::transport::transmit::MAX_BATCH;
use crate::transport::{Path, Transmit, TransmitBuf};
use crate::wire::PacketHeader;
use crate::wire::chunk::CHUNK_HEADER_LEN;
use crate::wire::packet::MAX_HEADER_LEN;
use std::ops::Range;

/// Bytes kept free for session sequence numbers that grow while fragments wait.
const SEQUENCE_MARGIN: usize = 4;
const FLAG_TIME_CRITICAL: u8 = 0x80;

impl Session {
    /// Payload bytes of a chunk that fits into a datagram on its own.
    pub(crate) fn control_capacity(&self) -> usize {
        let plain = self.sealer.plain_capacity(self.path_mtu.base());
        plain.saturating_sub(MAX_HEADER_LEN + CHUNK_HEADER_LEN + SEQUENCE_MARGIN)
    }

    /// Puts the next batch into the empty `buf`. Returns its destination and marks.
    pub(crate) fn fill(&mut self, cx: &mut Context<'_>, buf: &mut TransmitBuf) -> Option<Transmit> {
        let path = self.outbox.first_detour().unwrap_or(self.path);
        let mut transmit = Transmit::to(path);
        if path == self.path && self.is_open() && self.path_mtu.has_probe() {
            self.assemble_probe(buf);
            transmit.alone = true;
            return Some(self.seal(cx, buf, transmit));
        }
        self.sending.set_segment(self.path_mtu.segment());
        let burst = self.sending.burst;
        let mut time_critical = false;
        while buf.datagrams.len() < MAX_BATCH && self.has_packet(cx, path) {
            let before = buf.bytes.len();
            time_critical |= self.assemble(cx, path, buf);
            cx.allowance = cx.allowance.saturating_sub((buf.bytes.len() - before) as u64);
        }
        if buf.datagrams.is_empty() {
            return None;
        }
        if self.sending.burst != burst {
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
            return self.outbox.is_first_for(Some(path));
        }
        self.outbox.is_first_for(None) || self.acks.want_packet() || self.may_send_data(cx)
    }

    fn may_send_data(&mut self, cx: &Context<'_>) -> bool {
        cx.allowance > 0 && self.wants_to_send(cx)
    }

    /// True if user data could leave, the allowance aside.
    pub(crate) fn wants_to_send(&mut self, cx: &Context<'_>) -> bool {
        self.is_open() && self.sending.may_send(cx.now, cx.config, cx.own_queue)
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
        let detour = (path != self.path).then_some(path);
        self.outbox.assemble(detour, end, &mut buf.bytes);
        let mut time_critical = false;
        if path == self.path {
            let wants_data = self.may_send_data(cx);
            if self.acks.are_due() || wants_data {
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
        PacketHeader {
            time_critical_reverse: self.receives_elsewhere(cx),
            timestamp,
            timestamp_echo,
            ..PacketHeader::new(self.near_mode())
        }
    }
}
