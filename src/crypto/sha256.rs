//! SHA-256 and HMAC-SHA256 of several messages side by side.
//!
//! A processor with wide vectors hashes eight or sixteen messages in about the time of one, each
//! in a lane of its own. That pays from two messages on, unless the processor has instructions for
//! SHA-256, which `sha2` knows to use; with these it pays on some processors only, and for many
//! messages. Turns of a block each help there: while the last rounds of one message wait for each
//! other, the processor begins with the next. A single message has code of its own, too.

mod choice;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod single;

pub(crate) use choice::measure;

use sha2::block_api::compress256;
use std::slice;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a hash.
pub(crate) const HASH_LEN: usize = 32;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Most messages side by side.
const MAX_LANES: usize = 16;

type Block = [u8; BLOCK];
type State = [u32; 8];

/// The initial state (FIPS 180-4 §5.3.3).
const INITIAL: State = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// Where messages are when they are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a cache next to the processor: they have just been written.
    Near,
    /// Farther away, as what the operating system has received.
    Far,
}

/// The key of an HMAC-SHA256, as the two states that it leads to.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct HmacKey {
    inner: State,
    outer: State,
}

impl HmacKey {
    /// The key with these bytes, at most a block.
    pub(super) fn new(key: &[u8; HASH_LEN]) -> Self {
        let state = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            block.zeroize();
            state
        };
        Self { inner: state(0x36), outer: state(0x5c) }
    }

    /// The HMACs of the messages, in their order. It is quickest if neighbors have about the same
    /// length.
    ///
    /// As many are made as there are messages and places for them.
    pub(super) fn compute<'a>(
        &self,
        mut messages: impl Iterator<Item = &'a [u8]>,
        hmacs: &mut [[u8; HASH_LEN]],
        place: Place,
    ) {
        if let [hmac] = hmacs {
            if let Some(message) = messages.next() {
                *hmac = self.compute_one(choice::best(1, place), message);
            }
            return;
        }
        for hmacs in hmacs.chunks_mut(MAX_LANES) {
            self.compute_with(
                choice::best(hmacs.len(), place),
                messages.by_ref().take(hmacs.len()),
                hmacs,
            );
        }
    }

    fn compute_one(&self, engine: Engine, message: &[u8]) -> [u8; HASH_LEN] {
        let inner = engine.hash_one(&self.inner, &Remaining::new(message, BLOCK));
        engine.hash_one(&self.outer, &Remaining::new(&inner, BLOCK))
    }

    fn compute_with<'a>(
        &self,
        engine: Engine,
        messages: impl Iterator<Item = &'a [u8]>,
        hmacs: &mut [[u8; HASH_LEN]],
    ) {
        let mut inner = [[0; HASH_LEN]; MAX_LANES];
        let count = engine.hash(&self.inner, BLOCK, messages, &mut inner[..hmacs.len()]);
        engine.hash(&self.outer, BLOCK, inner[..count].iter().map(|hash| &hash[..]), hmacs);
    }
}

/// The SHA-256 of each message, in their order. It is quickest if neighbors have about the same
/// length.
pub(crate) fn digests(messages: &[&[u8]]) -> Vec<[u8; HASH_LEN]> {
    let mut hashes = vec![[0; HASH_LEN]; messages.len()];
    for (messages, hashes) in messages.chunks(MAX_LANES).zip(hashes.chunks_mut(MAX_LANES)) {
        choice::best(messages.len(), Place::Near).hash(
            &INITIAL,
            0,
            messages.iter().copied(),
            hashes,
        );
    }
    hashes
}

/// The rest of a message: its whole blocks, and the last one or two with the padding.
#[derive(Clone, Copy)]
struct Remaining<'a> {
    whole: &'a [Block],
    padded: [Block; 2],
    padded_len: usize,
}

impl<'a> Remaining<'a> {
    const NOTHING: Self = Self { whole: &[], padded: [[0; BLOCK]; 2], padded_len: 0 };

