//! Powers with the 512-bit vectors of x86-64 processors (AVX-512 F and BW).
//!
//! A number is a row of limbs of 27 bits, eight to a vector. Multiplication is Montgomery's, two
//! limbs of the multiplier at a time. All primes here end in 64 one bits, so that `-1/p` is 1
//! modulo 2^54: the multiple of the prime that clears the two lowest limbs is the value of these
//! limbs themselves. Carries stay where they arise until a product is complete; a column then has
//! at most 62 bits. No instruction or address depends on a secret.

use super::Powers;
use pulp::NullaryFnOnce;
use pulp::bytemuck::cast;
use pulp::x86::V4;
use std::arch::x86_64::__m512i;
use std::sync::OnceLock;
use zeroize::{Zeroize, Zeroizing};

/// Bits of a limb.
const LIMB_BITS: u32 = 27;
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// Limbs of a vector.
const LANES: usize = 8;

/// Bits of the exponent that one table of powers covers.
const WINDOW_BITS: usize = 5;

/// `G` vectors of limbs, lowest first. The values lie below twice the prime, the limbs slightly
/// above 2^27 at most.
#[derive(Clone, Copy, Zeroize)]
#[repr(align(64))]
struct Number<const G: usize>([[u64; LANES]; G]);

/// The same with limbs of 32 bits, for tables.
#[derive(Clone, Copy, Zeroize)]
#[repr(align(32))]
struct Packed<const G: usize>([[u32; LANES]; G]);

/// The powers of a base with all exponents of one window.
type Window<const G: usize> = [Packed<G>; 1 << WINDOW_BITS];

/// A group of which `L` limbs hold the prime, with at least two bits to spare. `L` is even and
/// less than `8 * G`, so that a number shifted by one limb fits.
pub(super) struct VectorGroup<const G: usize, const L: usize> {
    cpu: V4,
    modulus: Modulus<G>,
    /// `R = 2^(27 L)` and its square: 1 in Montgomery form, and the factor that brings a number
    /// into it.
    one: Number<G>,
    square: Number<G>,
    prime_len: usize,
    exponent_len: usize,
    generator: OnceLock<Vec<Window<G>>>,
}

/// `(p + 1) / 2^54`, and the same shifted up by one limb.
struct Modulus<const G: usize> {
    high: Number<G>,
    high_up: Number<G>,
}

impl<const G: usize, const L: usize> VectorGroup<G, L> {
    /// `R` is 2 to the power of this.
    pub(super) const R_BITS: u32 = LIMB_BITS * L as u32;

    /// The group of a prime, with `R` and `R^2` modulo the prime. `None` if the processor cannot.
    pub(super) fn new(
        prime: &[u8],
        r: &[u8],
        r_squared: &[u8],
        exponent_len: usize,
    ) -> Option<Self> {
        const { assert!(L.is_multiple_of(2) && L < LANES * G) };
        Some(Self {
            cpu: V4::try_new()?,
            modulus: Modulus::new(&Number::from_be_bytes(prime)),
            one: Number::from_be_bytes(r),
            square: Number::from_be_bytes(r_squared),
            prime_len: prime.len(),
            exponent_len,
            generator: OnceLock::new(),
        })
    }

    /// Squares `x` a number of times, then multiplies it by `factor`.
    fn step(&self, x: &mut Number<G>, squarings: usize, factor: &Number<G>) {
        self.cpu.vectorize(Step { group: self, x, squarings, factor });
    }

    fn select(&self, window: &Window<G>, digit: u8) -> Zeroizing<Number<G>> {
        let mut out = Zeroizing::new(Number::ZERO);
        self.cpu.vectorize(Select { window, digit, out: &mut out });
        out
    }

    /// The powers of `base` (in Montgomery form) with the exponents below 32, and with 32.
    fn window(&self, base: &Number<G>) -> (Zeroizing<Window<G>>, Number<G>) {
        let mut power = self.one;
        let mut window = Zeroizing::new([Packed([[0; LANES]; G]); 1 << WINDOW_BITS]);
        for entry in window.iter_mut() {
            *entry = power.pack();
            self.step(&mut power, 0, base);
        }
        (window, power)
    }

    fn generator(&self) -> &[Window<G>] {
        self.generator.get_or_init(|| {
            let mut base = Number::from_be_bytes(&[2]);
            self.step(&mut base, 0, &self.square);
            let windows = (8 * self.exponent_len).div_ceil(WINDOW_BITS);
            std::iter::repeat_with(|| {
                let (window, next) = self.window(&base);
                base = next;
                *window
            })
            .take(windows)
            .collect()
        })
    }

