//! Live streams through the server: who gets what, who waits, who is refused, and what is held for
//! one who is slow. All of it with one worker, and with several among which the clients are spread.

use crate::support::studio::{HEADER, INTER, KEY, Studio, data, video};
use crate::support::{for_seeds, millis, secs};
use bytes::Bytes;
use rtmfp::amf::Value;
use rtmfp::proto::flash::stream::Request;
use rtmfp::proto::flash::{Body, Message, UserControl};
use rtmfp::proto::rendezvous::{RendezvousEvent, StreamLimits};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{FlowId, FlowOptions, Layer, MessageOptions};

/// Numbers of workers.
const CREWS: [usize; 2] = [1, 3];
/// The server's control flow, the first that it opens.
const CONTROL: FlowId = FlowId(2);

#[test]
fn who_waits_gets_everything_and_hears_of_the_end() {
    for_seeds(4, |seed| {
        let far = Link::lan().with_delay(millis(30)).with_loss(0.01);
        let link = if seed % 2 == 0 { Link::lan() } else { far };
        let mut studio = Studio::usual(seed, CREWS[(seed / 2) as usize % 2], link);
        let (a, b, c) = (studio.client("live"), studio.client("live"), studio.client("live?x=1"));
        let played = [studio.play(b, "cam"), studio.play(c, "cam")];
        studio.network.run_for(secs(3));
        assert_eq!(studio.story(b, played[0]), "Connect.Success Play.Reset Play.Start ");
        let published = studio.publish(a, "cam");
        studio.network.run_for(secs(3));
        assert_eq!((studio.crew().stats().streams, studio.crew().stats().players), (1, 2));
        let bytes = b"\x02\0\x05bytes\x11\x0c\x07\x01\x02\x03";
        let sent: Vec<_> = [data(0, b"\x02\0\x0aonMetaData\x05"), video(0, HEADER, 40)]
            .into_iter()
            .chain((0..100).map(|n| match n % 10 {
                0 => video(n * 40, KEY, 9000),
                5 => data(n * 40, bytes),
                7 => Message::new(n * 40, Body::Audio(Bytes::from_static(b"\xaf\x01sound"))),
                _ => video(n * 40, INTER, 1500),
            }))
            .collect();
        for message in &sent {
            studio.write(a, published, message);
            studio.network.run_for(millis(40));
        }
        studio.network.run_for(secs(5));
        for (at, stream) in [(b, played[0]), (c, played[1])] {
            assert!(studio.messages(at, stream) == sent);
        }
        let info = &studio.streams()[0];
        assert_eq!((&*info.app, &*info.name, info.players), ("live", "cam", 2));
        assert_eq!(info.messages, sent.len() as u64);
        studio.close(a, published);
        studio.network.run_for(secs(3));
        let again = studio.publish(a, "cam");
        studio.network.run_for(secs(3));
        let story = studio.story(b, played[0]);
        let stars = "*".repeat(sent.len());
        let expected = format!(
            "Connect.Success Play.Reset Play.Start Play.PublishNotify {stars}Play.UnpublishNotify Play.PublishNotify "
        );
        assert_eq!(story, expected);
        for (at, stream) in [(a, again), (b, played[0]), (c, played[1])] {
            studio.close(at, stream);
        }
        studio.network.run_for(secs(3));
        assert_eq!((studio.crew().stats().streams, studio.crew().stats().players), (0, 0));
        let seen = &studio.crew().events;
        let count = |is: fn(&RendezvousEvent) -> bool| seen.iter().filter(|it| is(it)).count();
        assert_eq!(count(|it| matches!(it, RendezvousEvent::StreamPublished { .. })), 2);
        assert_eq!(count(|it| matches!(it, RendezvousEvent::StreamEnded { .. })), 2);
    });
}

