//! Sixteen lanes.

use super::{__m512i, Block, Lanes, SWAP, V4, cast};

/// Truth tables for the instruction that combines three bits.
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;
const XOR: i32 = 0x96;

impl Lanes<16> for V4 {
    type V = __m512i;

    #[inline(always)]
    fn vector(self, words: [u32; 16]) -> __m512i {
        cast(words)
    }

    #[inline(always)]
    fn lanes(self, vector: __m512i) -> [u32; 16] {
        cast(vector)
    }

    #[inline(always)]
    fn words(self, blocks: [&Block; 16]) -> [__m512i; 16] {
        // No closures around vector functions: they would not be compiled for vectors.
        let mut rows = [cast([0u32; 16]); 16];
        for (row, block) in rows.iter_mut().zip(blocks) {
            *row = cast(*block);
        }
        transposed(self, rows)
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_add_epi32(a, b)
    }

    #[inline(always)]
    fn choose(self, x: __m512i, y: __m512i, z: __m512i) -> __m512i {
        self.avx512f._mm512_ternarylogic_epi32::<CHOOSE>(x, y, z)
    }

    #[inline(always)]
    fn majority(self, x: __m512i, y: __m512i, z: __m512i) -> __m512i {
        self.avx512f._mm512_ternarylogic_epi32::<MAJORITY>(x, y, z)
    }

    sigmas!();
}

#[inline(always)]
fn ror<const BITS: i32>(cpu: V4, x: __m512i) -> __m512i {
    cpu.avx512f._mm512_ror_epi32::<BITS>(x)
}

#[inline(always)]
fn shr<const BITS: u32>(cpu: V4, x: __m512i) -> __m512i {
    cpu.avx512f._mm512_srli_epi32::<BITS>(x)
}

#[inline(always)]
fn xor(cpu: V4, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    cpu.avx512f._mm512_ternarylogic_epi32::<XOR>(a, b, c)
}

/// Rows of sixteen words in the byte order of the message to columns in that of the processor.
#[inline(always)]
fn transposed(cpu: V4, mut rows: [__m512i; 16]) -> [__m512i; 16] {
    let f = cpu.avx512f;
    for row in &mut rows {
        *row = cpu.avx512bw._mm512_shuffle_epi8(*row, cast([SWAP; 4]));
    }
    let mut pairs = rows;
    for i in 0..8 {
        let (a, b) = (rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i] = f._mm512_unpacklo_epi32(a, b);
        pairs[2 * i + 1] = f._mm512_unpackhi_epi32(a, b);
    }
    // `quads[4 i + k]` has, in its quarter `j`, word `4 j + k` of the rows from `4 i`.
    let mut quads = rows;
    for i in [0, 4, 8, 12] {
        for k in [0, 1] {
            let (a, b) = (pairs[i + k], pairs[i + k + 2]);
            quads[i + 2 * k] = f._mm512_unpacklo_epi64(a, b);
            quads[i + 2 * k + 1] = f._mm512_unpackhi_epi64(a, b);
        }
    }
    const EVEN: i32 = 0x88;
    const ODD: i32 = 0xdd;
    let mut columns = rows;
    for k in 0..4 {
        let (a, b, c, d) = (quads[k], quads[k + 4], quads[k + 8], quads[k + 12]);
        let (even_low, odd_low) =
            (f._mm512_shuffle_i32x4::<EVEN>(a, b), f._mm512_shuffle_i32x4::<ODD>(a, b));
        let (even_high, odd_high) =
            (f._mm512_shuffle_i32x4::<EVEN>(c, d), f._mm512_shuffle_i32x4::<ODD>(c, d));
        columns[k] = f._mm512_shuffle_i32x4::<EVEN>(even_low, even_high);
        columns[k + 4] = f._mm512_shuffle_i32x4::<EVEN>(odd_low, odd_high);
        columns[k + 8] = f._mm512_shuffle_i32x4::<ODD>(even_low, even_high);
        columns[k + 12] = f._mm512_shuffle_i32x4::<ODD>(odd_low, odd_high);
    }
    columns
}
