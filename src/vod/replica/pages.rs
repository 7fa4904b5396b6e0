//! [`Pages`]: the pages of hashes of a large file, and the chunks that can be verified by them.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{Fault, GroupCall, Replica, Stage};
use crate::amf::Value;
use crate::range::IndexSet;
use crate::vod::descriptor::Descriptor;
use crate::vod::hash::ChunkHash;
use crate::vod::store::StoreError;
use crate::vod::tree::{HashTree, KnownHashes, PageError, TreeShape};

/// Pages that are wanted ahead of what is missing while few chunks are there, so that playing can begin.
const FIRST_PAGES: usize = 4;

/// Pages that are wanted ahead of what is missing, 16 MB for 64 GB: they come before the chunks, of which
/// those of all pages that are known can be shared out.
const PAGES_AHEAD: usize = 1024;

/// Chunks after which the pages ahead are looked at again.
const PAGE_STEP: u64 = 256;

/// Chunks with which playing has begun.
const FEW_CHUNKS: u64 = 16;

/// What is known of the hashes of the chunks.
#[derive(Debug, Default)]
pub(super) struct Pages {
    known: KnownHashes,
    shape: Option<TreeShape>,
    /// The provider's: the store has all pages.
    is_provided: bool,
    /// Pages whose chunks may be wanted.
    ready: IndexSet,
    wanted: IndexSet,
    /// The last chunk whose hash an owner without a store wants.
    examined: Option<u64>,
    /// The chunks that the application reads.
    playheads: Vec<u64>,
    /// The objects that the group fetches before all others.
    first: Vec<u64>,
}

