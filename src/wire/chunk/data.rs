//! User Data and Next User Data.

use crate::wire::{OptionList, Reason, WireError, vlu};

/// Option type of the flow's metadata (§2.3.11.1.1).
pub const OPTION_METADATA: u64 = 0x00;

/// Option type of the return flow association (§2.3.11.1.2).
pub const OPTION_RETURN_ASSOCIATION: u64 = 0x0a;

const OPTIONS: u8 = 0x80;
const FRAGMENT: u8 = 0x30;
const ABANDON: u8 = 0x02;
const FINAL: u8 = 0x01;
const RESERVED: u8 = 0x4c;

/// Position of a fragment in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FragmentControl {
    /// A message of its own (0).
    Whole,
    /// The first of several (1).
    Begin,
    /// The last of several (2).
    End,
    /// Between the first and the last (3).
    Middle,
}

impl FragmentControl {
    /// From the number of two bits.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Whole,
            1 => Self::Begin,
            2 => Self::End,
            _ => Self::Middle,
        }
    }
}

/// The flags byte of both chunks, without the bit that announces options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserDataFlags {
    /// Position of the fragment in its message.
    pub fragment: FragmentControl,
    /// The sender has given this sequence number up (ABN).
    pub abandon: bool,
    /// This is the last sequence number of the flow (FIN).
    pub last: bool,
    /// The reserved bits in their places; send zero.
    pub reserved: u8,
}

impl UserDataFlags {
    fn parse(byte: u8) -> Self {
        Self {
            fragment: FragmentControl::from_bits((byte & FRAGMENT) >> 4),
            abandon: byte & ABANDON != 0,
            last: byte & FINAL != 0,
            reserved: byte & RESERVED,
        }
    }

    const fn byte(&self, options: bool) -> u8 {
        let mut byte = (self.fragment as u8) << 4 | self.reserved & RESERVED;
        if options {
            byte |= OPTIONS;
        }
        if self.abandon {
            byte |= ABANDON;
        }
        if self.last {
            byte |= FINAL;
        }
        byte
    }
}

/// User Data (§2.3.11): one fragment of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserData<'a> {
    /// Flags.
    pub flags: UserDataFlags,
    /// The sender's flow ID.
    pub flow: u64,
    /// The fragment's sequence number, from 1.
    pub sequence: u64,
    /// `sequence` less the forward sequence number; at most `sequence`, and not 0 unless abandoned.
    pub fsn_offset: u64,
    /// The encoded option list with its marker, if one is present.
    pub options: Option<&'a [u8]>,
    /// The fragment.
    pub data: &'a [u8],
}

impl<'a> UserData<'a> {
    /// Reads the payload. A sequence number of 0 and an impossible `fsnOffset` are refused.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let offset = |rest: &[u8]| input.len() - rest.len();
        let (&byte, rest) =
            input.split_first().ok_or(WireError::new("userData.flags", 0, Reason::Truncated))?;
        let flags = UserDataFlags::parse(byte);
        let (flow, rest) =
            vlu::parse("userData.flowID", rest).map_err(|e| e.within(offset(rest)))?;
        let at = offset(rest);
        let (sequence, rest) =
            vlu::parse("userData.sequenceNumber", rest).map_err(|e| e.within(at))?;
        if sequence == 0 {
            return Err(WireError::new("userData.sequenceNumber", at, Reason::Invalid));
        }
        let at = offset(rest);
        let (fsn_offset, rest) =
            vlu::parse("userData.fsnOffset", rest).map_err(|e| e.within(at))?;
        if fsn_offset > sequence || (fsn_offset == 0 && !flags.abandon) {
            return Err(WireError::new("userData.fsnOffset", at, Reason::Invalid));
        }
        let (options, data) = split_options(byte, rest).map_err(|e| e.within(offset(rest)))?;
        Ok(Self { flags, flow, sequence, fsn_offset, options, data })
    }

    /// The highest sequence number that will not be sent again, nor any below it.
    pub const fn forward_sequence(&self) -> u64 {
        self.sequence.saturating_sub(self.fsn_offset)
    }

    /// Bytes of the payload.
    pub fn encoded_len(&self) -> usize {
        1 + vlu::encoded_len(self.flow)
            + vlu::encoded_len(self.sequence)
            + vlu::encoded_len(self.fsn_offset)
            + self.options.map_or(0, <[u8]>::len)
            + self.data.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.flags.byte(self.options.is_some()));
        vlu::encode(self.flow, out);
        vlu::encode(self.sequence, out);
        vlu::encode(self.fsn_offset, out);
        out.extend_from_slice(self.options.unwrap_or_default());
        out.extend_from_slice(self.data);
    }
}

