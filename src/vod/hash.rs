//! The hashes of a file: [`Digest256`] of the whole and [`ChunkHashes`] of its chunks.

use std::fmt;
use std::panic::resume_unwind;
use std::str::FromStr;
use std::thread;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::crypto::digests;
use crate::text::hex_bytes;

/// The bytes of SHA-256 kept per chunk.
///
/// With 16 bytes, a forgery costs 2^128 attempts per chunk. A provider can prepare two versions of
/// its *own* chunk with 2^64: a link is worth what its provider is.
pub const CHUNK_HASH_LEN: usize = 16;

/// A SHA-256 value; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest256(pub [u8; 32]);

impl Digest256 {
    /// SHA-256 of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self::from_hasher(Sha256::new_with_prefix(data))
    }

    /// The result of a running hash.
    pub fn from_hasher(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Digest256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest256({self})")
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("64 hexadecimal digits are expected, found {length} characters")]
pub struct NotADigest {
    /// Number of characters found.
    pub length: usize,
}

impl FromStr for Digest256 {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digest = hex_bytes(text).ok().and_then(|bytes| bytes.try_into().ok());
        digest.map(Self).ok_or_else(|| NotADigest { length: text.chars().count() })
    }
}

/// The first [`CHUNK_HASH_LEN`] bytes of the SHA-256 of one chunk.
pub type ChunkHash = [u8; CHUNK_HASH_LEN];

/// The hash of one chunk in the form of a [`ChunkHashes`] list.
pub fn chunk_hash(data: &[u8]) -> ChunkHash {
    let mut hash = [0; CHUNK_HASH_LEN];
    hash.iter_mut().zip(Sha256::digest(data)).for_each(|(to, from)| *to = from);
    hash
}

/// Bytes of chunks for which a second thread is worth its start.
const WORTH_A_THREAD: usize = 256 << 10;

/// The hashes of several chunks, side by side. A hash of the whole goes on over all of them at the
/// same time, in a thread of its own.
pub(super) fn hash_chunks(chunks: &[&[u8]], whole: Option<&mut Sha256>) -> Vec<ChunkHash> {
    let Some(whole) = whole else { return chunk_hashes(chunks) };
    let mut continue_whole = || chunks.iter().for_each(|chunk| whole.update(chunk));
    if chunks.iter().map(|chunk| chunk.len()).sum::<usize>() < WORTH_A_THREAD {
        continue_whole();
        return chunk_hashes(chunks);
    }
    thread::scope(|scope| {
        let hashes = scope.spawn(|| chunk_hashes(chunks));
        continue_whole();
        hashes.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn chunk_hashes(chunks: &[&[u8]]) -> Vec<ChunkHash> {
    let hashes = digests(chunks).into_iter();
    hashes.map(|hash| hash.first_chunk().copied().unwrap_or_default()).collect()
}

/// The hashes of the chunks 1 to N, concatenated.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkHashes(Bytes);

impl ChunkHashes {
    /// A list from its concatenated form; `None` if its length is not a multiple of the hash
    /// length.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        bytes.len().is_multiple_of(CHUNK_HASH_LEN).then_some(Self(bytes))
    }

    /// A list of these hashes, beginning with that of chunk 1.
    pub fn from_hashes(hashes: impl IntoIterator<Item = ChunkHash>) -> Self {
        Self(hashes.into_iter().flatten().collect::<Vec<u8>>().into())
    }

    /// The concatenated form.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The number of chunks in the list.
    pub fn len(&self) -> u64 {
        (self.0.len() / CHUNK_HASH_LEN) as u64
    }

    /// True if the list is that of an empty file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash of chunk `index`, counted from 1.
    pub fn hash(&self, index: u64) -> Option<&[u8]> {
        let at = usize::try_from(index.checked_sub(1)?).ok()?.checked_mul(CHUNK_HASH_LEN)?;
        self.0.get(at..at.checked_add(CHUNK_HASH_LEN)?)
    }

    /// True if `data` is chunk `index`; false for a chunk that is not in the list.
    pub fn matches(&self, index: u64, data: &[u8]) -> bool {
        self.hash(index).is_some_and(|expected| expected == chunk_hash(data))
    }
}

impl fmt::Debug for ChunkHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkHashes({} chunks)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_written_and_read_as_hexadecimal() {
        assert_eq!(Digest256::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest256::of(b"")));
        assert_eq!(EMPTY.to_uppercase().parse(), Ok(Digest256::of(b"")));
        assert_eq!(EMPTY[..63].parse::<Digest256>(), Err(NotADigest { length: 63 }));
        assert!("g".repeat(64).parse::<Digest256>().is_err());
        assert!("é".repeat(32).parse::<Digest256>().is_err());
        assert!("+1".repeat(32).parse::<Digest256>().is_err());
    }

    #[test]
    fn chunks_and_whole_are_hashed_side_by_side() {
        let data: Vec<u8> = (0..600_000u32).map(|n| (n / 7) as u8).collect();
        for size in [1 << 16, 1000, 70_001, 600_000] {
            let chunks: Vec<&[u8]> = data.chunks(size).collect();
            let expected: Vec<ChunkHash> = chunks.iter().map(|chunk| chunk_hash(chunk)).collect();
            let mut whole = Sha256::new();
            for (chunks, expected) in chunks.chunks(20).zip(expected.chunks(20)) {
                assert_eq!(hash_chunks(chunks, Some(&mut whole)), expected);
                assert_eq!(hash_chunks(chunks, None), expected);
            }
            assert_eq!(Digest256::from_hasher(whole), Digest256::of(&data));
        }
    }

    #[test]
    fn a_list_knows_its_chunks_by_index_from_one() {
        let list = ChunkHashes::from_hashes([chunk_hash(b"one"), chunk_hash(b"two")]);
        assert_eq!(list.len(), 2);
        assert!(list.matches(1, b"one") && list.matches(2, b"two"));
        assert!(!list.matches(1, b"two"));
        for beyond in [0, 3, u64::MAX] {
            assert!(!list.matches(beyond, b"one"));
        }
        assert_eq!(ChunkHashes::from_bytes(list.as_bytes().clone()), Some(list));
        assert_eq!(ChunkHashes::from_bytes(Bytes::from_static(&[0; 17])), None);
    }
}
