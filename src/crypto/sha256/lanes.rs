//! Several messages side by side in the lanes of the vectors of x86-64 processors.

use super::{BLOCK, Block, HASH_LEN, Remaining, State, to_bytes};
use pulp::NullaryFnOnce;
use pulp::bytemuck::cast;
use pulp::x86::{V3, V4};
use std::arch::x86_64::{__m256i, __m512i};
use std::ops::Range;

/// The round constants (FIPS 180-4 §4.2.2).
pub(super) const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Reverses the bytes of each word of 128 bits.
const SWAP: u128 = 0x0c0d0e0f_08090a0b_04050607_00010203;

/// Hashes up to sixteen messages, eight at a time.
pub(super) fn hash_256(
    cpu: V3,
    from: &State,
    messages: &[Remaining<'_>],
    hashes: &mut [[u8; HASH_LEN]],
) {
    for (messages, hashes) in messages.chunks(8).zip(hashes.chunks_mut(8)) {
        hash(from, messages, hashes, |op| cpu.vectorize(Blocks { cpu, ..op }), cpu);
    }
}

/// Hashes up to sixteen messages.
pub(super) fn hash_512(
    cpu: V4,
    from: &State,
    messages: &[Remaining<'_>],
    hashes: &mut [[u8; HASH_LEN]],
) {
    if messages.len() > 8 {
        hash(from, messages, hashes, |op| cpu.vectorize(op), cpu);
    } else {
        // The shorter vectors, with the instructions that came with the longer ones.
        hash(from, messages, hashes, |op| cpu.vectorize(op), *cpu);
    }
}

/// Hashes up to `L` messages. `vectorize` runs an operation with the instructions that it needs.
fn hash<C: Lanes<L>, const L: usize>(
    from: &State,
    messages: &[Remaining<'_>],
    hashes: &mut [[u8; HASH_LEN]],
    vectorize: impl Fn(Blocks<'_, C, L>),
    cpu: C,
) {
    let nothing = Remaining::NOTHING;
    let lanes: [&Remaining<'_>; L] = std::array::from_fn(|l| messages.get(l).unwrap_or(&nothing));
    let mut state = from.map(|word| [word; L]);
    let mut done = 0;
    // Up to the end of the shortest message, of the next longer one and so on.
    while let Some(end) = lanes.iter().map(|lane| lane.blocks()).filter(|n| *n > done).min() {
        vectorize(Blocks { cpu, lanes: &lanes, range: done..end, state: &mut state });
        done = end;
        for (l, hash) in hashes.iter_mut().enumerate().filter(|(l, _)| lanes[*l].blocks() == done) {
            *hash = to_bytes(state.map(|words| words[l]));
        }
    }
}

/// Hashes a range of blocks of every message. What is hashed after the end of a message is of no
/// consequence.
struct Blocks<'a, C, const L: usize> {
    cpu: C,
    lanes: &'a [&'a Remaining<'a>; L],
    range: Range<usize>,
    state: &'a mut [[u32; L]; 8],
}

impl<C: Lanes<L>, const L: usize> NullaryFnOnce for Blocks<'_, C, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        static NOTHING: Block = [0; BLOCK];
        let Self { cpu, lanes, range, state } = self;
        let mut vectors = [cpu.vector([0; L]); 8];
        for (vector, words) in vectors.iter_mut().zip(&*state) {
            *vector = cpu.vector(*words);
        }
        let mut blocks = [&NOTHING; L];
        for i in range {
            for (block, lane) in blocks.iter_mut().zip(lanes) {
                *block = match lane.whole.get(i) {
                    Some(block) => block,
                    None => lane.padded.get(i - lane.whole.len()).unwrap_or(&NOTHING),
                };
            }
            compress(cpu, &mut vectors, cpu.words(blocks));
        }
        for (words, vector) in state.iter_mut().zip(vectors) {
            *words = cpu.lanes(vector);
        }
    }
}

/// The compression function (FIPS 180-4 §6.2.2).
#[inline(always)]
fn compress<C: Lanes<L>, const L: usize>(cpu: C, state: &mut [C::V; 8], mut w: [C::V; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (k, constants) in K.as_chunks::<16>().0.iter().enumerate() {
        if k > 0 {
            for i in 0..16 {
                let older = cpu.add(w[i], cpu.small_sigma_0(w[(i + 1) % 16]));
                let newer = cpu.add(w[(i + 9) % 16], cpu.small_sigma_1(w[(i + 14) % 16]));
                w[i] = cpu.add(older, newer);
            }
        }
        for i in 0..16 {
            let known = cpu.add(h, cpu.add(w[i], cpu.vector([constants[i]; L])));
            let t1 = cpu.add(cpu.add(known, cpu.choose(e, f, g)), cpu.big_sigma_1(e));
            let t2 = cpu.add(cpu.big_sigma_0(a), cpu.majority(a, b, c));
            (h, g, f, e) = (g, f, e, cpu.add(d, t1));
            (d, c, b, a) = (c, b, a, cpu.add(t1, t2));
        }
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *old = cpu.add(*old, new);
    }
}

/// Vectors of `L` words, and the functions of FIPS 180-4 §4.1.2 in every lane.
trait Lanes<const L: usize>: Copy {
    type V: Copy;

    fn vector(self, words: [u32; L]) -> Self::V;
    fn lanes(self, vector: Self::V) -> [u32; L];
    /// The sixteen words of each block, every lane with those of its own.
    fn words(self, blocks: [&Block; L]) -> [Self::V; 16];
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn choose(self, x: Self::V, y: Self::V, z: Self::V) -> Self::V;
    fn majority(self, x: Self::V, y: Self::V, z: Self::V) -> Self::V;
    fn big_sigma_0(self, x: Self::V) -> Self::V;
    fn big_sigma_1(self, x: Self::V) -> Self::V;
    fn small_sigma_0(self, x: Self::V) -> Self::V;
    fn small_sigma_1(self, x: Self::V) -> Self::V;
}

/// Three rotations of a word, combined.
macro_rules! big_sigma {
    ($cpu:ident, $x:ident, $a:literal, $b:literal, $c:literal) => {
        xor($cpu, ror::<$a>($cpu, $x), ror::<$b>($cpu, $x), ror::<$c>($cpu, $x))
    };
}

/// Two rotations and a shift of a word, combined.
macro_rules! small_sigma {
    ($cpu:ident, $x:ident, $a:literal, $b:literal, $c:literal) => {
        xor($cpu, ror::<$a>($cpu, $x), ror::<$b>($cpu, $x), shr::<$c>($cpu, $x))
    };
}

macro_rules! sigmas {
    () => {
        #[inline(always)]
        fn big_sigma_0(self, x: Self::V) -> Self::V {
            big_sigma!(self, x, 2, 13, 22)
        }

        #[inline(always)]
        fn big_sigma_1(self, x: Self::V) -> Self::V {
            big_sigma!(self, x, 6, 11, 25)
        }

        #[inline(always)]
        fn small_sigma_0(self, x: Self::V) -> Self::V {
            small_sigma!(self, x, 7, 18, 3)
        }

        #[inline(always)]
        fn small_sigma_1(self, x: Self::V) -> Self::V {
            small_sigma!(self, x, 17, 19, 10)
        }
    };
}

mod avx2;
mod avx512;
