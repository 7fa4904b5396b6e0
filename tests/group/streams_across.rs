//! Streams whose publisher and players are clients of different workers: who wins a name, and what
//! is left when commands are lost, a worker lags, or one is gone.

use crate::support::studio::{HEADER, INTER, KEY, Studio, data, video};
use crate::support::{for_seeds, millis, secs};
use rtmfp::amf::Value;
use rtmfp::proto::flash::stream::Request;
use rtmfp::proto::flash::{Body, Message};
use rtmfp::proto::node::StreamHandle;
use rtmfp::proto::rendezvous::StreamLimits;
use rtmfp::proto::sim::{Link, NodeId};

/// Publishes `count` frames, each with its number as timestamp, a key frame every ten.
fn shoot(studio: &mut Studio, at: NodeId, stream: StreamHandle, from: u32, count: u32) {
    for n in from..from + count {
        let head = if n % 10 == 0 { KEY } else { INTER };
        studio.write(at, stream, &video(n, head, 2000));
        studio.network.run_for(millis(20));
    }
}

/// The numbers of the frames that have come. None can be shown without the one before, unless it is a
/// key frame.
fn shown(studio: &Studio, at: NodeId, stream: StreamHandle) -> Vec<u32> {
    let messages = studio.messages(at, stream);
    let is_frame = |it: &&Message| matches!(&it.body, Body::Video(data) if data[1] == 1);
    let frames: Vec<u32> = messages.iter().filter(is_frame).map(|it| it.timestamp).collect();
    let mut last = None;
    for &frame in &frames {
        assert!(frame % 10 == 0 || last == Some(frame - 1), "{frame} behind {last:?}");
        last = Some(frame);
    }
    frames
}

/// Three workers of a process, or three machines.
fn three(seed: u64) -> Studio {
    match seed % 2 {
        0 => Studio::usual(seed, 3, Link::lan()),
        _ => Studio::apart(seed, 3),
    }
}

#[test]
fn of_two_who_publish_at_once_one_wins() {
    for_seeds(8, |seed| {
        let mut studio = three(seed);
        let (a, b, c) = (studio.client("x"), studio.client("x"), studio.client("x"));
        let played = studio.play(c, "cam");
        // Commands may also be slow.
        studio.crew_mut().lags = vec![millis(seed * 6); 3];
        let published = [(a, studio.publish(a, "cam")), (b, studio.publish(b, "cam"))];
        studio.network.run_for(secs(5));
        let won = published.map(|(at, it)| studio.story(at, it).ends_with("Publish.Start "));
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let (loser, stream) = published[usize::from(won[0])];
        assert!(studio.failure(loser, stream).contains("NetStream.Publish.BadName"));
        let (winner, stream) = published[usize::from(won[1])];
        assert_eq!(studio.crew().stats().streams, 1);
        shoot(&mut studio, winner, stream, 0, 20);
        studio.network.run_for(secs(1));
        assert_eq!(shown(&studio, c, played), (0..20).collect::<Vec<_>>());
    });
}

