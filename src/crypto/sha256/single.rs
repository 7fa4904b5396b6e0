//! One message after the other, with the instructions for rotations that x86-64 processors got
//! together with vectors of 256 bits (BMI).
//!
//! A quarter quicker than `sha2`, which is compiled for any processor: see
//! `protocol-notes/performance.md`.

use super::lanes::K;
use super::{Block, State};
use pulp::NullaryFnOnce;
use pulp::x86::V3;

/// Continues `state` with these blocks.
pub(super) fn compress(cpu: V3, state: &mut State, blocks: &[Block]) {
    cpu.vectorize(Blocks { state, blocks });
}

struct Blocks<'a> {
    state: &'a mut State,
    blocks: &'a [Block],
}

impl NullaryFnOnce for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for block in self.blocks {
            compress_block(self.state, block);
        }
    }
}

/// A round of FIPS 180-4 §6.2.2. The variables are not moved: each round names them otherwise.
/// `$b_xor_c` is that of this round, and becomes `$a ^ $b`, which is that of the next.
macro_rules! round {
    ($a:ident, $b:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident, $b_xor_c:ident, $kw:expr) => {
        let choose = ($e & $f) ^ (!$e & $g);
        let t1 = $h.wrapping_add($kw).wrapping_add(choose).wrapping_add(rotations($e, 6, 11, 25));
        $d = $d.wrapping_add(t1);
        let a_xor_b = $a ^ $b;
        let majority = (a_xor_b & $b_xor_c) ^ $b;
        $h = t1.wrapping_add(rotations($a, 2, 13, 22)).wrapping_add(majority);
        $b_xor_c = a_xor_b;
    };
}

#[inline(always)]
fn compress_block(state: &mut State, block: &Block) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    let mut x = b ^ c;
    let mut w = [0; 16];
    for (word, bytes) in w.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for (part, k) in K.as_chunks::<16>().0.iter().enumerate() {
        // What the message contributes to round `i` of these sixteen.
        macro_rules! kw {
            ($i:literal) => {{
                if part > 0 {
                    let older = w[$i].wrapping_add(mixed(w[($i + 1) % 16], 7, 18, 3));
                    let newer = w[($i + 9) % 16].wrapping_add(mixed(w[($i + 14) % 16], 17, 19, 10));
                    w[$i] = older.wrapping_add(newer);
                }
                w[$i].wrapping_add(k[$i])
            }};
        }
        round!(a, b, d, e, f, g, h, x, kw!(0));
        round!(h, a, c, d, e, f, g, x, kw!(1));
        round!(g, h, b, c, d, e, f, x, kw!(2));
        round!(f, g, a, b, c, d, e, x, kw!(3));
        round!(e, f, h, a, b, c, d, x, kw!(4));
        round!(d, e, g, h, a, b, c, x, kw!(5));
        round!(c, d, f, g, h, a, b, x, kw!(6));
        round!(b, c, e, f, g, h, a, x, kw!(7));
        round!(a, b, d, e, f, g, h, x, kw!(8));
        round!(h, a, c, d, e, f, g, x, kw!(9));
        round!(g, h, b, c, d, e, f, x, kw!(10));
        round!(f, g, a, b, c, d, e, x, kw!(11));
        round!(e, f, h, a, b, c, d, x, kw!(12));
        round!(d, e, g, h, a, b, c, x, kw!(13));
        round!(c, d, f, g, h, a, b, x, kw!(14));
        round!(b, c, e, f, g, h, a, x, kw!(15));
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *old = old.wrapping_add(new);
    }
}

#[inline(always)]
fn rotations(x: u32, i: u32, j: u32, k: u32) -> u32 {
    x.rotate_right(i) ^ x.rotate_right(j) ^ x.rotate_right(k)
}

#[inline(always)]
fn mixed(x: u32, i: u32, j: u32, shift: u32) -> u32 {
    x.rotate_right(i) ^ x.rotate_right(j) ^ (x >> shift)
}
