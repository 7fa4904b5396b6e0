//! Requests of neighbors, which are answered as fast as the flow takes it.

use super::Posting;
use super::message::{KeyList, PostingMessage};
use crate::group::PostKey;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// Bytes of values that are sent at a time to a neighbor whose flow was full.
const BATCH: usize = 256 << 10;
/// The time between two batches.
const PAUSE: Duration = Duration::from_millis(10);

impl Posting {
    /// A request is answered at once, or, after the flow was full, in its turn.
    pub(super) fn on_request(&mut self, session: SessionId, list: KeyList) {
        let held = list.single().and_then(|key| Some((key, self.store.value(key)?.clone())));
        let Some(neighbor) = self.turns.get_mut(session) else { return };
        match held {
            Some((key, _)) if neighbor.values_blocked || !neighbor.owed.is_empty() => {
                let is_new = !neighbor.owed.contains(&key);
                if is_new && neighbor.owed.len() < self.limits.max_owed {
                    neighbor.owed.push_back(key);
                } else {
                    self.stats.dropped_requests += u64::from(is_new);
                }
            }
            Some((_, value)) => self.send_value(session, value),
            None if neighbor.keys_blocked => self.stats.dropped_requests += 1,
            None => {
                self.stats.negatives_sent += 1;
                self.send_keys(session, &PostingMessage::Negative(list));
            }
        }
    }

    /// A flow has space again: what is owed is due.
    pub(super) fn resume(&mut self, now: Time) {
        self.owed_at = self.owed_at.or(Some(now + PAUSE));
    }

    /// Sends a batch to each neighbor that is owed values.
    pub(super) fn serve_owed(&mut self, now: Time) {
        self.owed_at = None;
        for session in self.turns.owed() {
            let mut sent = 0;
            while let Some(key) = self.next_owed(session).filter(|_| sent < BATCH) {
                match self.store.value(key).cloned() {
                    Some(value) => {
                        sent += value.len();
                        self.send_value(session, value);
                    }
                    None => {
                        self.stats.negatives_sent += 1;
                        self.send_keys(session, &PostingMessage::Negative(key.into()));
                    }
                }
                if let Some(neighbor) = self.turns.get_mut(session) {
                    neighbor.owed.pop_front();
                }
            }
        }
        if !self.turns.owed().is_empty() {
            self.resume(now);
        }
    }

    fn next_owed(&self, session: SessionId) -> Option<PostKey> {
        self.turns.get(session)?.owed.front().copied()
    }
}
