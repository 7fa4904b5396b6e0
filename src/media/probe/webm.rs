//! The duration of a WebM: elements are walked over until the segment's Info (RFC 8794, RFC 9559).

use super::Next;
use std::ops::Range;
use std::time::Duration;

/// Bytes that are looked at each time: Info is mostly within the first of them.
const LOOK: u64 = 4096;

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const DURATION: u32 = 0x4489;

/// A walk over elements.
#[derive(Debug)]
pub(super) struct Search {
    at: u64,
}

impl Search {
    pub(super) const fn new() -> Self {
        Self { at: 0 }
    }

    pub(super) fn wants(&self) -> Range<u64> {
        self.at..self.at.saturating_add(LOOK)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        loop {
            let Some((id, length, content)) = element(rest) else { return Next::Nothing };
            let head = rest.len() - content.len();
            let step = match id {
                SEGMENT => head,
                INFO => return self.info(content, length),
                CLUSTER => return Next::Nothing,
                _ => {
                    // Only a segment or a cluster may have no length.
                    let Some(length) = length else { return Next::Nothing };
                    match usize::try_from(length).ok().and_then(|it| it.checked_add(head)) {
                        Some(step) => step,
                        None => return Next::Nothing,
                    }
                }
            };
            self.at = self.at.saturating_add(step as u64);
            match rest.get(step..) {
                // The longest head of an element.
                Some(further) if further.len() >= 12 => rest = further,
                _ => return Next::More,
            }
        }
    }

    fn info(&mut self, content: &[u8], length: Option<u64>) -> Next {
        let Some(length) = length.filter(|it| *it < LOOK - 12) else { return Next::Nothing };
        let Some(mut content) = content.get(..length as usize) else {
            // It is asked for from its beginning on; a file that ends within it has none.
            return if content.len() as u64 + 12 >= LOOK { Next::Nothing } else { Next::More };
        };
        let (mut scale, mut duration) = (1_000_000, None);
        while let Some((id, Some(length), inner)) = element(content) {
            let Some(value) = usize::try_from(length).ok().and_then(|it| inner.get(..it)) else {
                break;
            };
            match id {
                TIMESTAMP_SCALE => scale = unsigned(value),
                DURATION => duration = float(value),
                _ => {}
            }
            content = &inner[value.len()..];
        }
        let nanoseconds = duration.map(|duration| duration * scale as f64);
        nanoseconds
            .and_then(|it| Duration::try_from_secs_f64(it / 1e9).ok())
            .map_or(Next::Nothing, Next::Found)
    }
}

/// The ID of an element, the length of its content if it is known, and the bytes from there on.
fn element(bytes: &[u8]) -> Option<(u32, Option<u64>, &[u8])> {
    let first = *bytes.first()?;
    let id_len = first.leading_zeros() as usize + 1;
    let id = bytes.get(..id_len).filter(|_| id_len <= 4)?;
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let rest = &bytes[id_len..];
    let first = *rest.first()?;
    let len = first.leading_zeros() as usize + 1;
    let size = rest.get(..len).filter(|_| len <= 8)?;
    let mask = (1u64 << (7 * len)) - 1;
    let size = size.iter().fold(0, |size: u64, byte| size << 8 | u64::from(*byte)) & mask;
    Some((id, Some(size).filter(|size| *size != mask), &rest[len..]))
}

fn unsigned(value: &[u8]) -> u64 {
    value.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn float(value: &[u8]) -> Option<f64> {
    match *value {
        [a, b, c, d] => Some(f32::from_be_bytes([a, b, c, d]).into()),
        _ => value.try_into().ok().map(f64::from_be_bytes),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn put(out: &mut Vec<u8>, id: u32, content: &[u8]) {
        out.extend(id.to_be_bytes().iter().skip_while(|byte| **byte == 0));
        out.extend_from_slice(&(0x1000_0000 | content.len() as u32).to_be_bytes());
        out.extend_from_slice(content);
    }

    /// A file with this scale and duration, behind some other elements.
    pub(in super::super) fn file(scale: u32, duration: f64) -> Vec<u8> {
        let (mut info, mut segment, mut file) = (Vec::new(), Vec::new(), Vec::new());
        put(&mut info, TIMESTAMP_SCALE, &scale.to_be_bytes()[1..]);
        put(&mut info, 0x4d80, b"a muxer");
        put(&mut info, DURATION, &duration.to_be_bytes());
        put(&mut segment, 0x114d_9b74, &[0; 60]);
        put(&mut segment, 0xec, &[0; 5000]);
        put(&mut segment, INFO, &info);
        put(&mut segment, CLUSTER, &[0; 5000]);
        put(&mut file, 0x1a45_dfa3, b"\x42\x82\x84webm");
        // Of unknown length, as a live recording.
        file.extend_from_slice(&SEGMENT.to_be_bytes());
        file.extend_from_slice(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        [file, segment].concat()
    }

    fn found(file: &[u8]) -> Option<Duration> {
        super::super::probe(std::io::Cursor::new(file)).unwrap().duration
    }

    #[test]
    fn hostile_durations_are_none() {
        assert_eq!(found(&file(1_000_000, 2000.0)), Some(Duration::from_secs(2)));
        for duration in [f64::NAN, f64::INFINITY, -5.0, 1e300] {
            assert_eq!(found(&file(1_000_000, duration)), None, "{duration}");
        }
        let whole = file(1_000_000, 2000.0);
        for end in 0..whole.len() - 5010 {
            assert_eq!(found(&whole[..end]), None, "{end}");
        }
    }
}
