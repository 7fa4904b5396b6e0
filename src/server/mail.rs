//! What workers send each other: commands, and datagrams that came to the wrong one; and what comes
//! from other servers of a cluster.
//!
//! Every worker has a mailbox that the others put into. A full one takes nothing more, so that a
//! worker that lags holds up nobody; what does not fit is lost, as on a network, and counted.

use super::carrier::Carrier;
use crate::rendezvous::cluster::{self, MemberId, To};
use crate::transport::{Stray, Time};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
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
    /// The members of other servers, if they have changed.
    pub(super) elsewhere: Option<Arc<BTreeSet<MemberId>>>,
    /// Where newcomers are to be sent, if that has changed.
    pub(super) redirect: Option<Arc<[SocketAddr]>>,
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
        let has_news = self.elsewhere.is_some() || self.redirect.is_some();
        self.commands.is_empty() && self.strays.is_empty() && !has_news
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
    /// Clients of the worker.
    clients: AtomicUsize,
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

/// The mailboxes of all workers of a server.
#[derive(Debug, Clone)]
pub(super) struct Boxes {
    /// The server's number in its cluster.
    server: u32,
    boxes: Arc<[Mailbox]>,
}

impl Boxes {
    /// One for each worker.
    pub(super) fn new(server: u32, workers: usize) -> Self {
        Self { server, boxes: (0..workers).map(|_| Mailbox::default()).collect() }
    }

    fn put(&self, number: usize, from: MemberId, command: cluster::Command) {
        let Some(mailbox) = self.boxes.get(number) else { return };
        mailbox.put(|mail, lost| lost.commands += u64::from(!mail.put_command(from, command)));
    }
}

/// What a bus needs.
#[cfg_attr(not(feature = "cluster-nats"), expect(dead_code, reason = "there is no bus"))]
impl Boxes {
    pub(super) fn server(&self) -> u32 {
        self.server
    }

    pub(super) fn len(&self) -> usize {
        self.boxes.len()
    }

    /// A command of another server has come for one worker or all.
    pub(super) fn deliver(&self, from: MemberId, to: Option<u16>, command: cluster::Command) {
        match to {
            Some(number) => self.put(number.into(), from, command),
            None => {
                for number in 0..self.boxes.len() {
                    self.put(number, from, command.clone());
                }
            }
        }
    }

    /// The members of other servers are these from now on.
    pub(super) fn set_elsewhere(&self, members: &Arc<BTreeSet<MemberId>>) {
        for mailbox in self.boxes.iter() {
            mailbox.put(|mail, _| mail.elsewhere = Some(Arc::clone(members)));
        }
    }
}

/// What sends newcomers elsewhere needs.
impl Boxes {
    /// Clients of all workers.
    pub(super) fn clients(&self) -> usize {
        self.boxes.iter().map(|mailbox| mailbox.clients.load(Relaxed)).sum()
    }

    /// True if the server has ended.
    pub(super) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.boxes) == 1
    }

    /// Newcomers are sent to these addresses from now on; with none they are served.
    pub(super) fn redirect(&self, addresses: &Arc<[SocketAddr]>) {
        for mailbox in self.boxes.iter() {
            mailbox.put(|mail, _| mail.redirect = Some(Arc::clone(addresses)));
        }
    }
}

/// The way to the workers of this server.
impl Carrier for Boxes {
    fn leads_to(&self, to: To) -> bool {
        match to {
            To::Member(member) => member.server == self.server,
            _ => self.boxes.len() > 1,
        }
    }

    fn carry(&self, _: Time, from: MemberId, to: To, command: cluster::Command) {
        match to {
            To::Member(member) => self.put(member.worker.into(), from, command),
            // Each knows its own clients alone.
            To::Peer(_) | To::Group(_) | To::Others => {
                for number in 0..self.boxes.len() {
                    if number != usize::from(from.worker) {
                        self.put(number, from, command.clone());
                    }
                }
            }
        }
    }
}

/// What one worker sends and gets.
#[derive(Debug, Clone)]
pub(super) struct Post {
    boxes: Boxes,
    own: MemberId,
    ways: Vec<Arc<dyn Carrier>>,
}

impl Post {
    /// One for each worker. Commands go to other workers, and by `beyond` to other servers.
    pub(super) fn among(boxes: &Boxes, beyond: Option<Arc<dyn Carrier>>) -> Vec<Self> {
        let beside: Arc<dyn Carrier> = Arc::new(boxes.clone());
        let ways: Vec<_> = [beside].into_iter().chain(beyond).collect();
        let post = |worker| Self {
            boxes: boxes.clone(),
            own: MemberId { server: boxes.server, worker },
            ways: ways.clone(),
        };
        (0..boxes.boxes.len() as u16).map(post).collect()
    }

    /// Of a lone worker: commands go by `beyond` to other servers.
    pub(super) fn alone(boxes: Boxes, beyond: Option<Arc<dyn Carrier>>) -> Self {
        let own = MemberId { server: boxes.server, worker: 0 };
        Self { boxes, own, ways: beyond.into_iter().collect() }
    }