impl Pages {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        let known = descriptor.known_hashes();
        let shape = known.tree().map(|tree| *tree.shape());
        let (ready, wanted) = (IndexSet::unbounded(), IndexSet::unbounded());
        Self { known, shape, ready, wanted, ..Self::default() }
    }

    /// Those of a provider, whose store has them.
    pub(super) fn provided(descriptor: &Descriptor) -> Self {
        Self { is_provided: true, ..Self::of(descriptor) }
    }

    /// Those of a file that is here as a whole, and its own.
    pub(super) fn proven(descriptor: &Descriptor, tree: Option<HashTree>) -> Self {
        let pages = Self::of(descriptor);
        match tree {
            Some(tree) => Self { known: KnownHashes::Tree(tree), ..pages },
            None => pages,
        }
    }

    /// True for a page that an owner without a store waits for.
    pub(super) fn is_examined(&self, index: u64) -> bool {
        self.examined.is_some() && self.is_page(index)
    }

    /// True if every chunk has a hash, whether it is known yet or not.
    pub(super) fn verifies_chunks(&self) -> bool {
        self.known.is_some()
    }

    /// The hash of a chunk, if it is known.
    pub(super) fn hash(&self, chunk: u64) -> Option<ChunkHash> {
        self.known.hash(chunk)
    }

    /// The last object of the group.
    pub(super) fn last_object(&self, chunks: u64) -> u64 {
        self.shape.map_or(chunks, |shape| *shape.indices().end())
    }

    pub(super) fn is_page(&self, index: u64) -> bool {
        self.shape.is_some_and(|shape| shape.indices().contains(&index))
    }

    /// A page that has been fetched.
    pub(super) fn page(&self, index: u64) -> Option<&Bytes> {
        self.known.tree()?.page(index)
    }

    /// True if others can have this page.
    pub(super) fn is_served(&self, index: u64) -> bool {
        self.page(index).is_some() || (self.is_provided && self.is_page(index))
    }

    pub(super) fn add(&mut self, index: u64, page: Bytes) -> Result<(), PageError> {
        self.known.tree_mut().ok_or(PageError::NoSuchPage)?.add(index, page)
    }

    /// The store has looked at a page: its chunks may be wanted.
    pub(super) fn set_ready(&mut self, index: u64) {
        // The set is unbounded.
        let _ = self.ready.insert(index);
    }

    pub(super) fn set_unwanted(&mut self, index: u64) {
        // The set is unbounded.
        let _ = self.wanted.remove(index);
    }

    /// The first page from this one on whose chunks may be wanted.
    pub(super) fn first_ready(&self, page: u64) -> Option<u64> {
        self.ready.first_at_or_after(page)
    }

    /// True if a page could be verified if it came.
    pub(super) fn can_verify(&self, index: u64) -> bool {
        self.known.tree().is_some_and(|tree| tree.can_verify(index))
    }

    /// The pages of the file, if it has any.
    pub(super) fn shape(&self) -> Option<&TreeShape> {
        self.shape.as_ref()
    }

    /// The parts of a range of chunks that may be wanted.
    pub(super) fn ready_within(&self, chunks: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        let Some(shape) = self.shape else { return vec![chunks] };
        let (from, to) = chunks.into_inner();
        let (Some(first), Some(last)) = (shape.page_of(from), shape.page_of(to)) else {
            return Vec::new();
        };
        let mut parts = Vec::new();
        let mut page = first;
        while let Some(start) = self.ready.first_at_or_after(page).filter(|&page| page <= last) {
            let missing = self.ready.first_missing_at_or_after(start);
            let end = missing.map_or(last, |missing| last.min(missing - 1));
            if let (Some(first), Some(last)) = (shape.chunks_of(start), shape.chunks_of(end)) {
                parts.push(from.max(*first.start())..=to.min(*last.end()));
            }
            page = end + 1;
        }
        parts
    }

    /// The next pages to want, given the chunks that are held.
    fn next_wanted(&self, held: &IndexSet, selection: Option<&IndexSet>) -> Vec<u64> {
        let Some(shape) = self.shape.filter(|_| !self.is_provided) else { return Vec::new() };
        let most = if held.len() < FEW_CHUNKS { FIRST_PAGES } else { PAGES_AHEAD };
        let played = self.playheads.iter().filter_map(|&chunk| shape.page_of(chunk));
        let played = played.flat_map(|page| [page, page + 1]).filter(|&page| self.is_page(page));
        let first = shape.indices().start().to_owned();
        let missing = held.first_missing_at_or_after(1).and_then(|chunk| shape.page_of(chunk));
        let mut next = Vec::new();
        let ahead = missing.unwrap_or(first)..;
        let lower = |page: &u64| shape.chunks_of(*page).is_some();
        let is_selected = |page: &u64| {
            let chunks = selection.zip(shape.chunks_of(*page));
            chunks.is_none_or(|(selection, chunks)| {
                selection.first_at_or_after(*chunks.start()).is_some_and(|it| it <= *chunks.end())
            })
        };
        let ahead = ahead.take_while(lower).filter(is_selected).take(most);
        for page in played.chain(ahead) {
            // What verifies it comes first.
            let page =
                shape.page_above(page).filter(|above| !self.is_served(*above)).unwrap_or(page);
            if !self.is_served(page) && !self.wanted.contains(page) && !next.contains(&page) {
                next.push(page);
            }
        }
        next
    }

    /// What the group should fetch before all others: missing pages, and where the application reads.
    fn fetched_first(&self) -> Vec<u64> {
        let Some(shape) = self.shape.filter(|_| !self.is_provided) else {
            return self.playheads.clone();
        };
        let missing = |chunk: &u64| {
            let page = shape.page_of(*chunk)?;
            let above = shape.page_above(page).filter(|above| !self.is_served(*above));
            Some(above.unwrap_or(page)).filter(|page| !self.is_served(*page))
        };
        let mut first: Vec<u64> = self.playheads.iter().filter_map(missing).collect();
        first.extend(self.wanted.first());
        first.dedup();
        first.extend(self.playheads.iter().filter(|chunk| missing(chunk).is_none()));
        first
    }
}

impl<P: Ord + Clone, R> Replica<P, R> {
    /// The chunks that the application reads, all of them; the next call replaces them.
    pub fn set_playheads(&mut self, chunks: Vec<u64>) {
        self.pages.playheads = chunks;
        if self.stage == Stage::Chunks {
            self.want_pages();
        }
    }