    /// Out of Montgomery form, as bytes.
    fn finish(&self, mut power: Number<G>) -> Zeroizing<Vec<u8>> {
        // The result is at most the prime, and equal to it only if the base is a multiple.
        self.step(&mut power, 0, &Number::from_be_bytes(&[1]));
        let bytes = power.to_be_bytes(self.prime_len);
        power.zeroize();
        bytes
    }
}

impl<const G: usize, const L: usize> Powers for VectorGroup<G, L> {
    fn generator_power(&self, exponent: &[u8]) -> Vec<u8> {
        let mut power = self.one;
        for (i, window) in self.generator().iter().enumerate() {
            self.step(&mut power, 0, &self.select(window, digit(exponent, i)));
        }
        self.finish(power).to_vec()
    }

    fn power(&self, base: &[u8], exponent: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut base = Number::from_be_bytes(base);
        self.step(&mut base, 0, &self.square);
        let (window, _) = self.window(&base);
        let mut power = self.one;
        for i in (0..(8 * self.exponent_len).div_ceil(WINDOW_BITS)).rev() {
            self.step(&mut power, WINDOW_BITS, &self.select(&window, digit(exponent, i)));
        }
        self.finish(power)
    }
}

/// The `index`th group of five bits of a big-endian number, from its end.
fn digit(exponent: &[u8], index: usize) -> u8 {
    let (at, bit) = (index * WINDOW_BITS / 8, index * WINDOW_BITS % 8);
    let mut bytes = exponent.iter().rev().skip(at).copied().map(u16::from);
    let (low, high) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
    ((low | high << 8) >> bit) as u8 & ((1 << WINDOW_BITS) - 1)
}

impl<const G: usize> Modulus<G> {
    fn new(prime: &Number<G>) -> Self {
        let limbs = prime.0.as_flattened();
        let (mut high, mut high_up) = (Number::ZERO, Number::ZERO);
        // The two lowest limbs are all ones, so that adding 1 carries into the third.
        let mut carry = 1;
        for (i, limb) in limbs.iter().skip(2).enumerate() {
            let sum = limb + carry;
            high.0.as_flattened_mut()[i] = sum & LIMB_MASK;
            high_up.0.as_flattened_mut()[i + 1] = sum & LIMB_MASK;
            carry = sum >> LIMB_BITS;
        }
        Self { high, high_up }
    }
}

impl<const G: usize> Number<G> {
    const ZERO: Self = Self([[0; LANES]; G]);

    fn from_be_bytes(bytes: &[u8]) -> Self {
        let mut number = Self::ZERO;
        let (mut pending, mut bits) = (0u64, 0);
        let mut bytes = bytes.iter().rev();
        for limb in number.0.as_flattened_mut() {
            while bits < LIMB_BITS {
                pending |= u64::from(bytes.next().copied().unwrap_or(0)) << bits;
                bits += 8;
            }
            *limb = pending & LIMB_MASK;
            pending >>= LIMB_BITS;
            bits -= LIMB_BITS;
        }
        number
    }

    fn to_be_bytes(self, len: usize) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(vec![0; len]);
        let (mut pending, mut bits) = (0u64, 0);
        let mut limbs = self.0.as_flattened().iter();
        for byte in out.iter_mut().rev() {
            if bits < 8 {
                pending += limbs.next().copied().unwrap_or(0) << bits;
                bits += LIMB_BITS;
            }
            *byte = pending as u8;
            pending >>= 8;
            bits -= 8;
        }
        out
    }

    fn pack(&self) -> Packed<G> {
        Packed(self.0.map(|limbs| limbs.map(|limb| limb as u32)))
    }
}

/// See [`VectorGroup::step`].
struct Step<'a, const G: usize, const L: usize> {
    group: &'a VectorGroup<G, L>,
    x: &'a mut Number<G>,
    squarings: usize,
    factor: &'a Number<G>,
}

impl<const G: usize, const L: usize> NullaryFnOnce for Step<'_, G, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let VectorGroup { cpu, modulus, .. } = self.group;
        for _ in 0..self.squarings {
            *self.x = multiply::<G, L>(*cpu, modulus, self.x, self.x);
        }
        *self.x = multiply::<G, L>(*cpu, modulus, self.x, self.factor);
    }
}

/// See [`VectorGroup::select`]. Reads the whole window.
struct Select<'a, const G: usize> {
    window: &'a Window<G>,
    digit: u8,
    out: &'a mut Number<G>,
}

