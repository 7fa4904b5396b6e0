//! [`HashTree`]: the hashes of the chunks of a large file, in pages that are fetched as they are needed.
//!
//! A descriptor that lists the hash of every chunk grows with the file: 5 MB for 20 GB, all of which
//! must be there before the first chunk can be verified. So beyond [`PAGE_HASHES`] chunks the hashes are
//! cut into *pages* of 1,024, which are objects of the group, and the descriptor lists the hashes of the
//! pages. If that would be more than [`MAX_ROOT_HASHES`], there is one more level between.
//!
//! ```text
//! objects  1 … N            the chunks
//!          N+1 … N+L        lower pages: hashes of the chunks, 1,024 in each
//!          N+L+1 … N+L+U    upper pages: hashes of the lower pages, if L > 4,096
//! descriptor `pages`        hashes of the pages of the highest level
//! ```
//!
//! The hash of a page is that of its bytes, as of a chunk.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::hash::{CHUNK_HASH_LEN, ChunkHash, ChunkHashes, chunk_hash};

/// The hashes in a page; the last of a level has the rest. A file of at most so many chunks has no pages.
pub const PAGE_HASHES: u64 = 1024;

/// The most hashes of pages in a descriptor, 64 KB: 256 GB in chunks of 64 KB with one level of pages.
pub const MAX_ROOT_HASHES: u64 = 4096;

/// The pages that a file of some number of chunks has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeShape {
    chunks: u64,
    lower: u64,
    upper: u64,
}

/// Where the hash of a page is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    /// In the descriptor, at this place.
    Root(u64),
    /// In another page.
    Page(u64, u64),
}

impl TreeShape {
    /// The pages for so many chunks; `None` if the descriptor lists the hashes themselves.
    pub fn of(chunks: u64) -> Option<Self> {
        if chunks <= PAGE_HASHES {
            return None;
        }
        let lower = chunks.div_ceil(PAGE_HASHES);
        let upper = if lower > MAX_ROOT_HASHES { lower.div_ceil(PAGE_HASHES) } else { 0 };
        Some(Self { chunks, lower, upper })
    }

    /// The object indices of the pages.
    pub fn indices(&self) -> RangeInclusive<u64> {
        self.chunks + 1..=self.chunks + self.lower + self.upper
    }

    /// The number of hashes that the descriptor lists.
    pub fn root_hashes(&self) -> u64 {
        if self.upper > 0 { self.upper } else { self.lower }
    }

    /// The page that lists the hash of a chunk.
    pub fn page_of(&self, chunk: u64) -> Option<u64> {
        let place = chunk.checked_sub(1).filter(|_| chunk <= self.chunks)?;
        Some(self.chunks + 1 + place / PAGE_HASHES)
    }

    /// The chunks whose hashes a page lists; `None` for an upper page.
    pub fn chunks_of(&self, page: u64) -> Option<RangeInclusive<u64>> {
        let place = self.place(page).filter(|&place| place < self.lower)?;
        let first = place * PAGE_HASHES + 1;
        Some(first..=self.chunks.min(first + PAGE_HASHES - 1))
    }

    /// The page that lists the hash of a page; `None` if the descriptor does.
    pub fn page_above(&self, page: u64) -> Option<u64> {
        match self.parent(page)? {
            Parent::Root(_) => None,
            Parent::Page(above, _) => Some(above),
        }
    }

    /// The number of hashes in a page.
    fn hashes_in(&self, page: u64) -> Option<u64> {
        let place = self.place(page)?;
        let (place, all) = match place < self.lower {
            true => (place, self.chunks),
            false => (place - self.lower, self.lower),
        };
        Some(PAGE_HASHES.min(all - place * PAGE_HASHES))
    }

    fn parent(&self, page: u64) -> Option<Parent> {
        let place = self.place(page)?;
        Some(match place < self.lower {
            true if self.upper > 0 => Parent::Page(
                self.chunks + self.lower + 1 + place / PAGE_HASHES,
                place % PAGE_HASHES,
            ),
            true => Parent::Root(place),
            false => Parent::Root(place - self.lower),
        })
    }

    /// The number of a page from 0, the lower ones first.
    fn place(&self, page: u64) -> Option<u64> {
        page.checked_sub(self.chunks + 1).filter(|&place| place < self.lower + self.upper)
    }
}

