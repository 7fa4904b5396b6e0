//! [`Recent`]: chunks that have just been written.

use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes of chunks that are kept. Others ask for a chunk moments after it was announced.
const MAX_BYTES: usize = 8 << 20;

/// The chunks that were written last, so that a chunk that is passed on at once is neither read from
/// the disk nor compared with its hash again.
#[derive(Debug, Default)]
pub(super) struct Recent {
    chunks: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn insert(&mut self, index: u64, data: Bytes) {
        self.bytes += data.len();
        self.chunks.push_back((index, data));
        while self.bytes > MAX_BYTES
            && let Some((_, oldest)) = self.chunks.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }

    pub(super) fn get(&self, index: u64) -> Option<Bytes> {
        self.chunks.iter().rev().find(|(known, _)| *known == index).map(|(_, data)| data.clone())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_chunks_are_kept() {
        let mut recent = Recent::default();
        let chunk = |byte| Bytes::from(vec![byte; MAX_BYTES / 2]);
        (1..=3).for_each(|index| recent.insert(index, chunk(index as u8)));
        assert_eq!(recent.get(1), None);
        assert_eq!((recent.get(2), recent.get(3)), (Some(chunk(2)), Some(chunk(3))));
        recent.insert(4, vec![0; MAX_BYTES + 1].into());
        assert!((1..=4).all(|index| recent.get(index).is_none()), "too much for the bound");
        recent.insert(5, chunk(5));
        assert_eq!(recent.get(5), Some(chunk(5)));
        recent.clear();
        assert_eq!(recent.get(5), None);
    }
}
