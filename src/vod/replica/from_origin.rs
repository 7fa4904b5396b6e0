//! What a [`Replica`] does with an origin: a web server that has the file.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;

use super::samples::Sample;
use super::{Fault, FileEvent, GroupCall, MAX_BACKLOG, Replica, ReplicaError, Stage, StoreAction};
use crate::amf::Value;
use crate::vod::descriptor::{Descriptor, DescriptorForm};
use crate::vod::hash::chunk_hash;
use crate::vod::layout::Placement;
use crate::vod::link::Integrity;
use crate::vod::origin::OriginError;

/// Requests of neighbors that wait for the origin; further ones are denied.
const MAX_ASKED: usize = 4096;

/// The part of a provider that reads the file while it shares it.
#[derive(Debug)]
pub(super) struct Offers<R> {
    /// Chunks that are not there yet are offered too.
    all: bool,
    asked: BTreeMap<u64, Vec<R>>,
    count: usize,
}

impl<R> Offers<R> {
    /// Takes the requests for a chunk.
    fn take(&mut self, index: u64) -> Vec<R> {
        let requests = self.asked.remove(&index).unwrap_or_default();
        self.count -= requests.len();
        requests
    }
}

impl<P: Ord + Clone, R> Replica<P, R> {
    /// The replica of a provider that reads the file of an origin while it shares it. It wants nothing
    /// from peers; if `offers_all`, chunks that are not there yet are offered as well, and
    /// requests for those wait until they have come.
    pub fn of_origin(descriptor: Descriptor, form: DescriptorForm, offers_all: bool) -> Self {
        let mut replica = Self::new(Stage::Descriptor, Integrity::None, None);
        replica.offers = Some(Offers { all: offers_all, asked: BTreeMap::new(), count: 0 });
        let served = descriptor.to_value(form);
        replica.adopt(descriptor, served);
        replica
    }

    /// The descriptor that follows from the origin: if it is that of the link, no peer is needed for it.
    pub fn descriptor_derived(&mut self, descriptor: Descriptor) {
        let is_meant = self.integrity == Integrity::Descriptor(descriptor.digest());
        if self.stage == Stage::Descriptor && is_meant {
            let served = descriptor.to_value(DescriptorForm::Object);
            self.adopt(descriptor, served);
        }
    }

    /// True if this is a provider that reads the file while it shares it.
    pub(in crate::vod) fn reads_origin(&self) -> bool {
        self.offers.is_some()
    }

    /// The chunks that peers wait for, ascending.
    pub(in crate::vod) fn asked(&self) -> Vec<u64> {
        self.offers.iter().flat_map(|offers| offers.asked.keys().copied()).collect()
    }

    /// The first chunk from `index` on that is neither held nor being stored, and that the origin can
    /// give; `None` while chunks are not expected.
    pub(in crate::vod) fn first_missing(&self, index: u64) -> Option<u64> {
        if self.stage != Stage::Chunks {
            return None;
        }
        let last = self.layout.chunks();
        let mut from = index.max(1);
        loop {
            let next = self.held.first_missing_at_or_after(from).filter(|&next| next <= last)?;
            let selected = self.first_selected(next)?;
            if selected > next {
                from = selected;
                continue;
            }
            from = match self.storing.contains(next) {
                true => next + 1,
                false => self.first_readable(next)?,
            };
            if from == next {
                return Some(next);
            }
        }
    }

    /// True if nothing more should be read: the store is slow.
    pub(in crate::vod) fn is_store_slow(&self) -> bool {
        self.storing.bytes() > MAX_BACKLOG / 4
    }

    /// The store of an origin provider is open: offers what it can deliver.
    pub(super) fn begin_offers(&mut self) {
        if let Some(Offers { all, .. }) = self.offers {
            let last = if all { self.layout.chunks() } else { 0 };
            self.group(GroupCall::AddHave(0..=last));
        }
    }

    /// A peer asks for a chunk that is not held. Returns the request if it cannot wait.
    pub(super) fn wait_for_origin(&mut self, index: u64, request: R) -> Result<(), R> {
        let can_wait = self.stage == Stage::Chunks && self.layout.is_chunk(index);
        match &mut self.offers {
            Some(offers) if offers.all && can_wait && offers.count < MAX_ASKED => {
                offers.asked.entry(index).or_default().push(request);
                offers.count += 1;
                Ok(())
            }
            _ => Err(request),
        }
    }

    /// Answers those who wait for a chunk that is held now.
    pub(super) fn answer_asked(&mut self, index: u64) {
        let Some(offers) = &mut self.offers else { return };
        for request in offers.take(index) {
            self.store(StoreAction::Read { index, request });
        }
    }

