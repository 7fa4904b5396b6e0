//! Width and height in a sequence parameter set of H.264 (ITU-T H.264, 7.3.2.1.1).

/// Profiles whose sets say more about the samples.
const HIGH: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Width and height in luma samples, of a NAL unit. `None` if it is cut off or makes no sense.
pub(super) fn size(unit: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits { bytes: &without_emulation(unit.get(1..)?), at: 0 };
    let profile = bits.read(8)?;
    bits.read(16)?;
    bits.unsigned()?;
    let mut chroma = 1;
    let mut is_split = false;
    if HIGH.contains(&profile) {
        chroma = bits.unsigned()?;
        is_split = chroma == 3 && bits.flag()?;
        bits.unsigned()?;
        bits.unsigned()?;
        bits.flag()?;
        if bits.flag()? {
            skip_scaling(&mut bits, if chroma == 3 { 12 } else { 8 })?;
        }
    }
    bits.unsigned()?;
    skip_order_count(&mut bits)?;
    bits.unsigned()?;
    bits.flag()?;
    let columns = bits.unsigned()?.checked_add(1)?;
    let rows = bits.unsigned()?.checked_add(1)?;
    let is_progressive = bits.flag()?;
    if !is_progressive {
        bits.flag()?;
    }
    bits.flag()?;
    let fields = if is_progressive { 1 } else { 2 };
    let whole = (columns.checked_mul(16)?, rows.checked_mul(16)?.checked_mul(fields)?);
    let (width, height) = match bits.flag()? {
        false => whole,
        true => {
            let chroma = if is_split { 0 } else { chroma };
            let unit = match chroma {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            let crop = [bits.unsigned()?, bits.unsigned()?, bits.unsigned()?, bits.unsigned()?];
            let [left, right, top, bottom] = crop;
            let of = |a: u32, b: u32, unit: u32| a.checked_add(b)?.checked_mul(unit);
            (
                whole.0.checked_sub(of(left, right, unit.0)?)?,
                whole.1.checked_sub(of(top, bottom, unit.1 * fields)?)?,
            )
        }
    };
    let side = |length: u32| u16::try_from(length).ok().filter(|it| *it > 0);
    Some((side(width)?, side(height)?))
}

/// The bytes without those that keep start codes out of them.
fn without_emulation(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if byte != 3 || !out.ends_with(&[0, 0]) {
            out.push(byte);
        }
    }
    out
}

fn skip_scaling(bits: &mut Bits<'_>, lists: u32) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

fn skip_order_count(bits: &mut Bits<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => drop(bits.unsigned()?),
        1 => {
            bits.flag()?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.unsigned()?.min(256) {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Some(())
}

struct Bits<'a> {
    bytes: &'a [u8],
    /// The position in bits.
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// A number of at most 32 bits.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut number = 0;
        for _ in 0..count {
            number = number << 1 | u32::from(self.flag()?);
        }
        Some(number)
    }

    /// An Exp-Golomb number.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.read(zeros)?;
        ((1u64 << zeros) - 1 + u64::from(rest)).try_into().ok()
    }

    fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let half = (code + 1) / 2;
        i32::try_from(if code % 2 == 0 { -half } else { half }).ok().filter(|it| it.abs() < 1 << 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_that_an_encoder_wrote() {
        // From fixtures/clips/test-pattern.mp4: profile High, cropped from 640×368.
        let high = [
            0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00,
            0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
        ];
        assert_eq!(size(&high), Some((640, 360)));
        for end in 0..9 {
            assert_eq!(size(&high[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn hostile_sets_do_not_panic(bytes: Vec<u8>) {
            let _ = size(&bytes);
        }
    }
}
