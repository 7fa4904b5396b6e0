//! Clients that play streams which they also publish, and do not take what comes: half of them
//! acknowledge nothing, half have no space.

use super::amf::send_whole;
use super::line::Line;
use super::packets::{command, message, metadata};
use super::puppet::{Acks, CONTROL, Puppets};
use super::{Attack, Setting};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::flash::{Body, FlowMetadata};
use std::time::Duration;

const SESSIONS: usize = 500;
/// Streams, and so sessions that publish.
const STREAMS: usize = 4;
/// The NetStream of each client, and its flow.
const STREAM: u32 = 1;
const FLOW: u64 = 3;
/// Bytes of a video message.
const FRAME: usize = 16 << 10;

pub(super) struct Readers {
    puppets: Puppets,
    sequences: [u64; STREAMS],
    next: usize,
}

impl Readers {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let (offer, count) = (Negotiation::default(), setting.sessions.unwrap_or(SESSIONS));
        let mut puppets = Puppets::connect(line, &setting.uri, (count, 1), &offer)?;
        let create = command("createStream", 2.0, Vec::new())?;
        for puppet in &mut puppets.all {
            let packet = puppet.message(CONTROL, 2, None, &create);
            line.send(puppet.at, &packet);
        }
        let wait = |puppets: &mut Puppets, line: &mut Line| {
            for _ in 0..50 {
                puppets.serve(line)?;
                std::thread::sleep(Duration::from_millis(10));
            }
            anyhow::Ok(())
        };
        wait(&mut puppets, line)?;
        for (number, puppet) in puppets.all.iter_mut().enumerate() {
            let name = Value::from(format!("attack{}", number % STREAMS));
            let request = match number < STREAMS {
                true => command("publish", 0.0, vec![name, Value::from("live")])?,
                false => command("play", 0.0, vec![name])?,
            };
            let of = Some(FlowMetadata::tc(STREAM));
            let packet = puppet.message(FLOW, 1, of, &request);
            line.send(puppet.at, &packet);
        }
        wait(&mut puppets, line)?;
        for (number, puppet) in puppets.all.iter_mut().enumerate().skip(STREAMS) {
            puppet.acks = if number % 2 == 0 { Acks::None } else { Acks::NoSpace };
        }
        Ok(Self { puppets, sequences: [2; STREAMS], next: 0 })
    }
}

impl Attack for Readers {
    fn sessions(&self) -> usize {
        self.puppets.all.len()
    }

    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let index = self.next % STREAMS;
        self.next += 1;
        // Inter frames of AVC behind a key frame.
        let first = if self.sequences[index] == 2 { 0x17 } else { 0x27 };
        let mut frame = vec![first, 1, 0, 0, 0];
        frame.resize(FRAME, 0x5a);
        let frame = message(Body::Video(frame.into()));
        let (puppet, sequence) = (&mut self.puppets.all[index], &mut self.sequences[index]);
        let options = metadata(FlowMetadata::tc(STREAM), puppet.back);
        send_whole(line, puppet, (FLOW, sequence), Some(&options), &frame);
        self.puppets.serve(line)?;
        Ok(())
    }
}
