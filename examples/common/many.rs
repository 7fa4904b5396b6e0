//! Many machines on few sockets, each with an identity and sessions of its own.
//!
//! What arrives is given to the machine that it is for: startup packets by their tag, cookie or
//! endpoint discriminator, all others by their session ID. Which are whose has been read in what the
//! machines sent, as startup packets are encrypted under a key that everybody knows.
//!
//! Diffie-Hellman work is done at once, in the thread of whoever calls.

use rtmfp::proto::crypto::{Epd, Fingerprint, Opener};
use rtmfp::proto::transport::{Arrived, Interface, Machine, Path, Time, Transmit, TransmitBuf};
use rtmfp::wire::multiplex::{SESSION_ID_LEN, session_id};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, PacketHeader};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Tags and cookies that are remembered of one machine; attempts that are older have ended.
const REMEMBERED: usize = 16;

/// The machines, each by its number.
pub(crate) struct Many<M> {
    slots: HashMap<usize, Slot<M>>,
    by_tag: HashMap<Vec<u8>, usize>,
    by_cookie: HashMap<Vec<u8>, usize>,
    by_peer: HashMap<Fingerprint, usize>,
    by_id: HashMap<(Interface, u32), usize>,
    timers: BTreeSet<(Time, usize)>,
    ready: VecDeque<usize>,
    touched: VecDeque<usize>,
    rested: VecDeque<usize>,
    opener: Opener,
    retries: u64,
}

struct Slot<M> {
    machine: M,
    interface: Interface,
    peer: Option<Fingerprint>,
    timer: Option<Time>,
    is_ready: bool,
    is_touched: bool,
    /// Keyings have come whose answer is not sent yet.
    is_answering: bool,
    tags: VecDeque<Vec<u8>>,
    cookies: VecDeque<Vec<u8>>,
    ids: Vec<(Interface, u32)>,
}

impl<M> Default for Many<M> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            by_tag: HashMap::new(),
            by_cookie: HashMap::new(),
            by_peer: HashMap::new(),
            by_id: HashMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            touched: VecDeque::new(),
            rested: VecDeque::new(),
            opener: Opener::default_key(),
            retries: 0,
        }
    }
}

impl<M: Machine> Many<M> {
    /// Adds a machine that sends from this socket. With a `peer` ID it takes what others open.
    pub(crate) fn add(
        &mut self,
        index: usize,
        machine: M,
        interface: Interface,
        peer: Option<Fingerprint>,
    ) {
        let slot = Slot {
            machine,
            interface,
            peer,
            timer: None,
            is_ready: false,
            is_touched: false,
            is_answering: false,
            tags: VecDeque::new(),
            cookies: VecDeque::new(),
            ids: Vec::new(),
        };
        self.by_peer.extend(peer.map(|peer| (peer, index)));
        self.slots.insert(index, slot);
    }

    /// Takes a machine out, whatever state it is in: nothing is sent any more.
    pub(crate) fn remove(&mut self, index: usize) -> Option<M> {
        let slot = self.slots.remove(&index)?;
        for tag in &slot.tags {
            self.by_tag.remove(tag);
        }
        for cookie in &slot.cookies {
            self.by_cookie.remove(cookie);
        }
        for id in &slot.ids {
            self.by_id.remove(id);
        }
        if let Some(peer) = slot.peer {
            self.by_peer.remove(&peer);
        }
        if let Some(at) = slot.timer {
            self.timers.remove(&(at, index));
        }
        Some(slot.machine)
    }

    /// For reading; whoever changes a machine uses [`call`](Self::call).
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut M> {
        self.slots.get_mut(&index).map(|slot| &mut slot.machine)
    }

    pub(crate) fn indices(&self) -> Vec<usize> {
        self.slots.keys().copied().collect()
    }

    /// Hellos and keyings that were sent again.
    pub(crate) fn retries(&self) -> u64 {
        self.retries
    }

    /// Calls a machine, and does its work.
    pub(crate) fn call<R>(
        &mut self,
        now: Time,
        index: usize,
        call: impl FnOnce(&mut M) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(&index)?;
        let result = call(&mut slot.machine);
        while let Some(job) = slot.machine.poll_job() {
            slot.machine.handle_computed(now, job.run());
        }
        if !std::mem::replace(&mut slot.is_ready, true) {
            self.ready.push_back(index);
        }
        if !std::mem::replace(&mut slot.is_touched, true) {
            self.touched.push_back(index);
        }
        Some(result)
    }

    /// A machine that was called and may have events, until there is none.
    pub(crate) fn poll_touched(&mut self) -> Option<usize> {
        loop {
            let index = self.touched.pop_front()?;
            if let Some(slot) = self.slots.get_mut(&index) {
                slot.is_touched = false;
                return Some(index);
            }
        }
    }

