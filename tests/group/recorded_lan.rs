//! Recorded players on a local network without a server: an announcer in the place of the player sends the
//! same datagrams when it did, and a group in its place meets a member as it did.

use crate::support::player::{Hints, Player};
use crate::support::recording::{DIR, bytes, lines};
use crate::support::replay::Replay;
use rtmfp::proto::group::GroupSpec;
use rtmfp::proto::lan::{Announcement, AnnouncementCodec, Announcer};
use rtmfp::proto::transport::Time;
use serde_json::Value;
use std::collections::BTreeSet;

/// The groupspec of the player in `lan-scripted`, as in `lan-session`.
const SPEC: &str = "G:0100010101020103050e6c616e31011b00070ae1e10001765f";

fn codec() -> AnnouncementCodec {
    let spec = GroupSpec::parse(SPEC).unwrap();
    AnnouncementCodec::new(&spec.group_id().0, spec.canonical_text())
}

fn time(line: &Value) -> Time {
    Time::from_micros((line["t"].as_f64().unwrap() * 1e6) as u64)
}

/// Datagrams with their times in seconds.
type Sent = Vec<(f64, Vec<u8>)>;

fn send(announcer: &mut Announcer, until: Time, sent: &mut Sent) {
    while announcer.poll_timeout() < until {
        let now = announcer.poll_timeout();
        sent.extend(announcer.poll_datagram(now).map(|it| (now.as_secs_f64(), it)));
    }
}

/// What was announced to the player is read alike, and makes it say hello to the same members; what it
/// announces has the same bytes.
#[test]
fn the_player_among_hand_made_announcements() {
    let lines = lines("lan-scripted");
    let own: Vec<_> = lines.iter().filter(|line| line["dir"] == "A>multicast").collect();
    let near = codec().decode(&bytes(own[0]["pkt"].as_str().unwrap())).unwrap().peer_id.unwrap();
    let theirs: Sent = own
        .iter()
        .map(|line| (line["t"].as_f64().unwrap(), bytes(line["pkt"].as_str().unwrap())))
        .collect();
    let mut announcer = Announcer::new(time(own[0]), codec(), near, 1);
    let (mut ours, mut called, mut calls) = (Sent::new(), BTreeSet::new(), BTreeSet::new());
    for line in &lines {
        // The periodic ones are at random times, and everything restarts their clock.
        if line["dir"] == "O>multicast" {
            send(&mut announcer, time(line), &mut ours);
            let packet = bytes(line["pkt"].as_str().unwrap());
            let source = line["src"].as_u64().unwrap();
            if announcer.handle_datagram(time(line), &packet).is_some() {
                called.insert(source);
            }
            let plain = bytes(line["plain"].as_str().unwrap());
            let asks = plain.windows(2).any(|option| option == [0x01, 0x2a]);
            // The third has a wrong HMAC.
            let read = codec().decode(&packet);
            assert_eq!(read.map(|it| it.asks), (source != 2).then_some(asks), "{source}");
        } else if line["dir"] == "A>O" {
            calls.insert(line["to_src"].as_u64().unwrap());
        }
    }
    send(&mut announcer, time(own[own.len() - 1]), &mut ours);
    assert_eq!(called, calls, "the sources that are sent hellos");

    let asking = Announcement { peer_id: Some(near), asks: true };
    let asking = |sent: &Sent| sent.iter().filter(|(_, it)| *it == codec().encode(&asking)).count();
    assert_eq!((asking(&ours), asking(&theirs)), (2, 2));
    // Two at the beginning, and an answer to each of five questions within 0.4 s.
    for ((at, packet), (then, theirs)) in theirs.iter().zip(&ours).take(7) {
        assert_eq!(packet, theirs);
        assert!((at - then).abs() < 0.3, "at {at}, ours at {then}");
    }
    let gap = theirs[7].0 - theirs[6].0;
    assert!((25.0..31.0).contains(&gap) && theirs.len() == 8, "{gap}");
}

/// The relation is as with a server, whose address no report has.
#[test]
fn the_player_that_a_member_has_announced_itself_to() {
    let player = Player::read("lan-session", "A", Hints::default());
    assert_eq!(player.server, None);
    let replay = Replay::run(&player);
    replay.same();
    assert_eq!(replay.different_posts(0.8), None);
}

/// The multicast datagrams of a capture in Linux' cooked form: time, source port and datagram. Each is there twice,
/// as it leaves and as it comes back.
fn multicast_of(capture: &[u8]) -> Vec<(f64, u16, Vec<u8>)> {
    let number = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (24, Vec::new());
    while at < capture.len() {
        let time = f64::from(number(at)) + f64::from(number(at + 4)) * 1e-6;
        let packet = &capture[at + 16..at + 16 + number(at + 8) as usize];
        at += 16 + packet.len();
        // 20 bytes each of link and IP, 8 of UDP.
        if packet[36] & 0xf0 == 0xe0 {
            let port = u16::from_be_bytes([packet[40], packet[41]]);
            found.push((time, port, packet[48..].to_vec()));
        }
    }
    found.dedup_by(|a, b| a.1 == b.1 && a.0 - b.0 < 0.001);
    found
}

/// Two players: each asks twice, a second apart, and the first answers the second question of the other. It leaves
/// the first one unanswered, as its own second question is to come; we answer both.
#[test]
fn two_players_that_announce_themselves() {
    let capture = std::fs::read(format!("{DIR}/lan-2players.pcap")).unwrap();
    let sent = multicast_of(&capture);
    let read: Vec<_> = sent.iter().map(|(_, _, packet)| codec().decode(packet).unwrap()).collect();
    for (announcement, (_, _, packet)) in read.iter().zip(&sent) {
        assert_eq!(codec().encode(announcement), *packet);
    }
    let [a, b] = [48_986, 56_715];
    let from: Vec<_> = sent.iter().map(|(_, port, _)| *port).collect();
    assert_eq!(from, [a, b, a, b, a]);
    assert_eq!(read.iter().map(|it| it.asks).collect::<Vec<_>>(), [true, true, true, true, false]);

    let start = sent[0].0;
    let at = |place: usize| Time::from_micros(((sent[place].0 - start) * 1e6) as u64);
    for (first, questions, answer) in [(0, vec![1, 3], 1), (1, vec![2], 0)] {
        let near = read[first].peer_id.unwrap();
        let mut announcer = Announcer::new(at(first), codec(), near, 3);
        let mut ours = Sent::new();
        for question in questions {
            send(&mut announcer, at(question), &mut ours);
            announcer.handle_datagram(at(question), &sent[question].2);
        }
        send(&mut announcer, Time::from_micros(3_000_000), &mut ours);
        let asks = |it: &Vec<u8>| codec().decode(it).unwrap().asks;
        let asked = ours.iter().filter(|(_, it)| asks(it)).count();
        assert_eq!(asked, 2, "{ours:?}");
        assert!(ours.len() - asked >= answer, "{ours:?}");
    }
}
