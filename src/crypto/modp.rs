//! Arithmetic in the MODP groups (RFC 7296 appendix B.2, RFC 3526): nothing but powers.
//!
//! Every power with a secret exponent takes a time that depends only on the group: Montgomery
//! multiplication and table look-ups that touch the whole table. Powers of the generator use a
//! table of their own, built once per group, and need a multiplication per four or five exponent
//! bits. Where the processor has the instructions for it, `vector` does the work.

#[cfg(target_arch = "x86_64")]
mod vector;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{CtAssign, CtEq, Odd, U1024, U1536, U2048, U4096, Uint};
use std::sync::OnceLock;
use zeroize::{Zeroize, Zeroizing};

/// The generator of all these groups.
const GENERATOR: u8 = 2;

/// Bits of the exponent that one table of powers covers.
const WINDOW_BITS: usize = 4;

const PRIME_2: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
    020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
    4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF";
const PRIME_5: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
    020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
    4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05\
    98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB\
    9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF";
const PRIME_14: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
    020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
    4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05\
    98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB\
    9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718\
    3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF";
const PRIME_16: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
    020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
    4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05\
    98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB\
    9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718\
    3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33\
    A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
    ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864\
    D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E2\
    08E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7\
    88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8\
    DBBBC2DB04DE8EF92E8EFC141FBECAA6287C59474E6BC05D99B2964FA090C3A2\
    233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9\
    93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF";

static GROUP_2: OnceLock<Group<{ U1024::LIMBS }>> = OnceLock::new();
static GROUP_5: OnceLock<Group<{ U1536::LIMBS }>> = OnceLock::new();
static GROUP_14: OnceLock<Group<{ U2048::LIMBS }>> = OnceLock::new();
static GROUP_16: OnceLock<Group<{ U4096::LIMBS }>> = OnceLock::new();

/// Group 2: 1024 bits.
pub(super) fn group_2() -> &'static dyn Modp {
    GROUP_2.get_or_init(|| Group::new(PRIME_2, 256).best::<5, 38>())
}

/// Group 5: 1536 bits.
pub(super) fn group_5() -> &'static dyn Modp {
    GROUP_5.get_or_init(|| Group::new(PRIME_5, 256).best::<8, 58>())
}

/// Group 14: 2048 bits.
pub(super) fn group_14() -> &'static dyn Modp {
    GROUP_14.get_or_init(|| Group::new(PRIME_14, 256).best::<10, 76>())
}

/// Group 16: 4096 bits, for which there are not enough vector registers.
pub(super) fn group_16() -> &'static dyn Modp {
    GROUP_16.get_or_init(|| Group::new(PRIME_16, 384))
}

/// A MODP group whatever its size. Numbers are big-endian bytes.
pub(super) trait Modp: Sync {
    /// Bytes of the prime.
    fn prime_len(&self) -> usize;

    /// Bytes of a secret exponent.
    fn exponent_len(&self) -> usize;

    /// 2 to the power of `exponent`, as long as the prime. Of a longer exponent only the last
    /// [`exponent_len`](Self::exponent_len) bytes count.
    fn generator_power(&self, exponent: &[u8]) -> Vec<u8>;

    /// `base` to the power of `exponent`, as long as the prime. The base must be
    /// [acceptable](Self::is_acceptable); of a longer exponent only the last bytes count.
    fn power(&self, base: &[u8], exponent: &[u8]) -> Zeroizing<Vec<u8>>;

    /// True if a public key has the properties that RFC 7425 §4.6.2 demands. Leading zero bytes
    /// are allowed.
    fn is_acceptable(&self, public: &[u8]) -> bool;
}

/// Another way to compute the powers of one group, with the same results. An exponent has at most
/// as many bytes as the group wants; a base has no more than the prime, and is less.
trait Powers: Send + Sync {
    /// See [`Modp::generator_power`].
    fn generator_power(&self, exponent: &[u8]) -> Vec<u8>;

    /// See [`Modp::power`].
    fn power(&self, base: &[u8], exponent: &[u8]) -> Zeroizing<Vec<u8>>;
}

struct Group<const LIMBS: usize> {
    params: FixedMontyParams<LIMBS>,
    exponent_len: usize,
    generator: OnceLock<Vec<Window<LIMBS>>>,
    vector: Option<Box<dyn Powers>>,
}