/// Nobody has learned of the other when both begin.
#[test]
fn of_two_who_both_publish_one_stays() {
    for_seeds(4, |seed| {
        let mut studio = three(seed);
        let (a, b, c) = (studio.client("x"), studio.client("x"), studio.client("x"));
        let played = studio.play(c, "cam");
        studio.network.run_for(secs(1));
        studio.crew_mut().loss = 1.0;
        let published = [(a, studio.publish(a, "cam")), (b, studio.publish(b, "cam"))];
        studio.network.run_for(secs(1));
        assert_eq!(studio.crew().stats().streams, 2);
        studio.crew_mut().loss = 0.0;
        studio.network.run_for(secs(5));
        assert_eq!((studio.crew().stats().streams, studio.crew().stats().players), (1, 1));
        let lost = published.map(|(at, it)| studio.failure(at, it).contains("BadName"));
        assert_eq!(lost.iter().filter(|lost| **lost).count(), 1, "{lost:?}");
        let (winner, stream) = published[usize::from(lost[0])];
        shoot(&mut studio, winner, stream, 0, 20);
        studio.network.run_for(secs(1));
        assert_eq!(shown(&studio, c, played), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_recording_is_looked_for_at_all_workers() {
    let mut studio = Studio::usual(1, 3, Link::lan());
    let (a, b) = (studio.client("x"), studio.client("x"));
    let published = studio.publish(a, "cam");
    studio.network.run_for(secs(1));
    shoot(&mut studio, a, published, 0, 15);
    let open = |studio: &mut Studio, name: &str| {
        let stream = studio.open(b, Request::Play(vec![Value::from(name), Value::from(0.0)]));
        studio.network.run_for(secs(1));
        stream
    };
    let found = open(&mut studio, "cam");
    assert_eq!(shown(&studio, b, found), (10..15).collect::<Vec<_>>());
    let missing = open(&mut studio, "film");
    assert!(studio.failure(b, missing).contains("NetStream.Play.StreamNotFound"));
    // Nobody plays it any more: it does not come here.
    studio.close(b, found);
    studio.network.run_for(secs(1));
    assert_eq!(studio.streams()[0].players, 0);
}

#[test]
fn lost_commands_cost_frames_and_nothing_for_long() {
    for_seeds(6, |seed| {
        let mut studio = three(seed);
        let (a, b, c) = (studio.client("x"), studio.client("x"), studio.client("x"));
        studio.crew_mut().loss = 0.3;
        let played = studio.play(b, "cam");
        let published = studio.publish(a, "cam");
        studio.network.run_for(secs(3));
        studio.write(a, published, &video(0, HEADER, 40));
        shoot(&mut studio, a, published, 0, 600);
        let late = studio.play(c, "cam");
        shoot(&mut studio, a, published, 600, 400);
        let came = shown(&studio, b, played);
        assert!((50..900).contains(&came.len()), "{}", came.len());
        assert!(shown(&studio, c, late).len() > 20);
        studio.close(b, played);
        studio.network.run_for(millis(500));
        studio.crew_mut().loss = 0.0;
        studio.network.run_for(secs(15));
        assert_eq!(studio.streams()[0].players, 1, "who is gone gets nothing");
        shoot(&mut studio, a, published, 1000, 20);
        studio.network.run_for(secs(1));
        let last = shown(&studio, c, late);
        assert_eq!(last[last.len() - 20..], (1000..1020).collect::<Vec<_>>());
        // The end is lost, too.
        studio.crew_mut().loss = 1.0;
        studio.close(a, published);
        studio.network.run_for(millis(200));
        studio.crew_mut().loss = 0.0;
        studio.network.run_for(secs(5));
        assert!(studio.story(c, late).ends_with("*Play.UnpublishNotify "));
    });
}

/// What waits for a worker that lags is bounded, and nobody else misses anything.
#[test]
fn a_worker_that_lags_misses_frames() {
    let mut limits = StreamLimits::default();
    (limits.queue, limits.cache) = (60_000, 40_000);
    let mut studio = Studio::new(5, 3, Link::lan(), Some(limits));
    let (a, b, c) = (studio.client("x"), studio.client("x"), studio.client("x"));
    let played = [studio.play(b, "cam"), studio.play(c, "cam")];
    let published = studio.publish(a, "cam");
    studio.network.run_for(secs(1));
    let slow = studio.worker_of(c);
    assert_ne!(slow, studio.worker_of(b));
    studio.crew_mut().lags[slow] = secs(3);
    let (mut most, mut n) = (0, 0);
    for _ in 0..40 {
        shoot(&mut studio, a, published, n, 10);
        studio.write(a, published, &data(n, b"\x02\0\x01d"));
        n += 10;
        most = most.max(studio.crew().waiting(slow));
    }
    assert!((60_000..250_000).contains(&most), "{most} bytes");
    studio.crew_mut().lags[slow] = millis(1);
    studio.network.run_for(secs(6));
    assert_eq!(shown(&studio, b, played[0]), (0..400).collect::<Vec<_>>());
    let came = shown(&studio, c, played[1]).len();
    assert!((50..350).contains(&came), "{came}");
    shoot(&mut studio, a, published, 400, 20);
    studio.network.run_for(secs(1));
    let last = shown(&studio, c, played[1]);
    assert_eq!(last[last.len() - 20..], (400..420).collect::<Vec<_>>());
    assert!(studio.crew().stats().stream_messages_dropped > 50);
}

#[test]
fn the_stream_of_a_worker_that_is_gone_has_ended() {
    for is_noticed in [true, false] {
        let mut studio = three(u64::from(is_noticed));
        let (a, b, c) = (studio.client("x"), studio.client("x"), studio.client("x"));
        let played = studio.play(b, "cam");
        let published = studio.publish(a, "cam");
        studio.network.run_for(secs(1));
        shoot(&mut studio, a, published, 0, 10);
        let (server, gone) = (studio.server, studio.worker_of(a));
        studio.network.act(server, |host, now| match is_noticed {
            true => host.crew().kill(now, gone),
            false => host.crew().kill_silently(gone),
        });
        studio.network.run_for(if is_noticed { millis(100) } else { secs(13) });
        assert!(studio.story(b, played).ends_with("*Play.UnpublishNotify "));
        let again = studio.publish(c, "cam");
        studio.network.run_for(secs(1));
        shoot(&mut studio, c, again, 100, 10);
        studio.network.run_for(secs(5));
        let expected: Vec<_> = (0..10).chain(100..110).collect();
        assert_eq!(shown(&studio, b, played), expected);
    }
}