/// Why a page is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The file has no such page.
    #[error("there is no such page of hashes")]
    NoSuchPage,
    /// The page that lists its hash is not known yet.
    #[error("the page of hashes cannot be verified yet")]
    NotYet,
    /// Its hash or length is another one.
    #[error("the page of hashes has the wrong hash")]
    WrongHash,
}

/// The hashes of the chunks of a large file, as far as they are known. Every page has been verified.
#[derive(Debug, Clone)]
pub struct HashTree {
    shape: TreeShape,
    root: ChunkHashes,
    pages: BTreeMap<u64, Bytes>,
}

impl HashTree {
    /// A tree of which only the hashes in the descriptor are known; `None` if their number is wrong.
    pub fn new(chunks: u64, root: ChunkHashes) -> Option<Self> {
        let shape = TreeShape::of(chunks)?;
        (root.len() == shape.root_hashes()).then(|| Self { shape, root, pages: BTreeMap::new() })
    }

    /// The whole tree over the hashes of all chunks; `None` if they are so few that a descriptor lists
    /// them itself. Its lower pages share the memory of the list.
    pub fn over(hashes: &ChunkHashes) -> Option<Self> {
        let shape = TreeShape::of(hashes.len())?;
        let mut pages = BTreeMap::new();
        let (first, last) = shape.indices().into_inner();
        let mut level = hashes.clone();
        let mut next = first;
        loop {
            let cut = pages_of(&level);
            let above = ChunkHashes::from_hashes(cut.iter().map(|page| chunk_hash(page)));
            pages.extend((next..).zip(cut));
            next += above.len();
            if next > last {
                return Some(Self { shape, root: above, pages });
            }
            level = above;
        }
    }

    /// The pages of the file.
    pub fn shape(&self) -> &TreeShape {
        &self.shape
    }

    /// The hashes that the descriptor lists.
    pub fn root(&self) -> &ChunkHashes {
        &self.root
    }

    /// A page, once it is known.
    pub fn page(&self, index: u64) -> Option<&Bytes> {
        self.pages.get(&index)
    }

    /// The pages that are known.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.pages.iter().map(|(&index, page)| (index, page))
    }

    /// Verifies a page and keeps it.
    ///
    /// # Errors
    ///
    /// It is not the page of that index, or cannot be verified yet.
    pub fn add(&mut self, index: u64, page: Bytes) -> Result<(), PageError> {
        let hashes = self.shape.hashes_in(index).ok_or(PageError::NoSuchPage)?;
        let expected = self.hash_of_page(index).ok_or(PageError::NotYet)?;
        if page.len() as u64 != hashes * CHUNK_HASH_LEN as u64 || chunk_hash(&page) != expected {
            return Err(PageError::WrongHash);
        }
        self.pages.insert(index, page);
        Ok(())
    }

    /// True if a page could be verified if it came.
    pub fn can_verify(&self, index: u64) -> bool {
        self.hash_of_page(index).is_some()
    }

    /// The hash of a chunk, counted from 1, once its page is known.
    pub fn hash(&self, chunk: u64) -> Option<ChunkHash> {
        let page = self.pages.get(&self.shape.page_of(chunk)?)?;
        hash_at(page, (chunk - 1) % PAGE_HASHES)
    }

    /// Builds every page of which all hashes are in `known`, by chunk, and keeps those that are right.
    pub(super) fn fill(&mut self, known: &BTreeMap<u64, ChunkHash>) {
        let mut built: BTreeMap<u64, Bytes> = BTreeMap::new();
        let last = known.last_key_value().and_then(|(&chunk, _)| self.shape.page_of(chunk));
        let (first, end) = self.shape.indices().into_inner();
        let lower = last.map(|last| first..=last).into_iter().flatten();
        for index in lower.chain(first + self.shape.lower..=end) {
            let page = match self.shape.chunks_of(index) {
                Some(chunks) => chunks.map(|chunk| known.get(&chunk).copied()).collect(),
                None => self.below(index).map(|page| Some(chunk_hash(built.get(&page)?))).collect(),
            };
            let page: Option<Vec<ChunkHash>> = page;
            if let Some(page) = page {
                built.insert(index, Bytes::from(page.concat()));
            }
        }
        // From the top: a page can be verified when the one above it is known.
        for (index, page) in built.into_iter().rev() {
            let _ = self.add(index, page);
        }
    }

    /// The lower pages whose hashes an upper one lists.
    fn below(&self, index: u64) -> RangeInclusive<u64> {
        let place = self.shape.place(index).unwrap_or_default().saturating_sub(self.shape.lower);
        let first = self.shape.chunks + 1 + place * PAGE_HASHES;
        first..=(self.shape.chunks + self.shape.lower).min(first + PAGE_HASHES - 1)
    }

    fn hash_of_page(&self, index: u64) -> Option<ChunkHash> {
        match self.shape.parent(index)? {
            Parent::Root(place) => hash_at(self.root.as_bytes(), place),
            Parent::Page(above, place) => hash_at(self.pages.get(&above)?, place),
        }
    }
}

