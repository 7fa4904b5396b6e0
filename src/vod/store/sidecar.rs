//! The list beside an unfinished file: the identity of the download and the chunks held.
//!
//! A text file `NAME.part.rtmfp`. It is only appended to, so that a crash loses one line at most:
//!
//! ```text
//! rtmfp-part 1 <identity of the download, 64 hexadecimal digits> <number of chunks>
//! <chunk> <its length in bytes> <first 16 bytes of its SHA-256, hexadecimal>
//! …
//! ```
//!
//! Invalid lines are skipped: no line is trusted without hashing the chunk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use super::super::hash::{CHUNK_HASH_LEN, ChunkHash, Digest256};

/// The first words of a list.
const MAGIC: &str = "rtmfp-part 1";

/// The result of [`Sidecar::resume`].
#[derive(Debug)]
pub(super) enum Resumed {
    /// The list of this download.
    List(Sidecar, Vec<Entry>),
    /// No list.
    Missing,
    /// A list without content.
    Lost,
    /// The list of another download, or some other file.
    Other,
}

/// One chunk that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) length: u64,
    pub(super) hash: ChunkHash,
}

/// The list, open for appending.
#[derive(Debug)]
pub(super) struct Sidecar {
    file: File,
}

impl Sidecar {
    /// Begins a new list, replacing an earlier one.
    ///
    /// Fails with [`ErrorKind::AlreadyExists`] if something else has the name.
    pub(super) fn create(path: &Path, identity: &Digest256, chunks: u64) -> io::Result<Self> {
        if !is_free(path)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.write_all(header(identity, chunks).as_bytes())?;
        Ok(Self { file })
    }

    /// Opens and reads the list of the same download.
    pub(super) fn resume(path: &Path, identity: &Digest256, chunks: u64) -> io::Result<Resumed> {
        /// Above the length of any line written here.
        const MAX_LINE: u64 = 256;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Resumed::Missing),
            Ok(found) if found.is_file() => {}
            Ok(_) => return Ok(Resumed::Other),
            Err(error) => return Err(error),
        }
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut next_line = |reader: &mut BufReader<&File>| -> io::Result<Option<String>> {
            line.clear();
            let read = reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
            Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
        };
        match next_line(&mut reader)? {
            Some(line) if line == header(identity, chunks) => {}
            Some(line) if !line.starts_with('\0') => return Ok(Resumed::Other),
            // The remains of a file after a power failure: nothing, or zeros.
            _ => return Ok(Resumed::Lost),
        }
        let mut entries = Vec::new();
        while let Some(line) = next_line(&mut reader)? {
            entries.extend(parse_entry(&line));
        }
        // The last line may be incomplete.
        file.write_all(b"\n")?;
        Ok(Resumed::List(Self { file }, entries))
    }

    /// Records a chunk.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = format!("{} {} ", entry.index, entry.length);
        entry.hash.iter().for_each(|byte| line.push_str(&format!("{byte:02x}")));
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

/// True if a list may be written at this path: nothing exists there, or a list, or the remains of
/// one after a power failure.
fn is_free(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Ok(found) if found.is_file() => {}
        Ok(_) => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut start = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start.iter().all(|&byte| byte == 0) || start == MAGIC.as_bytes())
}

fn header(identity: &Digest256, chunks: u64) -> String {
    format!("{MAGIC} {identity} {chunks}\n")
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
    use super::*;

    const ENTRY: Entry = Entry { index: 7, length: 65_536, hash: [0xab; 16] };

    fn resume(path: &Path, identity: &Digest256) -> (Sidecar, Vec<Entry>) {
        match Sidecar::resume(path, identity, 9).unwrap() {
            Resumed::List(list, entries) => (list, entries),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_is_read_back_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let identity = Digest256::of(b"it");
        let mut list = Sidecar::create(&path, &identity, 9).unwrap();
        list.append(&ENTRY).unwrap();
        // A crash in the middle of a line.
        list.file.write_all(b"8 655").unwrap();
        let (mut list, entries) = resume(&path, &identity);
        assert_eq!(entries, [ENTRY]);
        list.append(&Entry { index: 8, ..ENTRY }).unwrap();
        let (_, entries) = resume(&path, &identity);
        assert_eq!(entries, [ENTRY, Entry { index: 8, ..ENTRY }]);
    }

    #[test]
    fn the_list_of_another_download_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        Sidecar::create(&path, &Digest256::of(b"it"), 9).unwrap();
        let resume = |identity: &[u8], chunks| {
            Sidecar::resume(&path, &Digest256::of(identity), chunks).unwrap()
        };
        assert!(matches!(resume(b"other", 9), Resumed::Other));
        assert!(matches!(resume(b"it", 8), Resumed::Other));
        for lost in [vec![], vec![0; 500]] {
            fs::write(&path, lost).unwrap();
            assert!(matches!(resume(b"it", 9), Resumed::Lost));
        }
        fs::write(&path, vec![0xff; 100_000]).unwrap();
        assert!(matches!(resume(b"it", 9), Resumed::Other));
        fs::remove_file(&path).unwrap();
        assert!(matches!(resume(b"it", 9), Resumed::Missing));
    }

    #[test]
    fn a_list_is_written_over_lists_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let create = || Sidecar::create(&path, &Digest256::of(b"it"), 9);
        create().unwrap();
        create().unwrap();
        for lost in ["", "\0\0\0"] {
            fs::write(&path, lost).unwrap();
            create().unwrap();
        }
        fs::write(&path, "dear diary").unwrap();
        assert_eq!(create().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
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
