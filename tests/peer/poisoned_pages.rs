//! A file of several pages of hashes in a swarm with members that falsify pages or chunks.

use crate::seeds::for_seeds;
use crate::support::swarm::{Host, Peer, Swarm, connect, group_of, node, spec};
use bytes::Bytes;
use rtmfp::proto::group::{GroupConfig, ReplicationLimits};
use rtmfp::proto::range::IndexSet;
use rtmfp::proto::sim::{Link, NodeId};
use rtmfp::vod::replica::MAX_BAD_OBJECTS;
use rtmfp::vod::store::Finished;
use rtmfp::vod::tree::HashTree;
use rtmfp::vod::{ChunkStore, DescriptorForm, FileExchange, Layout, StoreError};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

/// Five pages.
const CHUNKS: u64 = 4200;
const CHUNK: u32 = 60;

/// The file with its pages, as a provider has it; some objects are falsified.
struct Poison {
    file: Vec<u8>,
    layout: Layout,
    held: IndexSet,
    tree: HashTree,
    is_falsified: fn(u64) -> bool,
}

impl ChunkStore for Poison {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn held(&self) -> &IndexSet {
        &self.held
    }

    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError> {
        let mut object = match self.tree.page(index) {
            Some(page) => page.to_vec(),
            None => {
                let from = ((index - 1) * u64::from(CHUNK)) as usize;
                self.file[from..self.file.len().min(from + CHUNK as usize)].to_vec()
            }
        };
        if (self.is_falsified)(index) {
            object[0] ^= 1;
        }
        Ok(object.into())
    }

    fn write_chunk(&mut self, _: u64, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn forget(&mut self, _: RangeInclusive<u64>) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn finish(&mut self) -> Result<Finished, StoreError> {
        Ok(Finished::default())
    }
}

/// Adds a member that has everything, as it says.
fn add_poisoner(swarm: &mut Swarm, address: &str, is_falsified: fn(u64) -> bool) -> NodeId {
    let (layout, file) = (swarm.descriptor.layout, swarm.file.clone());
    let held = IndexSet::from_ranges([layout.indices()]).unwrap();
    let tree = swarm.tree.clone().expect("a file of several pages");
    let store = Poison { file, layout, held, tree, is_falsified };
    let now = swarm.network.now();
    let node = node(&mut swarm.network);
    let exchange = FileExchange::provider(swarm.descriptor.clone(), DescriptorForm::Object);
    let config = GroupConfig::new(spec(), node.peer_id());
    let peer = Peer::new(now, node, config, exchange, Some(Box::new(store)));
    let id = swarm.network.add(address, Host::Peer(Box::new(peer)));
    connect(&mut swarm.network, id);
    id
}

#[test]
fn falsified_pages_and_chunks_are_refused_and_their_senders_dropped() {
    let dropped = [AtomicU32::new(0), AtomicU32::new(0)];
    // What was under way when its sender was dropped is counted, too.
    let most = MAX_BAD_OBJECTS + ReplicationLimits::default().max_in_flight as u32;
    for_seeds(4, |seed| {
        let size = (CHUNKS * u64::from(CHUNK)) as usize - 7;
        let mut swarm = Swarm::new(seed, Link::lan(), size, CHUNK);
        let of_pages = add_poisoner(&mut swarm, "10.0.3.1:1000", |index| index > CHUNKS);
        let of_chunks = add_poisoner(&mut swarm, "10.0.3.2:1000", |index| index <= CHUNKS);
        for _ in 0..3 {
            swarm.add_receiver();
        }
        assert!(swarm.run(), "not complete");
        swarm.check_copies();
        for &receiver in &swarm.receivers {
            let peer = swarm.network[receiver].peer();
            for (poisoner, dropped) in [of_pages, of_chunks].into_iter().zip(&dropped) {
                let poisoner = swarm.network[poisoner].peer().node.peer_id();
                let senders = peer.exchange().replica().senders();
                let bad: u32 =
                    senders.filter(|(id, _)| **id == poisoner).map(|(_, it)| it.bad_objects).sum();
                assert!(bad <= most, "{bad}");
                if bad >= MAX_BAD_OBJECTS {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    assert!(group_of(peer).neighbors().iter().all(|it| it.peer != poisoner));
                }
            }
            let refused = peer.exchange().replica().stats().refused;
            assert!(refused <= u64::from(2 * most), "{refused}");
        }
    });
    eprintln!("dropped by so many of 12 receivers: {dropped:?}");
    assert!(dropped.iter().all(|it| it.load(Ordering::Relaxed) >= 2), "{dropped:?}");
}
