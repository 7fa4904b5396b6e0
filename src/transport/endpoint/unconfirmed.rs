//! Sessions that their initiators have not used yet, by source.

use crate::transport::SessionId;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

/// The sessions of each source, oldest first, and which source has most of them.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    by_source: HashMap<IpAddr, VecDeque<SessionId>>,
    by_count: BTreeSet<(usize, IpAddr)>,
    len: usize,
}

impl Unconfirmed {
    /// Number of them.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Those of one source, oldest first.
    pub(super) fn of(&self, source: IpAddr) -> impl ExactSizeIterator<Item = SessionId> + Clone {
        const NONE: &VecDeque<SessionId> = &VecDeque::new();
        self.by_source.get(&source).unwrap_or(NONE).iter().copied()
    }

    /// A source that has as many as any other.
    pub(super) fn greediest(&self) -> Option<IpAddr> {
        self.by_count.last().map(|&(_, source)| source)
    }

    pub(super) fn insert(&mut self, source: IpAddr, id: SessionId) {
        let ids = self.by_source.entry(source).or_default();
        self.by_count.remove(&(ids.len(), source));
        ids.push_back(id);
        self.by_count.insert((ids.len(), source));
        self.len += 1;
    }

    /// Takes a session out, if it is among them.
    pub(super) fn remove(&mut self, source: IpAddr, id: SessionId) {
        let Some(ids) = self.by_source.get_mut(&source) else { return };
        let Some(index) = ids.iter().position(|&other| other == id) else { return };
        self.by_count.remove(&(ids.len(), source));
        ids.remove(index);
        self.len -= 1;
        if ids.is_empty() {
            self.by_source.remove(&source);
        } else {
            self.by_count.insert((ids.len(), source));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greediest_source_is_known_at_any_time() {
        let source = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut sessions = Unconfirmed::default();
        assert_eq!((sessions.len(), sessions.greediest()), (0, None));
        for (id, last) in [1, 2, 2, 3, 3, 3].into_iter().enumerate() {
            sessions.insert(source(last), SessionId(id as u32));
        }
        assert_eq!((sessions.len(), sessions.greediest()), (6, Some(source(3))));
        assert!(sessions.of(source(3)).eq([3, 4, 5].map(SessionId)));
        sessions.remove(source(3), SessionId(4));
        sessions.remove(source(3), SessionId(4));
        sessions.remove(source(3), SessionId(0));
        assert!(sessions.of(source(3)).eq([3, 5].map(SessionId)));
        sessions.remove(source(3), SessionId(3));
        assert_eq!((sessions.len(), sessions.greediest()), (4, Some(source(2))));
        for (last, id) in [(3, 5), (2, 1), (2, 2), (1, 0)] {
            sessions.remove(source(last), SessionId(id));
        }
        assert_eq!((sessions.len(), sessions.greediest()), (0, None));
        assert_eq!(sessions.of(source(1)).len(), 0);
        assert!(sessions.by_source.is_empty() && sessions.by_count.is_empty());
    }
}
