//! [`MulticastParameters`]: what one member does about a stream that it publishes or plays.

use super::message::StreamSettings;
use super::stream::Stream;
use super::{Multicast, MulticastMut, NetStreamId};
use crate::group::GroupError;
use std::time::Duration;

/// Flash's properties `multicast…` of a `NetStream`, as they are in force at this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MulticastParameters {
    /// At first what the publisher has chosen. Values out of bounds are brought within them: windows
    /// of 0.1 s to 60 s, update periods of 10 ms to 10 s, fetch periods of up to 30 s.
    pub settings: StreamSettings,
    /// The neighbors that each fragment is sent to in advance; 0 for none.
    pub push_neighbor_limit: usize,
    /// How much longer than the window fragments are held for others.
    pub relay_margin_duration: Duration,
}

impl MulticastMut<'_> {
    /// What is in force for a stream that is published or played here. `None` if nothing of it has come
    /// yet.
    pub fn parameters(&self, id: NetStreamId) -> Option<MulticastParameters> {
        let stream = self.number_of(id).and_then(|number| self.streams.get(&number));
        stream.map(Stream::parameters)
    }

    /// Changes what is in force for a stream, at this member alone: others follow what the publisher
    /// has chosen when it began. As in Flash it ends with the stream; whoever plays the next stream of
    /// the name sets it again, after
    /// [`MulticastStreamReset`](crate::group::GroupEvent::MulticastStreamReset).
    ///
    /// # Errors
    ///
    /// [`GroupError::NoSuchStream`] if it is neither published nor played here, or nothing of it has
    /// come yet.
    pub fn set_parameters(
        &mut self,
        id: NetStreamId,
        parameters: MulticastParameters,
    ) -> Result<(), GroupError> {
        let number = self.number_of(id).ok_or(GroupError::NoSuchStream)?;
        let stream = self.group.multicast.streams.get_mut(&number);
        stream.ok_or(GroupError::NoSuchStream)?.set_parameters(parameters);
        Ok(())
    }
}

impl Multicast {
    /// The stream that is published or played.
    fn number_of(&self, id: NetStreamId) -> Option<u32> {
        let published = self.publications.get(&id).map(|(number, _)| *number);
        published.or_else(|| self.plays.get(id)?.stream)
    }
}
