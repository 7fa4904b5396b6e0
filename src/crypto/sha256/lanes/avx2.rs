//! Eight lanes.

use super::{__m256i, Block, Lanes, SWAP, V3, cast};

impl Lanes<8> for V3 {
    type V = __m256i;

    #[inline(always)]
    fn vector(self, words: [u32; 8]) -> __m256i {
        cast(words)
    }

    #[inline(always)]
    fn lanes(self, vector: __m256i) -> [u32; 8] {
        cast(vector)
    }

    #[inline(always)]
    fn words(self, blocks: [&Block; 8]) -> [__m256i; 16] {
        // No closures around vector functions: they would not be compiled for vectors.
        let mut low = [cast([0u32; 8]); 8];
        let mut high = low;
        for ((low, high), block) in low.iter_mut().zip(&mut high).zip(blocks) {
            [*low, *high] = cast(*block);
        }
        let (low, high) = (transposed(self, low), transposed(self, high));
        cast([low, high])
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        self.avx2._mm256_add_epi32(a, b)
    }

    #[inline(always)]
    fn choose(self, x: __m256i, y: __m256i, z: __m256i) -> __m256i {
        let f = self.avx2;
        f._mm256_xor_si256(z, f._mm256_and_si256(x, f._mm256_xor_si256(y, z)))
    }

    #[inline(always)]
    fn majority(self, x: __m256i, y: __m256i, z: __m256i) -> __m256i {
        let f = self.avx2;
        let either = f._mm256_and_si256(z, f._mm256_or_si256(x, y));
        f._mm256_or_si256(f._mm256_and_si256(x, y), either)
    }

    sigmas!();
}

#[inline(always)]
fn ror<const BITS: u32>(cpu: V3, x: __m256i) -> __m256i {
    let f = cpu.avx2;
    let low = f._mm256_srlv_epi32(x, cast([BITS; 8]));
    f._mm256_or_si256(low, f._mm256_sllv_epi32(x, cast([32 - BITS; 8])))
}

#[inline(always)]
fn shr<const BITS: i32>(cpu: V3, x: __m256i) -> __m256i {
    cpu.avx2._mm256_srli_epi32::<BITS>(x)
}

#[inline(always)]
fn xor(cpu: V3, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    cpu.avx2._mm256_xor_si256(cpu.avx2._mm256_xor_si256(a, b), c)
}

/// Rows of eight words in the byte order of the message to columns in that of the processor.
#[inline(always)]
fn transposed(cpu: V3, mut rows: [__m256i; 8]) -> [__m256i; 8] {
    let f = cpu.avx2;
    for row in &mut rows {
        *row = f._mm256_shuffle_epi8(*row, cast([SWAP; 2]));
    }
    let mut pairs = rows;
    for i in 0..4 {
        let (a, b) = (rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i] = f._mm256_unpacklo_epi32(a, b);
        pairs[2 * i + 1] = f._mm256_unpackhi_epi32(a, b);
    }
    // `quads[4 i + k]` has, in its half `j`, word `4 j + k` of the rows from `4 i`.
    let mut quads = rows;
    for i in [0, 4] {
        for k in [0, 1] {
            let (a, b) = (pairs[i + k], pairs[i + k + 2]);
            quads[i + 2 * k] = f._mm256_unpacklo_epi64(a, b);
            quads[i + 2 * k + 1] = f._mm256_unpackhi_epi64(a, b);
        }
    }
    let mut columns = rows;
    for k in 0..4 {
        columns[k] = f._mm256_permute2x128_si256::<0x20>(quads[k], quads[k + 4]);
        columns[k + 4] = f._mm256_permute2x128_si256::<0x31>(quads[k], quads[k + 4]);
    }
    columns
}