/// `generator^(digit * 16^position)` for the 16 digits, in Montgomery form.
type Window<const LIMBS: usize> = [Uint<LIMBS>; 1 << WINDOW_BITS];

impl<const LIMBS: usize> Group<LIMBS> {
    const BYTES: usize = LIMBS * size_of::<crypto_bigint::Word>();

    fn new(prime: &str, exponent_bits: usize) -> Self {
        let prime = Odd::<Uint<LIMBS>>::from_be_hex(prime);
        Self {
            params: FixedMontyParams::new_vartime(prime),
            exponent_len: exponent_bits / 8,
            generator: OnceLock::new(),
            vector: None,
        }
    }

    /// The group with the quickest arithmetic that there is. Without optimization that is
    /// `crypto_bigint`, which our manifest has optimized even then.
    fn best<const VECTORS: usize, const VECTOR_LIMBS: usize>(self) -> Self {
        if cfg!(debug_assertions) { self } else { self.vectorized::<VECTORS, VECTOR_LIMBS>() }
    }

    /// The group with vector arithmetic if the processor has the instructions.
    #[cfg(target_arch = "x86_64")]
    fn vectorized<const VECTORS: usize, const VECTOR_LIMBS: usize>(mut self) -> Self {
        type Vectors<const G: usize, const L: usize> = vector::VectorGroup<G, L>;
        let two = FixedMontyForm::new(&Uint::from(GENERATOR), &self.params);
        let two_to_the = |bits: u32| {
            let power = two.pow_bounded_exp(&Uint::<LIMBS>::from(bits), u32::BITS).retrieve();
            power.to_be_bytes().as_ref().to_vec()
        };
        let r_bits = Vectors::<VECTORS, VECTOR_LIMBS>::R_BITS;
        self.vector = Vectors::<VECTORS, VECTOR_LIMBS>::new(
            self.params.modulus().as_ref().to_be_bytes().as_ref(),
            &two_to_the(r_bits),
            &two_to_the(2 * r_bits),
            self.exponent_len,
        )
        .map(|group| Box::new(group) as _);
        self
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn vectorized<const VECTORS: usize, const VECTOR_LIMBS: usize>(self) -> Self {
        self
    }

    fn generator_table(&self) -> &[Window<LIMBS>] {
        self.generator.get_or_init(|| {
            let mut base = FixedMontyForm::new(&Uint::from(GENERATOR), &self.params);
            let windows = self.exponent_len * 8 / WINDOW_BITS;
            std::iter::repeat_with(|| {
                let mut power = FixedMontyForm::one(&self.params);
                let window = std::array::from_fn(|_| {
                    let entry = power.to_montgomery();
                    power = power.mul(&base);
                    entry
                });
                base = power;
                window
            })
            .take(windows)
            .collect()
        })
    }

    /// The exponent cut to its length, for reading from the least significant end.
    fn cut<'a>(&self, exponent: &'a [u8]) -> &'a [u8] {
        &exponent[exponent.len().saturating_sub(self.exponent_len)..]
    }

    /// A number of at most as many bytes as the prime has, leading zeros not counted.
    fn number(&self, bytes: &[u8]) -> Option<Uint<LIMBS>> {
        let digits = strip_leading_zeros(bytes);
        let mut padded = vec![0; Self::BYTES.checked_sub(digits.len())?];
        padded.extend_from_slice(digits);
        Some(Uint::from_be_slice(&padded))
    }
}

impl<const LIMBS: usize> Modp for Group<LIMBS> {
    fn prime_len(&self) -> usize {
        Self::BYTES
    }

    fn exponent_len(&self) -> usize {
        self.exponent_len
    }

    fn generator_power(&self, exponent: &[u8]) -> Vec<u8> {
        if let Some(vector) = &self.vector {
            return vector.generator_power(self.cut(exponent));
        }
        let digits = self.cut(exponent).iter().rev().flat_map(|byte| [byte & 0x0f, byte >> 4]);
        let mut power = FixedMontyForm::one(&self.params);
        for (window, digit) in self.generator_table().iter().zip(digits) {
            let mut factor = window[0];
            for (value, entry) in (0u8..).zip(window) {
                factor.ct_assign(entry, value.ct_eq(&digit));
            }
            power = power.mul(&FixedMontyForm::from_montgomery(factor, &self.params));
        }
        power.retrieve().to_be_bytes().as_ref().to_vec()
    }