/// A list cut into pages.
fn pages_of(list: &ChunkHashes) -> Vec<Bytes> {
    let (bytes, page) = (list.as_bytes(), PAGE_HASHES as usize * CHUNK_HASH_LEN);
    let cut = |start| bytes.slice(start..bytes.len().min(start + page));
    (0..bytes.len()).step_by(page).map(cut).collect()
}

fn hash_at(page: &[u8], place: u64) -> Option<ChunkHash> {
    let at = usize::try_from(place).ok()?.checked_mul(CHUNK_HASH_LEN)?;
    page.get(at..)?.first_chunk().copied()
}

/// What is known of the hashes of a file's chunks.
#[derive(Debug, Clone, Default)]
pub(super) enum KnownHashes {
    /// Nothing: the Number form, and Flash applications.
    #[default]
    None,
    /// The descriptor lists all.
    List(ChunkHashes),
    /// The descriptor lists the hashes of pages.
    Tree(HashTree),
}

impl KnownHashes {
    /// True if every chunk can be verified, now or later.
    pub(super) fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The hash of a chunk, if it is known now.
    pub(super) fn hash(&self, chunk: u64) -> Option<ChunkHash> {
        match self {
            Self::None => None,
            Self::List(list) => list.hash(chunk).and_then(|hash| hash.try_into().ok()),
            Self::Tree(tree) => tree.hash(chunk),
        }
    }

    pub(super) fn tree(&self) -> Option<&HashTree> {
        match self {
            Self::Tree(tree) => Some(tree),
            _ => None,
        }
    }