/// Next User Data (§2.3.12): the fragment after the one before it in the same packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextUserData<'a> {
    /// Flags.
    pub flags: UserDataFlags,
    /// The encoded option list with its marker, if one is present.
    pub options: Option<&'a [u8]>,
    /// The fragment.
    pub data: &'a [u8],
}

impl<'a> NextUserData<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (&byte, rest) = input.split_first().ok_or(WireError::new(
            "nextUserData.flags",
            0,
            Reason::Truncated,
        ))?;
        let (options, data) = split_options(byte, rest).map_err(|e| e.within(1))?;
        Ok(Self { flags: UserDataFlags::parse(byte), options, data })
    }

    /// Bytes of the payload.
    pub fn encoded_len(&self) -> usize {
        1 + self.options.map_or(0, <[u8]>::len) + self.data.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.flags.byte(self.options.is_some()));
        out.extend_from_slice(self.options.unwrap_or_default());
        out.extend_from_slice(self.data);
    }
}

/// An encoded option list, if there is one, and what follows it.
type Split<'a> = (Option<&'a [u8]>, &'a [u8]);

fn split_options(flags: u8, rest: &[u8]) -> Result<Split<'_>, WireError> {
    if flags & OPTIONS == 0 {
        return Ok((None, rest));
    }
    let (_, data) = OptionList::parse(rest)?;
    let (list, data) = rest.split_at(rest.len() - data.len());
    Ok((Some(list), data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(chunk: &UserData<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        chunk.encode(&mut out);
        assert_eq!(out.len(), chunk.encoded_len());
        out
    }

    #[test]
    fn the_players_first_fragment() {
        // The beginning of `connect` as Flash Player 10.3 sends it.
        let bytes = [0x80, 2, 1, 1, 5, 0, 0x54, 0x43, 4, 0, 0, 0x14, 0, 0, 0, 0, 2, 0];
        let chunk = UserData::parse(&bytes).unwrap();
        assert_eq!((chunk.flow, chunk.sequence, chunk.forward_sequence()), (2, 1, 0));
        assert_eq!(chunk.flags.fragment, FragmentControl::Whole);
        let (options, _) = OptionList::parse(chunk.options.unwrap()).unwrap();
        assert_eq!(options.find(OPTION_METADATA), Some(&b"TC\x04\x00"[..]));
        assert_eq!(chunk.data, &bytes[11..]);
        assert_eq!(encoded(&chunk), bytes);
    }

    #[test]
    fn the_players_abandonment() {
        let chunk = UserData::parse(&[0x02, 4, 3, 0]).unwrap();
        assert!(chunk.flags.abandon && !chunk.flags.last);
        assert_eq!(chunk.forward_sequence(), 3);
        let finish = UserData::parse(&[0x03, 4, 5, 1]).unwrap();
        assert!(finish.flags.abandon && finish.flags.last && finish.data.is_empty());
        assert_eq!(encoded(&finish), [0x03, 4, 5, 1]);
    }

    #[test]
    fn figure_3_of_the_rfc() {
        let first = UserData::parse(&[0, 2, 5, 3, 0, 1, 2]).unwrap();
        assert_eq!((first.forward_sequence(), first.data), (2, &[0, 1, 2][..]));
        let next = NextUserData::parse(&[0, 3, 4, 5]).unwrap();
        assert_eq!(next.data, [3, 4, 5]);
        let mut out = Vec::new();
        next.encode(&mut out);
        assert_eq!(out, [0, 3, 4, 5]);
    }

    #[test]
    fn hostile_sequence_numbers() {
        assert!(UserData::parse(&[0, 2, 0, 0]).is_err(), "sequence 0");
        assert!(UserData::parse(&[0, 2, 5, 6]).is_err(), "offset beyond the sequence number");
        assert!(UserData::parse(&[0, 2, 5, 0]).is_err(), "offset 0 without abandonment");
        assert!(UserData::parse(&[0x80, 2, 5, 1, 4, 0]).is_err(), "options without an end");
        assert!(UserData::parse(&[]).is_err());
        assert!(NextUserData::parse(&[]).is_err());
    }
}