    fn power(&self, base: &[u8], exponent: &[u8]) -> Zeroizing<Vec<u8>> {
        if let Some(vector) = &self.vector {
            return vector.power(strip_leading_zeros(base), self.cut(exponent));
        }
        let base = self.number(base).unwrap_or(Uint::ZERO);
        let base = FixedMontyForm::new(&base, &self.params);
        let mut padded = Zeroizing::new(vec![0; Self::BYTES]);
        let exponent = self.cut(exponent);
        padded[Self::BYTES - exponent.len()..].copy_from_slice(exponent);
        let mut exponent = Uint::<LIMBS>::from_be_slice(&padded);
        let mut power = base.pow_bounded_exp(&exponent, 8 * self.exponent_len as u32).retrieve();
        let bytes = Zeroizing::new(power.to_be_bytes().as_ref().to_vec());
        exponent.as_mut_words().zeroize();
        power.as_mut_words().zeroize();
        bytes
    }

    fn is_acceptable(&self, public: &[u8]) -> bool {
        const MARGIN: u32 = 1 << 24;
        const MIN_BITS: u32 = 16;
        let Some(value) = self.number(public) else { return false };
        let margin = Uint::from(MARGIN);
        let max = self.params.modulus().as_ref().wrapping_sub(&margin);
        let ones: u32 = value.as_words().iter().map(|word| word.count_ones()).sum();
        let zeros = value.bits_vartime() - ones;
        value >= margin && value <= max && ones >= MIN_BITS && zeros >= MIN_BITS
    }
}

