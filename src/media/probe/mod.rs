//! [`Probe`]: container, duration and mean bit rate of a file, from a few places of it.
//!
//! The probe reads nothing itself: [`Probe::wants`] is a range of bytes, which [`Probe::push`] takes.
//! So it serves a file on a disk and one that is fetched alike. What it asks for is bounded:
//! [`MAX_READS`] ranges of at most [`MAX_READ`] bytes.
//!
//! | file | where the duration stands |
//! | --- | --- |
//! | `mp4` | `mvhd` in `moov`, or `mehd` of a fragmented film; `moov` may be at either end |
//! | `webm` | Duration in the segment's Info |
//! | `flv` | `duration` of `onMetaData`, or the timestamp of the last tag |

mod flv;
mod mp4;
mod webm;

use crate::media::flv::Metadata;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::time::Duration;

/// Ranges that are asked for, at most; then the probe ends without a duration.
pub const MAX_READS: usize = 64;
/// Bytes of a range, at most.
pub const MAX_READ: u64 = 4 << 20;

/// Bytes from the beginning that are looked at first.
const HEAD: u64 = 4096;

/// The container of a film.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// MP4 or QuickTime.
    Mp4,
    /// WebM or Matroska.
    WebM,
    /// FLV.
    Flv,
}

/// What is known of a film.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MediaInfo {
    /// The container, if it is one of those that are known.
    pub container: Option<Container>,
    /// The length of the film.
    pub duration: Option<Duration>,
    /// The size of the file in bytes.
    pub size: Option<u64>,
    /// What an FLV states of itself.
    pub flv: Option<Metadata>,
}

impl MediaInfo {
    /// Bytes of the file for each second of the film.
    pub fn bytes_per_second(&self) -> Option<f64> {
        let seconds = self.duration?.as_secs_f64();
        (seconds > 0.0).then_some(self.size? as f64 / seconds)
    }
}

/// Learns what a film is from ranges of its bytes.
#[derive(Debug)]
pub struct Probe {
    info: MediaInfo,
    state: State,
    reads: usize,
}

#[derive(Debug)]
enum State {
    Head,
    Mp4(mp4::Search),
    WebM(webm::Search),
    Flv(flv::Search),
    Done,
}

/// What a search asks for after some bytes.
enum Next {
    More,
    Found(Duration),
    Nothing,
}

impl Probe {
    /// A probe of a file of `size` bytes, if that is known.
    pub fn new(size: Option<u64>) -> Self {
        let info = MediaInfo { size, ..MediaInfo::default() };
        Self { info, state: State::Head, reads: 0 }
    }

    /// The bytes that the search needs next; `None` when it has ended.
    pub fn wants(&self) -> Option<Range<u64>> {
        let range = match &self.state {
            State::Head => 0..HEAD,
            State::Mp4(search) => search.wants(),
            State::WebM(search) => search.wants(),
            State::Flv(search) => search.wants(),
            State::Done => return None,
        };
        let limit = range.start.saturating_add(MAX_READ).min(self.info.size.unwrap_or(u64::MAX));
        let range = range.start..range.end.min(limit);
        (!range.is_empty() && self.reads < MAX_READS).then_some(range)
    }

    /// Takes the bytes that it wants; fewer if the file ends.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reads += 1;
        let size = self.info.size;
        let next = match &mut self.state {
            State::Head => return self.begin(bytes),
            State::Mp4(search) => search.push(bytes, size),
            State::WebM(search) => search.push(bytes),
            State::Flv(search) => search.push(bytes, size, &mut self.info.flv),
            State::Done => return,
        };
        match next {
            Next::More => {}
            Next::Found(duration) => {
                self.info.duration = Some(duration).filter(|it| !it.is_zero());
                self.state = State::Done;
            }
            Next::Nothing => self.state = State::Done,
        }
    }

    /// What is known so far.
    pub fn info(&self) -> &MediaInfo {
        &self.info
    }

    fn begin(&mut self, head: &[u8]) {
        self.state = match head {
            [b'F', b'L', b'V', 1, ..] => {
                self.info.container = Some(Container::Flv);
                State::Flv(flv::Search::new())
            }
            [0x1a, 0x45, 0xdf, 0xa3, ..] => {
                self.info.container = Some(Container::WebM);
                State::WebM(webm::Search::new())
            }
            [_, _, _, _, kind @ ..] if mp4::begins(kind) => {
                self.info.container = Some(Container::Mp4);
                State::Mp4(mp4::Search::new())
            }
            _ => State::Done,
        };
    }
}

