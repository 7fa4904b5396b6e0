//! AES-128 in CBC mode with a zero initialisation vector (RFC 7425 §4.7.1).
//!
//! Encryption is serial within a packet, so that packets are encrypted side by side: a block of
//! each of eight packets fills the pipeline of the processor. Decryption is parallel by nature.

use aes::cipher::consts::U16;
use aes::cipher::{
    Array, BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend,
    BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InOut, ParBlocks,
};
use aes::{Aes128Dec, Aes128Enc};
use std::ops::Range;

/// Bytes of a cipher block.
pub(super) const BLOCK: usize = 16;

/// Packets encrypted side by side.
const LANES: usize = 8;

type Block = Array<u8, U16>;

/// Encrypts the ranges of `buf` in place, each a message of its own. Every range must lie within
/// `buf`, be a whole number of blocks long and not overlap another.
pub(super) fn encrypt(
    cipher: &Aes128Enc,
    buf: &mut [u8],
    messages: impl Iterator<Item = Range<usize>>,
) {
    cipher.encrypt_with_backend(Encryption { buf, messages });
}

/// Decrypts one message in place. A remainder that is less than a block is left alone.
pub(super) fn decrypt(cipher: &Aes128Dec, message: &mut [u8]) {
    let (blocks, _) = Block::slice_as_chunks_mut(message);
    cipher.decrypt_with_backend(Decryption { blocks });
}

/// Messages that are encrypted side by side. It is compiled as part of the cipher's own code: of a
/// call for each step the choice of the processor's instructions would be the larger part.
struct Encryption<'a, M> {
    buf: &'a mut [u8],
    messages: M,
}

impl<M> BlockSizeUser for Encryption<'_, M> {
    type BlockSize = U16;
}

impl<M: Iterator<Item = Range<usize>>> BlockCipherEncClosure for Encryption<'_, M> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(mut self, backend: &B) {
        let mut lanes: [Range<usize>; LANES] = std::array::from_fn(|_| 0..0);
        let mut chain = [Block::default(); LANES];
        let mut active = 0;
        loop {
            // Give finished lanes a new message, and let the last lane take the place of one that
            // gets none.
            let mut i = 0;
            while i < LANES {
                if i < active && !lanes[i].is_empty() {
                    i += 1;
                } else if let Some(message) = self.messages.next() {
                    lanes[i] = message;
                    chain[i] = Block::default();
                    active = active.max(i + 1);
                } else if i < active {
                    active -= 1;
                    lanes.swap(i, active);
                    chain.swap(i, active);
                } else {
                    break;
                }
            }
            let lanes = &mut lanes[..active];
            let Some(steps) = lanes.iter().map(|lane| lane.len() / BLOCK).min() else { return };
            match lanes {
                [lane] => encrypt_one(backend, self.buf, lane, &mut chain[0], steps),
                lanes => {
                    for _ in 0..steps {
                        step(backend, self.buf, lanes, &mut chain);
                    }
                }
            }
        }
    }
}

/// Encrypts so many blocks of a message that has no others beside it.
#[inline(always)]
fn encrypt_one<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    buf: &mut [u8],
    lane: &mut Range<usize>,
    chain: &mut Block,
    steps: usize,
) {
    let (blocks, _) = Block::slice_as_chunks_mut(&mut buf[lane.clone()]);
    for block in blocks.iter_mut().take(steps) {
        xor(block, chain);
        backend.encrypt_block_inplace(block);
        *chain = *block;
    }
    lane.start += steps * BLOCK;
}