/// The bytes of a big-endian number without leading zeros: the form of `DH_SECRET` (RFC 7425
/// §4.6.2).
pub(super) fn strip_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    fn groups() -> [(&'static dyn Modp, &'static str); 4] {
        [(group_2(), PRIME_2), (group_5(), PRIME_5), (group_14(), PRIME_14), (group_16(), PRIME_16)]
    }

    /// The groups with and without vector arithmetic, whatever the build.
    fn both_arithmetics() -> [[Box<dyn Modp>; 2]; 3] {
        fn pair<const LIMBS: usize, const G: usize, const L: usize>(
            prime: &str,
            exponent_bits: usize,
        ) -> [Box<dyn Modp>; 2]
        where
            Group<LIMBS>: Modp,
        {
            let group = || Group::<LIMBS>::new(prime, exponent_bits);
            [Box::new(group()), Box::new(group().vectorized::<G, L>())]
        }
        [
            pair::<{ U1024::LIMBS }, 5, 38>(PRIME_2, 256),
            pair::<{ U1536::LIMBS }, 8, 58>(PRIME_5, 256),
            pair::<{ U2048::LIMBS }, 10, 76>(PRIME_14, 256),
        ]
    }

    #[test]
    fn both_arithmetics_agree() {
        for [plain, vector] in both_arithmetics() {
            let mut exponents: Vec<Vec<u8>> = (1u8..3)
                .map(|seed| {
                    (0..plain.exponent_len())
                        .map(|i| (i as u8).wrapping_mul(167) ^ (seed * 89))
                        .collect()
                })
                .collect();
            exponents.extend([vec![], vec![0; 32], vec![1], vec![0xff; plain.exponent_len()]]);
            // As large as a base gets: the prime begins with 64 one bits, then `C9`.
            let mut largest = vec![0xff; plain.prime_len()];
            largest[8] = 0xc8;
            let bases = [vec![0xfe; plain.prime_len()], largest, vec![2], vec![0, 0, 3]];
            for exponent in &exponents {
                assert_eq!(vector.generator_power(exponent), plain.generator_power(exponent));
            }
            for (base, exponent) in bases.iter().zip(&exponents[..2]) {
                assert_eq!(vector.power(base, exponent), plain.power(base, exponent));
            }
        }
    }

    fn prime(hex: &str) -> BigUint {
        BigUint::parse_bytes(hex.as_bytes(), 16).unwrap()
    }

    fn number(bytes: &[u8]) -> BigUint {
        BigUint::from_bytes_be(bytes)
    }

    #[test]
    fn the_moduli_are_safe_primes() {
        for (group, hex) in groups().into_iter().take(2) {
            let p = prime(hex);
            assert_eq!(p.bits() as usize, 8 * group.prime_len());
            let q: BigUint = (&p - 1u8) >> 1;
            for n in [&p, &q] {
                assert_eq!(BigUint::from(3u8).modpow(&(n - 1u8), n), BigUint::from(1u8));
            }
            // 2 generates the subgroup of prime order.
            assert_eq!(BigUint::from(2u8).modpow(&q, &p), BigUint::from(1u8));
        }
    }

    #[test]
    fn powers_agree_with_the_oracle() {
        for (group, hex) in groups() {
            let p = prime(hex);
            for seed in 0u8..3 {
                let exponent: Vec<u8> = (0..group.exponent_len())
                    .map(|i| (i as u8 + 1).wrapping_mul(97) ^ seed)
                    .collect();
                let public = group.generator_power(&exponent);
                assert_eq!(public.len(), group.prime_len());
                let expected = BigUint::from(2u8).modpow(&number(&exponent), &p);
                assert_eq!(number(&public), expected);
                let base: Vec<u8> = (0..group.prime_len()).map(|i| i as u8 ^ 0x35).collect();
                assert_eq!(
                    number(&group.power(&base, &exponent)),
                    number(&base).modpow(&number(&exponent), &p)
                );
            }
        }
    }

    #[test]
    fn edge_exponents() {
        let group = group_2();
        let p = prime(PRIME_2);
        for exponent in [&[0u8; 32][..], &[0xff; 32], &[], &[1], &[0, 1]] {
            let expected = BigUint::from(2u8).modpow(&number(exponent), &p);
            assert_eq!(number(&group.generator_power(exponent)), expected);
            assert_eq!(number(&group.power(&[2], exponent)), expected);
        }
        // A longer exponent is cut, alike in both functions.
        let long = [0xa5; 40];
        let expected = BigUint::from(2u8).modpow(&number(&long[8..]), &p);
        assert_eq!(number(&group.generator_power(&long)), expected);
        assert_eq!(number(&group.power(&[2], &long)), expected);
    }

    #[test]
    fn acceptability_of_public_keys() {
        for (group, hex) in groups() {
            let p = prime(hex);
            let ok = |n: BigUint| group.is_acceptable(&n.to_bytes_be());
            let small = BigUint::from(1u32 << 24);
            for bad in [0u32, 1, 2, (1 << 24) - 1, 1 << 24] {
                assert!(!ok(BigUint::from(bad)), "{bad}");
            }
            assert!(!ok(&p - 1u8) && !ok(p.clone()) && !ok(&p - &small + 1u8));
            assert!(!ok(&p + (BigUint::from(0x5a5a_5a5a_5a5a_5a5a_u64) << 64)));
            // 15 and 16 one bits, 15 and 16 zero bits under the highest one bit.
            assert!(!ok((BigUint::from(0x7fffu32) << 100) + 0u8));
            assert!(ok((BigUint::from(0xffffu32) << 100) + 0u8));
            assert!(!ok((BigUint::from(0xffff_ffffu32) << 15) + 0u8));
            assert!(ok((BigUint::from(0xffff_ffffu32) << 16) + 0u8));
            assert!(!group.is_acceptable(&[]));
            assert!(!group.is_acceptable(&vec![0x5a; group.prime_len() + 1]));
            let mut padded = vec![0; 100];
            padded.extend_from_slice(&vec![0x5a; group.prime_len()]);
            assert!(group.is_acceptable(&padded), "leading zero bytes");
        }
    }

    #[test]
    fn the_secret_has_no_leading_zero_bytes() {
        assert_eq!(
            strip_leading_zeros(&[0, 0, 1, 0x23, 0x45, 0x67, 0x89]),
            [1, 0x23, 0x45, 0x67, 0x89]
        );
        assert!(strip_leading_zeros(&[0, 0]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn both_sides_find_the_same_secret(a: [u8; 32], b: [u8; 32]) {
            let group = group_2();
            let (public_a, public_b) = (group.generator_power(&a), group.generator_power(&b));
            prop_assert_eq!(group.power(&public_a, &b), group.power(&public_b, &a));
        }
    }
}
