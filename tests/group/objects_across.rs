//! Shared objects whose users are clients of different workers, or of servers on several machines: all
//! see the same, also when commands are lost, a worker lags, or the one that keeps an object is gone.

use crate::support::meeting::Meeting;
use crate::support::objects::{Client, all_see_the_same, set, three, users, value, workers};
use crate::support::{for_seeds, millis, secs};
use bytes::Bytes;
use rtmfp::proto::flash::shared_object::SharedObjectEvent;
use rtmfp::proto::sim::SeededRandom;

#[test]
fn all_see_the_same_whatever_is_lost() {
    for_seeds(12, |seed| {
        let mut meeting = three(seed);
        let mut clients = users(&mut meeting, 5);
        let server = meeting.server;
        let mut random = SeededRandom::new(seed);
        meeting.network[server].crew_mut().loss = 0.3;
        let mut calls = [0; 3];
        for n in 0..200_u8 {
            let (who, object) = (random.below(5) as usize, random.below(3) as usize);
            // Each sets slots of its own, and deletes those of all.
            let (slot, other) = (format!("{who}.{}", random.below(2)), random.below(5));
            let client = &mut clients[who];
            let event = match random.below(6) {
                0 => SharedObjectEvent::RequestRemove { slot: format!("{other}.0").into() },
                1 => {
                    calls[object] += 1;
                    SharedObjectEvent::Send(Bytes::from(vec![2, 0, 1, n]))
                }
                _ => set(&slot, value(n, 9)),
            };
            client.say(&mut meeting, object, event);
            meeting.network.run_for(millis(random.below(40)));
        }
        meeting.network[server].crew_mut().loss = 0.0;
        meeting.network.run_for(secs(10));
        let views = all_see_the_same(&meeting, &mut clients);
        assert_eq!([0, 1, 2].map(|object: usize| views[object].calls.len()), calls, "each once");
        let crew = meeting.network[server].crew();
        assert_eq!(crew.stats().shared_objects, 3, "each is kept once");
        // Who comes late gets the same.
        let mut late = users(&mut meeting, 1);
        late[0].read(&meeting);
        for (late, view) in late[0].views.iter().zip(&views) {
            assert_eq!(late.slots, view.slots);
        }
        // They go with their users, and the persistent one stays.
        for client in clients.iter().chain(&late) {
            meeting.network.remove(client.at);
        }
        meeting.network.run_for(secs(120));
        assert_eq!(meeting.network[server].crew().stats().shared_objects, 1);
    });
}

/// Changes by clients of all workers, while one reads its commands three seconds later.
#[test]
fn a_worker_that_lags_learns_in_the_end_what_there_is() {
    for_seeds(2, |seed| {
        let mut meeting = workers(seed);
        let mut clients = users(&mut meeting, 3);
        let server = meeting.server;
        for slow in 0..3 {
            meeting.network[server].crew_mut().lags[slow] = secs(3);
            let mut most = 0;
            for n in 0..120 {
                for object in 0..3 {
                    // Each sets slots of its own.
                    let who = (n + object) % 3;
                    let change = set(&format!("{who}.{}", n % 2), value(n as u8, 3_000));
                    clients[who].say(&mut meeting, object, change);
                }
                meeting.network.run_for(millis(60));
                most = most.max(meeting.network[server].crew().waiting(slow));
            }
            assert!((100_000..8 << 20).contains(&most), "{most}");
            meeting.network[server].crew_mut().lags[slow] = millis(1);
            meeting.network.run_for(secs(20));
            for client in &clients {
                assert!(!meeting.network[client.at].lazy().closed);
            }
            let views = all_see_the_same(&meeting, &mut clients);
            for view in &views {
                assert_eq!(view.slots.len(), 6);
            }
        }
        let end = set("end", value(b'e', 3));
        clients[0].say(&mut meeting, 0, end);
        meeting.network.run_for(secs(1));
        let views = all_see_the_same(&meeting, &mut clients);
        assert_eq!(views[0].slots.len(), 7);
    });
}

/// Whoever of three machines is gone, with what it kept.
#[test]
fn what_a_machine_kept_that_is_gone_others_know() {
    for_seeds(6, |seed| {
        let mut meeting = Meeting::with_servers(seed, 3, 0.0);
        let mut clients = users(&mut meeting, 3);
        for (n, client) in clients.iter_mut().enumerate() {
            for object in 0..3 {
                client.say(&mut meeting, object, set(&n.to_string(), value(n as u8, 5)));
            }
        }
        meeting.network.run_for(secs(2));
        let before = all_see_the_same(&meeting, &mut clients);
        assert!(before.iter().all(|view| view.slots.len() == 3));
        let (server, gone) = (meeting.server, seed as usize % 3);
        let is_gone = |meeting: &Meeting, client: &Client| {
            let crew = meeting.network[meeting.server].crew();
            crew.worker_of(meeting.network.address(client.at)) == gone
        };
        let lost = clients.iter().position(|client| is_gone(&meeting, client)).unwrap();
        meeting.network.remove(clients.remove(lost).at);
        meeting.network.act(server, |host, now| host.crew_mut().kill(now, gone));
        meeting.network.run_for(secs(2));
        let after = all_see_the_same(&meeting, &mut clients);
        assert!(before == after, "{before:?}\n{after:?}");
        clients[0].say(&mut meeting, 0, set("0", value(b'z', 5)));
        clients[1].say(&mut meeting, 1, SharedObjectEvent::RequestRemove { slot: "1".into() });
        meeting.network.run_for(secs(2));
        let views = all_see_the_same(&meeting, &mut clients);
        assert_eq!(views[0].slots["0"], value(b'z', 5));
        assert_eq!(views[1].slots.len(), 2);
        let late = &mut users(&mut meeting, 1)[0];
        late.read(&meeting);
        assert_eq!(late.views.clone().map(|view| view.slots), views.map(|view| view.slots));
    });
}