/// Encrypts one block of every lane.
#[inline(always)]
fn step<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    buf: &mut [u8],
    lanes: &mut [Range<usize>],
    chain: &mut [Block; LANES],
) {
    for (lane, state) in lanes.iter().zip(chain.iter_mut()) {
        if let Some((plain, _)) = buf[lane.start..].split_first_chunk::<BLOCK>() {
            xor(state, &Block::from(*plain));
        }
    }
    let (together, single) = ParBlocks::<B>::slice_as_chunks_mut(chain);
    if together.is_empty() {
        // The cipher takes more at once than there are lanes. The processor overlaps single blocks.
        for block in single.iter_mut().take(lanes.len()) {
            backend.encrypt_block_inplace(block);
        }
    } else {
        // All lanes, the idle ones too: a full batch is faster than a few single blocks.
        for blocks in together {
            backend.encrypt_par_blocks_inplace(blocks);
        }
        for block in single {
            backend.encrypt_block_inplace(block);
        }
    }
    for (lane, state) in lanes.iter_mut().zip(chain.iter()) {
        buf[lane.start..lane.start + BLOCK].copy_from_slice(state);
        lane.start += BLOCK;
    }
}

/// A message that is decrypted.
struct Decryption<'a> {
    blocks: &'a mut [Block],
}

impl BlockSizeUser for Decryption<'_> {
    type BlockSize = U16;
}

impl BlockCipherDecClosure for Decryption<'_> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = U16>>(self, backend: &B) {
        let mut previous = Block::default();
        let (groups, rest) = ParBlocks::<B>::slice_as_chunks_mut(self.blocks);
        for group in groups {
            let mut plain = ParBlocks::<B>::default();
            backend.decrypt_par_blocks(InOut::from((&*group, &mut plain)));
            for (block, plain) in group.iter_mut().zip(&mut plain) {
                xor(plain, &previous);
                previous = std::mem::replace(block, *plain);
            }
        }
        for block in rest {
            let encrypted = *block;
            backend.decrypt_block_inplace(block);
            xor(block, &previous);
            previous = encrypted;
        }
    }
}

#[inline(always)]
fn xor(block: &mut Block, other: &Block) {
    let xored = u128::from_ne_bytes((*block).into()) ^ u128::from_ne_bytes((*other).into());
    *block = xored.to_ne_bytes().into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes::cipher::KeyInit;
    use proptest::prelude::*;

    const KEY: [u8; 16] = [
        0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f,
        0x3c,
    ];

    fn ciphers() -> (Aes128Enc, Aes128Dec) {
        (Aes128Enc::new(&KEY.into()), Aes128Dec::new(&KEY.into()))
    }

    /// NIST SP 800-38A F.2.1, with the initialisation vector added to the first plain block, as
    /// ours is zero.
    #[test]
    fn cbc_vector() {
        let mut message: Vec<u8> = [
            0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a_u128
                ^ 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f,
            0xae2d_8a57_1e03_ac9c_9eb7_6fac_45af_8e51,
        ]
        .iter()
        .flat_map(|block| block.to_be_bytes())
        .collect();
        let plain = message.clone();
        let (enc, dec) = ciphers();
        encrypt(&enc, &mut message, std::iter::once(0..32));
        let expected = [
            0x7649_abac_8119_b246_cee9_8e9b_12e9_197d_u128,
            0x5086_cb9b_5072_19ee_95db_113a_9176_78b2,
        ];
        assert_eq!(message, expected.map(u128::to_be_bytes).concat());
        decrypt(&dec, &mut message);
        assert_eq!(message, plain);
    }

    proptest! {
        #[test]
        fn lockstep_equals_one_by_one(lens in proptest::collection::vec(0usize..40, 0..25), seed: u8) {
            let (enc, dec) = ciphers();
            let mut buf = Vec::new();
            let mut ranges = Vec::new();
            for len in lens {
                // Gaps between the messages must stay as they are.
                buf.extend_from_slice(&[0xee; 3]);
                let start = buf.len();
                buf.extend((0..len * BLOCK).map(|i| (i as u8).wrapping_mul(31) ^ seed));
                ranges.push(start..buf.len());
            }
            let plain = buf.clone();
            let mut single = buf.clone();
            for range in &ranges {
                encrypt(&enc, &mut single, std::iter::once(range.clone()));
            }
            encrypt(&enc, &mut buf, ranges.iter().cloned());
            prop_assert_eq!(&buf, &single);
            for range in ranges {
                decrypt(&dec, &mut buf[range]);
            }
            prop_assert_eq!(buf, plain);
        }
    }
}
