//! [`Progress`]: the state of a share or fetch, and its updates.

use crate::group::Group;
use crate::range::IndexSet;
use crate::transport::Time;
use crate::vod::origin::OriginError;
use crate::vod::replica::Stage;
use crate::vod::{FileExchange, Layout};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The shortest time between two updates of a [`Progress`].
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Columns of a [`ChunkMap`].
pub const MAP_COLUMNS: usize = 64;

/// The state of a share or fetch. Counters only grow; bytes are those of the file unless stated
/// otherwise.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The current stage.
    pub stage: Stage,
    /// True if the connection to the rendezvous server is up. Without it, known members remain, but
    /// no new ones are found.
    pub connected: bool,
    /// Members connected to now.
    pub neighbors: usize,
    /// Members of the group known now, including neighbors, excluding this one.
    pub members: usize,
    /// Members connected to so far, each counted once.
    pub met: usize,
    /// Size of the file, once known.
    pub size: Option<u64>,
    /// Number of chunks, once the descriptor is known.
    pub chunks: u64,
    /// Chunks held by the store.
    pub held_chunks: u64,
    /// Bytes of these chunks.
    pub held_bytes: u64,
    /// Of a [selective](crate::vod::FetchConfig::selective) fetch: the bytes that are to be fetched, in whole
    /// chunks, and those of them that are held.
    pub selected_bytes: Option<(u64, u64)>,
    /// Consecutive chunks from the beginning of the file that are held.
    pub ready_chunks: u64,
    /// Bytes of an earlier run, or of an existing file, checked so far while the store is being
    /// opened.
    pub checked_bytes: u64,
    /// Chunks resumed from an earlier run.
    pub resumed_chunks: u64,
    /// Bytes received from the member that the link names as the provider.
    pub bytes_from_provider: u64,
    /// Bytes received from all other members.
    pub bytes_from_peers: u64,
    /// Bytes read from the origin of the file.
    pub bytes_from_origin: u64,
    /// True if the origin has answered, and may be read.
    pub reads_origin: bool,
    /// Why the origin is not read now, if it cannot be.
    pub origin_error: Option<Arc<OriginError>>,
    /// Bytes of objects sent to members: chunks and descriptors in their encoded form.
    pub bytes_uploaded: u64,
    /// Objects that were refused because they failed verification.
    pub refused: u64,
    /// The parts of the file that are held.
    pub map: ChunkMap,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            stage: Stage::Descriptor,
            connected: false,
            neighbors: 0,
            members: 0,
            met: 0,
            size: None,
            chunks: 0,
            held_chunks: 0,
            held_bytes: 0,
            selected_bytes: None,
            ready_chunks: 0,
            checked_bytes: 0,
            resumed_chunks: 0,
            bytes_from_provider: 0,
            bytes_from_peers: 0,
            bytes_from_origin: 0,
            reads_origin: false,
            origin_error: None,
            bytes_uploaded: 0,
            refused: 0,
            map: ChunkMap::default(),
        }
    }
}

impl Progress {
    /// The fraction of the file that is held, from 0 to 1.
    pub fn fraction(&self) -> f64 {
        match (self.stage, self.chunks) {
            _ if let Some((all, held)) = self.selected_bytes => held as f64 / all.max(1) as f64,
            (Stage::Complete, _) => 1.0,
            (_, 0) => 0.0,
            (_, chunks) => self.held_chunks as f64 / chunks as f64,
        }
    }

    /// Updates the fields that depend on the chunks held.
    pub(super) fn set_held(&mut self, held: &IndexSet, layout: &Layout) {
        let chunks = layout.chunks();
        self.chunks = chunks;
        self.size = layout.size();
        self.held_chunks = held.len();
        self.held_bytes = held_bytes(held, layout);
        self.ready_chunks = held.first_missing_at_or_after(1).map_or(chunks, |i| i - 1);
        self.map = ChunkMap::of(held, chunks);
    }
}

