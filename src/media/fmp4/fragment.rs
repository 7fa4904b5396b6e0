//! A fragment: a `moof` that describes samples, and an `mdat` that has them.

use super::boxes::{put, put_full, u32s};
use bytes::Bytes;

/// The flags of a sample that needs no other.
const INDEPENDENT: u32 = 0x0200_0000;
/// The flags of a sample that does.
const DEPENDENT: u32 = 0x0101_0000;

/// A sample.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// When it is decoded, in units of its track.
    pub(super) time: u64,
    /// From then until it is shown.
    pub(super) composition: i32,
    /// It needs no other.
    pub(super) is_key: bool,
    pub(super) data: Bytes,
}

/// Consecutive samples of a track.
pub(super) struct Run<'a> {
    pub(super) track: u32,
    pub(super) samples: &'a [Sample],
    /// When the last sample ends.
    pub(super) end: u64,
}

/// Appends a fragment with the samples of these tracks, those that have any.
pub(super) fn write(out: &mut Vec<u8>, sequence: u32, runs: &[Run<'_>]) {
    let start = out.len();
    let mut offsets = Vec::new();
    put(out, b"moof", |out| {
        put_full(out, b"mfhd", 0, 0, |out| u32s(out, &[sequence]));
        for run in runs.iter().filter(|run| !run.samples.is_empty()) {
            put(out, b"traf", |out| offsets.push(track(out, run)));
        }
    });
    // Offsets count from the beginning of the fragment; those of the data follow those boxes.
    let mut at = out.len() - start + 8;
    for (run, place) in runs.iter().filter(|run| !run.samples.is_empty()).zip(offsets) {
        let offset = u32::try_from(at).unwrap_or(u32::MAX);
        out[place..place + 4].copy_from_slice(&offset.to_be_bytes());
        at += run.samples.iter().map(|sample| sample.data.len()).sum::<usize>();
    }
    put(out, b"mdat", |out| {
        let samples = runs.iter().flat_map(|run| run.samples);
        samples.for_each(|sample| out.extend_from_slice(&sample.data));
    });
}

/// Appends what describes a track, and returns where the offset of its data belongs.
fn track(out: &mut Vec<u8>, run: &Run<'_>) -> usize {
    /// Offsets count from the `moof`.
    const FROM_THE_FRAGMENT: u32 = 0x02_0000;
    /// Offset of the data; duration, size, flags and composition of each sample.
    const PRESENT: u32 = 0x01 | 0x100 | 0x200 | 0x400 | 0x800;
    let begin = run.samples.first().map_or(0, |sample| sample.time);
    put_full(out, b"tfhd", 0, FROM_THE_FRAGMENT, |out| u32s(out, &[run.track]));
    put_full(out, b"tfdt", 1, 0, |out| out.extend_from_slice(&begin.to_be_bytes()));
    let mut place = 0;
    put_full(out, b"trun", 1, PRESENT, |out| {
        u32s(out, &[run.samples.len() as u32]);
        place = out.len();
        u32s(out, &[0]);
        let ends = run.samples.iter().skip(1).map(|next| next.time).chain([run.end]);
        for (sample, end) in run.samples.iter().zip(ends) {
            let duration = u32::try_from(end.saturating_sub(sample.time)).unwrap_or(u32::MAX);
            let flags = if sample.is_key { INDEPENDENT } else { DEPENDENT };
            u32s(out, &[duration, sample.data.len() as u32, flags]);
            out.extend_from_slice(&sample.composition.to_be_bytes());
        }
    });
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_byte_for_byte() {
        let sample = |time, is_key, data: &'static [u8]| Sample {
            time,
            composition: if is_key { 80 } else { -40 },
            is_key,
            data: Bytes::from_static(data),
        };
        let video = [sample(2000, true, b"key"), sample(2040, false, b"next")];
        let audio = [Sample { composition: 0, ..sample(96_000, true, b"sound") }];
        let mut out = b"before".to_vec();
        let runs = [
            Run { track: 1, samples: &video, end: 2080 },
            Run { track: 2, samples: &audio, end: 97_024 },
        ];
        write(&mut out, 7, &runs);
        let expected = [
            &b"before\0\0\0\xc8moof\0\0\0\x10mfhd\0\0\0\0\0\0\0\x07"[..],
            b"\0\0\0\x60traf\0\0\0\x10tfhd\0\x02\0\0\0\0\0\x01",
            b"\0\0\0\x14tfdt\x01\0\0\0\0\0\0\0\0\0\x07\xd0",
            b"\0\0\0\x34trun\x01\0\x0f\x01\0\0\0\x02\0\0\0\xd0",
            b"\0\0\0\x28\0\0\0\x03\x02\0\0\0\0\0\0\x50",
            b"\0\0\0\x28\0\0\0\x04\x01\x01\0\0\xff\xff\xff\xd8",
            b"\0\0\0\x50traf\0\0\0\x10tfhd\0\x02\0\0\0\0\0\x02",
            b"\0\0\0\x14tfdt\x01\0\0\0\0\0\0\0\0\x01\x77\0",
            b"\0\0\0\x24trun\x01\0\x0f\x01\0\0\0\x01\0\0\0\xd7",
            b"\0\0\x04\0\0\0\0\x05\x02\0\0\0\0\0\0\0",
            b"\0\0\0\x14mdatkeynextsound",
        ];
        assert_eq!(out, expected.concat());
    }
}