impl<const G: usize> NullaryFnOnce for Select<'_, G> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let mut found = Packed([[0u32; LANES]; G]);
        for (value, entry) in (0u32..).zip(self.window) {
            // All ones if it is the one: the difference is less than 2^31.
            let difference = std::hint::black_box(value ^ u32::from(self.digit));
            let mask = (difference.wrapping_sub(1) as i32 >> 31) as u32;
            for (found, limbs) in found.0.iter_mut().zip(&entry.0) {
                found.iter_mut().zip(limbs).for_each(|(found, limb)| *found |= limb & mask);
            }
        }
        self.out.0 = found.0.map(|limbs| limbs.map(u64::from));
        found.zeroize();
    }
}

/// `a * b / 2^(27 L)` modulo the prime.
#[inline(always)]
fn multiply<const G: usize, const L: usize>(
    cpu: V4,
    modulus: &Modulus<G>,
    a: &Number<G>,
    b: &Number<G>,
) -> Number<G> {
    let (f, bw) = (cpu.avx512f, cpu.avx512bw);
    let zero: __m512i = cast([0u64; LANES]);
    let mask: __m512i = cast([LIMB_MASK; LANES]);
    let lane_1: __m512i = cast([0, u64::MAX, 0, 0, 0, 0, 0, 0]);
    let (first, second): (__m512i, __m512i) = (cast([0u64; LANES]), cast([1u64; LANES]));
    // No closures around vector functions: they would not be compiled for vectors.
    let (mut a0, mut m, mut m_up) = ([zero; G], [zero; G], [zero; G]);
    for v in 0..G {
        (a0[v], m[v], m_up[v]) =
            (cast(a.0[v]), cast(modulus.high.0[v]), cast(modulus.high_up.0[v]));
    }
    let a = a0;
    let a_up = shifted_up(cpu, &a);
    let mut sum = [zero; G];
    let (pairs, _) = b.0.as_flattened()[..L].as_chunks::<2>();
    for pair in pairs {
        let factors = [f._mm512_set1_epi32(pair[0] as i32), f._mm512_set1_epi32(pair[1] as i32)];
        for v in 0..G {
            sum[v] = add_products(cpu, sum[v], (a[v], a_up[v]), factors);
        }
        // The value of the two lowest limbs, which is subtracted; what is above goes to the third.
        let low = f._mm512_add_epi64(sum[0], bw._mm512_bslli_epi128::<8>(carry(cpu, sum[0])));
        let quotient = f._mm512_and_si512(low, mask);
        let third = bw._mm512_bsrli_epi128::<8>(f._mm512_and_si512(carry(cpu, low), lane_1));
        // Divide by two limbs, and add the multiple of p + 1.
        for v in 0..G {
            let next = if v + 1 < G { sum[v + 1] } else { zero };
            sum[v] = f._mm512_alignr_epi64::<2>(next, sum[v]);
        }
        sum[0] = f._mm512_add_epi64(sum[0], third);
        let factors = [
            f._mm512_permutexvar_epi64(first, quotient),
            f._mm512_permutexvar_epi64(second, quotient),
        ];
        for v in 0..G {
            sum[v] = add_products(cpu, sum[v], (m[v], m_up[v]), factors);
        }
    }
    // 62 bits become 36, then 28.
    for _ in 0..2 {
        let mut carries = sum;
        for carries in &mut carries {
            *carries = carry(cpu, *carries);
        }
        let carries = shifted_up(cpu, &carries);
        for v in 0..G {
            sum[v] = f._mm512_add_epi64(f._mm512_and_si512(sum[v], mask), carries[v]);
        }
    }
    let mut product = Number::ZERO;
    for (limbs, sum) in product.0.iter_mut().zip(sum) {
        *limbs = cast(sum);
    }
    product
}

/// Bits above the limb in every column.
#[inline(always)]
fn carry(cpu: V4, x: __m512i) -> __m512i {
    cpu.avx512f._mm512_srli_epi64::<LIMB_BITS>(x)
}

/// Adds two products by limbs, of which the instruction takes the lower half of each lane.
#[inline(always)]
fn add_products(cpu: V4, sum: __m512i, x: (__m512i, __m512i), by: [__m512i; 2]) -> __m512i {
    let f = cpu.avx512f;
    let products =
        f._mm512_add_epi64(f._mm512_mul_epu32(x.0, by[0]), f._mm512_mul_epu32(x.1, by[1]));
    f._mm512_add_epi64(sum, products)
}

/// Each limb in the place of the next higher one.
#[inline(always)]
fn shifted_up<const G: usize>(cpu: V4, x: &[__m512i; G]) -> [__m512i; G] {
    let mut up = *x;
    let mut below = cast([0u64; LANES]);
    for (up, x) in up.iter_mut().zip(x) {
        *up = cpu.avx512f._mm512_alignr_epi64::<7>(*x, below);
        below = *x;
    }
    up
}
