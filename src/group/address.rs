//! Group addresses: the position of a member on the ring of 2^256.

use crate::crypto::Fingerprint;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The EPD prefix before a fingerprint (RFC 7425 §4.4): an option of type 0x0F, length 33.
pub(crate) const EPD_PREFIX: [u8; 2] = [0x21, 0x0f];

/// The position of a member on the ring of 2^256 addresses, which is the same in every group:
/// SHA-256 of the peer's endpoint discriminator `21 0F <fingerprint>`.
///
/// Addresses are unsigned big-endian integers; distances are modulo 2^256. Text form: 64
/// hexadecimal digits, as in the Flash API.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupAddress(pub [u8; 32]);

/// A group address that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a group address has 64 hexadecimal digits")]
pub struct ParseGroupAddressError;

impl GroupAddress {
    /// The address of a peer.
    pub fn of(peer: &Fingerprint) -> Self {
        Self(Sha256::new().chain_update(EPD_PREFIX).chain_update(peer.0).finalize().into())
    }

    /// The distance to `other` in the increasing direction.
    pub fn clockwise_to(&self, other: &Self) -> RingDistance {
        RingDistance(sub(limbs(&other.0), limbs(&self.0)))
    }

    /// The distance to `other` in the shorter direction.
    pub fn distance(&self, other: &Self) -> RingDistance {
        self.clockwise_to(other).min(other.clockwise_to(self))
    }

    /// The address `2^exponent` further in the increasing direction; unchanged from 256 on.
    pub fn plus_power_of_two(&self, exponent: u32) -> Self {
        let mut step = [0u64; 4];
        if let Some(limb) = step.get_mut(exponent as usize / 64) {
            *limb = 1 << (exponent % 64);
        }
        Self(bytes(add(limbs(&self.0), step)))
    }

    /// The address that is `turn` / 2^64 of the ring further in the increasing direction.
    pub(super) fn ahead_by(&self, turn: u64) -> Self {
        Self(bytes(add(limbs(&self.0), [0, 0, 0, turn])))
    }

    /// The middle of the arc from here in the increasing direction to `other`, rounded down.
    pub fn midpoint_to(&self, other: &Self) -> Self {
        Self(bytes(add(limbs(&self.0), half(self.clockwise_to(other).0))))
    }

    /// As [`midpoint_to`](Self::midpoint_to), rounded up.
    pub fn midpoint_to_rounded_up(&self, other: &Self) -> Self {
        let distance = self.clockwise_to(other).0;
        let odd = [distance[0] & 1, 0, 0, 0];
        Self(bytes(add(limbs(&self.0), add(half(distance), odd))))
    }

    /// The next address in the increasing direction; this address itself comes last.
    pub fn next_increasing(&self, others: impl IntoIterator<Item = Self>) -> Option<Self> {
        others.into_iter().min_by_key(|o| self.clockwise_to(o).wrapping_decrement())
    }

    /// The next address in the decreasing direction; this address itself comes last.
    pub fn next_decreasing(&self, others: impl IntoIterator<Item = Self>) -> Option<Self> {
        others.into_iter().min_by_key(|o| o.clockwise_to(self).wrapping_decrement())
    }
}

/// A distance on the ring: an unsigned integer of 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RingDistance([u64; 4]);

impl RingDistance {
    /// The distance as a floating-point number, correct to 53 bits.
    pub fn as_f64(&self) -> f64 {
        self.0.iter().rev().fold(0.0, |sum, &limb| sum * 2f64.powi(64) + limb as f64)
    }

    fn wrapping_decrement(self) -> Self {
        Self(sub(self.0, [1, 0, 0, 0]))
    }
}

impl PartialOrd for RingDistance {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RingDistance {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        (d, c, b, a).cmp(&(h, g, f, e))
    }
}

impl fmt::Display for GroupAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for GroupAddress {
    type Err = ParseGroupAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Fingerprint>().map(|f| Self(f.0)).map_err(|_| ParseGroupAddressError)
    }
}

