//! A web server in front of which four watch, one begins after the other, and which dies in the middle.
#![expect(clippy::disallowed_methods, reason = "a player reads at the rate at which it plays")]

use crate::support::{PATIENCE, Running, content, rtmfp};
use crate::watch::Watch;
use crate::web_server::WebServer;
use serde_json::Value;
use std::io::Read;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

const SIZE: usize = 16_000_000;
/// Bytes that are played in a second.
const RATE: usize = 500_000;
/// The web server is no further than so many bytes before who is in front.
const AHEAD: usize = 3_000_000;

/// Reads a film at the rate at which it is played, and reports how far it is: the number of the viewer and
/// bytes.
fn play(url: &str, viewer: usize, at: &Sender<(usize, usize)>) -> Vec<u8> {
    let response = ureq::get(url).call().unwrap();
    let mut body = response.into_body().into_reader();
    let (mut film, mut part) = (Vec::new(), vec![0; 32 << 10]);
    let start = Instant::now();
    loop {
        let count = body.read(&mut part).unwrap();
        if count == 0 {
            return film;
        }
        film.extend_from_slice(&part[..count]);
        at.send((viewer, film.len())).unwrap();
        let due = Duration::from_secs_f64(film.len() as f64 / RATE as f64);
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

#[test]
fn four_watch_on_while_their_web_server_is_gone() {
    let content = content(75, SIZE);
    let (mut web, url) = WebServer::of_film(content.clone());
    web.allow(AHEAD as u64);
    let cache = tempfile::tempdir().unwrap();
    let mut share = rtmfp(["share", &url, "--json", "--listen", "127.0.0.1:0", "--cache"]);
    let share = Running::start(share.arg(cache.path()));
    let is = |line: &str, event: &str| {
        serde_json::from_str::<Value>(line).is_ok_and(|line| line["event"] == event)
    };
    let shared = share.until(|line| is(line, "shared"));
    let shared: Value = serde_json::from_str(shared.last().unwrap()).unwrap();
    let link = shared["link"].as_str().unwrap().to_owned();

    let (at, moves) = mpsc::channel();
    let (mut watches, mut players, mut places) = (Vec::new(), Vec::new(), [0; 4]);
    // Each follows when the one before has played two seconds; until all are there, the web server has more
    // to send.
    while places[3] == 0 {
        if watches.len() < 4 && (watches.is_empty() || places[watches.len() - 1] > 2 * RATE) {
            let (watch, viewer) = (Watch::start(&link, &[]), watches.len());
            let (film, at) = (format!("{}film/film.bin", watch.url), at.clone());
            players.push(thread::spawn(move || play(&film, viewer, &at)));
            watches.push(watch);
        }
        let (viewer, place) = moves.recv_timeout(PATIENCE).unwrap();
        places[viewer] = place;
        web.allow((places[0] + AHEAD).min(SIZE * 3 / 4) as u64);
    }
    web.kill();
    web.allow(u64::MAX);
    share.until(|line| is(line, "origin_failed"));
    while let Ok((viewer, place)) = moves.try_recv() {
        places[viewer] = place;
    }
    // What is held is watched meanwhile: who is last needs nothing that nobody has.
    let before = places[3];
    while places[3] < before + RATE {
        let (viewer, place) = moves.recv_timeout(PATIENCE).unwrap();
        places[viewer] = place;
    }
    web.go_on();
    for player in players {
        assert!(player.join().unwrap() == content, "another film");
    }
    let copies = web.sent() as f64 / SIZE as f64;
    println!("the web server has sent {copies:.3} copies");
    assert!(copies <= 1.3, "{copies}");
    watches.into_iter().for_each(|watch| drop(watch.stop()));
}