    /// A chunk has come from the origin.
    ///
    /// # Errors
    ///
    /// It is not the one of the file.
    pub fn origin_chunk(&mut self, index: u64, data: Bytes) -> Result<(), OriginError> {
        if self.stage != Stage::Chunks || !self.layout.is_chunk(index) {
            return Ok(());
        }
        match self.pages.hash(index) {
            Some(hash) if hash != chunk_hash(&data) => return Err(OriginError::WrongHash),
            _ => {}
        }
        let is_known = self.is_known(index);
        if !is_known && !matches!(self.layout.admit(index, data.len() as u64), Ok(Placement::At(_)))
        {
            return Err(OriginError::Contradiction("a chunk of another length"));
        }
        if self.pages.verifies_chunks() && self.pages.hash(index).is_none() {
            self.draft(index, data);
            return Ok(());
        }
        if let Some(offers) = &mut self.offers {
            for request in offers.take(index) {
                self.stats.bytes_served += data.len() as u64;
                self.write(request, Value::ByteArray(data.clone()));
            }
        }
        self.stats.bytes_from_origin += data.len() as u64;
        match is_known {
            true => self.stats.duplicates += 1,
            false => self.keep(index, data),
        }
        Ok(())
    }

    /// The origin does not answer now. What is not held is no longer offered.
    pub fn origin_lost(&mut self) {
        self.samples.end();
        if let Some(offers) = &mut self.offers {
            let asked = std::mem::take(&mut offers.asked);
            offers.count = 0;
            asked.into_values().flatten().for_each(|request| self.deny(request));
            self.missing_ranges().into_iter().for_each(|range| {
                self.group(GroupCall::RemoveHave(range));
            });
        }
        self.verify_on();
    }

    /// The origin answers again.
    pub fn origin_found(&mut self) {
        if self.offers.as_ref().is_some_and(|offers| offers.all) {
            self.missing_ranges().into_iter().for_each(|range| {
                self.group(GroupCall::AddHave(range));
            });
        }
    }

    /// The origin has another file. A provider ends; a receiver goes on without.
    pub fn origin_changed(&mut self, error: Arc<OriginError>) {
        if self.offers.is_some() {
            self.origin_lost();
            return self.withdraw(ReplicaError::Origin(error));
        }
        self.emit(FileEvent::OriginGone(error));
        self.end_drafts();
        self.origin_lost();
    }

    /// Compares what peers send with the origin from now on, unless the descriptor has hashes. The
    /// secret decides which pieces.
    pub fn compare_with_origin(&mut self, secret: u64) {
        if self.offers.is_none() && !self.pages.verifies_chunks() {
            self.samples.begin(secret);
        }
    }

    /// The next piece to compare with the origin: offset in the file, and what a peer has sent. Its
    /// result goes to [`sample_read`](Self::sample_read).
    #[must_use]
    pub fn next_sample(&mut self) -> Option<(u64, Sample<P>)> {
        let sample = self.samples.take()?;
        // Whoever states no lengths has no origin.
        let offset = self.layout.offset(sample.index).unwrap_or_default() + sample.offset;
        Some((offset, sample))
    }

    /// The origin's content of a piece, or none if it could not be read.
    pub fn sample_read(&mut self, sample: Sample<P>, found: Option<&[u8]>) {
        self.samples.compared();
        if found.is_some_and(|found| found != sample.piece) {
            self.disown(sample.index, sample.from);
        }
        self.verify_on();
    }

    /// Forgets everything that a peer has sent.
    fn disown(&mut self, index: u64, from: P) {
        self.stats.refused += 1;
        let is_new = self.senders.distrust(&from);
        let fault = Fault::DiffersFromOrigin;
        self.emit(FileEvent::BadObject { from: from.clone(), index, fault });
        for range in self.samples.forget(&from) {
            self.group(GroupCall::RemoveHave(range.clone()));
            range.clone().for_each(|index| {
                let _ = self.storing.take(index);
            });
            // The set is unbounded: this cannot fail.
            let _ = self.held.remove_range(range.clone());
            self.whole.lost(*range.start());
            self.store(StoreAction::Forget(range));
        }
        if is_new {
            self.group(GroupCall::Distrust(from));
        }
        if self.stage == Stage::Finishing {
            self.stage = Stage::Chunks;
        }
    }

    fn missing_ranges(&self) -> Vec<RangeInclusive<u64>> {
        let last = self.layout.chunks();
        let mut ranges = Vec::new();
        let mut from = 1;
        while let Some(start) = self.held.first_missing_at_or_after(from).filter(|&it| it <= last) {
            let end = self.held.first_at_or_after(start).map_or(last, |held| held - 1);
            ranges.push(start..=end);
            from = end + 1;
        }
        ranges
    }
}
