//! [`check_file`]: compares a finished file or folder with its descriptor.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;

use super::super::descriptor::Descriptor;
use super::super::hash::Digest256;
use super::super::tree::HashTree;
use super::StoreError;
use super::content::Content;
use super::recover::examine;
use crate::range::IndexSet;

/// The result of [`check_file`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The file is the shared one.
    Good {
        /// SHA-256 of the file.
        sha256: Digest256,
    },
    /// The file is another one, or a damaged copy.
    Bad {
        /// Length of the file in bytes, or of all files together.
        length: u64,
        /// The ranges of bytes that are wrong or missing, as far as chunk hashes are known:
        /// inclusive, in ascending order and disjoint.
        parts: Vec<RangeInclusive<u64>>,
        /// The number of chunks in these ranges.
        bad_chunks: u64,
        /// True if a fetch takes it for a damaged copy, of which it keeps what is right.
        is_a_copy: bool,
    },
    /// Neither the link nor the descriptor has a hash to compare with.
    Unknown,
}

/// Compares a file, or the folder of a share of several, with its descriptor; `progress` is called with the number of bytes read so far.
///
/// # Errors
///
/// The file cannot be read, or is not a regular file, or a folder if there are several.
pub fn check_file(
    path: &Path,
    descriptor: &Descriptor,
    progress: impl FnMut(u64),
) -> Result<Verdict, StoreError> {
    check_file_by(path, descriptor, None, progress)
}

