//! The origin of a [`FileExchange`]'s file: a web server that has it.

use super::{ExchangeOutput, FileExchange};
use crate::crypto::Fingerprint;
use crate::group::Group;
use crate::transport::Time;
use crate::vod::origin::{MAX_PIECES, OriginError, OriginPlan, OriginRole, OriginVersion, View};
use crate::vod::replica::Sample;
use crate::vod::replica::Stage;
use crate::vod::{Descriptor, FileEvent};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where nobody has sent the hashes that the link vouches for, all of the file is read from the origin after
/// this time.
const ALONE: Duration = Duration::from_secs(15);

/// The origin, and what is read from it.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) plan: OriginPlan,
    /// Pieces that are read for comparison, by the ID of their request.
    pieces: BTreeMap<u64, Sample<Fingerprint>>,
    /// Decides which pieces.
    secret: u64,
    /// The descriptor without hashes, if the link vouches for one with hashes; and when it is enough.
    alone: Option<(Time, Descriptor)>,
    is_lost: bool,
    is_gone: bool,
    error: Option<Arc<OriginError>>,
}

impl FileExchange {
    /// The file has an origin. What is read from it goes to the owner as
    /// [`ExchangeOutput::Origin`], and comes back by the methods `origin_…`.
    #[must_use]
    pub(in crate::vod) fn with_origin(
        mut self,
        role: OriginRole,
        near: Fingerprint,
        secret: u64,
    ) -> Self {
        let plan = OriginPlan::new(role, near);
        let pieces = BTreeMap::new();
        let (is_lost, is_gone, error) = (false, false, None);
        let alone = None;
        self.origin = Some(Origin { plan, pieces, secret, alone, is_lost, is_gone, error });
        self
    }

    /// A provider knows that the origin has the file.
    #[cfg(feature = "origin")]
    #[must_use]
    pub(in crate::vod) fn with_origin_ready(mut self, has_ranges: bool) -> Self {
        if let Some(origin) = &mut self.origin {
            origin.plan.ready(has_ranges);
        }
        self
    }

    /// The origin has many files, which cost many requests: it is asked for them only if no neighbor has
    /// sent the descriptor, which states them.
    #[must_use]
    pub(in crate::vod) fn with_patience(mut self, has_many: bool) -> Self {
        if let Some(origin) = self.origin.as_mut().filter(|_| has_many) {
            origin.plan.be_patient();
        }
        self
    }

    /// The descriptor states what the origin has.
    pub(in crate::vod) fn origin_known(&mut self) {
        let Some(origin) = &mut self.origin else { return };
        origin.plan.ready(true);
        self.replica.compare_with_origin(origin.secret);
    }

