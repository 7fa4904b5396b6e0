//! The anti-replay window (RFC 7425 §4.7.3.3).

/// Distance behind the highest session sequence number at which a packet is still accepted
/// once. The RFC asks for 32 at least.
pub const REPLAY_WINDOW: u64 = 1024;

const WORDS: usize = (REPLAY_WINDOW / 64) as usize;

/// Which of the last [`REPLAY_WINDOW`] sequence numbers have been seen.
#[derive(Debug, Clone)]
pub(super) struct ReplayWindow {
    /// One more than the highest number seen.
    next: u64,
    /// A ring: number `n` is bit `n % REPLAY_WINDOW`.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    pub(super) const fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// Notes a number. True if it is new. A number that fell out of the window counts as
    /// seen. Call it only for packets that have been verified.
    pub(super) fn accept(&mut self, sequence: u64) -> bool {
        // The highest number of all has no successor; nobody gets there.
        let Some(after) = sequence.checked_add(1) else { return false };
        if after > self.next {
            self.forget(after - self.next);
            self.next = after;
        } else if self.next - sequence > REPLAY_WINDOW {
            return false;
        }
        let (word, bit) = place(sequence);
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    /// Clears the places of the next `count` numbers.
    fn forget(&mut self, count: u64) {
        if count >= REPLAY_WINDOW {
            self.seen = [0; WORDS];
            return;
        }
        for sequence in self.next..self.next + count {
            let (word, bit) = place(sequence);
            self.seen[word] &= !bit;
        }
    }
}

fn place(sequence: u64) -> (usize, u64) {
    let slot = sequence % REPLAY_WINDOW;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn in_order_then_replayed() {
        let mut window = ReplayWindow::new();
        for n in 0..5000 {
            assert!(window.accept(n));
            assert!(!window.accept(n));
        }
    }

    #[test]
    fn the_edges_of_the_window() {
        let mut window = ReplayWindow::new();
        assert!(window.accept(10_000));
        assert!(window.accept(10_001 - REPLAY_WINDOW), "the oldest place");
        assert!(!window.accept(10_001 - REPLAY_WINDOW));
        assert!(!window.accept(10_000 - REPLAY_WINDOW), "just out of the window");
        assert!(!window.accept(0));
    }

    #[test]
    fn jumps() {
        let mut window = ReplayWindow::new();
        assert!(window.accept(0));
        assert!(window.accept(5_000_000));
        assert!(!window.accept(0));
        assert!(window.accept(5_000_000 - 31));
        assert!(window.accept(u64::MAX - 1));
        assert!(!window.accept(u64::MAX));
        assert!(!window.accept(u64::MAX - 1));
        assert!(window.accept(u64::MAX - 2));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in proptest::collection::vec(0u64..3000, 1..300)) {
            let mut window = ReplayWindow::new();
            let (mut seen, mut highest) = (HashSet::new(), 0);
            for n in steps {
                let too_old = n + REPLAY_WINDOW <= highest;
                prop_assert_eq!(window.accept(n), !too_old && seen.insert(n), "{}", n);
                highest = highest.max(n);
            }
        }
    }
}
