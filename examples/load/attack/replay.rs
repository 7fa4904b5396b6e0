//! Packets of the attacker's own sessions, recorded and sent again from everywhere.

use super::line::{Line, RUN};
use super::packets::command;
use super::puppet::{CONTROL, Puppets};
use super::{Attack, Setting};
use rtmfp::proto::crypto::{HmacPolicy, Negotiation, SendPolicy, SseqPolicy};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::wire::Chunk;

/// Sessions with HMACs and sequence numbers, and as many without.
const SESSIONS: usize = 8;
/// Packets that are recorded of each.
const RECORDED: u64 = 32;

pub(super) struct Replay {
    recorded: Vec<Vec<u8>>,
    puppets: [Puppets; 2],
    random: SeededRandom,
}

/// What librtmfp offers: no HMACs, no sequence numbers.
fn without() -> Negotiation {
    Negotiation {
        hmac: HmacPolicy { send: SendPolicy::Never, request: false, ..HmacPolicy::default() },
        sseq: SseqPolicy { send: SendPolicy::Never, request: false, ..SseqPolicy::default() },
        ..Negotiation::default()
    }
}

impl Replay {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let with = Puppets::connect(line, &setting.uri, (SESSIONS, 1), &Negotiation::default())?;
        let without = Puppets::connect(line, &setting.uri, (SESSIONS, 1), &without())?;
        let mut puppets = [with, without];
        let call = command("nothing", 2.0, Vec::new())?;
        let mut recorded = Vec::new();
        for puppet in puppets.iter_mut().flat_map(|puppets| &mut puppets.all) {
            recorded.push(puppet.keying.clone());
            for number in 0..RECORDED {
                let packet = match number % 2 {
                    0 => puppet.packet(&[Chunk::Ping(&number.to_be_bytes())]),
                    _ => puppet.message(CONTROL, 2 + number / 2, None, &call),
                };
                line.send(puppet.at, &packet);
                recorded.push(packet);
            }
        }
        Ok(Self { recorded, puppets, random: SeededRandom::new(1) })
    }
}

impl Attack for Replay {
    fn sessions(&self) -> usize {
        self.puppets.iter().map(|puppets| puppets.all.len()).sum()
    }

    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let first = self.random.below(self.recorded.len() as u64) as usize;
        let len = self.recorded[first].len();
        let alike = self.recorded.iter().cycle().skip(first).take(self.recorded.len());
        let run: Vec<u8> =
            alike.filter(|packet| packet.len() == len).take(RUN).flatten().copied().collect();
        line.send_run(Line::host(self.random.below(1 << 32) as u32), &run, len);
        Ok(())
    }
}
