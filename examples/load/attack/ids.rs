//! Forged packets for session IDs: guessed ones, and some that exist.

use super::line::{Line, RUN};
use super::puppet::Puppets;
use super::{Attack, Setting};
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::sim::SeededRandom;
use rtmfp::wire::multiplex::scramble;

const SESSIONS: usize = 16;
/// Bytes of a packet, of the session ID and blocks of the cipher.
const PACKET: usize = 4 + 6 * 16;

pub(super) struct Ids {
    puppets: Puppets,
    random: SeededRandom,
}

impl Ids {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let offer = Negotiation::default();
        let puppets = Puppets::connect(line, &setting.uri, (SESSIONS, 1), &offer)?;
        Ok(Self { puppets, random: SeededRandom::new(1) })
    }
}

impl Attack for Ids {
    fn sessions(&self) -> usize {
        self.puppets.all.len()
    }

    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let mut run = vec![0; RUN * PACKET];
        for (number, packet) in run.chunks_mut(PACKET).enumerate() {
            for eight in packet.chunks_mut(8) {
                let noise = self.random.below(u64::MAX).to_be_bytes();
                eight.copy_from_slice(&noise[..eight.len()]);
            }
            let id = match self.puppets.all.get(number % (2 * SESSIONS)) {
                Some(puppet) => puppet.far,
                None => self.random.below(1 << 32) as u32,
            };
            scramble(id, packet);
        }
        line.send_run(Line::host(self.random.below(1 << 32) as u32), &run, PACKET);
        Ok(())
    }
}
