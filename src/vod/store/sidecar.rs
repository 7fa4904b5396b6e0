//! The list beside an unfinished file: what it is and which chunks it holds.
//!
//! A text file `NAME.part.rtmfp`, only ever appended to, so that a crash costs a line at most:
//!
//! ```text
//! rtmfp-part 1 <identity of the download, 64 hexadecimal digits> <number of chunks>
//! <chunk> <its length in bytes> <first 16 bytes of its SHA-256, hexadecimal>
//! …
//! ```
//!
//! Lines that make no sense are skipped: nothing here is believed without hashing the chunk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use super::super::hash::{CHUNK_HASH_LEN, ChunkHash, Digest256};

/// One chunk that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) length: u64,
    pub(super) hash: ChunkHash,
}

/// The list, open at its end.
#[derive(Debug)]
pub(super) struct Sidecar {
    file: File,
}

impl Sidecar {
    /// Begins a new list, over whatever was there.
    pub(super) fn create(path: &Path, identity: &Digest256, chunks: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.write_all(header(identity, chunks).as_bytes())?;
        Ok(Self { file })
    }

    /// Opens the list of the same download and reads it; `None` if it is that of another one.
    pub(super) fn resume(
        path: &Path,
        identity: &Digest256,
        chunks: u64,
    ) -> io::Result<Option<(Self, Vec<Entry>)>> {
        /// More than any line written here.
        const MAX_LINE: u64 = 256;
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut next_line = |reader: &mut BufReader<&File>| -> io::Result<Option<String>> {
            line.clear();
            let read = reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
            Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
        };
        if next_line(&mut reader)?.as_deref() != Some(&header(identity, chunks)) {
            return Ok(None);
        }
        let mut entries = Vec::new();
        while let Some(line) = next_line(&mut reader)? {
            entries.extend(parse_entry(&line));
        }
        // The last line may have been cut off.
        file.write_all(b"\n")?;
        Ok(Some((Self { file }, entries)))
    }

    /// Notes a chunk.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = format!("{} {} ", entry.index, entry.length);
        entry.hash.iter().for_each(|byte| line.push_str(&format!("{byte:02x}")));
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

fn header(identity: &Digest256, chunks: u64) -> String {
    format!("rtmfp-part 1 {identity} {chunks}\n")
}

fn parse_entry(line: &str) -> Option<Entry> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let index = words.next()?.parse().ok()?;
    let length = words.next()?.parse().ok()?;
    let digits = words.next().filter(|d| d.len() == 2 * CHUNK_HASH_LEN && d.is_ascii())?;
    let mut hash = [0; CHUNK_HASH_LEN];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    words.next().is_none().then_some(Entry { index, length, hash })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ENTRY: Entry = Entry { index: 7, length: 65_536, hash: [0xab; 16] };

    #[test]
    fn a_list_is_read_back_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let identity = Digest256::of(b"it");
        let mut list = Sidecar::create(&path, &identity, 9).unwrap();
        list.append(&ENTRY).unwrap();
        // A crash in the middle of a line.
        list.file.write_all(b"8 655").unwrap();
        let (mut list, entries) = Sidecar::resume(&path, &identity, 9).unwrap().unwrap();
        assert_eq!(entries, [ENTRY]);
        list.append(&Entry { index: 8, ..ENTRY }).unwrap();
        let (_, entries) = Sidecar::resume(&path, &identity, 9).unwrap().unwrap();
        assert_eq!(entries, [ENTRY, Entry { index: 8, ..ENTRY }]);
    }

    #[test]
    fn the_list_of_another_download_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        Sidecar::create(&path, &Digest256::of(b"it"), 9).unwrap();
        assert!(Sidecar::resume(&path, &Digest256::of(b"other"), 9).unwrap().is_none());
        assert!(Sidecar::resume(&path, &Digest256::of(b"it"), 8).unwrap().is_none());
        fs::write(&path, b"").unwrap();
        assert!(Sidecar::resume(&path, &Digest256::of(b"it"), 9).unwrap().is_none());
        fs::write(&path, vec![0xff; 100_000]).unwrap();
        assert!(Sidecar::resume(&path, &Digest256::of(b"it"), 9).unwrap().is_none());
    }

    #[test]
    fn nonsense_lines_are_skipped() {
        let good = "1 2 000102030405060708090a0b0c0d0e0f";
        assert!(parse_entry(&format!("{good}\n")).is_some());
        for bad in ["", "1", "1 2", "x 2 00", "-1 2 0", "1 2 000102030405060708090a0b0c0d0e0g"] {
            assert_eq!(parse_entry(&format!("{bad}\n")), None, "{bad}");
        }
        assert_eq!(parse_entry(good), None, "cut off");
        assert_eq!(parse_entry(&format!("{good} more\n")), None);
        assert_eq!(parse_entry(&format!("1 2 {}\n", "é".repeat(16))), None);
    }
}
