//! Clients that use three shared objects, and what Flash Player would know of them.

use super::meeting::Meeting;
use super::secs;
use bytes::Bytes;
use rtmfp::proto::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
use rtmfp::proto::flash::{Message, ObjectEncoding};
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::sim::{Link, NodeId};
use std::collections::BTreeMap;

const OBJECTS: [&str; 3] = ["room", "board", "scores"];

/// What Flash Player would know of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub slots: BTreeMap<String, Bytes>,
    /// What was sent to all.
    pub calls: Vec<Bytes>,
}

pub struct Client {
    pub at: NodeId,
    /// Changes for which there is no answer yet, by object and slot; none for a slot that is to go.
    pub waiting: BTreeMap<(usize, String), Option<Bytes>>,
    /// Messages that were read.
    read: usize,
    pub views: [View; 3],
    versions: [u32; 3],
}

impl Client {
    pub fn new(meeting: &mut Meeting) -> Self {
        let at = meeting.add_client(ObjectEncoding::Amf3, false);
        let views = Default::default();
        Self { at, waiting: BTreeMap::new(), read: 0, views, versions: [0; 3] }
    }

    pub fn say(&mut self, meeting: &mut Meeting, object: usize, event: SharedObjectEvent) {
        self.read(meeting);
        let change = match &event {
            SharedObjectEvent::RequestChange { slot, value } => Some((slot, Some(value.clone()))),
            SharedObjectEvent::RequestRemove { slot } => Some((slot, None)),
            _ => None,
        };
        if let Some((slot, value)) = change {
            let place = (object, slot.to_string());
            if self.waiting.contains_key(&place) {
                return;
            }
            self.waiting.insert(place, value);
        }
        let (name, version) = (OBJECTS[object].into(), self.versions[object]);
        let message = SharedObjectMessage::new(name, object == 1, version, vec![event]);
        let bytes = message.encode_for(ObjectEncoding::Amf3).to_vec();
        meeting.network.act(self.at, |host, now| host.lazy_mut().send_raw(now, bytes));
    }

    /// Reads what has come, and returns the bytes of all that ever came.
    pub fn read(&mut self, meeting: &Meeting) -> usize {
        let raw = &meeting.network[self.at].lazy().raw;
        for bytes in &raw[self.read..] {
            let body = Message::parse(bytes).unwrap().body;
            let Some(message) = SharedObjectMessage::parse(&body) else { continue };
            let object = OBJECTS.iter().position(|it| **it == *message.name).unwrap();
            self.versions[object] = message.version;
            let view = &mut self.views[object];
            for event in message.events {
                match event {
                    SharedObjectEvent::Clear => {
                        view.slots.clear();
                        self.waiting.retain(|(of, _), _| *of != object);
                    }
                    // Somebody else was first.
                    SharedObjectEvent::Change { slot, value } => {
                        self.waiting.remove(&(object, slot.to_string()));
                        view.slots.insert(slot.to_string(), value);
                    }
                    SharedObjectEvent::Remove { slot } => {
                        self.waiting.remove(&(object, slot.to_string()));
                        view.slots.remove(&*slot);
                    }
                    SharedObjectEvent::Success { slot } => {
                        let waiting = self.waiting.remove(&(object, slot.to_string()));
                        if let Some(Some(value)) = waiting {
                            view.slots.insert(slot.to_string(), value);
                        }
                    }
                    SharedObjectEvent::Send(call) => view.calls.push(call),
                    SharedObjectEvent::UseSuccess => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        self.read = raw.len();
        raw.iter().map(Bytes::len).sum()
    }
}

pub fn set(slot: &str, value: Vec<u8>) -> SharedObjectEvent {
    SharedObjectEvent::RequestChange { slot: slot.into(), value: value.into() }
}

/// An AMF3 string of this length.
pub fn value(text: u8, len: usize) -> Vec<u8> {
    let mut value = vec![0x11, 6];
    let len = len * 2 + 1;
    match len {
        0..0x80 => value.push(len as u8),
        _ => value.extend([0x80 | (len >> 14) as u8, 0x80 | (len >> 7) as u8, (len & 0x7f) as u8]),
    }
    value.extend(vec![text; len / 2]);
    value
}

pub fn workers(seed: u64) -> Meeting {
    Meeting::with_workers(seed, Link::lan(), RendezvousConfig::default(), 3)
}

/// Workers of a process, or machines.
pub fn three(seed: u64) -> Meeting {
    match seed % 2 {
        0 => workers(seed),
        _ => Meeting::with_servers(seed, 3, 0.0),
    }
}

pub fn users(meeting: &mut Meeting, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| Client::new(meeting)).collect();
    meeting.network.run_for(secs(1));
    for client in &mut clients {
        (0..3).for_each(|object| client.say(meeting, object, SharedObjectEvent::Use));
    }
    meeting.network.run_for(secs(1));
    clients
}

pub fn all_see_the_same(meeting: &Meeting, clients: &mut [Client]) -> [View; 3] {
    for client in clients.iter_mut() {
        client.read(meeting);
    }
    for client in &clients[1..] {
        assert!(client.views == clients[0].views, "{:?}\n{:?}", client.views, clients[0].views);
    }
    clients[0].views.clone()
}