    pub(super) fn tree_mut(&mut self) -> Option<&mut HashTree> {
        match self {
            Self::Tree(tree) => Some(tree),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(count: u64) -> ChunkHashes {
        ChunkHashes::from_hashes((1..=count).map(|n| chunk_hash(&n.to_be_bytes())))
    }

    fn hash_of(chunk: u64) -> ChunkHash {
        chunk_hash(&chunk.to_be_bytes())
    }

    #[test]
    fn small_files_have_no_pages() {
        assert_eq!(TreeShape::of(1024), None);
        assert!(HashTree::over(&hashes(1024)).is_none());
        let shape = TreeShape::of(1025).unwrap();
        assert_eq!((shape.indices(), shape.root_hashes()), (1026..=1027, 2));
        assert_eq!(
            (shape.page_of(0), shape.page_of(1), shape.page_of(1024)),
            (None, Some(1026), Some(1026))
        );
        assert_eq!((shape.page_of(1025), shape.page_of(1026)), (Some(1027), None));
        assert_eq!(
            (shape.chunks_of(1026), shape.chunks_of(1027)),
            (Some(1..=1024), Some(1025..=1025))
        );
        assert_eq!((shape.chunks_of(1025), shape.chunks_of(1028)), (None, None));
    }

    #[test]
    fn the_descriptor_stays_small_whatever_the_size() {
        for (chunks, pages, root) in [
            (163_840, 160, 160),               // 10 GB
            (1 << 22, 4096, 4096),             // 256 GB
            ((1 << 22) + 1, 4097 + 5, 5),      // and a little more
            (1 << 30, (1 << 20) + 1024, 1024), // 64 TB
            (1 << 32, (1 << 22) + 4096, 4096), // the most there is
        ] {
            let shape = TreeShape::of(chunks).unwrap();
            assert_eq!(shape.indices(), chunks + 1..=chunks + pages, "{chunks}");
            assert_eq!(shape.root_hashes(), root, "{chunks}");
            assert!(shape.root_hashes() <= MAX_ROOT_HASHES);
        }
    }

    #[test]
    fn pages_are_verified_against_the_root() {
        let whole = HashTree::over(&hashes(2500)).unwrap();
        let mut tree = HashTree::new(2500, whole.root().clone()).unwrap();
        assert_eq!(tree.hash(1), None);
        let page = |index| whole.page(index).unwrap().clone();
        assert_eq!(tree.add(2502, page(2501)), Err(PageError::WrongHash));
        assert_eq!(tree.add(2503, page(2503).slice(16..)), Err(PageError::WrongHash));
        for beyond in [0, 2500, 2504, u64::MAX] {
            assert_eq!(tree.add(beyond, page(2501)), Err(PageError::NoSuchPage));
        }
        assert_eq!(tree.add(2502, page(2502)), Ok(()));
        assert_eq!(
            (tree.hash(1024), tree.hash(1025), tree.hash(2048)),
            (None, Some(hash_of(1025)), Some(hash_of(2048)))
        );
        assert_eq!(tree.add(2503, page(2503)), Ok(()));
        assert_eq!(
            (tree.hash(2500), tree.hash(2501), tree.hash(0)),
            (Some(hash_of(2500)), None, None)
        );
        assert!(
            HashTree::new(2500, hashes(2)).is_none() && HashTree::new(1000, hashes(1)).is_none()
        );
    }

    /// 4,097 lower pages of hashes that are all the same, so that it takes little time.
    fn with_two_levels() -> HashTree {
        let chunks = MAX_ROOT_HASHES * PAGE_HASHES + 1;
        let bytes = vec![7; chunks as usize * CHUNK_HASH_LEN];
        HashTree::over(&ChunkHashes::from_bytes(bytes.into()).unwrap()).unwrap()
    }

    #[test]
    fn a_lower_page_waits_for_the_upper_one() {
        let whole = with_two_levels();
        let chunks = MAX_ROOT_HASHES * PAGE_HASHES + 1;
        let mut tree = HashTree::new(chunks, whole.root().clone()).unwrap();
        let (first, last) = whole.shape().indices().into_inner();
        assert_eq!(whole.pages().count() as u64, last - first + 1);
        let (upper, lower) = (whole.shape().page_above(first).unwrap(), whole.page(first).unwrap());
        assert_eq!((upper, whole.shape().page_above(upper)), (first + 4097, None));
        assert_eq!(tree.add(first, lower.clone()), Err(PageError::NotYet));
        assert!(!tree.can_verify(first) && tree.can_verify(upper));
        tree.add(upper, whole.page(upper).unwrap().clone()).unwrap();
        tree.add(first, lower.clone()).unwrap();
        assert_eq!(tree.hash(1), Some([7; 16]));
        assert_eq!(tree.add(first + 4096, lower.clone()), Err(PageError::NotYet));
    }

    #[test]
    fn what_is_known_of_chunks_gives_pages() {
        let whole = HashTree::over(&hashes(2500)).unwrap();
        let mut tree = HashTree::new(2500, whole.root().clone()).unwrap();
        let mut known: BTreeMap<u64, ChunkHash> = (1..=2500).map(|n| (n, hash_of(n))).collect();
        known.remove(&3);
        known.insert(1500, [0; 16]);
        tree.fill(&known);
        assert_eq!(tree.pages().map(|(index, _)| index).collect::<Vec<_>>(), [2503]);

        let two = with_two_levels();
        let chunks = MAX_ROOT_HASHES * PAGE_HASHES + 1;
        let mut tree = HashTree::new(chunks, two.root().clone()).unwrap();
        // The last upper page lists one lower page, which lists one chunk.
        tree.fill(&BTreeMap::from([(chunks, [7; 16])]));
        let lower = two.shape().page_of(chunks).unwrap();
        let upper = two.shape().page_above(lower).unwrap();
        assert_eq!(tree.pages().map(|(index, _)| index).collect::<Vec<_>>(), [lower, upper]);
    }
}
