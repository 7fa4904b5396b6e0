//! Streams that are played here, by their names.

use super::NetStreamId;
use std::collections::BTreeMap;

/// A player of the streams of one name. If several are published under it, it plays one until that
/// has ended.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) name: String,
    /// The number of the stream that it plays, once a message has come.
    pub(super) stream: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Plays {
    plays: BTreeMap<NetStreamId, Play>,
}

/// What a player is to get.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) id: NetStreamId,
    /// It is the first message that it gets of the stream.
    pub(super) is_first: bool,
}

impl Plays {
    pub(super) fn len(&self) -> usize {
        self.plays.len()
    }

    pub(super) fn insert(&mut self, id: NetStreamId, name: &str) {
        self.plays.insert(id, Play { name: name.to_owned(), stream: None });
    }

    pub(super) fn remove(&mut self, id: NetStreamId) -> Option<Play> {
        self.plays.remove(&id)
    }

    pub(super) fn get(&self, id: NetStreamId) -> Option<&Play> {
        self.plays.get(&id)
    }

    /// True if somebody plays streams of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.plays.values().any(|play| play.name == name)
    }

    /// The players of the next message of a stream. `is_live` is true for streams that go on.
    pub(super) fn due(
        &mut self,
        stream: u32,
        name: &str,
        is_live: impl Fn(u32) -> bool,
    ) -> Vec<Due> {
        let of_name = self.plays.iter_mut().filter(|(_, play)| play.name == name);
        let due = of_name.filter_map(|(&id, play)| match play.stream {
            Some(current) if current == stream => Some(Due { id, is_first: false }),
            Some(current) if is_live(current) => None,
            _ => {
                play.stream = Some(stream);
                Some(Due { id, is_first: true })
            }
        });
        due.collect()
    }

    /// The players of a stream.
    pub(super) fn of(&self, stream: u32) -> Vec<NetStreamId> {
        let of_stream = self.plays.iter().filter(|(_, play)| play.stream == Some(stream));
        of_stream.map(|(id, _)| *id).collect()
    }

    /// A stream has ended: its players wait for the next of the name.
    pub(super) fn end(&mut self, stream: u32) {
        for play in self.plays.values_mut().filter(|play| play.stream == Some(stream)) {
            play.stream = None;
        }
    }
}
