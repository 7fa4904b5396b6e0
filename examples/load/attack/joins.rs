//! Clients that join groups without end, each group another.

use super::line::Line;
use super::packets::{data, flags};
use super::puppet::Puppets;
use super::{Attack, Setting};
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::flash::FlowMetadata;
use rtmfp::proto::flash::group_channel::{GroupId, JoinKey, ServerMessage};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::{FragmentControl, UserData, UserDataFlags};

/// Groups that a client may be in.
const GROUPS: u64 = 256;
/// The first `GC` flow.
const FIRST: u64 = 8;

pub(super) struct Joins {
    puppets: Puppets,
    next: usize,
    random: SeededRandom,
}

impl Joins {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let (offer, count) = (Negotiation::default(), setting.sessions.unwrap_or(400));
        let puppets = Puppets::connect(line, &setting.uri, (count, 4), &offer)?;
        Ok(Self { puppets, next: 0, random: SeededRandom::new(1) })
    }
}

impl Attack for Joins {
    fn sessions(&self) -> usize {
        self.puppets.all.len()
    }

    /// Every client joins one group more, and leaves the one that it has been in for longest when it may
    /// join no more.
    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let joined = self.next as u64 / self.puppets.all.len() as u64;
        let index = self.next % self.puppets.all.len();
        self.next += 1;
        let puppet = &mut self.puppets.all[index];
        let id = std::array::from_fn(|_| self.random.below(256) as u8);
        let join = ServerMessage::Join(JoinKey::GroupId(GroupId(id))).to_bytes();
        let options = super::packets::metadata(FlowMetadata::GroupServer, None);
        let join = Chunk::UserData(data((FIRST + joined, 1, 1), Some(&options), &join));
        let end = UserData {
            flags: UserDataFlags { abandon: true, last: true, ..flags(FragmentControl::Whole) },
            ..data((FIRST + joined.saturating_sub(GROUPS - 1), 2, 0), None, &[])
        };
        let packet = match joined >= GROUPS - 1 {
            true => puppet.packet(&[Chunk::UserData(end), join]),
            false => puppet.packet(&[join]),
        };
        let at = puppet.at;
        line.send(at, &packet);
        if self.next.is_multiple_of(32) {
            self.puppets.serve(line)?;
        }
        Ok(())
    }
}
