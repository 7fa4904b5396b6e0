//! Remote shared objects through the server: clients with both encodings, on good and bad links.

use crate::support::meeting::Meeting;
use crate::support::{for_seeds, secs};
use bytes::Bytes;
use rtmfp::proto::flash::shared_object::{SharedObjectEvent, SharedObjectMessage};
use rtmfp::proto::flash::{Message, ObjectEncoding};
use rtmfp::proto::sim::{Link, NodeId};

fn say(meeting: &mut Meeting, at: NodeId, version: u32, events: Vec<SharedObjectEvent>) {
    let message = SharedObjectMessage::new("room".into(), false, version, events);
    let bytes = message.encode_for(ObjectEncoding::Amf3).to_vec();
    meeting.network.act(at, |host, now| host.lazy_mut().send_raw(now, bytes));
}

/// What a client was sent about the object, and the last version.
fn heard(meeting: &Meeting, at: NodeId) -> (u32, Vec<SharedObjectEvent>) {
    let messages = meeting.network[at].lazy().raw.iter();
    let messages =
        messages.filter_map(|it| SharedObjectMessage::parse(&Message::parse(it).unwrap().body));
    messages.fold((0, Vec::new()), |(_, mut all), it| {
        all.extend(it.events);
        (it.version, all)
    })
}

fn set(slot: &str, value: &'static [u8]) -> SharedObjectEvent {
    SharedObjectEvent::RequestChange { slot: slot.into(), value: Bytes::from_static(value) }
}

fn change(slot: &str, value: &'static [u8]) -> SharedObjectEvent {
    SharedObjectEvent::Change { slot: slot.into(), value: Bytes::from_static(value) }
}

#[test]
fn what_one_client_sets_all_get() {
    for_seeds(4, |seed| {
        let link = if seed % 2 == 0 { Link::lan() } else { Link::bad() };
        let mut meeting = Meeting::new(seed, link);
        let [a, b] = [ObjectEncoding::Amf3, ObjectEncoding::Amf0]
            .map(|encoding| meeting.add_client(encoding, false));
        meeting.network.run_for(secs(10));
        say(&mut meeting, a, 0, vec![SharedObjectEvent::Use]);
        // An AMF3 integer, and a ByteArray, which the other client cannot read.
        say(&mut meeting, a, 0, vec![set("x", b"\x11\x04\x07"), set("b", b"\x11\x0c\x03x")]);
        meeting.network.run_for(secs(10));
        say(&mut meeting, b, 0, vec![SharedObjectEvent::Use]);
        meeting.network.run_for(secs(10));
        say(&mut meeting, b, 2, vec![set("y", b"\x02\0\x01z")]);
        meeting.network.run_for(secs(10));
        let success = |slot: &str| SharedObjectEvent::Success { slot: slot.into() };
        let begun = [SharedObjectEvent::UseSuccess, SharedObjectEvent::Clear];
        let of_a = [success("x"), success("b"), change("y", b"\x02\0\x01z")];
        assert_eq!(heard(&meeting, a), (3, [&begun[..], &of_a].concat()));
        let number = change("x", b"\0\x40\x1c\0\0\0\0\0\0");
        let of_b = [change("b", b"\x06"), number, success("y")];
        assert_eq!(heard(&meeting, b), (3, [&begun[..], &of_b].concat()));
        assert_eq!(meeting.network[meeting.server].server().stats().shared_objects, 1);
        for client in [a, b] {
            meeting.network.remove(client);
        }
        meeting.network.run_for(secs(120));
        assert_eq!(meeting.network[meeting.server].server().stats().shared_objects, 0);
    });
}
