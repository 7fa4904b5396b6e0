//! Users of shared objects on slow lines, who take news more slowly than others make it.

use crate::support::meeting::Meeting;
use crate::support::objects::{Client, all_see_the_same, set, three, users, value};
use crate::support::{for_seeds, millis, secs};
use bytes::Bytes;
use rtmfp::proto::flash::shared_object::SharedObjectEvent;
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::sim::Link;

/// One worker, three, or machines.
fn some(seed: u64) -> Meeting {
    match seed % 3 {
        0 => Meeting::with_workers(seed, Link::lan(), RendezvousConfig::default(), 1),
        _ => three(seed),
    }
}

/// From now on a client gets this many bytes in a second.
fn slow_down(meeting: &mut Meeting, client: &Client, rate: u64) {
    let line = Link::lan().with_rate(rate).with_queue(secs(1));
    meeting.network.set_link(meeting.server, client.at, line);
}

fn is_closed(meeting: &Meeting, client: &Client) -> bool {
    meeting.network[client.at].lazy().closed
}

/// Two change two objects and call, at six times the rate of the third's line.
#[test]
fn who_is_slow_stays_and_gets_what_there_is_in_the_end() {
    for_seeds(3, |seed| {
        let mut meeting = some(seed);
        let mut clients = users(&mut meeting, 3);
        slow_down(&mut meeting, &clients[2], 50_000);
        for n in 0..300_u16 {
            for (object, who) in clients[..2].iter_mut().enumerate() {
                let slot = format!("{object}.{}", n % 7);
                who.say(&mut meeting, object, set(&slot, value(n as u8, 10_000)));
                let call = SharedObjectEvent::Send(Bytes::from(vec![2, 0, 1, b'x']));
                who.say(&mut meeting, object, call);
            }
            if n % 50 == 0 {
                // What the slow one does itself is answered meanwhile.
                clients[2].say(&mut meeting, 0, set("own", value(n as u8, 10)));
            }
            meeting.network.run_for(millis(66));
        }
        clients[0].say(&mut meeting, 0, SharedObjectEvent::RequestRemove { slot: "0.0".into() });
        // What the slow one sets crosses all slots that are on the way to it.
        for n in 0..120 {
            clients[2].say(&mut meeting, 0, set(&format!("late.{n}"), value(n, 10)));
            meeting.network.run_for(millis(250));
        }
        assert!(clients.iter().all(|client| !is_closed(&meeting, client)), "{seed}");
        assert!(clients[2].read(&meeting) < 3_500_000, "of six megabytes, in 50 seconds");
        let stats = meeting.network[meeting.server].crew().stats();
        assert_eq!((stats.laggards_closed, stats.object_messages_held_back > 100), (0, true));
        for client in &mut clients {
            client.read(&meeting);
            assert!(client.waiting.is_empty(), "answers come");
            client.views.iter_mut().for_each(|view| view.calls.clear());
        }
        let views = all_see_the_same(&meeting, &mut clients);
        assert_eq!((views[0].slots.len(), views[1].slots.len()), (127, 7));
        // From then on the slow one is as good as anybody.
        clients[1].say(&mut meeting, 2, set("end", value(b'e', 3)));
        meeting.network.run_for(secs(2));
        assert_eq!(all_see_the_same(&meeting, &mut clients)[2].slots.len(), 1);
    });
}

/// Three objects that each have more than may wait for a client.
#[test]
fn large_objects_come_one_after_the_other() {
    for_seeds(3, |seed| {
        let mut meeting = some(seed);
        let mut clients = users(&mut meeting, 1);
        for n in 0..90 {
            for object in 0..3 {
                clients[0].say(&mut meeting, object, set(&n.to_string(), value(n, 10_000)));
            }
            meeting.network.run_for(millis(20));
        }
        let mut late = Client::new(&mut meeting);
        meeting.network.run_for(secs(1));
        slow_down(&mut meeting, &late, 200_000);
        for object in 0..3 {
            late.say(&mut meeting, object, SharedObjectEvent::Use);
        }
        meeting.network.run_for(secs(40));
        assert!(!is_closed(&meeting, &late));
        clients.push(late);
        let views = all_see_the_same(&meeting, &mut clients);
        assert!(views.iter().all(|view| view.slots.len() == 90));
    });
}

/// What a client releases while it is behind, it gets no more of.
#[test]
fn what_is_released_is_not_caught_up_with() {
    for_seeds(3, |seed| {
        let mut meeting = some(seed);
        let mut clients = users(&mut meeting, 2);
        slow_down(&mut meeting, &clients[1], 50_000);
        for n in 0..100 {
            for object in 0..2 {
                clients[0].say(&mut meeting, object, set("x", value(n, 10_000)));
            }
            meeting.network.run_for(millis(20));
        }
        clients[1].say(&mut meeting, 0, SharedObjectEvent::Release);
        meeting.network.run_for(secs(40));
        for client in &mut clients {
            client.read(&meeting);
        }
        let [fast, slow] = [0, 1].map(|n: usize| clients[n].views.clone().map(|it| it.slots));
        assert_eq!(fast[0]["x"], value(99, 10_000));
        assert!(slow[0] != fast[0] && slow[1] == fast[1]);
    });
}

/// Slots that take six seconds to send, and somebody changes one of them each second.
#[test]
fn large_objects_are_sent_once_while_they_change_a_little() {
    for_seeds(3, |seed| {
        let mut meeting = some(seed);
        let mut clients = users(&mut meeting, 1);
        for n in 0..60 {
            clients[0].say(&mut meeting, 0, set(&n.to_string(), value(n, 10_000)));
            meeting.network.run_for(millis(20));
        }
        let late = Client::new(&mut meeting);
        clients.push(late);
        meeting.network.run_for(secs(1));
        slow_down(&mut meeting, &clients[1], 100_000);
        clients[1].say(&mut meeting, 0, SharedObjectEvent::Use);
        for n in 0..20 {
            clients[0].say(&mut meeting, 0, set("tick", value(n, 10)));
            meeting.network.run_for(secs(1));
        }
        assert!(clients[1].read(&meeting) < 700_000);
        let views = all_see_the_same(&meeting, &mut clients);
        assert_eq!(views[0].slots["tick"], value(19, 10));
    });
}

/// Two flood a third with calls, which change nothing, as soon as it has got all slots.
#[test]
fn hostile_calls_behind_slots_are_held_back() {
    for_seeds(3, |seed| {
        let mut meeting = some(seed);
        let mut clients = users(&mut meeting, 3);
        slow_down(&mut meeting, &clients[2], 50_000);
        clients[2].say(&mut meeting, 0, SharedObjectEvent::Use);
        for _ in 0..400 {
            for who in &mut clients[..2] {
                who.say(&mut meeting, 0, SharedObjectEvent::Send(value(b'x', 8_000).into()));
            }
            meeting.network.run_for(millis(10));
        }
        meeting.network.run_for(secs(30));
        assert!(!is_closed(&meeting, &clients[2]));
        clients[0].say(&mut meeting, 0, set("end", value(b'e', 3)));
        meeting.network.run_for(secs(2));
        clients[2].read(&meeting);
        assert_eq!(clients[2].views[0].slots["end"], value(b'e', 3));
    });
}
