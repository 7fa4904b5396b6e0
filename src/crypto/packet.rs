//! Packet encryption and verification (RFC 7425 §4.7).
//!
//! A datagram is
//!
//! ```text
//! scrambled session ID (4) | AES-CBC of: [SSEQ] [checksum] plain packet, padding | [HMAC]
//! ```
//!
//! with the checksum if and only if there is no HMAC. [`Sealer::begin`] and [`Sealer::finish`]
//! build it around a plain packet that the caller writes straight into the send buffer;
//! [`Sealer::seal`] then encrypts a batch of them.

use super::cbc::{self, BLOCK};
use super::negotiation::{Direction, Verification};
use super::replay::ReplayWindow;
use super::schedule::TrafficKeys;
use super::sha256::{HASH_LEN, HmacKey, Place};
use crate::wire::{multiplex, vlu};
use aes::cipher::KeyInit;
use aes::{Aes128Dec, Aes128Enc};
use std::fmt;
use std::ops::Range;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// The Default Session Key (§4.1).
const DEFAULT_KEY: &[u8; 16] = b"Adobe Systems 02";

/// Padding up to the next block; a packet parser takes it for padding chunks.
const PADDING: u8 = 0xff;

const CHECKSUM_LEN: usize = 2;

/// Packets whose HMACs are computed side by side.
const HMACS: usize = 16;

/// The key of the cipher. It takes fewer bytes than the schedule of its rounds, which is quickly
/// made for a batch of packets.
type CipherKey = Zeroizing<[u8; 16]>;

/// The HMAC of packets: the key, and how many bytes of the result are used.
#[derive(Clone)]
struct PacketHmac {
    key: HmacKey,
    len: usize,
}

impl PacketHmac {
    fn new(keys: &TrafficKeys, direction: Direction) -> Option<Self> {
        match direction.verification {
            Verification::Checksum => None,
            Verification::Hmac(len) => {
                Some(Self { key: HmacKey::new(&keys.hmac), len: usize::from(len.min(32)) })
            }
        }
    }
}

/// Makes datagrams out of plain packets.
pub struct Sealer {
    key: CipherKey,
    hmac: Option<PacketHmac>,
    /// The next session sequence number, if they are sent.
    next_sequence: Option<u64>,
}

/// A datagram that was begun: where it is in the buffer.
#[derive(Debug)]
#[must_use = "a datagram that was begun must be finished or abandoned"]
pub struct PacketStart {
    datagram: usize,
    /// Offset of the checksum; the plain packet follows.
    checksum: Option<usize>,
    sequence: Option<u64>,
}

impl Sealer {
    /// The sealer of startup packets: the Default Session Key, checksums, no sequence numbers.
    pub fn default_key() -> Self {
        Self { key: Zeroizing::new(*DEFAULT_KEY), hmac: None, next_sequence: None }
    }

    pub(super) fn new(keys: &TrafficKeys, direction: Direction) -> Self {
        Self {
            key: Zeroizing::new(*keys.aes_128()),
            hmac: PacketHmac::new(keys, direction),
            next_sequence: direction.sequence_numbers.then_some(0),
        }
    }

    /// Number of bytes that a plain packet may have so that its datagram has at most `datagram_limit`
    /// bytes, if it is begun next. Zero if nothing fits.
    pub fn plain_capacity(&self, datagram_limit: usize) -> usize {
        let blocks = datagram_limit.saturating_sub(multiplex::SESSION_ID_LEN + self.hmac_len());
        let sequence = self.next_sequence.map_or(0, vlu::encoded_len);
        let checksum = if self.hmac.is_some() { 0 } else { CHECKSUM_LEN };
        (blocks / BLOCK * BLOCK).saturating_sub(sequence + checksum)
    }

    fn hmac_len(&self) -> usize {
        self.hmac.as_ref().map_or(0, |hmac| hmac.len)
    }

