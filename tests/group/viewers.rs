//! Viewers that play a file while they fetch it.

use crate::support::net::{Net, peer, server, spec};
use rtmfp::proto::group::{GroupConfig, ReplicationStrategy};
use rtmfp::proto::transport::Time;
use std::time::Duration;

const CHUNKS: u64 = 256;
const SIZE: usize = 64 * 1024;
const VIEWERS: usize = 10;
/// Bytes that play in a second.
const RATE: u64 = 2_000_000 / 8;
/// Seconds of the file that are read before it plays, and ahead of what plays.
const BUFFER: f64 = 2.0;
const READ_AHEAD: f64 = 10.0;
/// Interval at which a viewer reads.
const STEP: Duration = Duration::from_millis(100);

/// What a viewer reads and plays.
#[derive(Debug, Default)]
struct Viewer {
    next: u64,
    /// Seconds of the file that have played.
    played: f64,
    is_playing: bool,
    startup: Option<f64>,
    stalls: u32,
}

impl Viewer {
    /// Plays for a step, and reads what is there.
    fn advance(&mut self, now: f64, has: impl Fn(u64) -> bool) {
        let each = SIZE as f64 / RATE as f64;
        let read = |next: u64| next as f64 * each;
        if self.is_playing {
            self.played = (self.played + STEP.as_secs_f64()).min(read(self.next));
        }
        while has(self.next) && read(self.next) <= self.played + READ_AHEAD {
            self.next += 1;
        }
        let (buffered, is_read) = (read(self.next) - self.played, self.next == CHUNKS);
        if self.is_playing && buffered <= 0.0 && !is_read {
            self.is_playing = false;
            self.stalls += 1;
        } else if !self.is_playing && (buffered >= BUFFER || is_read) {
            self.is_playing = true;
            self.startup.get_or_insert(now);
        }
    }
}

/// A provider with 10 Mbit/s up, and viewers with half of it, who come at once.
fn swarm() -> Net {
    let mut net = Net::new(0);
    for node in 0..=VIEWERS {
        let mut config = GroupConfig::new(spec(), peer(node));
        config.server = Some(server());
        net.add_configured(config);
        let this = &mut net.nodes[node];
        (this.object_size, this.shares, this.is_light) = (SIZE, true, true);
        this.downlink = 20_000_000 / 8;
        this.uplink = if node == 0 { 10_000_000 / 8 } else { 5_000_000 / 8 };
    }
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=CHUNKS - 1)).unwrap();
    for node in 1..=VIEWERS {
        (0..node).for_each(|other| net.introduce(node, other));
        net.with(node, |group, now| {
            let mut replication = group.replication_mut(now);
            replication.set_provider(Some(peer(0)));
            replication.set_strategy(ReplicationStrategy::Swarm);
            replication.set_play_rate(Some(RATE));
            replication.add_want(0..=CHUNKS - 1)
        })
        .unwrap();
    }
    net
}

#[test]
fn ten_viewers_play_without_a_stall() {
    let mut net = swarm();
    let mut viewers: Vec<Viewer> = (0..VIEWERS).map(|_| Viewer::default()).collect();
    while viewers.iter().any(|viewer| viewer.next < CHUNKS) {
        net.run_for(STEP);
        let now = net.now.since(Time::ZERO).as_secs_f64();
        assert!(now < 300.0, "not all have been read");
        for (node, viewer) in (1..).zip(&mut viewers) {
            let have = net.nodes[node].group.replication().have();
            viewer.advance(now, |index| have.contains(index));
            let next = viewer.next;
            net.with(node, |g, now| g.replication_mut(now).set_playheads(&[next]));
        }
    }
    let startup = viewers.iter().filter_map(|viewer| viewer.startup).fold(0.0, f64::max);
    let stalls: u32 = viewers.iter().map(|viewer| viewer.stalls).sum();
    println!("start-up {startup:.1} s, {stalls} stalls");
    assert_eq!(stalls, 0);
    assert!(startup < 5.0, "start-up {startup:.1} s");
}
