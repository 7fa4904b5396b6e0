//! The number of neighbors that hold each wanted index.

use super::runs::Runs;
use crate::range::IndexSet;
use crate::transport::Time;
use std::time::Duration;

/// Tables with more edges than this are rebuilt at most once per [`REBUILD`].
const SMALL: usize = 2048;
const REBUILD: Duration = Duration::from_millis(250);

/// The wanted indices by number of holders, rebuilt when it has changed and is needed.
///
/// A large table may be as old as [`REBUILD`], so that neighbors that constantly change their sets
/// cannot cause much work with few bytes. This affects only the order of requests.
#[derive(Debug, Default)]
pub(super) struct Rarity {
    levels: Vec<Runs>,
    dirty: bool,
    /// The indices at which the number of holders changes, and the change. Kept to reuse its
    /// memory.
    edges: Vec<(u64, i32)>,
    built: Option<Time>,
}

impl Rarity {
    /// True if some set has changed.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Updates the table; `haves` are the neighbors' sets.
    pub(super) fn refresh<'a>(
        &mut self,
        now: Time,
        want: &IndexSet,
        haves: impl Iterator<Item = &'a IndexSet>,
    ) {
        let due = self.built.is_none_or(|built| now.since(built) >= REBUILD);
        if !self.dirty || !(due || self.edges.len() <= SMALL) {
            return;
        }
        self.edges.clear();
        for have in haves {
            for range in want.common_ranges(have) {
                self.edges.push((*range.start(), 1));
                self.edges.push((range.end() + 1, -1));
            }
        }
        // The stable sort benefits from the order within each neighbor's part.
        self.edges.sort();
        self.sweep();
        self.dirty = false;
        self.built = Some(now);
    }

    /// The levels, rarest first: level `n` holds what `n + 1` neighbors have.
    pub(super) fn levels(&self) -> impl Iterator<Item = &Runs> {
        self.levels.iter().filter(|level| !level.is_empty())
    }

    fn sweep(&mut self) {
        self.levels.clear();
        let mut holders = 0i32;
        for pair in self.edges.windows(2) {
            let &[(at, step), (next, _)] = pair else { continue };
            holders += step;
            let Ok(level @ 1..) = usize::try_from(holders) else { continue };
            if next > at {
                if self.levels.len() < level {
                    self.levels.resize_with(level, Runs::default);
                }
                if let Some(runs) = self.levels.get_mut(level - 1) {
                    runs.push(at, next - 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::MAX_INDEX;

    fn set(ranges: &[std::ops::RangeInclusive<u64>]) -> IndexSet {
        IndexSet::from_ranges(ranges.iter().cloned()).unwrap()
    }

    #[test]
    fn counts_holders_of_wanted_indices() {
        let want = set(&[0..=130]);
        let haves = [set(&[0..=40]), set(&[25..=60]), set(&[30..=30, MAX_INDEX..=MAX_INDEX])];
        let mut rarity = Rarity::default();
        rarity.touch();
        rarity.refresh(Time::ZERO, &want, haves.iter());
        let levels: Vec<_> = rarity.levels().cloned().collect();
        let expected = [vec![0..=24, 41..=60], vec![25..=29, 31..=40], vec![30..=30]];
        assert_eq!(levels, expected.map(Runs::from_iter));
    }

    #[test]
    fn large_tables_are_rebuilt_rarely() {
        let want = set(&[0..=MAX_INDEX]);
        let many = set(&(0..2000).map(|i| 2 * i..=2 * i).collect::<Vec<_>>());
        let mut rarity = Rarity::default();
        rarity.touch();
        rarity.refresh(Time::ZERO, &want, [&many].into_iter());
        rarity.touch();
        rarity.refresh(Time::from_millis(100), &want, [].into_iter());
        assert_eq!(rarity.levels().count(), 1, "still the old table");
        rarity.refresh(Time::from_millis(300), &want, [].into_iter());
        assert_eq!(rarity.levels().count(), 0);
    }
}