    /// Begins a datagram at the end of `buf`: reserves bytes for the session ID and the checksum,
    /// and the sequence number. The caller then appends the plain packet.
    pub fn begin(&mut self, buf: &mut Vec<u8>) -> PacketStart {
        let datagram = buf.len();
        buf.extend_from_slice(&[0; multiplex::SESSION_ID_LEN]);
        let sequence = self.next_sequence;
        if let Some(next) = &mut self.next_sequence {
            vlu::encode(*next, buf);
            *next += 1;
        }
        let checksum = self.hmac.is_none().then_some(buf.len());
        if checksum.is_some() {
            buf.extend_from_slice(&[0; CHECKSUM_LEN]);
        }
        PacketStart { datagram, checksum, sequence }
    }

    /// Takes back a datagram that was begun. Its sequence number is used for the next one unless
    /// another was begun in between.
    pub fn abandon(&mut self, buf: &mut Vec<u8>, start: PacketStart) {
        buf.truncate(start.datagram);
        if let (Some(next), Some(sequence)) = (&mut self.next_sequence, start.sequence)
            && *next == sequence + 1
        {
            *next = sequence;
        }
    }

    /// Ends a datagram at the end of `buf`: pads it, fills in the checksum, reserves bytes for the
    /// HMAC. Returns where the datagram is, for [`seal`](Self::seal).
    pub fn finish(&mut self, buf: &mut Vec<u8>, start: PacketStart) -> Range<usize> {
        let len = buf.len() - start.datagram - multiplex::SESSION_ID_LEN;
        buf.resize(buf.len() + len.next_multiple_of(BLOCK) - len, PADDING);
        if let Some(at) = start.checksum
            && let Some((field, checked)) = buf[at..].split_first_chunk_mut::<CHECKSUM_LEN>()
        {
            *field = checksum(checked).to_be_bytes();
        }
        buf.resize(buf.len() + self.hmac_len(), 0);
        start.datagram..buf.len()
    }

    /// Does [`finish`](Self::finish), and makes the datagram `len` bytes long by padding if it
    /// would be shorter by no more than two cipher blocks: datagrams of equal length leave in one
    /// call.
    pub fn finish_alike(
        &mut self,
        buf: &mut Vec<u8>,
        start: PacketStart,
        len: usize,
    ) -> Range<usize> {
        let end = (start.datagram + len).saturating_sub(self.hmac_len());
        let shortfall = end.saturating_sub(buf.len());
        if shortfall < 3 * BLOCK
            && end.saturating_sub(start.datagram + multiplex::SESSION_ID_LEN).is_multiple_of(BLOCK)
        {
            buf.resize(buf.len() + shortfall, PADDING);
        }
        self.finish(buf, start)
    }

    /// Encrypts finished datagrams of one session in place and writes their HMACs and scrambled
    /// session IDs, several side by side: the more at a time, the quicker. `datagrams` are results
    /// of [`finish`](Self::finish) that have not been sealed yet.
    pub fn seal(&self, session_id: u32, buf: &mut [u8], datagrams: &[Range<usize>]) {
        let hmac_len = self.hmac_len();
        let blocks =
            |d: &Range<usize>| d.start + multiplex::SESSION_ID_LEN..d.end.saturating_sub(hmac_len);
        let cipher = Aes128Enc::new((&*self.key).into());
        cbc::encrypt(&cipher, buf, datagrams.iter().map(blocks));
        if let Some(hmac) = &self.hmac {
            let mut hmacs = [[0; HASH_LEN]; HMACS];
            for datagrams in datagrams.chunks(HMACS) {
                let hmacs = &mut hmacs[..datagrams.len()];
                hmac.key.compute(datagrams.iter().map(|d| &buf[blocks(d)]), hmacs, Place::Near);
                for (datagram, full) in datagrams.iter().zip(hmacs) {
                    buf[datagram.end - hmac_len..datagram.end].copy_from_slice(&full[..hmac_len]);
                }
            }
        }
        for datagram in datagrams {
            multiplex::scramble(session_id, &mut buf[datagram.clone()]);
        }
    }
}