/// Probes a file on a disk.
///
/// # Errors
///
/// An error of the reader.
pub fn probe(mut file: impl Read + Seek) -> io::Result<MediaInfo> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut probe = Probe::new(Some(size));
    while let Some(range) = probe.wants() {
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.by_ref().take(range.end - range.start).read_to_end(&mut bytes)?;
        probe.push(&bytes);
    }
    Ok(probe.info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn clip(name: &str) -> Vec<u8> {
        let path = format!("{}/fixtures/clips/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    fn of(bytes: &[u8]) -> MediaInfo {
        probe(Cursor::new(bytes)).unwrap()
    }

    /// Swaps two neighboring boxes at the top of an MP4.
    fn moov_last(file: &[u8]) -> Vec<u8> {
        let (mut moov, mut rest) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < file.len() {
            let len = u32::from_be_bytes(*file[at..].first_chunk().unwrap()) as usize;
            let whole = &file[at..at + len];
            if &whole[4..8] == b"moov" { &mut moov } else { &mut rest }.extend_from_slice(whole);
            at += len;
        }
        [rest, moov].concat()
    }

    #[test]
    fn an_mp4_with_its_index_at_either_end() {
        let file = clip("test-pattern.mp4");
        for file in [file.clone(), moov_last(&file)] {
            let info = of(&file);
            assert_eq!(info.container, Some(Container::Mp4));
            assert_eq!(info.duration.unwrap().as_secs_f64().round(), 30.0);
            let rate = info.bytes_per_second().unwrap();
            assert!((61_000.0..62_500.0).contains(&rate), "{rate}");
        }
    }

    #[test]
    fn an_flv_by_its_metadata_and_by_its_last_tag() {
        let mut file = clip("test-pattern.flv");
        let info = of(&file);
        assert_eq!(info.container, Some(Container::Flv));
        assert_eq!(info.duration.unwrap().as_secs_f64().round(), 3.0);
        assert!(info.flv.is_some());
        // A name that is not `duration`.
        let at = file.windows(8).position(|it| it == b"duration").unwrap();
        file[at] = b'D';
        assert_eq!(of(&file).duration.unwrap().as_secs_f64().round(), 3.0);
        file.truncate(file.len() - 1);
        assert_eq!(of(&file).duration, None, "the last tag is cut off");
    }

    #[test]
    fn a_webm_by_its_info() {
        let file = webm::tests::file(1_000_000, 12_500.0);
        let info = of(&file);
        assert_eq!(info.container, Some(Container::WebM));
        assert_eq!(info.duration, Some(Duration::from_millis(12_500)));
    }

    #[test]
    fn other_files_are_none_of_these() {
        for bytes in [&b""[..], b"FL", b"%PDF-1.7 and more", b"\0\0\0\x10text"] {
            assert_eq!(of(bytes).container, None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_files_are_probed_without_panic(
            kind in 0..4_usize,
            tail: Vec<u8>,
            size in proptest::option::of(any::<u64>()),
        ) {
            let begin: &[u8] = [
                &b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..],
                b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",
                b"\0\0\0\x08ftyp\0\0\0\0moov",
                b"",
            ][kind];
            let mut probe = Probe::new(size);
            let mut reads = 0;
            while let Some(range) = probe.wants() {
                prop_assert!(range.end - range.start <= MAX_READ);
                reads += 1;
                prop_assert!(reads <= MAX_READS);
                probe.push(&[begin, &tail].concat());
            }
        }
    }
}