    /// Lets a machine send from another socket, as a client whose address changes.
    pub(crate) fn move_to(&mut self, index: usize, interface: Interface) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        slot.interface = interface;
        for (_, id) in slot.ids.clone() {
            self.by_id.insert((interface, id), index);
            slot.ids.push((interface, id));
        }
    }

    pub(crate) fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        for datagram in arrived.each() {
            if let Some(index) = self.addressee(path.interface, datagram) {
                self.call(now, index, |machine| machine.handle_datagram(now, path, datagram));
            }
        }
    }

    /// For whom a datagram is.
    fn addressee(&mut self, interface: Interface, datagram: &[u8]) -> Option<usize> {
        let id = session_id(datagram)?;
        if id != 0 {
            return self.by_id.get(&(interface, id)).copied();
        }
        match startup_chunk(&mut self.opener, &mut datagram.to_vec())? {
            Chunk::ResponderHello(hello) => self.by_tag.get(hello.tag_echo).copied(),
            Chunk::Redirect(redirect) => self.by_tag.get(redirect.tag_echo).copied(),
            Chunk::InitiatorHello(hello) => {
                let peer = Epd::parse(hello.epd).ok()?.fingerprint()?;
                self.by_peer.get(&peer).copied()
            }
            Chunk::InitiatorKeying(keying) => {
                let index = self.by_cookie.get(keying.cookie).copied()?;
                self.slots.get_mut(&index)?.is_answering = true;
                Some(index)
            }
            _ => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(&(at, index)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, index));
            if let Some(slot) = self.slots.get_mut(&index) {
                slot.timer = None;
            }
            self.call(now, index, |machine| machine.handle_timeout(now));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.first().map(|&(at, _)| at)
    }

    pub(crate) fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        while let Some(&index) = self.ready.front() {
            let slot = self.slots.get_mut(&index);
            let transmit = slot.and_then(|slot| {
                let transmit = slot.machine.poll_transmit(now, buf)?;
                Some(Transmit {
                    path: Path { interface: slot.interface, ..transmit.path },
                    ..transmit
                })
            });
            if transmit.is_some() {
                self.overhear(index, buf);
                return transmit;
            }
            self.ready.pop_front();
            self.rest(index);
        }
        None
    }

    /// True if nothing waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// A machine has nothing more to send: its timer is set.
    fn rest(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        slot.is_ready = false;
        let timer = slot.machine.poll_timeout();
        if let Some(old) = std::mem::replace(&mut slot.timer, timer) {
            self.timers.remove(&(old, index));
        }
        self.timers.extend(timer.map(|at| (at, index)));
        self.rested.push_back(index);
    }

    /// A machine that has sent what it had to send, until there is none. It may be gone.
    pub(crate) fn poll_rested(&mut self) -> Option<usize> {
        self.rested.pop_front()
    }

    /// Reads tags, cookies and session IDs in what a machine sends.
    fn overhear(&mut self, index: usize, buf: &TransmitBuf) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        for datagram in buf.datagrams() {
            if session_id(datagram) != Some(0) && !slot.is_answering {
                continue;
            }
            let mut copy = datagram.to_vec();
            match startup_chunk(&mut self.opener, &mut copy) {
                Some(Chunk::InitiatorHello(hello)) => {
                    self.retries += u64::from(self.by_tag.contains_key(hello.tag));
                    remember(&mut self.by_tag, &mut slot.tags, hello.tag, index);
                }
                Some(Chunk::ResponderHello(hello)) => {
                    remember(&mut self.by_cookie, &mut slot.cookies, hello.cookie, index);
                }
                Some(Chunk::InitiatorKeying(keying)) => {
                    let id = (slot.interface, keying.session_id);
                    match self.by_id.insert(id, index) {
                        None => slot.ids.push(id),
                        Some(_) => self.retries += 1,
                    }
                }
                Some(Chunk::ResponderKeying(keying)) => {
                    slot.is_answering = false;
                    let id = (slot.interface, keying.session_id);
                    if self.by_id.insert(id, index).is_none() {
                        slot.ids.push(id);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Notes that `key` belongs to a machine, and forgets its oldest.
fn remember(
    all: &mut HashMap<Vec<u8>, usize>,
    own: &mut VecDeque<Vec<u8>>,
    key: &[u8],
    index: usize,
) {
    if all.insert(key.to_vec(), index).is_some() {
        return;
    }
    own.push_back(key.to_vec());
    if own.len() > REMEMBERED
        && let Some(oldest) = own.pop_front()
    {
        all.remove(&oldest);
    }
}

/// The first chunk of a startup packet.
fn startup_chunk<'a>(opener: &mut Opener, datagram: &'a mut [u8]) -> Option<Chunk<'a>> {
    let plain = opener.open(datagram.get_mut(SESSION_ID_LEN..)?).ok()?;
    let (_, rest) = PacketHeader::parse(plain).ok()?;
    chunks(rest).next()
}