/// As [`check_file`]; of a file whose descriptor lists only the hashes of pages, with those that are known
/// otherwise ([`Fetch::hashes`](crate::vod::Fetch::hashes)). Where none are known, a page that is not right
/// condemns all of its chunks.
///
/// # Errors
///
/// As for [`check_file`].
pub fn check_file_by(
    path: &Path,
    descriptor: &Descriptor,
    known: Option<&HashTree>,
    mut progress: impl FnMut(u64),
) -> Result<Verdict, StoreError> {
    let io = |action| StoreError::io(action, path);
    // Checked before opening: opening a pipe would wait for its writer.
    let found = path.metadata().map_err(io("open"))?;
    let mut content = match &descriptor.files {
        Some(files) if found.is_dir() => Content::of_folder(path, files, false),
        Some(_) => return Err(StoreError::NotAFolder { path: path.to_owned() }),
        None if found.is_file() => Content::of_file(path, File::open(path).map_err(io("open"))?),
        None => return Err(StoreError::NotAFile { path: path.to_owned() }),
    };
    let (layout, mut hashes) = (descriptor.layout, descriptor.known_hashes());
    let mut findings =
        examine(&mut content, &layout, &mut hashes, &IndexSet::new(), &mut progress)?;
    if let Some(sha256) = findings.sha256.filter(|_| findings.is_the_file(descriptor)) {
        return Ok(Verdict::Good { sha256 });
    }
    if descriptor.sha256.is_none() && !hashes.is_some() {
        return Ok(Verdict::Unknown);
    }
    let is_a_copy = findings.is_a_damaged_copy();
    if let Some(known) = known {
        findings.decide(known);
    }
    let mut parts: Vec<RangeInclusive<u64>> = Vec::new();
    let mut bad_chunks = 0;
    if hashes.is_some() {
        // What the file does not reach into is one part, however many chunks the descriptor claims.
        let reached = 1..=findings.examined;
        let bad = reached.filter(|index| !findings.good.contains_key(index));
        let mut ranges: Vec<_> = bad.map(|index| index..=index).collect();
        let rest = findings.examined + 1..=layout.chunks();
        ranges.extend((!rest.is_empty()).then_some(rest));
        for range in ranges {
            let (first, last) = range.into_inner();
            let end = layout.offset(last).zip(layout.length(last)).map(|(at, length)| at + length);
            let Some((from, end)) = layout.offset(first).zip(end) else { break };
            bad_chunks += last - first + 1;
            let end = end.saturating_sub(1);
            match parts.last_mut().filter(|part| *part.end() + 1 == from) {
                Some(part) => *part = *part.start()..=end,
                None => parts.push(from..=end),
            }
        }
    }
    Ok(Verdict::Bad { length: content.length()?, parts, bad_chunks, is_a_copy })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::files::{FileList, SharedFile};
    use super::super::super::hash::{ChunkHashes, chunk_hash};
    use super::super::super::layout::Layout;
    use super::super::super::tree::TreeShape;
    use super::super::SourceFile;
    use super::*;

    #[test]
    fn bad_parts_are_named_by_their_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("film");
        let content: Vec<u8> = (0..4500u32).map(|n| (n / 3) as u8).collect();
        fs::write(&path, &content).unwrap();
        let descriptor = SourceFile::scan(&path, 1000, |_| {}).unwrap().descriptor();
        let check = |descriptor: &Descriptor| check_file(&path, descriptor, |_| {}).unwrap();
        let sha256 = Digest256::of(&content);
        assert_eq!(check(&descriptor), Verdict::Good { sha256 });

        let mut bad = content.clone();
        bad[1500] ^= 1;
        bad[2000] ^= 1;
        fs::write(&path, &bad[..4100]).unwrap();
        let parts = vec![1000..=2999, 4000..=4499];
        let verdict = Verdict::Bad { length: 4100, parts, bad_chunks: 3, is_a_copy: false };
        assert_eq!(check(&descriptor), verdict);
        let whole_only = Descriptor { chunk_hashes: None, ..descriptor.clone() };
        let verdict =
            Verdict::Bad { length: 4100, parts: Vec::new(), bad_chunks: 0, is_a_copy: false };
        assert_eq!(check(&whole_only), verdict);
        assert_eq!(check(&Descriptor::of_layout(descriptor.layout)), Verdict::Unknown);

        // A descriptor may claim anything.
        let layout = Layout::of_size(1 << 48, 1 << 16).unwrap();
        let root = vec![7; TreeShape::of(layout.chunks()).unwrap().root_hashes() as usize * 16];
        let root = ChunkHashes::from_bytes(root.into());
        let huge = Descriptor { page_hashes: root, ..Descriptor::of_layout(layout) };
        let (parts, bad_chunks) = (vec![0..=(1 << 48) - 1], 1 << 32);
        assert_eq!(
            check(&huge),
            Verdict::Bad { length: 4100, parts, bad_chunks, is_a_copy: false }
        );
        let files = vec![SharedFile { path: "a".into(), size: 1 << 48 }];
        let files = Some(FileList::new(files).unwrap());
        let folder = check_file(directory.path(), &Descriptor { files, ..huge }, |_| {}).unwrap();
        assert!(matches!(folder, Verdict::Bad { bad_chunks: 4_294_967_296, .. }), "{folder:?}");

        // A file that is too long is as wrong as one that is too short.
        fs::write(&path, [&content[..], b"more"].concat()).unwrap();
        assert!(matches!(check(&descriptor), Verdict::Bad { length: 4504, bad_chunks: 0, .. }));
        assert!(check_file(directory.path(), &descriptor, |_| {}).is_err());
    }
    #[test]
    fn a_chunk_of_a_large_file_is_named_if_its_page_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("film");
        let content: Vec<u8> = (0..20_000u32).map(|n| (n / 3) as u8).collect();
        fs::write(&path, &content).unwrap();
        let source = SourceFile::scan(&path, 8, |_| {}).unwrap();
        let descriptor = source.descriptor();
        let hashes = (0..2500).map(|n| chunk_hash(&content[n * 8..n * 8 + 8]));
        let tree = HashTree::over(&ChunkHashes::from_hashes(hashes)).unwrap();
        let check = |tree| check_file_by(&path, &descriptor, tree, |_| {}).unwrap();
        let mut bad = content.clone();
        bad[80] ^= 1;
        fs::write(&path, &bad).unwrap();
        let verdict = |parts: Vec<_>, bad_chunks, is_a_copy| Verdict::Bad {
            length: 20_000,
            parts,
            bad_chunks,
            is_a_copy,
        };
        // The page condemns all that it lists; the others show whose copy it is.
        assert_eq!(check(None), verdict(vec![0..=8191], 1024, true));
        assert_eq!(check(Some(&tree)), verdict(vec![80..=87], 1, true));
        for place in [8200, 16_400] {
            bad[place] ^= 1;
        }
        fs::write(&path, &bad).unwrap();
        assert_eq!(check(None), verdict(vec![0..=19_999], 2500, false));
        let parts = vec![80..=87, 8200..=8207, 16_400..=16_407];
        assert_eq!(check(Some(&tree)), verdict(parts, 3, false));
    }
}