/// Every chunk except the last has the same length.
fn held_bytes(held: &IndexSet, layout: &Layout) -> u64 {
    let full = layout.chunk_size().map_or(0, u64::from);
    let all = held.len().saturating_mul(full);
    match layout.length(layout.chunks()) {
        Some(last) if held.contains(layout.chunks()) => all.saturating_sub(full) + last,
        _ => all,
    }
}

/// Updates the [`Progress`] of a file: at most every [`PROGRESS_INTERVAL`], but at once with a new
/// [`Stage`], with a change of the connection to the server, and when the group is left.
#[derive(Debug)]
pub(super) struct ProgressPublisher {
    sender: Arc<watch::Sender<Progress>>,
    /// When the next update may be published.
    publish_after: Time,
    /// True if something may have changed since the last update.
    is_stale: bool,
    is_connected: bool,
    published_stage: Stage,
    published_connected: bool,
}

impl ProgressPublisher {
    pub(super) fn new(sender: watch::Sender<Progress>, exchange: &FileExchange) -> Self {
        Self {
            sender: Arc::new(sender),
            publish_after: Time::ZERO,
            is_stale: true,
            is_connected: false,
            published_stage: exchange.replica().stage(),
            published_connected: false,
        }
    }

    /// The channel, for other sources of progress.
    pub(super) fn sender(&self) -> Arc<watch::Sender<Progress>> {
        Arc::clone(&self.sender)
    }

    pub(super) fn set_connected(&mut self, is_connected: bool) {
        self.is_connected = is_connected;
    }

    /// Publishes a change if an update is due, or at once if a stage or connection has begun or
    /// ended, so that whoever receives the event sees the progress.
    pub(super) fn update(&mut self, now: Time, exchange: &FileExchange, group: &Group) {
        self.is_stale = true;
        let has_changed = exchange.replica().stage() != self.published_stage
            || self.is_connected != self.published_connected;
        if has_changed || now >= self.publish_after {
            self.publish(now, exchange, group);
        }
    }

    /// When [`update`](Self::update) is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.is_stale.then_some(self.publish_after)
    }

    pub(super) fn publish(&mut self, now: Time, exchange: &FileExchange, group: &Group) {
        let (replica, group) = (exchange.replica(), group.stats());
        self.publish_after = now + PROGRESS_INTERVAL;
        self.is_stale = false;
        self.published_stage = replica.stage();
        self.published_connected = self.is_connected;
        self.sender.send_if_modified(|progress| {
            let before = progress.clone();
            progress.stage = replica.stage();
            progress.connected = self.published_connected;
            progress.neighbors = group.neighbors;
            progress.members = group.members;
            progress.met = exchange.members_met();
            progress.bytes_uploaded = group.replication.bytes_sent;
            progress.resumed_chunks = replica.stats().chunks_resumed;
            progress.bytes_from_provider = replica.stats().bytes_from_provider;
            progress.bytes_from_peers = replica.stats().bytes_from_peers;
            progress.bytes_from_origin = replica.stats().bytes_from_origin;
            progress.reads_origin = exchange.reads_origin();
            progress.origin_error = exchange.origin_error().cloned();
            progress.refused = replica.stats().refused;
            progress.set_held(replica.held(), replica.layout());
            let length = replica.layout().chunk_size().map_or(0, u64::from);
            let bytes = |(all, held): (u64, u64)| (all * length, held * length);
            progress.selected_bytes = replica.selected().map(bytes);
            *progress != before
        });
    }
}

/// The fraction of each part of a file that is held: the file's chunks, evenly divided among at
/// most [`MAP_COLUMNS`] columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChunkMap {
    columns: Vec<f32>,
}

