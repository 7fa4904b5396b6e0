//! What the far end of a session does, judged.

use super::{ANSWER, FINISHED, Forwarded, InFlow, Options, Session, State, With, whole};
use crate::recorded_player::client::CONTROL;
use crate::recorded_player::rules::Judge;
use rtmfp::proto::transport::Time;
use rtmfp::wire::chunk::{NextUserData, UserData, UserDataFlags, kind};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, Mode, PacketHeader, multiplex};
use std::net::SocketAddr;

/// The largest datagram.
const MAX_DATAGRAM: usize = 1200;
/// Chunks that the player reads.
const KNOWN_CHUNKS: [u8; 12] = [
    kind::PING,
    kind::PING_REPLY,
    kind::USER_DATA,
    kind::NEXT_USER_DATA,
    kind::BITMAP_ACK,
    kind::RANGE_ACK,
    kind::BUFFER_PROBE,
    kind::FLOW_EXCEPTION,
    kind::CLOSE_REQUEST,
    kind::CLOSE_ACK,
    kind::FORWARDED_HELLO,
    kind::PADDING_FF,
];

impl Session {
    /// Takes a datagram for this session. False if it is not from the far end.
    pub fn receive(
        &mut self,
        now: Time,
        from: SocketAddr,
        datagram: &[u8],
        judge: &mut Judge,
    ) -> bool {
        let len = datagram.len();
        let mut encrypted = datagram[multiplex::SESSION_ID_LEN..].to_vec();
        let opened = self.opener.open(&mut encrypted);
        let error = opened.err();
        judge.rule(now, "packets are verified as was agreed", error.is_none(), || {
            format!("{error:?}")
        });
        let Ok(plain) = opened else { return false };
        let Ok((header, rest)) = PacketHeader::parse(plain) else {
            judge.rule(now, "packets have a header", false, || format!("{plain:02x?}"));
            return false;
        };
        self.received += 1;
        judge.rule(now, "no datagram over 1,200 bytes", len <= MAX_DATAGRAM, || len.to_string());
        let far_mode = match self.mode {
            Mode::Initiator => Mode::Responder,
            _ => Mode::Initiator,
        };
        judge.rule(
            now,
            "session packets have the mode of the sender's role",
            header.mode == far_mode,
            || format!("{header:?}"),
        );
        if let Some(timestamp) = header.timestamp {
            self.far_timestamp = Some((timestamp, now));
        }
        let mut all = chunks(rest);
        let mut previous = None;
        while let Some((code, payload)) = all.raw() {
            judge.rule(
                now,
                "no chunks that the player does not read",
                KNOWN_CHUNKS.contains(&code),
                || format!("{code:02x}"),
            );
            let parsed = Chunk::parse(code, payload);
            judge.rule(now, "every chunk can be parsed", parsed.is_ok(), || {
                format!("{code:02x} {payload:02x?}")
            });
            if let Ok(chunk) = parsed {
                self.on_chunk(now, from, &chunk, &mut previous, judge);
            }
        }
        judge.rule(
            now,
            "a packet ends with its chunks and padding",
            all.rest().iter().all(|b| matches!(b, 0xff | 0)),
            || format!("{:02x?}", all.rest()),
        );
        self.process(now, judge);
        true
    }

    fn on_chunk(
        &mut self,
        now: Time,
        from: SocketAddr,
        chunk: &Chunk<'_>,
        previous: &mut Option<(u64, u64, u64)>,
        judge: &mut Judge,
    ) {
        match *chunk {
            Chunk::UserData(data) => {
                *previous = Some((data.flow, data.sequence, data.forward_sequence()));
                self.on_data(now, &data, judge);
            }
            Chunk::NextUserData(next) => {
                let Some((flow, sequence, forward)) = *previous else {
                    return judge.rule(now, "next user data follows user data", false, String::new);
                };
                let sequence = sequence + 1;
                *previous = Some((flow, sequence, forward));
                let NextUserData { flags, options, data } = next;
                let fsn_offset = sequence - forward;
                self.on_data(
                    now,
                    &UserData { flags, flow, sequence, fsn_offset, options, data },
                    judge,
                );
            }
            Chunk::RangeAck(ack) => self.on_ack(now, ack.flow, ack.cumulative, judge),
            Chunk::BitmapAck(ack) => self.on_ack(now, ack.flow, ack.cumulative, judge),
            Chunk::Ping(payload) => {
                let mut bytes = Vec::new();
                Chunk::PingReply(payload).encode(&mut bytes).unwrap();
                if self.is_open() {
                    self.send(now, from, &bytes, false);
                }
            }
            Chunk::PingReply(payload) => {
                let asked = self.pings.iter().position(|(sent, _)| sent == payload);
                let in_time = asked.map(|at| now.since(self.pings.remove(at).1));
                judge.rule(
                    now,
                    "a ping is answered at once with the same bytes",
                    in_time.is_some_and(|time| time <= ANSWER),
                    || format!("{payload:02x?} after {in_time:?}"),
                );
            }
            Chunk::FlowException { flow, .. } => self.on_exception(now, flow, judge),
            Chunk::CloseRequest => {
                let mut bytes = Vec::new();
                Chunk::CloseAck.encode(&mut bytes).unwrap();
                self.send(now, from, &bytes, false);
                self.state = State::Closed(now);
            }
            Chunk::CloseAck => {
                if let State::Closing(since) = self.state {
                    judge.rule(
                        now,
                        "a close request is confirmed at once",
                        now.since(since) <= ANSWER,
                        || format!("after {:?}", now.since(since)),
                    );
                }
                self.state = State::Closed(now);
            }
            Chunk::ForwardedHello(hello) => self.forwarded.push(Forwarded {
                epd: hello.epd.to_vec(),
                tag: hello.tag.to_vec(),
                reply: hello.reply_address.socket,
            }),
            Chunk::BufferProbe(flow) => {
                judge.rule(
                    now,
                    "probes are for flows of the prober",
                    self.inc.contains_key(&flow),
                    || flow.to_string(),
                );
            }
            _ => {}
        }
    }