    fn own_box(&self) -> &Mailbox {
        &self.boxes.boxes[usize::from(self.own.worker)]
    }

    /// True if there is no other worker.
    pub(super) fn is_alone(&self) -> bool {
        self.boxes.boxes.len() == 1
    }

    /// The worker can be woken from now on.
    pub(super) fn set_wake(&self, wake: Wake) {
        // It is set once.
        let _ = self.own_box().wake.set(wake);
    }

    /// The worker has so many clients.
    pub(super) fn set_clients(&self, clients: usize) {
        self.own_box().clients.store(clients, Relaxed);
    }

    /// Carries a command to whom it may concern.
    pub(super) fn carry(&self, now: Time, to: To, command: cluster::Command) {
        let mut ways = self.ways.iter().filter(|way| way.leads_to(to)).peekable();
        let mut command = Some(command);
        while let Some(way) = ways.next() {
            let copy = if ways.peek().is_some() { command.clone() } else { command.take() };
            if let Some(copy) = copy {
                way.carry(now, self.own, to, copy);
            }
        }
    }

    /// Carries datagrams to the worker that they belong to.
    pub(super) fn pass_on(&self, stray: Stray) {
        let Some(mailbox) = self.boxes.boxes.get(stray.worker) else { return };
        mailbox.put(|mail, lost| lost.strays += u64::from(!mail.put_stray(stray)));
    }

    /// What waits for this worker.
    pub(super) fn take(&self) -> Mail {
        std::mem::take(&mut self.own_box().lock().0)
    }

    /// What was lost on the way to this worker.
    pub(super) fn lost(&self) -> Lost {
        self.own_box().lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::group_channel::GroupId;
    use crate::transport::{Ecn, Path};

    const GROUP: GroupId = GroupId([7; 32]);

    const NOW: Time = Time::ZERO;

    fn left(members: usize) -> cluster::Command {
        cluster::Command::Left { group: GROUP, members }
    }

    fn stray(worker: usize, len: usize) -> Stray {
        let path = Path::to(([192, 0, 2, 1], 5).into());
        Stray { worker, path, bytes: vec![0; len], segment: 1200, ecn: Ecn::NotCapable }
    }

    #[test]
    fn everybody_else_gets_what_concerns_a_group() {
        let post = Post::among(&Boxes::new(0, 3), None);
        post[1].carry(NOW, To::Group(GROUP), left(1));
        post[1].carry(NOW, To::Member(MemberId::worker(2)), left(2));
        post[1].carry(NOW, To::Member(MemberId::worker(9)), left(3));
        let counts = post.iter().map(|post| post.take().commands.len());
        assert_eq!(counts.collect::<Vec<_>>(), [1, 0, 2]);
        assert_eq!(post[0].take().commands.len(), 0, "once");
    }

    #[test]
    fn a_bus_gets_what_may_concern_other_servers() {
        /// Keeps what it would carry.
        #[derive(Debug, Default)]
        struct Bus(Mutex<Vec<To>>);

        impl Carrier for Bus {
            fn leads_to(&self, to: To) -> bool {
                !matches!(to, To::Member(MemberId { server: 7, .. }))
            }

            fn carry(&self, _: Time, from: MemberId, to: To, _: cluster::Command) {
                assert_eq!(from, MemberId { server: 7, worker: 1 });
                self.0.lock().unwrap().push(to);
            }
        }

        let bus = Arc::new(Bus::default());
        let boxes = Boxes::new(7, 2);
        let post = Post::among(&boxes, Some(bus.clone()));
        let elsewhere = To::Member(MemberId { server: 8, worker: 0 });
        for to in [To::Member(MemberId { server: 7, worker: 0 }), elsewhere, To::Group(GROUP)] {
            post[1].carry(NOW, to, left(1));
        }
        assert_eq!(*bus.0.lock().unwrap(), [elsewhere, To::Group(GROUP)]);
        assert_eq!(post.iter().map(|it| it.take().commands.len()).collect::<Vec<_>>(), [2, 0]);
        boxes.deliver(MemberId { server: 8, worker: 0 }, None, left(1));
        boxes.deliver(MemberId { server: 8, worker: 0 }, Some(1), left(1));
        boxes.deliver(MemberId { server: 8, worker: 0 }, Some(2), left(1));
        assert_eq!(post.iter().map(|it| it.take().commands.len()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn hostile_floods_fill_a_mailbox_and_no_more() {
        let post = Post::among(&Boxes::new(0, 2), None);
        for _ in 0..MAX_COMMANDS + 5 {
            post[0].carry(NOW, To::Group(GROUP), left(1));
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
        post[0].carry(NOW, To::Group(GROUP), left(1));
        assert_eq!(post[1].take().commands.len(), 1, "there is space again");
    }
}