impl ChunkMap {
    fn of(held: &IndexSet, chunks: u64) -> Self {
        let count = chunks.min(MAP_COLUMNS as u64);
        // Column c covers the chunks from start(c) to start(c + 1), exclusive.
        let start = |column: u64| 1 + scaled(column, chunks, count);
        let mut here = vec![0u64; usize::try_from(count).unwrap_or(0)];
        for range in held.ranges() {
            let (mut from, to) = (*range.start().max(&1), *range.end().min(&chunks));
            while from <= to {
                let column = column_of(from, chunks, count);
                let end = to.min(start(column + 1) - 1);
                if let Some(slot) = usize::try_from(column).ok().and_then(|c| here.get_mut(c)) {
                    *slot += end - from + 1;
                }
                from = end + 1;
            }
        }
        let share = |(column, held): (u64, u64)| {
            let all = start(column + 1) - start(column);
            held as f32 / all as f32
        };
        Self { columns: (0..).zip(here).map(share).collect() }
    }

    /// The columns, from the file's beginning: the fraction held of each, from 0 to 1.
    pub fn columns(&self) -> &[f32] {
        &self.columns
    }
}

/// The first chunk (from 0) of a column.
fn scaled(column: u64, chunks: u64, count: u64) -> u64 {
    // A file has at most 2^32 chunks and a map 64 columns: this cannot overflow.
    if count == 0 { 0 } else { (column * chunks).div_ceil(count) }
}

/// The column of chunk `index`, which is counted from 1.
fn column_of(index: u64, chunks: u64, count: u64) -> u64 {
    ((index - 1) * count).checked_div(chunks).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(ranges: &[(u64, u64)]) -> IndexSet {
        IndexSet::from_ranges(ranges.iter().map(|&(from, to)| from..=to)).unwrap()
    }

    #[test]
    fn a_map_of_few_chunks_has_a_column_for_each() {
        let map = ChunkMap::of(&held(&[(0, 0), (2, 3)]), 4);
        assert_eq!(map.columns(), [0.0, 1.0, 1.0, 0.0]);
        assert!(ChunkMap::of(&held(&[(0, 0)]), 0).columns().is_empty());
    }

    #[test]
    fn a_map_of_many_chunks_tells_parts() {
        let map = ChunkMap::of(&held(&[(1, 5), (640, 640)]), 640);
        assert_eq!(map.columns().len(), MAP_COLUMNS);
        assert_eq!(map.columns()[0], 0.5);
        assert_eq!(map.columns()[63], 0.1);
        assert!(map.columns()[1..63].iter().all(|&c| c == 0.0));
    }

    #[test]
    fn bytes_held_count_the_short_last_chunk() {
        let layout = Layout::of_size(2_500, 1_000).unwrap();
        let mut progress = Progress::default();
        progress.set_held(&held(&[(1, 1), (3, 3)]), &layout);
        assert_eq!((progress.held_bytes, progress.ready_chunks), (1_500, 1));
        progress.set_held(&held(&[(1, 3)]), &layout);
        assert_eq!((progress.held_bytes, progress.ready_chunks), (2_500, 3));
        assert_eq!(progress.fraction(), 1.0);
    }

    proptest! {
        #[test]
        fn a_map_counts_every_chunk_once(chunks in 1u64..100_000, from in 1u64..100_000, len in 0u64..100_000) {
            let from = from.min(chunks);
            let to = (from + len).min(chunks);
            let whole = ChunkMap::of(&held(&[(1, chunks)]), chunks);
            prop_assert!(whole.columns().iter().all(|&c| c == 1.0));
            let part = ChunkMap::of(&held(&[(from, to)]), chunks);
            prop_assert!(part.columns().iter().all(|c| (0.0..=1.0).contains(c)));
            let mean: f64 = part.columns().iter().map(|&c| f64::from(c)).sum::<f64>() / part.columns().len() as f64;
            let share = (to - from + 1) as f64 / chunks as f64;
            prop_assert!((mean - share).abs() < 0.02 + 2.0 / chunks as f64, "{mean} {share}");
        }
    }
}