#[test]
fn who_comes_late_begins_at_the_key_frame_before() {
    for workers in CREWS {
        let mut studio = Studio::usual(1, workers, Link::lan());
        let (a, b) = (studio.client("live"), studio.client("live"));
        let published = studio.publish(a, "cam");
        studio.network.run_for(secs(1));
        let frames = [
            data(0, b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x05"),
            video(0, HEADER, 40),
            video(0, KEY, 60_000),
            video(40, INTER, 500),
            video(80, KEY, 300_000),
            video(120, INTER, 500),
        ];
        for message in &frames {
            studio.write(a, published, message);
        }
        studio.network.run_for(secs(3));
        let played = studio.play(b, "cam");
        studio.network.run_for(secs(3));
        studio.write(a, published, &video(160, INTER, 500));
        studio.network.run_for(secs(1));
        let expected = [
            data(80, b"\x02\0\x0aonMetaData\x05"),
            video(80, HEADER, 40),
            frames[4].clone(),
            frames[5].clone(),
            video(160, INTER, 500),
        ];
        let came = studio.messages(b, played);
        let at = |messages: &[Message]| {
            messages.iter().map(|it| (it.timestamp, it.encode().len())).collect::<Vec<_>>()
        };
        assert_eq!(at(&came)[2..], at(&expected)[2..]);
        assert_eq!(came[0], expected[0]);
        assert_eq!(came[1].body, frames[1].body);
    }
}

#[test]
fn names_are_taken_once_in_each_application() {
    for workers in CREWS {
        let mut studio = Studio::usual(2, workers, Link::lan());
        let clients = [studio.client("a"), studio.client("a/_definst_"), studio.client("b")];
        let streams = clients.map(|at| {
            let stream = studio.publish(at, "cam");
            studio.network.run_for(secs(1));
            stream
        });
        assert!(studio.story(clients[0], streams[0]).ends_with("Publish.Start "));
        let refused = studio.failure(clients[1], streams[1]);
        assert!(refused.contains("NetStream.Publish.BadName"), "{refused}");
        assert!(studio.story(clients[2], streams[2]).ends_with("Publish.Start "));
        // The publisher vanishes without a word.
        studio.network.remove(clients[0]);
        studio.network.run_for(secs(60));
        let again = studio.publish(clients[1], "cam");
        studio.network.run_for(secs(1));
        assert!(studio.story(clients[1], again).ends_with("Publish.Start "));
        let recorded = Request::Play(vec![Value::from("film"), Value::from(0.0)]);
        let recorded = studio.open(clients[1], recorded);
        studio.network.run_for(secs(1));
        let refused = studio.failure(clients[1], recorded);
        assert!(refused.contains("NetStream.Play.StreamNotFound"), "{refused}");
    }
}

#[test]
fn a_server_without_streams_says_so() {
    for workers in CREWS {
        let mut studio = Studio::new(3, workers, Link::lan(), None);
        let a = studio.client("a");
        let (published, played) = (studio.publish(a, "x"), studio.play(a, "x"));
        studio.network.run_for(secs(1));
        let refused = studio.failure(a, published);
        assert_eq!(refused, "this server relays no streams (NetStream.Publish.Denied)");
        let refused = studio.failure(a, played);
        assert_eq!(refused, "this server relays no streams (NetStream.Play.Failed)");
    }
}

/// One who plays over a narrow link gets less, the others get all, and little waits.
#[test]
fn a_slow_player_misses_frames_and_holds_nothing_up() {
    for workers in CREWS {
        let mut limits = StreamLimits::default();
        limits.queue = 50_000;
        let mut studio = Studio::new(4, workers, Link::lan(), Some(limits));
        let (a, fast, slow) = (studio.client("a"), studio.client("a"), studio.client("a"));
        studio.network.set_link(studio.server, slow, Link::lan().with_rate(40_000));
        let played = [studio.play(fast, "x"), studio.play(slow, "x")];
        let published = studio.publish(a, "x");
        studio.network.run_for(secs(1));
        let mut sent = Vec::new();
        for n in 0..500 {
            let message = match n % 25 {
                0 => video(n * 40, KEY, 20_000),
                3 => data(n * 40, &[b'd'; 3000]),
                _ => video(n * 40, INTER, 4000),
            };
            studio.write(a, published, &message);
            sent.push(message);
            studio.network.run_for(millis(40));
            assert!(
                studio.crew().workers.iter().map(|it| it.endpoint().memory()).sum::<u64>()
                    < 800_000
            );
        }
        studio.network.run_for(secs(10));
        assert!(studio.messages(fast, played[0]) == sent);
        let came = studio.messages(slow, played[1]).len();
        assert!((20..400).contains(&came), "{came}");
        assert!(studio.crew().stats().stream_messages_dropped > 10);
    }
}

/// The third argument of `play`, in milliseconds.
#[test]
fn who_plays_for_a_while_gets_so_much() {
    for workers in CREWS {
        let mut studio = Studio::usual(6, workers, Link::lan());
        let [a, b, c, d] = [(); 4].map(|()| studio.client("x"));
        let play = |studio: &mut Studio, at, length: f64| {
            let args = ["x".into(), Value::from(-1000.0), Value::from(length)];
            studio.open(at, Request::Play(args.into()))
        };
        // It waits for the stream, and its time begins with that.
        let early = play(&mut studio, b, 1000.0);
        let whole = [play(&mut studio, c, -1000.0), play(&mut studio, c, 0.0)];
        studio.network.run_for(secs(5));
        let published = studio.publish(a, "x");
        studio.network.run_for(secs(1));
        let shoot = |studio: &mut Studio, from: u32, count: u32| {
            for n in from..from + count {
                let head = if n % 25 == 0 { KEY } else { INTER };
                studio.write(a, published, &video(90_000 + n * 40, head, 500));
                studio.network.run_for(millis(40));
            }
        };
        shoot(&mut studio, 0, 60);
        let late = play(&mut studio, d, 2000.0);
        shoot(&mut studio, 60, 60);
        studio.network.run_for(secs(3));
        let times = |studio: &Studio, at, stream| -> Vec<u32> {
            let frames = studio.messages(at, stream);
            frames.iter().map(|frame| (frame.timestamp - 90_000) / 40).collect()
        };
        assert_eq!(times(&studio, b, early), (0..25).collect::<Vec<_>>());
        assert!(studio.story(b, early).ends_with("*Play.Stop "), "{}", studio.story(b, early));
        // It begins at the key frame before.
        assert_eq!(times(&studio, d, late), (50..100).collect::<Vec<_>>());
        for stream in whole {
            assert_eq!(times(&studio, c, stream), (0..120).collect::<Vec<_>>());
        }
        assert_eq!(studio.streams()[0].players, 2);
        // It may play again.
        studio.close(a, published);
        studio.network.run_for(secs(1));
        assert!(!studio.story(b, early).ends_with("Play.UnpublishNotify "));
        let again = play(&mut studio, b, 80.0);
        studio.network.run_for(secs(1));
        let published = studio.publish(a, "x");
        studio.network.run_for(secs(1));
        for n in 0..9 {
            studio.write(a, published, &video(n * 40, KEY, 500));
            studio.network.run_for(millis(40));
        }
        assert_eq!(studio.messages(b, again).len(), 2);
    }
}

/// One who publishes over several flows, as rtmfp-cpp's tcpublish does: the end, on a flow of its own, does
/// not overtake what is on the others (RFC 7425 §5.2).
#[test]
fn the_end_of_a_stream_waits_for_what_was_sent_before() {
    for workers in CREWS {
        let mut studio = Studio::usual(7, workers, Link::lan());
        let (a, b) = (studio.client("x"), studio.client("x"));
        let played = studio.play(b, "x");
        studio.publish(a, "x");
        studio.network.run_for(secs(1));
        studio.network.set_link(a, studio.server, Link::lan().with_rate(100_000));
        let mut sessions = studio.network[a].node().endpoint().sessions();
        let (session, _) = sessions.next().unwrap();
        drop(sessions);
        let flows = [(); 3].map(|()| {
            studio.network.act(a, |it, _| {
                let options = FlowOptions::immediate(Some(CONTROL));
                it.node().inner_mut().open_flow(session, b"TC\x04\x01", options).unwrap()
            })
        });
        let mut send = |flow: usize, bytes: Bytes| {
            studio.network.act(a, |it, now| {
                let endpoint = it.node().inner_mut();
                endpoint.send(now, session, flows[flow], bytes, MessageOptions::RELIABLE).unwrap();
            });
        };
        let mut sent = Vec::new();
        for n in 0..50 {
            let frame = video(n * 40, if n == 0 { KEY } else { INTER }, 4000);
            send(0, frame.encode().into_bytes());
            sent.push(frame);
        }
        for flow in 0..3 {
            let sync = Body::UserControl(UserControl::FlowSync { id: 1, count: 3 });
            send(flow, Message::new(0, sync).encode().into_bytes());
        }
        let close = b"\x14\0\0\0\0\x02\0\x0bcloseStream\0\0\0\0\0\0\0\0\0\x05";
        send(2, Bytes::from_static(close));
        studio.network.run_for(secs(1));
        assert!(
            !studio.story(b, played).contains("Unpublish"),
            "two seconds of frames are on the way"
        );
        studio.network.run_for(secs(9));
        assert!(studio.messages(b, played) == sent);
        assert!(studio.story(b, played).ends_with("*Play.UnpublishNotify "));
        assert_eq!(studio.crew().stats().streams, 0);
    }
}
