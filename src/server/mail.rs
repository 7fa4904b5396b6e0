//! What workers send each other: commands, and datagrams that came to the wrong one.
//!
//! Every worker has a mailbox that the others put into. A full one takes nothing more, so that a
//! worker that lags holds up nobody; what does not fit is lost, as on a network, and counted.

use crate::rendezvous::cluster::{self, MemberId, To};
use crate::transport::Stray;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Commands that wait for one worker, and the memory that they may take, in bytes.
const MAX_COMMANDS: usize = 16_384;
const MAX_COMMAND_BYTES: usize = 16 << 20;
/// Bytes of datagrams that wait for one worker.
const MAX_STRAY_BYTES: usize = 2 << 20;

/// What waits for one worker.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) commands: VecDeque<(MemberId, cluster::Command)>,
    pub(super) strays: VecDeque<Stray>,
    command_bytes: usize,
    stray_bytes: usize,
}

/// What a worker's mailbox did not take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) commands: u64,
    pub(super) strays: u64,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.strays.is_empty()
    }

    fn put_command(&mut self, from: MemberId, command: cluster::Command) -> bool {
        let weight = command.weight();
        let fits =
            self.commands.len() < MAX_COMMANDS && self.command_bytes + weight <= MAX_COMMAND_BYTES;
        if fits {
            self.command_bytes += weight;
            self.commands.push_back((from, command));
        }
        fits
    }

    fn put_stray(&mut self, stray: Stray) -> bool {
        let fits = self.stray_bytes + stray.bytes.len() <= MAX_STRAY_BYTES;
        if fits {
            self.stray_bytes += stray.bytes.len();
            self.strays.push_back(stray);
        }
        fits
    }
}

/// Wakes a worker, so that it looks into its mailbox.
pub(super) struct Wake(pub(super) Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}

/// The mailbox of one worker.
#[derive(Debug, Default)]
struct Mailbox {
    waiting: Mutex<(Mail, Lost)>,
    wake: OnceLock<Wake>,
}

impl Mailbox {
    /// Nothing panics under the lock, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, (Mail, Lost)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in, and wakes the owner if it may sleep.
    fn put(&self, put: impl FnOnce(&mut Mail, &mut Lost)) {
        let mut waiting = self.lock();
        let (mail, lost) = &mut *waiting;
        let was_empty = mail.is_empty();
        put(mail, lost);
        drop(waiting);
        if was_empty && let Some(Wake(wake)) = self.wake.get() {
            wake();
        }
    }
}

/// The mailboxes of all workers, as one of them sees them.
#[derive(Debug, Clone)]
pub(super) struct Post {
    boxes: Arc<[Mailbox]>,
    own: usize,
}

impl Post {
    /// One for each worker.
    pub(super) fn among(workers: usize) -> Vec<Self> {
        let boxes: Arc<[Mailbox]> = (0..workers).map(|_| Mailbox::default()).collect();
        (0..workers).map(|own| Self { boxes: Arc::clone(&boxes), own }).collect()
    }

    /// The worker can be woken from now on.
    pub(super) fn set_wake(&self, wake: Wake) {
        // It is set once.
        let _ = self.boxes[self.own].wake.set(wake);
    }

    /// Carries a command to whom it may concern.
    pub(super) fn carry(&self, to: To, command: cluster::Command) {
        match to {
            To::Member(member) => self.put(usize::from(member.worker), command),
            // Each knows its own clients alone.
            To::Peer(_) | To::Group(_) | To::Others => {
                for number in (0..self.boxes.len()).filter(|&number| number != self.own) {
                    self.put(number, command.clone());
                }
            }
        }
    }

    fn put(&self, number: usize, command: cluster::Command) {
        let Some(mailbox) = self.boxes.get(number) else { return };
        let from = MemberId::worker(self.own as u16);
        mailbox.put(|mail, lost| lost.commands += u64::from(!mail.put_command(from, command)));
    }

    /// Carries datagrams to the worker that they belong to.
    pub(super) fn pass_on(&self, stray: Stray) {
        let Some(mailbox) = self.boxes.get(stray.worker) else { return };
        mailbox.put(|mail, lost| lost.strays += u64::from(!mail.put_stray(stray)));
    }

    /// What waits for this worker.
    pub(super) fn take(&self) -> Mail {
        std::mem::take(&mut self.boxes[self.own].lock().0)
    }

    /// What was lost on the way to this worker.
    pub(super) fn lost(&self) -> Lost {
        self.boxes[self.own].lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::group_channel::GroupId;
    use crate::transport::{Ecn, Path};

    const GROUP: GroupId = GroupId([7; 32]);

    fn left(members: usize) -> cluster::Command {
        cluster::Command::Left { group: GROUP, members }
    }

    fn stray(worker: usize, len: usize) -> Stray {
        let path = Path::to(([192, 0, 2, 1], 5).into());
        Stray { worker, path, bytes: vec![0; len], segment: 1200, ecn: Ecn::NotCapable }
    }

    #[test]
    fn everybody_else_gets_what_concerns_a_group() {
        let post = Post::among(3);
        post[1].carry(To::Group(GROUP), left(1));
        post[1].carry(To::Member(MemberId::worker(2)), left(2));
        post[1].carry(To::Member(MemberId::worker(9)), left(3));
        let counts = post.iter().map(|post| post.take().commands.len());
        assert_eq!(counts.collect::<Vec<_>>(), [1, 0, 2]);
        assert_eq!(post[0].take().commands.len(), 0, "once");
    }

    #[test]
    fn hostile_floods_fill_a_mailbox_and_no_more() {
        let post = Post::among(2);
        for _ in 0..MAX_COMMANDS + 5 {
            post[0].carry(To::Group(GROUP), left(1));
        }
        for _ in 0..MAX_STRAY_BYTES / 1200 + 7 {
            post[0].pass_on(stray(1, 1200));
        }
        post[0].pass_on(stray(9, 1200));
        let mail = post[1].take();
        assert_eq!(mail.commands.len(), MAX_COMMANDS);
        assert_eq!(mail.strays.len(), MAX_STRAY_BYTES / 1200);
        assert_eq!(post[1].lost(), Lost { commands: 5, strays: 7 });
        assert_eq!(post[0].lost(), Lost::default());
        post[0].carry(To::Group(GROUP), left(1));
        assert_eq!(post[1].take().commands.len(), 1, "there is space again");
    }
}
