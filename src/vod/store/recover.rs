//! The chunks of the shared file that an existing file contains, found by their hashes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::super::descriptor::Descriptor;
use super::super::hash::{ChunkHash, ChunkHashes, Digest256, hash_chunks};
use super::super::layout::Layout;
use super::StoreError;
use super::content::Content;
use crate::range::IndexSet;

/// Bytes of chunks that are read and hashed together, or one chunk.
const READ_AT_ONCE: usize = 1 << 20;

/// The result of [`examine`].
#[derive(Debug)]
pub(super) struct Findings {
    /// The chunks that match their hash, with their hashes; all chunks if no hashes are known.
    pub(super) good: BTreeMap<u64, ChunkHash>,
    /// The number of chunks that the file reaches into.
    pub(super) examined: u64,
    /// SHA-256 of the file, if its length is right.
    pub(super) sha256: Option<Digest256>,
    /// True if a chunk that is not all zeros matches its hash.
    pub(super) has_content: bool,
    /// True if the file consists of zeros.
    pub(super) is_blank: bool,
}

/// Compares a file with the hashes of its chunks; `progress` is called with the number of bytes
/// read so far. Chunks in `known` are skipped and not in the result; in that case the whole file is
/// not hashed. If the layout has no chunk length, nothing can be compared.
///
/// # Errors
///
/// The content cannot be read.
pub(super) fn examine(
    content: &mut Content,
    layout: &Layout,
    hashes: Option<&ChunkHashes>,
    known: &IndexSet,
    progress: &mut dyn FnMut(u64),
) -> Result<Findings, StoreError> {
    let length = content.length()?;
    let is_whole = known.is_empty() && content.has_size(layout.size())?;
    // The files of a folder may be too short anywhere.
    let end = match content {
        Content::File { .. } => length,
        Content::Files(_) => layout.size().unwrap_or_default(),
    };
    let mut whole = Sha256::new();
    let mut findings = Findings {
        good: BTreeMap::new(),
        examined: 0,
        sha256: None,
        has_content: false,
        is_blank: layout.size().is_some_and(|size| length <= size),
    };
    let mut group = Group::default();
    for index in layout.indices() {
        let place = layout.offset(index).zip(layout.length(index));
        let Some((offset, size)) = place.filter(|&(offset, _)| offset < end) else { break };
        findings.examined += 1;
        if known.contains(index) {
            continue;
        }
        let Some(data) = content.read(offset, size)? else {
            findings.is_blank = false;
            continue;
        };
        group.push(index, data);
        if group.is_full() {
            findings.add(&group.take(), hashes, is_whole.then_some(&mut whole));
            progress(offset + size);
        }
    }
    if !group.chunks.is_empty() {
        findings.add(&group.chunks, hashes, is_whole.then_some(&mut whole));
        progress(length.min(layout.size().unwrap_or(length)));
    }
    findings.sha256 = is_whole.then(|| Digest256::from_hasher(whole));
    Ok(findings)
}

/// Chunks that are hashed side by side.
#[derive(Default)]
struct Group {
    chunks: Vec<(u64, Vec<u8>)>,
    bytes: usize,
}

impl Group {
    fn push(&mut self, index: u64, data: Vec<u8>) {
        self.bytes += data.len();
        self.chunks.push((index, data));
    }

    fn is_full(&self) -> bool {
        self.bytes >= READ_AT_ONCE
    }

    fn take(&mut self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(self).chunks
    }
}

impl Findings {
    /// Compares chunks with their hashes, and continues the hash of the whole.
    fn add(
        &mut self,
        chunks: &[(u64, Vec<u8>)],
        listed: Option<&ChunkHashes>,
        whole: Option<&mut Sha256>,
    ) {
        let data: Vec<&[u8]> = chunks.iter().map(|(_, data)| &data[..]).collect();
        for ((index, data), hash) in chunks.iter().zip(hash_chunks(&data, whole)) {
            let is_zero = data.iter().all(|&byte| byte == 0);
            self.is_blank &= is_zero;
            if listed.is_none_or(|listed| listed.hash(*index) == Some(&hash)) {
                self.good.insert(*index, hash);
                self.has_content |= listed.is_some() && !is_zero;
            }
        }
    }

    /// True if the file is the shared one.
    pub(super) fn is_the_file(&self, descriptor: &Descriptor) -> bool {
        self.sha256.is_some() && self.sha256 == descriptor.sha256
    }

    /// True if the file is a damaged copy of the shared one: at least half of its chunks match.
    pub(super) fn is_a_damaged_copy(&self) -> bool {
        self.has_content && (self.good.len() as u64).saturating_mul(2) >= self.examined
    }
}
