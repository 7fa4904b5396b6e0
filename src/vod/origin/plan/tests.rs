//! Tests of the plan.

use super::*;
use std::collections::BTreeSet;

const CHUNKS: u64 = 200;

/// A swarm as one node sees it.
struct Scene {
    plan: OriginPlan,
    known: BTreeSet<u64>,
    offered: BTreeSet<u64>,
    asked: Vec<u64>,
    playheads: Vec<u64>,
    neighbors: Vec<Fingerprint>,
    now: Time,
}

fn peer(number: u8) -> Fingerprint {
    Fingerprint([number; 32])
}

impl Scene {
    fn new(role: OriginRole) -> Self {
        let mut plan = OriginPlan::new(role, peer(1));
        plan.ready(true);
        Self {
            plan,
            known: BTreeSet::new(),
            offered: BTreeSet::new(),
            asked: Vec::new(),
            playheads: Vec::new(),
            neighbors: Vec::new(),
            now: Time::ZERO,
        }
    }

    fn member() -> Self {
        let mut scene = Self::new(OriginRole::Member(OriginLimit::OneCopy));
        assert_eq!(scene.next(), None, "others are looked for first");
        scene.wait(2000);
        scene
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn next_request(&mut self) -> Option<OriginRequest> {
        let known = &self.known;
        let offered = &self.offered;
        let view = View {
            layout: Layout::of_size(CHUNKS * 65_536, 65_536).unwrap(),
            missing: &|from| (from..=CHUNKS).find(|index| !known.contains(index)),
            asked: self.asked.clone(),
            playheads: &self.playheads,
            awaits: &|_| None,
            offered: &|index| offered.contains(&index),
            neighbors: &self.neighbors,
            is_full: false,
        };
        self.plan.next(self.now, &view)
    }

    /// One request after the other fails, after pauses of so many seconds. Returns the next one.
    fn fail(&mut self, pauses: impl IntoIterator<Item = u64>) -> OriginRequest {
        for pause in pauses {
            let request = self.next_request().unwrap();
            assert_eq!(self.plan.under_way.len(), 1);
            self.plan.ended(self.now, request.id, true);
            assert_eq!(self.next(), None);
            self.wait(pause * 1000 - 1);
            assert_eq!(self.next(), None);
            // A member looks now and then.
            self.now += LOOK;
        }
        self.next_request().unwrap()
    }

    fn next(&mut self) -> Option<RangeInclusive<u64>> {
        match self.next_request()?.read {
            OriginRead::Chunks(chunks) => Some(chunks),
            other => panic!("{other:?}"),
        }
    }

    /// Reads everything that is due, and how much that was.
    fn read_all(&mut self) -> u64 {
        let mut count = 0;
        while let Some(OriginRequest { id, read: OriginRead::Chunks(chunks) }) = self.next_request()
        {
            for index in chunks {
                count += u64::from(self.known.insert(index));
                self.plan.came(id, index);
            }
            self.plan.ended(self.now, id, false);
        }
        count
    }
}

#[test]
fn a_provider_reads_in_order_two_requests_at_a_time() {
    let mut scene = Scene::new(OriginRole::Provider);
    scene.known.extend([3, 17]);
    assert_eq!(scene.next(), Some(1..=2));
    assert_eq!(scene.next(), Some(4..=16));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.read_all(), 0);
    scene.plan.ended(scene.now, 1, false);
    assert_eq!(scene.next(), Some(1..=2), "what has not come is read again");
}

#[test]
fn what_is_asked_for_is_read_at_once_with_its_neighbors() {
    let mut scene = Scene::new(OriginRole::Provider);
    scene.next().unwrap();
    scene.asked = vec![5, 100, 103, 104, 150];
    assert_eq!(scene.next(), Some(100..=108), "5 is on its way");
    assert_eq!(scene.next(), Some(150..=154));
    assert_eq!(scene.next(), None, "the rest waits for what is urgent");
}

#[test]
fn a_member_alone_reads_everything_once() {
    let mut scene = Scene::member();
    assert_eq!(scene.read_all(), CHUNKS);
    assert_eq!(scene.next(), None);
}

