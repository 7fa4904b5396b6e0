//! The chunks of the shared file that an existing file contains, found by their hashes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::super::descriptor::Descriptor;
use super::super::hash::{ChunkHash, Digest256, chunk_hash, hash_chunks};
use super::super::layout::Layout;
use super::super::tree::{HashTree, KnownHashes};
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
    /// The chunks whose page of hashes is not known yet.
    pub(super) undecided: BTreeMap<u64, ChunkHash>,
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
    hashes: &mut KnownHashes,
    known: &IndexSet,
    progress: &mut dyn FnMut(u64),
) -> Result<Findings, StoreError> {
    let length = content.length()?;
    let is_whole = known.is_empty() && content.has_size(layout.size())?;
    let end = content.end()?;
    let mut whole = Sha256::new();
    let mut findings = Findings {
        good: BTreeMap::new(),
        undecided: BTreeMap::new(),
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
            findings.add(&group.take(), is_whole.then_some(&mut whole));
            progress(offset + size);
        }
    }
    if !group.chunks.is_empty() {
        findings.add(&group.chunks, is_whole.then_some(&mut whole));
        progress(length.min(layout.size().unwrap_or(length)));
    }
    findings.sha256 = is_whole.then(|| Digest256::from_hasher(whole));
    findings.compare(hashes, layout);
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
    /// Hashes chunks, and continues the hash of the whole.
    fn add(&mut self, chunks: &[(u64, Vec<u8>)], whole: Option<&mut Sha256>) {
        let data: Vec<&[u8]> = chunks.iter().map(|(_, data)| &data[..]).collect();
        for ((index, data), hash) in chunks.iter().zip(hash_chunks(&data, whole)) {
            self.is_blank &= data.iter().all(|&byte| byte == 0);
            self.good.insert(*index, hash);
        }
    }

    /// Keeps the chunks that are right. Pages of hashes that all chunks give are added to `known`.
    fn compare(&mut self, known: &mut KnownHashes, layout: &Layout) {
        if let Some(tree) = known.tree_mut() {
            tree.fill(&self.good);
        }
        if !known.is_some() {
            return;
        }
        for (index, hash) in std::mem::take(&mut self.good) {
            match known.hash(index) {
                Some(expected) if expected == hash => drop(self.good.insert(index, hash)),
                Some(_) => {}
                None => drop(self.undecided.insert(index, hash)),
            }
        }
        let lengths = [layout.length(1), layout.length(layout.chunks())];
        let zeros = lengths.into_iter().flatten().filter_map(|length| usize::try_from(length).ok());
        let zeros: Vec<ChunkHash> = zeros.map(|length| chunk_hash(&vec![0; length])).collect();
        self.has_content = self.good.values().any(|hash| !zeros.contains(hash));
    }

    /// True if the file is the shared one.
    pub(super) fn is_the_file(&self, descriptor: &Descriptor) -> bool {
        self.sha256.is_some() && self.sha256 == descriptor.sha256
    }

    /// Takes over the undecided chunks that are right by these hashes.
    pub(super) fn decide(&mut self, known: &HashTree) {
        let (good, rest) = std::mem::take(&mut self.undecided)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(index, hash)| known.hash(*index) == Some(*hash));
        self.good.extend(good);
        self.undecided = rest;
    }

    /// True if the file is a damaged copy of the shared one: at least half of its chunks match, or may
    /// match; of a large file at least one page of hashes does.
    pub(super) fn is_a_damaged_copy(&self) -> bool {
        let good = (self.good.len() + self.undecided.len()) as u64;
        self.has_content && good.saturating_mul(2) >= self.examined
    }
}