    /// All of `message`, before which `hashed` bytes were hashed.
    fn new(message: &'a [u8], hashed: usize) -> Self {
        const LENGTH_LEN: usize = 8;
        let (whole, rest) = message.as_chunks::<BLOCK>();
        let mut padded = [[0; BLOCK]; 2];
        let padded_len = if rest.len() < BLOCK - LENGTH_LEN { 1 } else { 2 };
        padded[0][..rest.len()].copy_from_slice(rest);
        padded[0][rest.len()] = 0x80;
        let bits = 8 * (hashed as u64 + message.len() as u64);
        padded[padded_len - 1][BLOCK - LENGTH_LEN..].copy_from_slice(&bits.to_be_bytes());
        Self { whole, padded, padded_len }
    }

    fn blocks(&self) -> usize {
        self.whole.len() + self.padded_len
    }

    fn block(&self, i: usize) -> Option<&Block> {
        let padded = &self.padded[..self.padded_len];
        self.whole.get(i).or_else(|| padded.get(i.checked_sub(self.whole.len())?))
    }
}

/// Method by which several messages are hashed.
#[derive(Debug, Clone, Copy)]
enum Engine {
    /// One after the other, by `sha2`.
    Serial,
    /// A block of each in turn, by `sha2`.
    Turns,
    /// With vectors of 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// With vectors of 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
}

impl Engine {
    /// Every method that this processor has.
    fn available() -> Vec<Self> {
        let mut engines = vec![Self::Serial, Self::Turns];
        #[cfg(target_arch = "x86_64")]
        {
            engines.extend(pulp::x86::V3::try_new().map(Self::Avx2));
            engines.extend(pulp::x86::V4::try_new().map(Self::Avx512));
        }
        engines
    }

    /// Continues from a state that `hashed` bytes, whole blocks, have led to. Returns how many
    /// hashes were made: one for each message, as far as the slice reaches.
    fn hash<'a>(
        self,
        from: &State,
        hashed: usize,
        messages: impl Iterator<Item = &'a [u8]>,
        hashes: &mut [[u8; HASH_LEN]],
    ) -> usize {
        let mut all = [Remaining::NOTHING; MAX_LANES];
        let mut count = 0;
        for (message, remaining) in messages.zip(&mut all[..hashes.len().min(MAX_LANES)]) {
            *remaining = Remaining::new(message, hashed);
            count += 1;
        }
        let (messages, hashes) = (&all[..count], &mut hashes[..count]);
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(cpu) if count > 1 => lanes::hash_256(cpu, from, messages, hashes),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(cpu) if count > 1 => lanes::hash_512(cpu, from, messages, hashes),
            Self::Turns if count > 1 => hash_in_turns(from, messages, hashes),
            _ => {
                for (message, hash) in messages.iter().zip(hashes) {
                    *hash = self.hash_one(from, message);
                }
            }
        }
        count
    }

    fn hash_one(self, from: &State, message: &Remaining<'_>) -> [u8; HASH_LEN] {
        let mut state = *from;
        self.compress(&mut state, message.whole);
        self.compress(&mut state, &message.padded[..message.padded_len]);
        to_bytes(state)
    }

    fn compress(self, state: &mut State, blocks: &[Block]) {
        match self {
            Self::Serial | Self::Turns => compress256(state, blocks),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(cpu) => single::compress(cpu, state, blocks),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(cpu) => single::compress(*cpu, state, blocks),
        }
    }
}

/// Hashes several messages by `sha2`, a block of each in turn.
fn hash_in_turns(from: &State, messages: &[Remaining<'_>], hashes: &mut [[u8; HASH_LEN]]) {
    let mut states = [*from; MAX_LANES];
    let blocks = messages.iter().map(Remaining::blocks).max().unwrap_or(0);
    for i in 0..blocks {
        for (state, message) in states.iter_mut().zip(messages) {
            if let Some(block) = message.block(i) {
                compress256(state, slice::from_ref(block));
            }
        }
    }
    hashes.iter_mut().zip(states).for_each(|(hash, state)| *hash = to_bytes(state));
}

fn to_bytes(state: State) -> [u8; HASH_LEN] {
    let mut hash = [0; HASH_LEN];
    hash.as_chunks_mut::<4>().0.iter_mut().zip(state).for_each(|(b, w)| *b = w.to_be_bytes());
    hash
}

#[cfg(test)]
mod tests;
