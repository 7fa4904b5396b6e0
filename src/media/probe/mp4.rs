//! The duration of an MP4: boxes are walked over until `moov`, and then those in it (ISO/IEC
//! 14496-12).

use super::{HEAD, Next};
use std::ops::Range;
use std::time::Duration;

/// Bytes of a box that are looked at: enough for its head, and for the whole of `mvhd` and `mehd`.
const LOOK: u64 = 128;

/// True if a file may begin with a box of this type.
pub(super) fn begins(kind: &[u8]) -> bool {
    const FIRST: [&[u8]; 7] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"];
    FIRST.iter().any(|first| kind.starts_with(first))
}

/// A walk over boxes.
#[derive(Debug)]
pub(super) struct Search {
    at: u64,
    /// The end of the boxes around.
    end: u64,
    timescale: Option<u32>,
}

impl Search {
    pub(super) const fn new() -> Self {
        Self { at: 0, end: u64::MAX, timescale: None }
    }

    pub(super) fn wants(&self) -> Range<u64> {
        // The first ones of a file are mostly small.
        let len = if self.at == 0 { HEAD } else { LOOK };
        self.at..self.at.saturating_add(len)
    }

    pub(super) fn push(&mut self, bytes: &[u8], size: Option<u64>) -> Next {
        let mut rest = bytes;
        // Boxes that are within the bytes at hand.
        loop {
            let Some((head, kind, length)) = header(rest) else { return Next::Nothing };
            let whole = match length {
                0 => size.unwrap_or(u64::MAX).saturating_sub(self.at),
                length => length,
            };
            if whole < head as u64 || self.at >= self.end {
                return Next::Nothing;
            }
            let next = match &kind {
                b"moov" | b"mvex" => {
                    self.end = self.at.saturating_add(whole);
                    self.at.saturating_add(head as u64)
                }
                b"mvhd" => {
                    let Some((timescale, duration)) = mvhd(&rest[head..]) else {
                        return Next::Nothing;
                    };
                    if duration > 0 {
                        return found(duration, timescale);
                    }
                    // A fragmented film has it elsewhere.
                    self.timescale = Some(timescale);
                    self.at.saturating_add(whole)
                }
                b"mehd" => {
                    let duration = sized(&rest[head..], 0);
                    return match (duration, self.timescale) {
                        (Some(duration), Some(timescale)) => found(duration, timescale),
                        _ => Next::Nothing,
                    };
                }
                _ => self.at.saturating_add(whole),
            };
            let step = next - self.at;
            self.at = next;
            match usize::try_from(step).ok().and_then(|step| rest.get(step..)) {
                Some(further) if further.len() as u64 >= LOOK => rest = further,
                _ => return Next::More,
            }
        }
    }
}

/// The length of a box's head, its type, and its length, which is 0 if it goes on to the end of the
/// file.
fn header(bytes: &[u8]) -> Option<(usize, [u8; 4], u64)> {
    let &[l0, l1, l2, l3, k0, k1, k2, k3] = bytes.first_chunk::<8>()?;
    let kind = [k0, k1, k2, k3];
    match u32::from_be_bytes([l0, l1, l2, l3]) {
        1 => Some((16, kind, u64::from_be_bytes(*bytes.get(8..)?.first_chunk::<8>()?).max(1))),
        length => Some((8, kind, u64::from(length))),
    }
}

/// Timescale and duration. They follow two times, each of four bytes, in version 1 of eight.
fn mvhd(content: &[u8]) -> Option<(u32, u64)> {
    let times = if *content.first()? == 1 { 16 } else { 8 };
    let timescale = u32::from_be_bytes(*content.get(4 + times..)?.first_chunk::<4>()?);
    Some((timescale, sized(content, times + 4)?))
}

/// A number after `skip` bytes behind version and flags: four bytes, in version 1 eight. All ones are
/// an unknown number, here 0.
fn sized(content: &[u8], skip: usize) -> Option<u64> {
    let at = content.get(4 + skip..)?;
    Some(
        match content.first()? {
            1 => Some(u64::from_be_bytes(*at.first_chunk::<8>()?)).filter(|it| *it != u64::MAX),
            _ => Some(u32::from_be_bytes(*at.first_chunk::<4>()?))
                .filter(|it| *it != u32::MAX)
                .map(u64::from),
        }
        .unwrap_or(0),
    )
}

fn found(duration: u64, timescale: u32) -> Next {
    if timescale == 0 {
        return Next::Nothing;
    }
    let seconds = duration as f64 / f64::from(timescale);
    Duration::try_from_secs_f64(seconds).map_or(Next::Nothing, Next::Found)
}

#[cfg(test)]
mod tests {
    use super::super::probe;
    use super::*;
    use std::io::Cursor;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let len = content.len() as u32 + 8;
        [&len.to_be_bytes()[..], kind, content].concat()
    }

    fn duration(file: &[u8]) -> Option<Duration> {
        probe(Cursor::new(file)).unwrap().duration
    }

    fn mvhd(timescale: u32, duration: u32) -> Vec<u8> {
        let numbers = [0, 0, 0, timescale, duration];
        let mut content: Vec<u8> = numbers.iter().flat_map(|it: &u32| it.to_be_bytes()).collect();
        content.resize(100, 0);
        boxed(b"mvhd", &content)
    }

    #[test]
    fn a_box_with_a_long_length_is_stepped_over() {
        let long = [&b"\0\0\0\x01mdat"[..], &1016u64.to_be_bytes(), &[7; 1000]].concat();
        let moov = boxed(b"moov", &mvhd(90_000, 180_000));
        assert_eq!(duration(&[long, moov].concat()), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_fragmented_film_has_its_duration_elsewhere() {
        let mehd = boxed(b"mehd", &[0, 0, 0, 0, 0, 0, 0x75, 0x30]);
        let moov = boxed(b"moov", &[mvhd(1000, 0), boxed(b"mvex", &mehd)].concat());
        let file = [boxed(b"ftyp", b"iso5"), moov, vec![0; 200]].concat();
        assert_eq!(duration(&file), Some(Duration::from_secs(30)));
    }

    #[test]
    fn hostile_boxes_end_the_search() {
        let ftyp = boxed(b"ftyp", b"iso5");
        for tail in [
            &b""[..],
            b"\0\0\0\x03moov",
            b"\0\0\0\0mdat and so on",
            b"\0\0\0\x01mdat\0\0\0\0\0\0\0\0",
            b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x10moov\0\0\0\x08mvhd",
        ] {
            assert_eq!(duration(&[&ftyp, tail].concat()), None, "{tail:?}");
        }
        assert_eq!(duration(&boxed(b"moov", &mvhd(0, 5))), None);
        // More boxes than are looked at.
        let many = boxed(b"free", &[0; 300]).repeat(4000);
        assert_eq!(duration(&[many, boxed(b"moov", &mvhd(1, 5))].concat()), None);
    }
}
