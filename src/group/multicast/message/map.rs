//! Maps of the fragments that a member has.

use crate::wire::{WireError, vlu};
use bytes::Bytes;

/// The bytes of a map that are looked at: what lies further back counts as not available.
pub const MAX_MAP: usize = 4096;

/// The fragments that a member has: the newest, and a bit for each before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    newest: u64,
    bits: Vec<u8>,
}

impl Map {
    /// A map. Bit k of byte j, from the lowest, is about the fragment `newest - 1 - (8 * j + k)`.
    pub fn new(newest: u64, bits: Vec<u8>) -> Self {
        Self { newest, bits }
    }

    /// The map of these numbers, in descending order; `None` if there are none. Numbers beyond
    /// [`MAX_MAP`] are left out.
    pub fn of(mut numbers: impl Iterator<Item = u64>) -> Option<Self> {
        let newest = numbers.next()?;
        let mut bits = Vec::new();
        for number in numbers {
            let Some(place) = newest.checked_sub(number + 1).map(|place| place as usize) else {
                continue;
            };
            let byte = place / 8;
            if byte >= MAX_MAP {
                break;
            }
            if byte >= bits.len() {
                bits.resize(byte + 1, 0);
            }
            bits[byte] |= 1 << (place % 8);
        }
        Some(Self { newest, bits })
    }

    /// Parses the bytes after the type. Those beyond [`MAX_MAP`] are dropped.
    pub(super) fn parse(bytes: &Bytes) -> Result<Self, WireError> {
        let (newest, rest) =
            vlu::parse("multicast.newest", bytes).map_err(|error| error.within(1))?;
        Ok(Self { newest, bits: rest.iter().take(MAX_MAP).copied().collect() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode(self.newest, out);
        out.extend_from_slice(&self.bits);
    }

    /// The newest fragment, which is available.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The oldest available fragment.
    pub fn oldest(&self) -> u64 {
        self.numbers().last().unwrap_or(self.newest)
    }

    /// True if this fragment is available.
    pub fn has(&self, number: u64) -> bool {
        if number == self.newest {
            return true;
        }
        let Some(place) = self.newest.checked_sub(number).map(|below| below - 1) else {
            return false;
        };
        let byte = usize::try_from(place / 8).ok().and_then(|byte| self.bits.get(byte));
        byte.is_some_and(|byte| byte & (1 << (place % 8)) != 0)
    }

    /// The available fragments, in descending order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let bytes = self.bits.iter().enumerate().filter(|(_, bits)| **bits != 0);
        let older = bytes.flat_map(|(byte, bits)| {
            let places = (0..8u64).filter(move |bit| bits & (1 << bit) != 0);
            places.map(move |bit| byte as u64 * 8 + bit)
        });
        let older = older.map_while(|place| self.newest.checked_sub(place + 1));
        std::iter::once(self.newest).chain(older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_example_of_the_note() {
        let map = Map::of([20, 19, 17, 12, 11].into_iter()).unwrap();
        assert_eq!(map, Map::new(20, vec![0x85, 0x01]));
        assert_eq!(map.numbers().collect::<Vec<_>>(), [20, 19, 17, 12, 11]);
        assert!(map.has(17) && map.has(20) && !map.has(18) && !map.has(21) && !map.has(1));
    }

    #[test]
    fn hostile_maps() {
        let low = Map::new(2, vec![0xff; 100]);
        assert_eq!(low.numbers().collect::<Vec<_>>(), [2, 1, 0]);
        let high = Map::new(u64::MAX, vec![0xff]);
        assert!(high.has(u64::MAX - 8) && !high.has(u64::MAX - 9) && !high.has(0));
        let mut huge = vec![0x05];
        huge.resize(1 << 20, 0xff);
        assert_eq!(Map::parse(&huge.into()).unwrap().bits.len(), MAX_MAP);
        let far = [1 << 40, 5].into_iter();
        assert_eq!(Map::of(far), Some(Map::new(1 << 40, vec![])));
    }

    proptest! {
        #[test]
        fn a_map_has_what_it_was_made_of(numbers in proptest::collection::btree_set(0u64..5000, 1..200)) {
            let map = Map::of(numbers.iter().rev().copied()).unwrap();
            prop_assert_eq!(map.numbers().collect::<BTreeSet<_>>(), numbers.clone());
            for number in 0..5001 {
                prop_assert_eq!(map.has(number), numbers.contains(&number));
            }
        }
    }
}
