//! What a receiver reads from an origin before it has the page of hashes that verifies it.
//!
//! Pages come from peers. Where none has one, the page follows from its 1,024 chunks: they are written to
//! the store without being held, and when all of them are there, the store makes the page, which has its
//! hash or not. Then all of them are held, or none is taken.

use bytes::Bytes;

use super::{GroupCall, Replica, StoreAction};
use crate::range::IndexSet;
use crate::vod::hash::chunk_hash;
use crate::vod::origin::{AwaitedPage, OriginError};
use crate::vod::store::StoreError;

/// Pages that are made at a time: 1 GB of chunks that wait for their verification, 16 KB of hashes each.
const MAX_DRAFTS: u64 = 16;

/// The pages that are being made.
#[derive(Debug)]
pub(super) struct Drafts {
    pages: IndexSet,
    /// Their chunks that were given to the store, until it has looked at the page.
    chunks: IndexSet,
    /// What was made did not have its hash.
    fault: Option<OriginError>,
}

impl Drafts {
    pub(super) fn new() -> Self {
        Self { pages: IndexSet::unbounded(), chunks: IndexSet::unbounded(), fault: None }
    }
}

impl<P: Ord + Clone, R> Replica<P, R> {
    /// The page of hashes that a chunk waits for.
    pub(in crate::vod) fn awaited_page(&self, chunk: u64) -> Option<AwaitedPage> {
        let index = self.pages.shape()?.page_of(chunk)?;
        let is_begun = self.drafts.pages.contains(index);
        self.pages.page(index).is_none().then_some(AwaitedPage { index, is_begun })
    }

    /// True if what came from the origin made a page with the wrong hash: it has another file. Only the
    /// first call says so.
    pub(in crate::vod) fn take_origin_fault(&mut self) -> Option<OriginError> {
        self.drafts.fault.take()
    }

    /// The first chunk from this one on that can be verified, or that belongs to a page which can be made.
    pub(super) fn first_readable(&self, chunk: u64) -> Option<u64> {
        let Some(shape) = self.pages.shape() else { return Some(chunk) };
        let page = shape.page_of(chunk)?;
        if self.drafts.chunks.contains(chunk) {
            return self.drafts.chunks.first_missing_at_or_after(chunk);
        }
        if self.pages.page(page).is_some() {
            return Some(chunk);
        }
        let has_room = self.drafts.pages.len() < MAX_DRAFTS && self.pages.can_verify(page);
        if has_room || self.drafts.pages.contains(page) {
            return Some(chunk);
        }
        let later =
            [self.drafts.pages.first_at_or_after(page + 1), self.pages.first_ready(page + 1)];
        let next = later
            .into_iter()
            .flatten()
            .filter_map(|page| shape.chunks_of(page))
            .min_by_key(|it| *it.start());
        next.map(|chunks| *chunks.start())
    }

    /// Writes a chunk whose hash is not known yet.
    pub(super) fn draft(&mut self, index: u64, data: Bytes) {
        let Some(page) = self.pages.shape().and_then(|shape| shape.page_of(index)) else { return };
        let is_new = !self.drafts.pages.contains(page);
        if is_new && (self.drafts.pages.len() >= MAX_DRAFTS || !self.pages.can_verify(page)) {
            return;
        }
        self.stats.bytes_from_origin += data.len() as u64;
        if self.is_known(index) || self.drafts.chunks.contains(index) {
            return self.stats.duplicates += 1;
        }
        // The sets are unbounded.
        let _ = self.drafts.pages.insert(page);
        let _ = self.drafts.chunks.insert(index);
        if self.storing.push(index, data.len() as u64) {
            self.group(GroupCall::RemoveWant(self.layout.indices()));
        }
        self.store(StoreAction::Draft { index, hash: chunk_hash(&data), data });
        self.make_page(page);
    }

    /// Makes a page if all of its chunks are there.
    fn make_page(&mut self, page: u64) {
        let Some(chunks) = self.pages.shape().and_then(|shape| shape.chunks_of(page)) else {
            return;
        };
        let (mut from, last) = chunks.into_inner();
        // Those of an earlier run are held without their page.
        while let Some(next) =
            self.drafts.chunks.first_missing_at_or_after(from).filter(|&it| it <= last)
        {
            match self.held.first_missing_at_or_after(next) {
                Some(missing) if missing > next => from = missing,
                _ => return,
            }
        }
        self.store(StoreAction::MakePage { index: page });
    }

    /// The store has written a chunk of a draft.
    pub(super) fn drafted(&mut self, index: u64, result: Result<(), StoreError>) {
        let Some(has_space_again) = self.storing.take(index) else { return };
        match result {
            Err(error) => self.fail(error.into()),
            Ok(()) if has_space_again => self.want_missing(),
            Ok(()) => {}
        }
    }

    /// The store has made a page, of which nothing is needed if a peer has sent it meanwhile.
    pub(super) fn page_made(&mut self, index: u64, page: Option<Bytes>) {
        if self.pages.page(index).is_some() || !self.drafts.pages.contains(index) {
            return;
        }
        match page {
            Some(page) if self.pages.add(index, page.clone()).is_ok() => {
                self.page_added(index, page);
            }
            _ => {
                self.take_draft(index);
                self.drafts.fault = Some(OriginError::WrongHash);
            }
        }
    }

    /// A page is known: its chunks wait for nothing.
    pub(super) fn page_added(&mut self, index: u64, page: Bytes) {
        // The set is unbounded.
        let _ = self.drafts.pages.remove(index);
        self.pages.set_unwanted(index);
        self.group(GroupCall::AddHave(index..=index));
        self.store(StoreAction::Page { index, page });
        self.want_pages();
    }

    /// Nothing more comes from the origin.
    pub(super) fn end_drafts(&mut self) {
        self.drafts = Drafts::new();
    }

    /// A page is not being made any more. Returns the number of its chunks that were.
    pub(super) fn take_draft(&mut self, page: u64) -> u64 {
        let chunks = self.pages.shape().and_then(|shape| shape.chunks_of(page));
        let before = self.drafts.chunks.len();
        // The sets are unbounded.
        let _ = self.drafts.pages.remove(page);
        let _ = chunks.map(|chunks| self.drafts.chunks.remove_range(chunks));
        before - self.drafts.chunks.len()
    }
}