/// Reason for which a datagram was refused. Any forger can cause each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Less than a cipher block and the HMAC, or not a whole number of blocks.
    #[error("not a whole number of cipher blocks")]
    Length,
    /// The HMAC is wrong.
    #[error("wrong hmac")]
    Hmac,
    /// The checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// The session sequence number is malformed.
    #[error("malformed session sequence number")]
    Sequence,
    /// The session sequence number was seen before or is too old.
    #[error("replayed packet")]
    Replayed,
}

/// Range of the plain packet with its padding in a datagram that was opened, counted from the first
/// byte after the session ID.
pub type Opened = Result<Range<usize>, PacketError>;

/// Makes plain packets out of datagrams.
pub struct Opener {
    key: CipherKey,
    hmac: Option<PacketHmac>,
    sequence_numbers: bool,
    /// Absent if there are no sequence numbers or if they are not to be checked.
    window: Option<ReplayWindow>,
}

impl Opener {
    /// The opener of startup packets: the Default Session Key, checksums, no sequence numbers.
    pub fn default_key() -> Self {
        Self {
            key: Zeroizing::new(*DEFAULT_KEY),
            hmac: None,
            sequence_numbers: false,
            window: None,
        }
    }

    pub(super) fn new(keys: &TrafficKeys, direction: Direction) -> Self {
        Self {
            key: Zeroizing::new(*keys.aes_128()),
            hmac: PacketHmac::new(keys, direction),
            sequence_numbers: direction.sequence_numbers,
            window: direction.sequence_numbers.then(ReplayWindow::new),
        }
    }

    /// The same without protection against replays, for reading recordings.
    pub(super) fn without_replay_check(mut self) -> Self {
        self.window = None;
        self
    }

    /// Verifies and decrypts a datagram in place. `encrypted` is what follows the session ID; the
    /// result is the plain packet with its padding.
    ///
    /// With an HMAC, `encrypted` is unchanged unless the HMAC was right. With a checksum it is
    /// decrypted before it is known whether it was.
    pub fn open<'a>(&mut self, encrypted: &'a mut [u8]) -> Result<&'a [u8], PacketError> {
        let mut opened = [Err(PacketError::Length)];
        self.open_batch(&mut [&mut *encrypted], &mut opened);
        let [opened] = opened;
        opened.map(|plain| &encrypted[plain])
    }

    /// The same without a look at the HMAC, for recordings whose keys are known to fit. A checksum
    /// is verified.
    pub(super) fn open_trusting<'a>(
        &mut self,
        encrypted: &'a mut [u8],
    ) -> Result<&'a [u8], PacketError> {
        let hmac_len = self.hmac.as_ref().map_or(0, |hmac| hmac.len);
        let len = encrypted.len().checked_sub(hmac_len).ok_or(PacketError::Length)?;
        if len == 0 || !len.is_multiple_of(BLOCK) {
            return Err(PacketError::Length);
        }
        let cipher = Aes128Dec::new((&*self.key).into());
        let blocks = &mut encrypted[..len];
        let packet = decrypt(&cipher, blocks, self.hmac.is_none(), self.sequence_numbers)?;
        accept(&mut self.window, packet).map(|plain| &encrypted[plain])
    }

    /// True if there is an HMAC that [`open_trusting`](Self::open_trusting) would not look at.
    pub(super) fn has_hmac(&self) -> bool {
        self.hmac.is_some()
    }

    /// Does [`open`](Self::open) for each of several datagrams of the session in their order, with
    /// the same results: `opened` gets the range of each plain packet in its datagram. HMACs are
    /// verified side by side, so that a few dozen datagrams at a time take much less than one
    /// after the other. Nothing is allocated.
    ///
    /// Only as many datagrams are opened as there are places for results.
    ///
    /// ```ignore
    /// let mut opened = [const { Err(PacketError::Length) }; 64];
    /// opener.open_batch(&mut encrypted, &mut opened);
    /// for (datagram, opened) in encrypted.iter().zip(opened) {
    ///     if let Ok(range) = opened {
    ///         on_plain_packet(&datagram[range]);
    ///     }
    /// }
    /// ```
    pub fn open_batch<D: AsMut<[u8]>>(&mut self, encrypted: &mut [D], opened: &mut [Opened]) {
        let mut cipher = None;
        for (encrypted, opened) in encrypted.chunks_mut(HMACS).zip(opened.chunks_mut(HMACS)) {
            self.verify(encrypted, opened);
            for (datagram, opened) in encrypted.iter_mut().zip(opened) {
                let Ok(blocks) = opened.clone() else { continue };
                let cipher = cipher.get_or_insert_with(|| Aes128Dec::new((&*self.key).into()));
                *opened = match datagram.as_mut().get_mut(blocks) {
                    Some(blocks) => {
                        decrypt(cipher, blocks, self.hmac.is_none(), self.sequence_numbers)
                            .and_then(|plain| accept(&mut self.window, plain))
                    }
                    None => Err(PacketError::Length),
                };
            }
        }
    }

    /// Finds the cipher blocks of up to [`HMACS`] datagrams, and leaves out those with a wrong
    /// HMAC.
    fn verify<D: AsMut<[u8]>>(&self, encrypted: &mut [D], opened: &mut [Opened]) {
        let hmac_len = self.hmac.as_ref().map_or(0, |hmac| hmac.len);
        for (datagram, opened) in encrypted.iter_mut().zip(&mut *opened) {
            *opened = match datagram.as_mut().len().checked_sub(hmac_len) {
                Some(len) if len > 0 && len.is_multiple_of(BLOCK) => Ok(0..len),
                _ => Err(PacketError::Length),
            };
        }
        let Some(hmac) = &self.hmac else { return };
        let mut hmacs = [[0; HASH_LEN]; HMACS];
        let count = encrypted.len().min(opened.len()).min(HMACS);
        let messages = encrypted.iter_mut().zip(&*opened).map(|(datagram, opened)| match opened {
            Ok(blocks) => &datagram.as_mut()[blocks.clone()],
            Err(_) => &[],
        });
        hmac.key.compute(messages, &mut hmacs[..count], Place::Far);
        for ((datagram, opened), full) in encrypted.iter_mut().zip(opened).zip(&hmacs) {
            if let Ok(blocks) = opened
                && !bool::from(full[..hmac_len].ct_eq(&datagram.as_mut()[blocks.end..]))
            {
                *opened = Err(PacketError::Hmac);
            }
        }
    }
}