#[test]
fn a_member_reads_nothing_that_others_have_unless_it_is_late() {
    let mut scene = Scene::member();
    scene.neighbors = vec![peer(2)];
    scene.offered.extend(1..=CHUNKS);
    for _ in 0..28 {
        assert_eq!(scene.next(), None);
        scene.wait(250);
    }
    scene.wait(3000);
    assert_eq!(scene.next(), Some(1..=4));
    // A reader is less patient.
    scene.known.extend(1..=4);
    scene.playheads = vec![50];
    assert_eq!(scene.next(), None);
    scene.wait(3500);
    assert_eq!(scene.next(), Some(50..=53));
}

#[test]
fn a_place_that_nobody_has_is_read_soon() {
    let mut scene = Scene::member();
    scene.neighbors = (2..=10).map(peer).collect();
    scene.offered.extend((1..=149).chain(166..=CHUNKS));
    scene.playheads = vec![150];
    let mut waited = 0;
    let read = loop {
        match scene.next() {
            Some(read) if read.contains(&150) => break read,
            Some(_) => {}
            None => scene.wait(100),
        }
        waited += 100;
        assert!(waited < 3000);
    };
    assert_eq!(*read.start(), 150);
}

#[test]
fn ten_members_without_a_provider_share_the_work() {
    let everybody: Vec<Fingerprint> = (1..=10).map(peer).collect();
    let mut read = BTreeSet::new();
    for near in &everybody {
        let mut scene = Scene::member();
        scene.plan.near = *near;
        scene.neighbors = everybody.iter().copied().filter(|peer| peer != near).collect();
        // Nobody waits for long.
        let before = read.len();
        let count = scene.read_all();
        read.extend(scene.known);
        assert_eq!(read.len() - before, count as usize, "nothing twice");
    }
    assert!(read.len() as u64 > CHUNKS * 9 / 10, "{}", read.len());
}

#[test]
fn a_limit_is_kept_and_off_is_nothing() {
    let mut scene = Scene::member();
    scene.plan.role = OriginRole::Member(OriginLimit::Bytes(40 * 65_536));
    assert_eq!(scene.read_all(), 48, "whole requests");
    let mut scene = Scene::member();
    scene.plan.role = OriginRole::Member(OriginLimit::Off);
    assert_eq!(scene.read_all(), 0);
}

#[test]
fn failures_make_pauses_that_grow_and_then_one_request_is_tried() {
    let mut scene = Scene::new(OriginRole::Provider);
    let request = scene.fail([1, 2, 2, 2]);
    assert!(!scene.plan.is_usable());
    scene.plan.came(request.id, 1);
    assert!(scene.plan.is_usable());
}

#[test]
fn a_member_that_finds_the_origin_back_leaves_it_to_the_provider() {
    let mut scene = Scene::member();
    let request = scene.fail([1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(request.read, OriginRead::Chunks(1..=1), "an attempt");
    scene.known.insert(1);
    scene.plan.came(request.id, 1);
    assert_eq!(scene.next(), None, "one at a time");
    scene.plan.ended(scene.now, request.id, false);
    scene.wait(2999);
    assert_eq!(scene.next(), None);
    // The provider has not come back either.
    scene.now += LOOK;
    assert_eq!(scene.next(), Some(2..=17));
}

#[test]
fn a_server_without_ranges_is_read_in_one_go() {
    let mut scene = Scene::new(OriginRole::Provider);
    scene.plan.ready(false);
    assert_eq!(scene.next_request().unwrap().read, OriginRead::All);
    assert_eq!(scene.next_request(), None);
    let mut member = Scene::member();
    member.plan.ready(false);
    assert_eq!(member.next(), None);
}

#[test]
fn an_unknown_origin_is_probed_first_and_a_changed_one_is_left_alone() {
    let mut scene = Scene::new(OriginRole::Provider);
    scene.plan.state = State::Unknown;
    let probe = scene.next_request().unwrap();
    assert_eq!(probe.read, OriginRead::Probe);
    assert_eq!(scene.next_request(), None);
    scene.plan.ended(scene.now, probe.id, true);
    scene.wait(1000);
    assert_eq!(scene.next_request().unwrap().read, OriginRead::Probe);
    scene.plan.give_up();
    scene.wait(100_000);
    assert_eq!((scene.next_request(), scene.plan.poll_timeout()), (None, None));
}