    /// The objects to fetch before all others, if they have changed since the last call.
    #[must_use]
    pub fn changed_playheads(&mut self) -> Option<Vec<u64>> {
        let first = self.pages.fetched_first();
        let before = std::mem::replace(&mut self.pages.first, first);
        (before != self.pages.first).then(|| self.pages.first.clone())
    }

    /// Wants the pages that are needed next.
    pub(super) fn want_pages(&mut self) {
        for page in self.pages.next_wanted(&self.held, self.selection.as_ref()) {
            // The set is unbounded.
            let _ = self.pages.wanted.insert(page);
            self.group(GroupCall::AddWant(page..=page));
        }
    }

    /// A chunk is held: more pages may be wanted.
    pub(super) fn want_pages_ahead(&mut self) {
        let held = self.held.len();
        if self.stage == Stage::Chunks && (held == FEW_CHUNKS || held.is_multiple_of(PAGE_STEP)) {
            self.want_pages();
        }
    }

    /// Fetches nothing but the hashes of the chunks up to this one, for an owner without a store that knows
    /// the descriptor. [`hashes_to`](Self::hashes_to) gives them.
    pub fn want_hashes(&mut self, last: u64) {
        if self.stage == Stage::Opening {
            self.pages.examined = Some(last.clamp(1, self.layout.chunks().max(1)));
            self.want_examined();
        }
    }

    /// The hashes of all chunks up to this one, once they are known.
    pub fn hashes_to(&self, last: u64) -> Option<&HashTree> {
        let (tree, shape) = (self.pages.known.tree()?, self.pages.shape?);
        let last = shape.page_of(last.clamp(1, self.layout.chunks().max(1)))?;
        let mut pages = *shape.indices().start()..=last;
        pages.all(|page| tree.page(page).is_some()).then_some(tree)
    }

    /// Wants the pages of hashes of the chunks that are examined, or those that verify them.
    fn want_examined(&mut self) {
        let Some((shape, last)) = self.pages.shape.zip(self.pages.examined) else { return };
        let Some(last) = shape.page_of(last) else { return };
        for page in *shape.indices().start()..=last {
            let above = shape.page_above(page).filter(|&above| !self.pages.is_served(above));
            let page = above.unwrap_or(page);
            if !self.pages.is_served(page) && self.pages.wanted.insert(page).is_ok_and(|new| new) {
                self.group(GroupCall::AddWant(page..=page));
            }
        }
    }

    pub(super) fn page_fetched(&mut self, index: u64, object: Value, from: P) {
        if self.pages.is_served(index) {
            self.stats.duplicates += 1;
            return;
        }
        let Value::ByteArray(page) = object else {
            return self.refuse(index, from, Fault::NotBytes);
        };
        match self.pages.add(index, page.clone()) {
            Ok(()) => {}
            // Not requested yet: nobody is to blame.
            Err(PageError::NotYet) => return self.stats.unexpected += 1,
            Err(fault) => return self.refuse(index, from, fault.into()),
        }
        self.senders.note_good(&from, 0);
        if self.pages.examined.is_some() {
            self.pages.set_unwanted(index);
            self.group(GroupCall::AddHave(index..=index));
            // Lower pages wait for an upper one.
            let is_upper = self.pages.shape.is_some_and(|shape| shape.chunks_of(index).is_none());
            return if is_upper {
                self.want_examined()
            };
        }
        self.page_added(index, page);
    }

    /// The store has looked for the chunks of a page.
    pub(super) fn page_stored(&mut self, index: u64, result: Result<IndexSet, StoreError>) {
        let adopted = match result {
            Ok(adopted) => adopted,
            Err(error) => return self.fail(error.into()),
        };
        self.pages.set_ready(index);
        for range in adopted.ranges() {
            self.add_held(range.clone());
            self.group(GroupCall::AddHave(range));
        }
        self.stats.chunks_resumed += adopted.len().saturating_sub(self.take_draft(index));
        if self.stage != Stage::Chunks {
            return;
        }
        if let Some(chunks) = self.pages.shape.and_then(|shape| shape.chunks_of(index))
            && !self.storing.is_full()
        {
            for range in self.selected_in(chunks) {
                self.want_missing_in(range);
            }
        }
        self.verify_on();
    }
}
