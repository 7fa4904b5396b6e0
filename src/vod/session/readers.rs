//! [`Readers`]: the places at which a file is read while it is fetched.

use std::sync::{Arc, Weak};

/// A reader, for as long as it counts.
pub(in crate::vod) type ReaderToken = Arc<()>;

/// The chunk that each reader has read last, or waits for.
#[derive(Default)]
pub(super) struct Readers {
    readers: Vec<(Weak<()>, u64)>,
    is_changed: bool,
}

impl Readers {
    /// A reader reads a chunk.
    pub(super) fn note(&mut self, reader: &ReaderToken, index: u64) {
        let reader = Arc::downgrade(reader);
        let known = self.readers.iter_mut().find(|(other, _)| other.ptr_eq(&reader));
        match known {
            Some((_, at)) => self.is_changed |= std::mem::replace(at, index) != index,
            None => {
                self.readers.push((reader, index));
                self.is_changed = true;
            }
        }
    }

    /// The chunks, if they have changed since the last call. A reader that was dropped has none.
    pub(super) fn changed(&mut self) -> Option<Vec<u64>> {
        let before = self.readers.len();
        self.readers.retain(|(reader, _)| reader.strong_count() > 0);
        self.is_changed |= self.readers.len() < before;
        let is_changed = std::mem::take(&mut self.is_changed);
        is_changed.then(|| self.readers.iter().map(|(_, index)| *index).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_has_one_place_until_it_is_dropped() {
        let mut readers = Readers::default();
        let (first, second) = (ReaderToken::default(), ReaderToken::default());
        assert_eq!(readers.changed(), None);
        readers.note(&first, 3);
        readers.note(&second, 9);
        assert_eq!(readers.changed(), Some(vec![3, 9]));
        readers.note(&first, 3);
        assert_eq!(readers.changed(), None);
        readers.note(&first, 4);
        assert_eq!(readers.changed(), Some(vec![4, 9]));
        drop(second);
        assert_eq!(readers.changed(), Some(vec![4]));
        assert_eq!(readers.changed(), None);
    }
}
