//! The chunks of the shared file that an existing file contains, found by their hashes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use sha2::{Digest, Sha256};

use super::super::descriptor::Descriptor;
use super::super::hash::{ChunkHash, ChunkHashes, Digest256, chunk_hash};
use super::super::layout::Layout;
use super::positioned;
use crate::range::IndexSet;

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
/// The error of the operating system.
pub(super) fn examine(
    file: &File,
    layout: &Layout,
    hashes: Option<&ChunkHashes>,
    known: &IndexSet,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Findings> {
    let length = file.metadata()?.len();
    let is_whole = known.is_empty() && layout.size() == Some(length);
    let mut whole = Sha256::new();
    let mut findings = Findings {
        good: BTreeMap::new(),
        examined: 0,
        sha256: None,
        has_content: false,
        is_blank: layout.size().is_some_and(|size| length <= size),
    };
    for index in layout.indices() {
        let place = layout.offset(index).zip(layout.length(index));
        let Some((offset, size)) = place.filter(|&(offset, _)| offset < length) else { break };
        findings.examined += 1;
        if known.contains(index) {
            continue;
        }
        let Some(data) = positioned::read_chunk(file, offset, size)? else {
            findings.is_blank = false;
            break;
        };
        if is_whole {
            whole.update(&data);
        }
        let is_zero = data.iter().all(|&byte| byte == 0);
        findings.is_blank &= is_zero;
        let hash = chunk_hash(&data);
        if hashes.is_none_or(|listed| listed.hash(index) == Some(&hash)) {
            findings.good.insert(index, hash);
            findings.has_content |= hashes.is_some() && !is_zero;
        }
        progress(offset + size);
    }
    findings.sha256 = is_whole.then(|| Digest256::from_hasher(whole));
    Ok(findings)
}

impl Findings {
    /// True if the file is the shared one.
    pub(super) fn is_the_file(&self, descriptor: &Descriptor) -> bool {
        self.sha256.is_some() && self.sha256 == descriptor.sha256
    }

    /// True if the file is a damaged copy of the shared one: at least half of its chunks match.
    pub(super) fn is_a_damaged_copy(&self) -> bool {
        self.has_content && (self.good.len() as u64).saturating_mul(2) >= self.examined
    }
}
