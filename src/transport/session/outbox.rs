//! Control chunks that wait to be sent, outside of flows.

use super::Session;
use crate::transport::Path;
use std::collections::VecDeque;

/// Control chunks that may wait to be sent; the far end causes most of them.
const MAX_OUTBOX: usize = 32;

/// Control chunks in the order of sending.
#[derive(Debug, Default)]
pub(super) struct Outbox(VecDeque<Control>);

/// A chunk that waits to be sent.
#[derive(Debug)]
struct Control {
    /// Destination, if it is not the session's path.
    path: Option<Path>,
    chunk: Vec<u8>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Queues a chunk for `path`, or for the session's path. Dropped if too many wait already.
    pub(super) fn push(&mut self, path: Option<Path>, kind: u8, payload: &[u8]) {
        if self.0.len() >= MAX_OUTBOX {
            return;
        }
        let Ok(len) = u16::try_from(payload.len()) else { return };
        let mut chunk = Vec::with_capacity(3 + payload.len());
        chunk.push(kind);
        chunk.extend_from_slice(&len.to_be_bytes());
        chunk.extend_from_slice(payload);
        self.0.push_back(Control { path, chunk });
    }

    /// Destination of the first chunk, if that is not the session's path.
    pub(super) fn first_detour(&self) -> Option<Path> {
        self.0.front()?.path
    }

    /// True if the first chunk goes to `path`, or to the session's path.
    pub(super) fn is_first_for(&self, path: Option<Path>) -> bool {
        self.0.front().is_some_and(|control| control.path == path)
    }

    /// Appends the first chunks for `path`, as many as end before `end`, and one in any case.
    pub(super) fn assemble(&mut self, path: Option<Path>, end: usize, out: &mut Vec<u8>) {
        let empty = out.len();
        while let Some(control) = self.0.front()
            && control.path == path
            && (out.len() == empty || out.len() + control.chunk.len() <= end)
        {
            out.extend_from_slice(&control.chunk);
            self.0.pop_front();
        }
    }

    /// Drops every chunk.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Drops every chunk of another kind.
    pub(super) fn keep_only(&mut self, kind: u8) {
        self.0.retain(|control| control.chunk.first() == Some(&kind));
    }

    /// The session's path is `path` from now on: the chunks for it are no longer a detour.
    pub(super) fn on_moved(&mut self, path: Path) {
        for control in self.0.iter_mut().filter(|control| control.path == Some(path)) {
            control.path = None;
        }
    }
}

impl Session {
    /// Queues a chunk outside of flows. Dropped if too many wait already.
    pub(crate) fn push_control(&mut self, path: Option<Path>, kind: u8, payload: &[u8]) {
        self.outbox.push(path, kind, payload);
    }
}
