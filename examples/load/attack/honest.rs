//! Honest clients: some stay and call each other, publish and play; ten in a second come, ask for a peer,
//! play its stream, and leave.

use crate::crowd::Role;
use crate::crowds::Crowds;
use crate::report::{Report, percentile};
use crate::tally::Tally;
use anyhow::ensure;
use rtmfp::proto::crypto::{Fingerprint, Identity};
use std::time::{Duration, Instant};

/// Clients that others ask for.
const OFFER: usize = 4;
/// Clients that call each other.
const CALL: usize = 8;
/// Clients that play the stream that one publishes.
const PLAY: usize = 8;
/// Of that stream.
const KBIT: u32 = 500;
/// Between visits, and between calls.
const PERIOD: Duration = Duration::from_millis(100);
/// What has begun in a window may end so much later.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether all clients play, which begins with a key frame.
const LOOK: Duration = Duration::from_millis(500);
/// The longest time until then.
const SETTLED: Duration = Duration::from_secs(20);

/// The clients that stay.
pub(super) struct Honest {
    offered: Vec<Fingerprint>,
    /// The crowd of each, its number there, and its peer ID.
    callers: Vec<(usize, usize, Fingerprint)>,
    visitors: Vec<Identity>,
    turn: usize,
}

/// What honest clients have wanted, and got.
#[derive(Debug, Default)]
pub(super) struct Served {
    visits: usize,
    calls: usize,
    tally: Tally,
}

impl Honest {
    pub(super) async fn connect(crowds: &Crowds) -> anyhow::Result<Self> {
        let role = |number| match number {
            0..OFFER => Role::Offer,
            OFFER => Role::Publish("honest".to_owned(), KBIT),
            number if number <= OFFER + PLAY => Role::Play("honest".to_owned()),
            _ => Role::Stay,
        };
        crowds.connect_all(OFFER + CALL + 1 + PLAY, role).await?;
        let (mut offered, mut callers) = (Vec::new(), Vec::new());
        for number in 0..crowds.len() {
            let found = crowds.ask(number, |crowd, _| {
                let offer = crowd.connected(|role| matches!(role, Role::Offer));
                let stay = crowd.connected(|role| matches!(role, Role::Stay));
                let peers: Vec<_> = offer.into_iter().filter_map(|at| crowd.peer_id(at)).collect();
                let stay: Vec<_> =
                    stay.into_iter().filter_map(|at| Some((at, crowd.peer_id(at)?))).collect();
                (peers, stay)
            });
            let (peers, stay) = found.await?;
            offered.extend(peers);
            callers.extend(stay.into_iter().map(|(index, peer)| (number, index, peer)));
        }
        let begun = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let tally = crowds.tally().await?;
            // Some messages are on the way.
            let due = tally.published.messages * PLAY as u64 * 9 / 10;
            if due > 0 && tally.played.messages >= due {
                break;
            }
            ensure!(begun.elapsed() < SETTLED, "nobody plays: {:?}", tally.failures);
        }
        Ok(Self { offered, callers, visitors: Vec::new(), turn: 0 })
    }

    /// Clients of which others know.
    pub(super) fn peers(&self) -> &[Fingerprint] {
        &self.offered
    }

    /// Uses the server for a while, and waits for what has begun.
    pub(super) async fn run(
        &mut self,
        crowds: &Crowds,
        window: Duration,
    ) -> anyhow::Result<Served> {
        let wanted = (window.as_millis() / PERIOD.as_millis()) as usize + 1;
        self.visitors.extend(crowds.identities(wanted.saturating_sub(self.visitors.len())));
        crowds.tally().await?;
        let mut served = Served::default();
        let (begun, mut ticks) = (Instant::now(), tokio::time::interval(PERIOD));
        while begun.elapsed() < window {
            ticks.tick().await;
            self.turn += 1;
            let crowd = self.turn % crowds.len();
            let peer = self.offered[self.turn % self.offered.len()];
            if let Some(identity) = self.visitors.pop() {
                let visitor = vec![(identity, Role::Visit(peer))];
                crowds.ask(crowd, move |crowd, now| crowd.connect(now, visitor)).await?;
                served.visits += 1;
            }
            let (crowd, index, _) = self.callers[self.turn % self.callers.len()];
            let (_, _, peer) = self.callers[(self.turn + 1) % self.callers.len()];
            crowds.ask(crowd, move |crowd, now| crowd.relay(now, index, peer)).await?;
            served.calls += 1;
        }
        // Streams go on: they are those of the window alone.
        served.tally = crowds.tally().await?;
        let over = Instant::now();
        while over.elapsed() < GRACE && !served.is_complete() {
            tokio::time::sleep(PERIOD / 2).await;
            let late = crowds.tally().await?;
            served.tally.connected.extend(late.connected);
            served.tally.introduced.extend(late.introduced);
            served.tally.relayed.extend(late.relayed);
            served.tally.lost += late.lost;
        }
        Ok(served)
    }
}

impl Served {
    fn is_complete(&self) -> bool {
        self.tally.introduced.len() >= self.visits && self.tally.relayed.len() >= self.calls
    }

    /// Adds shares and times, with this at the end of fields and names.
    pub(super) fn report(&self, report: &mut Report, field: &str, when: &str) {
        let mut add = |name: &str, text: &str, value: f64| {
            report.add(&format!("{name}{field}"), &format!("{text} {when}"), value);
        };
        let share = |done: usize, wanted: usize| done.min(wanted) as f64 / wanted.max(1) as f64;
        let tally = &self.tally;
        add("connected", "connects served", share(tally.connected.len(), self.visits));
        add("introduced", "introductions served", share(tally.introduced.len(), self.visits));
        add("relayed", "calls relayed", share(tally.relayed.len(), self.calls));
        let due = tally.published.messages as usize * PLAY;
        add("played", "messages of a stream played", share(tally.played.messages as usize, due));
        add("lost", "connections lost", tally.lost as f64);
        let times = [
            ("connect", "until connected", &tally.connected),
            ("introduce", "until introduced", &tally.introduced),
            ("relay", "until relayed", &tally.relayed),
            ("play", "from publishing to playing", &tally.latencies),
        ];
        for (name, text, samples) in times {
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            let ms = |part| percentile(&sorted, part) / 1e3;
            add(&format!("{name}_p50_ms"), &format!("{text}, median ms"), ms(0.5));
            add(&format!("{name}_p99_ms"), &format!("{text}, p99 ms"), ms(0.99));
        }
    }
}