    fn on_data(&mut self, now: Time, data: &UserData<'_>, judge: &mut Judge) {
        let empty = data.data.is_empty();
        judge.rule(
            now,
            "never the end of a flow on an empty fragment that is not abandoned",
            !(data.flags.last && empty && !data.flags.abandon),
            || format!("{data:02x?}"),
        );
        if let State::Left(since) | State::Closed(since) = self.state {
            judge.rule(now, "after the goodbye no user data", now.since(since) <= ANSWER, || {
                format!("{data:02x?}")
            });
            return;
        }
        if !self.inc.contains_key(&data.flow) {
            let Some(options) = data.options.map(Options::parse) else {
                return judge
                    .rule(now, "a flow begins with its options", false, || format!("{data:02x?}"));
            };
            self.judge_new_flow(now, data.flow, &options, judge);
            self.inc.insert(data.flow, InFlow::new(options));
        }
        let Some(flow) = self.inc.get_mut(&data.flow) else { return };
        let was_finished = flow.finished.is_some();
        let messages = flow.take(now, data);
        if let Some(rejected) = flow.rejected {
            if flow.finished.is_some() && !was_finished {
                let after = now.since(rejected);
                judge.rule(now, FINISHED, after <= ANSWER, || format!("after {after:?}"));
            }
            return;
        }
        flow.messages += messages.len() as u64;
        let options = flow.options.clone();
        for message in messages {
            let answer = match &mut self.with {
                With::Server(client) => {
                    client.message(now, &options, &message, judge);
                    None
                }
                With::Peer(member) => member.message(now, data.flow, &options, &message, judge),
            };
            if let Some((flow, answer)) = answer {
                self.say_extra(now, flow, whole(), &answer);
                judge.replayed("reports that answer");
            }
        }
    }

    fn judge_new_flow(&mut self, now: Time, flow: u64, options: &Options, judge: &mut Judge) {
        match &mut self.with {
            With::Server(client) => {
                let own = self.out.iter().map(|(&id, flow)| (id, flow.metadata.clone())).collect();
                client.flow_opened(now, options, &own, judge);
            }
            With::Peer(member) => member.flow_opened(now, flow, options, judge),
        }
    }

    fn on_ack(&mut self, now: Time, flow: u64, cumulative: u64, judge: &mut Judge) {
        let out = self.out.get_mut(&flow);
        judge.rule(
            now,
            "acknowledged is what was sent",
            out.as_ref().is_some_and(|out| cumulative <= out.last),
            || format!("flow {flow} up to {cumulative}"),
        );
        if let Some(out) = out {
            out.acked = out.acked.max(cumulative);
        }
    }

    /// The far end rejects a flow of the player's: the player finishes it, abandoning what is left.
    fn on_exception(&mut self, now: Time, flow: u64, judge: &mut Judge) {
        let Some(out) = self.out.get_mut(&flow) else {
            return judge.rule(now, "rejected is what was opened", false, || flow.to_string());
        };
        let may = match (&self.with, &out.metadata[..]) {
            (With::Peer(_), [b'G', b'R', kind]) => matches!(kind, 0x11 | 0x12),
            (With::Peer(_), _) => true,
            (With::Server(_), metadata) => flow != CONTROL && metadata != b"GC",
        };
        judge.rule(
            now,
            "the player's control, GC, 1C, 15, 18, 19 and 1D flows are not rejected",
            may,
            || format!("{:02x?}", out.metadata),
        );
        let again = std::mem::replace(&mut out.rejected, true);
        if !again && !out.finished {
            judge.replayed("flows finished for being rejected");
            self.say_extra(now, flow, UserDataFlags { abandon: true, last: true, ..whole() }, &[]);
        }
    }
}
