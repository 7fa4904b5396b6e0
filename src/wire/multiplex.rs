//! The multiplex layer (RFC 7016 §2.2.2): a scrambled session ID before each encrypted packet.

/// Bytes of the scrambled session ID at the front of every datagram.
pub const SESSION_ID_LEN: usize = 4;

/// The session ID of a whole datagram, or `None` if it is shorter than the ID itself.
pub fn session_id(datagram: &[u8]) -> Option<u32> {
    let (head, encrypted) = datagram.split_first_chunk::<SESSION_ID_LEN>()?;
    Some(u32::from_be_bytes(*head) ^ mask(encrypted))
}

/// Writes the scrambled `session_id` into the first four bytes of a datagram whose encrypted
/// packet is already in place. A datagram shorter than four bytes is left alone.
pub fn scramble(session_id: u32, datagram: &mut [u8]) {
    if let Some((head, encrypted)) = datagram.split_first_chunk_mut::<SESSION_ID_LEN>() {
        *head = (session_id ^ mask(encrypted)).to_be_bytes();
    }
}

/// The exclusive-or of the first two words, as if padded with zeros to eight bytes.
fn mask(encrypted: &[u8]) -> u32 {
    let mut words = [0u8; 8];
    for (to, from) in words.iter_mut().zip(encrypted) {
        *to = *from;
    }
    let word = |i: usize| u32::from_be_bytes([words[i], words[i + 1], words[i + 2], words[i + 3]]);
    word(0) ^ word(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scramble_is_undone() {
        let mut datagram = [0u8, 0, 0, 0, 1, 2, 3, 4, 0x10, 0x20, 0x30, 0x40, 9];
        scramble(0x0200_0000, &mut datagram);
        assert_eq!(datagram[..4], [0x13, 0x22, 0x33, 0x44]);
        assert_eq!(session_id(&datagram), Some(0x0200_0000));
    }

    #[test]
    fn short_packets_are_padded_with_zeros() {
        let mut datagram = [0u8, 0, 0, 0, 0xaa];
        scramble(1, &mut datagram);
        assert_eq!(datagram[..4], [0xaa, 0, 0, 1]);
        assert_eq!(session_id(&datagram), Some(1));
        assert_eq!(session_id(&[1, 2, 3]), None);
    }
}