    /// True if the origin has answered, and may be read.
    pub(in crate::vod) fn reads_origin(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.plan.is_usable() && !origin.is_gone)
    }

    /// Why the origin is not read now.
    pub(in crate::vod) fn origin_error(&self) -> Option<&Arc<OriginError>> {
        self.origin.as_ref()?.error.as_ref()
    }

    /// The origin has been probed.
    pub(in crate::vod) fn origin_probed(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        result: Result<OriginVersion, OriginError>,
    ) {
        let Some(origin) = &mut self.origin else { return };
        match result {
            Ok(version) => {
                origin.plan.ended(now, id, false);
                origin.plan.ready(version.has_ranges);
                origin.error = None;
                if let Ok(descriptor) = version.descriptor() {
                    self.replica.descriptor_derived(descriptor.clone());
                    let is_awaited = self.replica.stage() == Stage::Descriptor;
                    origin.alone = is_awaited.then(|| (now + ALONE, descriptor));
                }
                if version.has_ranges {
                    self.replica.compare_with_origin(origin.secret);
                }
            }
            Err(error) => self.origin_failed(now, id, error),
        }
        self.carry_out_actions(now, group);
    }

    /// A chunk has come from the origin.
    pub(in crate::vod) fn origin_chunk(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        index: u64,
        data: Bytes,
    ) {
        let Some(origin) = self.origin.as_mut().filter(|origin| !origin.is_gone) else { return };
        match self.replica.origin_chunk(index, data) {
            Ok(()) => {
                origin.plan.came(id, index);
                origin.error = None;
                if std::mem::take(&mut origin.is_lost) {
                    self.replica.origin_found();
                    self.replica.compare_with_origin(origin.secret);
                }
            }
            Err(error) => self.origin_failed(now, id, error),
        }
        self.carry_out_actions(now, group);
    }

    /// A request for chunks has ended.
    pub(in crate::vod) fn origin_ended(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        result: Result<(), OriginError>,
    ) {
        let Some(origin) = self.origin.as_mut().filter(|origin| !origin.is_gone) else { return };
        match result {
            Ok(()) => origin.plan.ended(now, id, false),
            Err(error) => self.origin_failed(now, id, error),
        }
        self.carry_out_actions(now, group);
    }

    /// A piece for comparison was read.
    pub(in crate::vod) fn origin_piece(
        &mut self,
        now: Time,
        group: &mut Group,
        id: u64,
        result: Result<Bytes, OriginError>,
    ) {
        let Some(origin) = &mut self.origin else { return };
        let Some(sample) = origin.pieces.remove(&id) else { return };
        match result {
            Ok(found) => self.replica.sample_read(sample, Some(&found)),
            Err(error) => {
                self.replica.sample_read(sample, None);
                self.origin_failed(now, id, error);
            }
        }
        self.carry_out_actions(now, group);
    }

    fn origin_failed(&mut self, now: Time, id: u64, error: OriginError) {
        let Some(origin) = &mut self.origin else { return };
        let is_final = error.is_final();
        let error = Arc::new(error);
        let is_known = origin.error.replace(Arc::clone(&error)).as_ref() == Some(&error);
        if is_final {
            origin.plan.give_up();
            if !std::mem::replace(&mut origin.is_gone, true) {
                self.replica.origin_changed(error);
            }
            return;
        }
        origin.plan.ended(now, id, true);
        if !std::mem::replace(&mut origin.is_lost, true) {
            self.replica.origin_lost();
        }
        if !is_known {
            self.emit(FileEvent::OriginFailed(error));
        }
    }

    /// Goes on without hashes if nobody has sent them for long.
    fn go_alone(&mut self, now: Time, group: &Group) {
        let Some(origin) = &mut self.origin else { return };
        let due = origin.alone.take_if(|(at, _)| *at <= now);
        let Some((_, descriptor)) = due.filter(|_| self.replica.stage() == Stage::Descriptor)
        else {
            return;
        };
        let size = descriptor.layout.size().unwrap_or_default();
        let is_awaited = group.replication().is_offered(0);
        if is_awaited || origin.is_gone || !origin.plan.can_read_all(size) {
            origin.alone = Some((now + ALONE, descriptor));
            return;
        }
        self.replica.descriptor_assumed(descriptor);
    }

    /// When the origin has something to do.
    pub(super) fn origin_timeout(&self) -> Option<Time> {
        let origin = self.origin.as_ref()?;
        let alone = origin.alone.as_ref().map(|(at, _)| *at);
        origin.plan.poll_timeout().into_iter().chain(alone).min()
    }

    /// Requests what is due of the origin.
    pub(super) fn read_origin(&mut self, now: Time, group: &mut Group) {
        if let Some(error) = self.replica.take_origin_fault() {
            self.origin_failed(now, 0, error);
            self.carry_out(now, group);
        }
        self.go_alone(now, group);
        self.carry_out(now, group);
        let Some(origin) = self.origin.as_mut().filter(|origin| !origin.is_gone) else { return };
        let (replica, outputs) = (&mut self.replica, &mut self.outputs);
        while origin.plan.is_usable()
            && origin.pieces.len() < MAX_PIECES
            && let Some((offset, sample)) = replica.next_sample()
        {
            let request = origin.plan.piece(offset, sample.piece.len() as u64);
            origin.pieces.insert(request.id, sample);
            outputs.push_back(ExchangeOutput::Origin(request));
        }
        let (replica, replication) = (&self.replica, group.replication());
        let is_alone = replica.is_alone();
        let neighbors: Vec<Fingerprint> = match is_alone {
            true => Vec::new(),
            false => group.neighbors().iter().map(|n| n.peer).collect(),
        };
        loop {
            let view = View {
                layout: *replica.layout(),
                missing: &|index| replica.first_missing(index),
                asked: replica.asked(),
                playheads: replication.playheads(),
                awaits: &|index| replica.awaited_page(index),
                offered: &|index| {
                    // What verifies it is worth waiting for.
                    let page = replica.awaited_page(index).filter(|page| !page.is_begun);
                    !is_alone && replication.is_offered(index)
                        || page.is_some_and(|page| replication.is_offered(page.index))
                },
                neighbors: &neighbors,
                is_full: replica.is_store_slow(),
            };
            let Some(request) = origin.plan.next(now, &view) else { return };
            outputs.push_back(ExchangeOutput::Origin(request));
        }
    }
}
