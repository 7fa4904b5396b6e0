//! [`Senders`]: the contributions of each peer.

use std::collections::BTreeMap;

/// Bad objects after which a peer is distrusted.
///
/// One bad object may be a mistake (an old version of the file, a damaged disk); several are not.
pub const MAX_BAD_OBJECTS: u32 = 3;

/// The most peers that are remembered. Objects of further ones are judged individually.
pub const MAX_SENDERS: usize = 4096;

/// The contributions of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderStats {
    /// Bytes of good chunks.
    pub bytes: u64,
    /// Number of bad objects.
    pub bad_objects: u32,
    /// True if good chunks from it are held now.
    contributed: bool,
}

/// The peers that have sent objects.
#[derive(Debug, Clone)]
pub(super) struct Senders<P> {
    known: BTreeMap<P, SenderStats>,
    /// True if chunks of other peers are held now.
    others_contributed: bool,
}

impl<P: Ord + Clone> Senders<P> {
    pub(super) fn new() -> Self {
        Self { known: BTreeMap::new(), others_contributed: false }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&P, &SenderStats)> {
        self.known.iter()
    }

    pub(super) fn is_distrusted(&self, peer: &P) -> bool {
        self.known.get(peer).is_some_and(|sender| sender.bad_objects >= MAX_BAD_OBJECTS)
    }

    pub(super) fn note_good(&mut self, peer: &P, bytes: u64) {
        match self.entry(peer) {
            Some(sender) => {
                sender.bytes += bytes;
                sender.contributed = true;
            }
            None => self.others_contributed = true,
        }
    }

    /// Records a bad object. Returns true if the peer is distrusted because of it.
    pub(super) fn note_bad(&mut self, peer: &P) -> bool {
        let Some(sender) = self.entry(peer) else { return false };
        sender.bad_objects = sender.bad_objects.saturating_add(1);
        sender.bad_objects == MAX_BAD_OBJECTS
    }

    /// Trusts a peer no longer. Returns true if it was trusted.
    pub(super) fn distrust(&mut self, peer: &P) -> bool {
        let Some(sender) = self.entry(peer) else { return true };
        let was_trusted = sender.bad_objects < MAX_BAD_OBJECTS;
        sender.bad_objects = sender.bad_objects.max(MAX_BAD_OBJECTS);
        was_trusted
    }

    /// Ends a period of contributions that together were bad: if all of them came from one peer, it
    /// is distrusted from now on.
    pub(super) fn end_bad_period(&mut self) -> Option<P> {
        let mut contributors = Vec::new();
        for (peer, sender) in &mut self.known {
            if std::mem::take(&mut sender.contributed) {
                contributors.push(peer.clone());
            }
        }
        let others = std::mem::take(&mut self.others_contributed);
        let single = contributors.pop().filter(|_| contributors.is_empty() && !others)?;
        self.distrust(&single).then_some(single)
    }

    fn entry(&mut self, peer: &P) -> Option<&mut SenderStats> {
        if self.known.len() >= MAX_SENDERS && !self.known.contains_key(peer) {
            return None;
        }
        Some(self.known.entry(peer.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_ends_with_the_third_bad_object_and_once() {
        let mut senders = Senders::new();
        let ends: Vec<bool> = (0..5).map(|_| senders.note_bad(&'a')).collect();
        assert_eq!(ends, [false, false, true, false, false]);
        assert!(senders.is_distrusted(&'a') && !senders.is_distrusted(&'b'));
    }

    #[test]
    fn a_bad_whole_is_blamed_on_a_single_sender_only() {
        let mut senders = Senders::new();
        senders.note_good(&'a', 10);
        assert_eq!(senders.end_bad_period(), Some('a'));
        assert!(senders.is_distrusted(&'a'));
        assert_eq!(senders.end_bad_period(), None);
        senders.note_good(&'b', 10);
        senders.note_good(&'c', 10);
        assert_eq!(senders.end_bad_period(), None);
        assert!(!senders.is_distrusted(&'b'));
        senders.note_good(&'b', 10);
        assert_eq!(senders.end_bad_period(), Some('b'));
    }

    #[test]
    fn the_number_of_remembered_peers_is_bounded() {
        let mut senders = Senders::new();
        for peer in 0..MAX_SENDERS + 100 {
            senders.note_bad(&peer);
        }
        assert_eq!(senders.iter().count(), MAX_SENDERS);
        senders.note_good(&0, 1);
        senders.note_good(&(MAX_SENDERS + 1), 1);
        assert_eq!(senders.end_bad_period(), None);
    }
}