/// Least significant limb first.
fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    let (chunks, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| chunks.get(3 - i).map_or(0, |chunk| u64::from_be_bytes(*chunk)))
}

fn bytes(limbs: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, limb) in bytes.chunks_exact_mut(8).zip(limbs.iter().rev()) {
        chunk.copy_from_slice(&limb.to_be_bytes());
    }
    bytes
}

fn add(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut carry = false;
    std::array::from_fn(|i| {
        let (sum, over) = a[i].overflowing_add(b[i]);
        let (sum, again) = sum.overflowing_add(u64::from(carry));
        carry = over || again;
        sum
    })
}

fn sub(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (difference, under) = a[i].overflowing_sub(b[i]);
        let (difference, again) = difference.overflowing_sub(u64::from(borrow));
        borrow = under || again;
        difference
    })
}

fn half(a: [u64; 4]) -> [u64; 4] {
    std::array::from_fn(|i| a[i] >> 1 | a.get(i + 1).copied().unwrap_or(0) << 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    fn big(address: &GroupAddress) -> BigUint {
        BigUint::from_bytes_be(&address.0)
    }

    fn at(first: u8) -> GroupAddress {
        let mut bytes = [0; 32];
        bytes[0] = first;
        GroupAddress(bytes)
    }

    #[test]
    fn known_addresses() {
        let counting = Fingerprint(std::array::from_fn(|i| i as u8));
        assert_eq!(
            GroupAddress::of(&counting).to_string(),
            "b899a498e581c1b05a163df2329c20db35411de8eeeed68e12ecdc2ba9e15ebc"
        );
        // A neighbor in Flash Player's NetGroup.Neighbor.Connect: peerID and neighbor.
        let peer: Fingerprint =
            "ded6607c7662a88fa291a023d9a7b4bd55ccea6767b0498dce0efac138051fd5".parse().unwrap();
        let text = "0560e9e617bbb78b7be4385285ee71bc80c9eeecf796ee39ecd0ca3650bfe9de";
        assert_eq!(GroupAddress::of(&peer), text.parse().unwrap());
        assert!("0560".parse::<GroupAddress>().is_err());
    }

    #[test]
    fn neighbors_on_the_ring_wrap_around() {
        let (low, mid, high) = (at(10), at(100), at(240));
        let all = [low, mid, high];
        assert_eq!(mid.next_increasing(all), Some(high));
        assert_eq!(high.next_increasing(all), Some(low));
        assert_eq!(low.next_decreasing(all), Some(high));
        assert_eq!(low.next_increasing([low]), Some(low));
        assert_eq!(low.next_increasing([]), None);
        assert!(low.distance(&high) < low.distance(&mid));
        assert_eq!(high.midpoint_to(&low), at(253));
        assert_eq!(at(0).plus_power_of_two(255), at(128));
        assert_eq!(at(0).plus_power_of_two(256), at(0));
        assert_eq!(at(200).ahead_by(1 << 63), at(72));
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_big_integers(a: [u8; 32], b: [u8; 32], exponent in 0u32..256) {
            let (a, b) = (GroupAddress(a), GroupAddress(b));
            let ring = BigUint::from(1u8) << 256;
            let distance = (&ring + big(&b) - big(&a)) % &ring;
            let middle = (big(&a) + (&distance >> 1)) % &ring;
            prop_assert_eq!(big(&a.midpoint_to(&b)), middle);
            let up = (big(&a) + ((&distance + 1u8) >> 1)) % &ring;
            prop_assert_eq!(big(&a.midpoint_to_rounded_up(&b)), up);
            let finger = (big(&a) + (BigUint::from(1u8) << exponent)) % &ring;
            prop_assert_eq!(big(&a.plus_power_of_two(exponent)), finger);
            prop_assert_eq!(big(&GroupAddress(bytes(a.clockwise_to(&b).0))), distance);
            prop_assert_eq!(a.distance(&b), b.distance(&a));
        }
    }
}
