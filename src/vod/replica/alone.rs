//! A file whose link vouches for hashes that nobody sends, while its origin has the file.
//!
//! The link has the hash of the descriptor, which lists the hashes of the chunks. All of it follows from the
//! file: it is read from the origin, without taking anything from peers or offering anything to them, and
//! when the last chunk is there, the descriptor is made. If it is the one of the link, so is the file.

use super::whole::WholeHash;
use super::{FileEvent, GroupCall, Pages, Replica, ReplicaError, Stage, StoreAction};
use crate::vod::descriptor::{Descriptor, DescriptorForm};
use crate::vod::hash::{ChunkHashes, Digest256};
use crate::vod::link::Integrity;
use crate::vod::origin::OriginError;
use crate::vod::tree::HashTree;
use std::sync::Arc;

impl<P: Ord + Clone, R> Replica<P, R> {
    /// Begins without the descriptor of the link: this one follows from the origin, and is that of the link
    /// but for the hashes. Ignored if the descriptor is known, or the link has no hash of it.
    pub fn descriptor_assumed(&mut self, descriptor: Descriptor) {
        let has_digest = matches!(self.integrity, Integrity::Descriptor(_));
        // The hash of a descriptor follows from all of the file.
        if self.stage != Stage::Descriptor || !has_digest || self.selection.is_some() {
            return;
        }
        self.group(GroupCall::RemoveWant(0..=0));
        self.is_alone = true;
        self.whole = WholeHash::with_chunks();
        self.samples.end();
        self.layout = descriptor.layout;
        let descriptor = Arc::new(descriptor);
        self.descriptor = Some(Arc::clone(&descriptor));
        self.stage = Stage::Opening;
        self.emit(FileEvent::OriginAlone);
        self.emit(FileEvent::DescriptorKnown(descriptor));
    }

    /// True while everything is read from the origin, and nothing is exchanged with peers.
    pub(in crate::vod) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// All chunks are there: makes the descriptor, which must be that of the link.
    pub(super) fn prove(&mut self, actual: Digest256) {
        let (assumed, hashes) = (self.descriptor.clone(), self.whole.take_chunks());
        let Some((assumed, hashes)) = assumed.zip(hashes) else { return };
        let hashes = ChunkHashes::from_hashes(hashes);
        let tree = HashTree::over(&hashes);
        let descriptor = Descriptor {
            sha256: Some(actual),
            chunk_hashes: tree.is_none().then_some(hashes),
            page_hashes: tree.as_ref().map(|tree| tree.root().clone()),
            ..(*assumed).clone()
        };
        if self.integrity != Integrity::Descriptor(descriptor.digest()) {
            self.store(StoreAction::ForgetAll);
            self.held.clear();
            return self.fail(ReplicaError::Origin(Arc::new(OriginError::WrongHash)));
        }
        self.is_alone = false;
        self.pages = Pages::proven(&descriptor, tree);
        self.object0 = Some(descriptor.to_value(DescriptorForm::Object));
        let last = self.pages.last_object(descriptor.chunks());
        self.group(GroupCall::AddHave(0..=last));
        let descriptor = Arc::new(descriptor);
        self.descriptor = Some(Arc::clone(&descriptor));
        self.emit(FileEvent::OriginProven(descriptor));
        self.stage = Stage::Finishing;
        self.store(StoreAction::Finish);
    }
}
