//! An owner that decides who publishes at a server with several workers: what it allows is one matter,
//! and whose the name is another. It learns of whatever did not come of what it has allowed.

use crate::support::studio::{HEADER, INTER, KEY, Studio, video};
use crate::support::{for_seeds, millis, secs};
use rtmfp::proto::node::StreamHandle;
use rtmfp::proto::rendezvous::{
    Decision, HookConfig, HookEvent, HookKind, Query, QueryId, RendezvousConfig,
};
use rtmfp::proto::sim::{Link, NodeId};

/// Three workers, and an owner that may think for a minute.
fn studio(seed: u64) -> Studio {
    let mut hooks = HookConfig::default();
    hooks.events = [HookKind::Publish, HookKind::Unpublish].into();
    hooks.timeout = secs(60);
    let mut config = RendezvousConfig::default();
    config.hooks = Some(hooks);
    Studio::with_config(seed, 3, Link::lan(), config)
}

/// Clients of different workers.
fn clients(studio: &mut Studio) -> [NodeId; 3] {
    let clients = [(); 3].map(|()| studio.client("x"));
    let mut workers = clients.map(|at| studio.worker_of(at));
    workers.sort_unstable();
    assert_eq!(workers, [0, 1, 2]);
    clients
}

/// The only question: its worker and its number.
fn question(studio: &mut Studio, is_wanted: impl Fn(&HookEvent) -> bool) -> (usize, QueryId) {
    let mut queries = studio.queries();
    let [(worker, Query { id, event, .. })] = &queries[..] else { panic!("{queries:?}") };
    assert!(is_wanted(event), "{event:?}");
    let found = (*worker, *id);
    queries.clear();
    found
}

fn publishes(event: &HookEvent) -> bool {
    *event == HookEvent::Publish { name: "cam".into() }
}

fn ends(event: &HookEvent) -> bool {
    *event == HookEvent::Unpublish { name: "cam".into() }
}

/// Asks to publish, and waits until the owner is asked.
fn ask(studio: &mut Studio, at: NodeId) -> (StreamHandle, (usize, QueryId)) {
    let stream = studio.publish(at, "cam");
    studio.network.run_for(millis(200));
    let asked = question(studio, publishes);
    assert_eq!(asked.0, studio.worker_of(at));
    (stream, asked)
}

fn is_taken(studio: &Studio, at: NodeId, stream: StreamHandle) -> bool {
    studio.failure(at, stream).contains("NetStream.Publish.BadName")
}

fn has_begun(studio: &Studio, at: NodeId, stream: StreamHandle) -> bool {
    studio.story(at, stream).ends_with("Publish.Start ")
}

/// Both are allowed at the same moment, and each asks the others for the name.
#[test]
fn of_two_who_may_publish_one_does_and_the_owner_learns_of_the_other() {
    for_seeds(6, |seed| {
        let mut studio = studio(seed);
        let [a, b, c] = clients(&mut studio);
        let played = studio.play(c, "cam");
        studio.crew_mut().lags = vec![millis(seed * 4); 3];
        let (stream_a, query_a) = ask(&mut studio, a);
        let (stream_b, query_b) = ask(&mut studio, b);
        // Both send without waiting for the answer.
        for (at, stream, first) in [(a, stream_a, 1000), (b, stream_b, 2000)] {
            studio.write(at, stream, &video(first, HEADER, 40));
            studio.write(at, stream, &video(first + 1, KEY, 2000));
            studio.write(at, stream, &video(first + 2, INTER, 2000));
        }
        studio.network.run_for(secs(1));
        assert_eq!(studio.crew().stats().streams, 0);
        studio.decide(query_a, Decision::Allow);
        studio.decide(query_b, Decision::Allow);
        studio.network.run_for(secs(3));
        let begun = [has_begun(&studio, a, stream_a), has_begun(&studio, b, stream_b)];
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "{begun:?}");
        let (won, lost, first) = match begun[0] {
            true => ((a, stream_a), (b, stream_b), 1000),
            false => ((b, stream_b), (a, stream_a), 2000),
        };
        assert!(is_taken(&studio, lost.0, lost.1));
        let (worker, _) = question(&mut studio, ends);
        assert_eq!(worker, studio.worker_of(lost.0), "the one that has lost it");
        // What was sent before the answer is played, and what follows.
        studio.write(won.0, won.1, &video(first + 3, INTER, 2000));
        studio.network.run_for(secs(1));
        let came: Vec<u32> =
            studio.messages(c, played).iter().map(|message| message.timestamp).collect();
        assert_eq!(came, [first, first + 1, first + 2, first + 3]);
        studio.close(won.0, won.1);
        studio.network.run_for(secs(1));
        let (worker, _) = question(&mut studio, ends);
        assert_eq!(worker, studio.worker_of(won.0));
    });
}

#[test]
fn what_is_allowed_when_the_name_is_taken_is_taken_back() {
    let mut studio = studio(1);
    let [a, b, _] = clients(&mut studio);
    let (stream_b, late) = ask(&mut studio, b);
    let (stream_a, query) = ask(&mut studio, a);
    studio.decide(query, Decision::Allow);
    studio.network.run_for(secs(1));
    assert!(has_begun(&studio, a, stream_a));
    studio.decide(late, Decision::Allow);
    studio.network.run_for(secs(1));
    assert!(is_taken(&studio, b, stream_b));
    assert_eq!(question(&mut studio, ends).0, studio.worker_of(b));
}

/// A client that is denied has claimed nothing.
#[test]
fn a_name_that_one_is_denied_is_free_for_another() {
    let mut studio = studio(2);
    let [a, b, _] = clients(&mut studio);
    let (stream_a, denied) = ask(&mut studio, a);
    let (stream_b, allowed) = ask(&mut studio, b);
    studio.decide(denied, Decision::deny("not you"));
    studio.decide(allowed, Decision::Allow);
    studio.network.run_for(secs(1));
    assert!(studio.failure(a, stream_a).contains("not you"));
    assert!(has_begun(&studio, b, stream_b));
    assert!(studio.queries().is_empty());
}

/// The client does not want it any more while its worker asks the others for the name.
#[test]
fn who_leaves_while_the_name_is_asked_for_has_not_published() {
    for is_gone in [false, true] {
        let mut studio = studio(3);
        let [a, b, c] = clients(&mut studio);
        let played = studio.play(c, "cam");
        let (stream, query) = ask(&mut studio, a);
        studio.crew_mut().lags = vec![millis(20); 3];
        studio.decide(query, Decision::Allow);
        match is_gone {
            true => studio.network.act(a, |it, now| it.node().disconnect(now)),
            false => studio.close(a, stream),
        }
        studio.network.run_for(millis(10));
        assert_eq!(studio.crew().stats().streams, 0);
        assert_eq!(question(&mut studio, ends).0, studio.worker_of(a));
        studio.network.run_for(secs(1));
        assert_eq!(
            (studio.crew().stats().streams, studio.story(c, played).contains('*')),
            (0, false)
        );
        let (stream, query) = ask(&mut studio, b);
        studio.decide(query, Decision::Allow);
        studio.network.run_for(secs(1));
        assert!(has_begun(&studio, b, stream), "nobody has the name");
    }
}