/// Range of a plain packet in its cipher blocks, and its session sequence number.
struct Decrypted {
    plain: Range<usize>,
    sequence: Option<u64>,
}

/// Decrypts the blocks of a datagram and reads what stands before the plain packet.
fn decrypt(
    cipher: &Aes128Dec,
    blocks: &mut [u8],
    has_checksum: bool,
    has_sequence: bool,
) -> Result<Decrypted, PacketError> {
    cbc::decrypt(cipher, blocks);
    let mut plain: &[u8] = blocks;
    let mut sequence = None;
    if has_sequence {
        let parsed = vlu::parse("sseq", plain).map_err(|_| PacketError::Sequence)?;
        (sequence, plain) = (Some(parsed.0), parsed.1);
    }
    if has_checksum {
        let (field, checked) =
            plain.split_first_chunk::<CHECKSUM_LEN>().ok_or(PacketError::Checksum)?;
        if checksum(checked) != u16::from_be_bytes(*field) {
            return Err(PacketError::Checksum);
        }
        plain = checked;
    }
    Ok(Decrypted { plain: blocks.len() - plain.len()..blocks.len(), sequence })
}

/// Checks and notes the sequence number of a verified packet.
fn accept(window: &mut Option<ReplayWindow>, packet: Decrypted) -> Opened {
    if let (Some(window), Some(sequence)) = (window, packet.sequence)
        && !window.accept(sequence)
    {
        return Err(PacketError::Replayed);
    }
    Ok(packet.plain)
}

/// The simple checksum (§4.7.3.1): the Internet checksum, except that the last byte of an odd
/// number is the lower half of its word.
fn checksum(bytes: &[u8]) -> u16 {
    // Four bytes at a time: 2^16 is 1 in this arithmetic, so that both halves count alike.
    let (words, tail) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let (words, last) = tail.as_chunks::<2>();
    sum += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
    sum += last.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
