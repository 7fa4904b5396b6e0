//! The calls with which the application publishes and plays streams.

use super::message::{Description, StreamKey, StreamSettings};
use super::publication::Publication;
use super::{Multicast, NetStreamId};
use crate::flash::Message;
use crate::group::{Group, GroupError};
use crate::transport::Time;
use std::ops::Deref;

/// The longest name of a stream, in bytes.
const MAX_NAME: usize = 512;

/// Settings of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// What everybody follows in this stream.
    pub settings: StreamSettings,
    /// Sends codec configuration and metadata again every now and then, for those who join late.
    pub repeats_configuration: bool,
}

impl Default for PublishOptions {
    /// Flash's settings, and repetitions.
    fn default() -> Self {
        Self { settings: StreamSettings::default(), repeats_configuration: true }
    }
}

/// Mutable access to the streams of one group. Drain the group's actions and events afterwards, as
/// after every input.
pub struct MulticastMut<'a> {
    pub(super) group: &'a mut Group,
    now: Time,
}

impl Group {
    /// Mutable access to streams at the time `now`.
    pub fn multicast_mut(&mut self, now: Time) -> MulticastMut<'_> {
        MulticastMut { group: self, now }
    }
}

impl MulticastMut<'_> {
    /// Publishes a stream. Others learn of it with the first message.
    ///
    /// # Errors
    ///
    /// The group closed, multicast not enabled in the groupspec, a publish password without which this
    /// member may not publish, a name above 512 bytes, or too many streams.
    pub fn publish(
        &mut self,
        name: &str,
        options: PublishOptions,
    ) -> Result<NetStreamId, GroupError> {
        let now = self.now;
        self.check(name)?;
        let multicast = &mut self.group.multicast;
        if !multicast.may_publish {
            return Err(GroupError::PublishNotAuthorized);
        }
        if multicast.streams.len() >= multicast.limits.max_streams && !multicast.make_place(now) {
            return Err(GroupError::TooManyStreams);
        }
        let mut key = [0; 32];
        for part in key.as_chunks_mut::<8>().0 {
            *part = multicast.rng.next_u64().to_be_bytes();
        }
        let description = Description::new(name, StreamKey(key), options.settings);
        let number = multicast.add_stream(now, description, true);
        let id = NetStreamId(multicast.number());
        let publication = Publication::new(options.repeats_configuration);
        multicast.publications.insert(id, (number, publication));
        self.group.drain_features();
        Ok(id)
    }

    /// Sends a message of a published stream: audio, video, or data.
    ///
    /// # Errors
    ///
    /// [`GroupError::NoSuchStream`] if it is not published.
    pub fn send(&mut self, id: NetStreamId, message: &Message) -> Result<(), GroupError> {
        let (now, multicast) = (self.now, &mut self.group.multicast);
        let Some((number, publication)) = multicast.publications.get_mut(&id) else {
            return Err(GroupError::NoSuchStream);
        };
        let (number, fragments) = (*number, publication.send(now, message));
        multicast.with(now, number, |stream, turn| {
            fragments.into_iter().for_each(|(at, data)| stream.publish(turn, at, data));
        });
        multicast.bound_bytes();
        self.group.drain_features();
        Ok(())
    }

    /// Ends a published stream. What others lack is served for as long as they can want it; see
    /// [`lacking`](Self::lacking) for when to leave the group.
    ///
    /// # Errors
    ///
    /// [`GroupError::NoSuchStream`] if it is not published.
    pub fn unpublish(&mut self, id: NetStreamId) -> Result<(), GroupError> {
        let (now, multicast) = (self.now, &mut self.group.multicast);
        let Some((number, publication)) = multicast.publications.get_mut(&id) else {
            return Err(GroupError::NoSuchStream);
        };
        let number = *number;
        if publication.next() == 1 {
            multicast.publications.remove(&id);
            multicast.with(now, number, |stream, _| stream.give_up(now));
            return Ok(());
        }
        let Some(name) = multicast.streams.get(&number).map(|s| s.description().name().to_owned())
        else {
            return Err(GroupError::NoSuchStream);
        };
        let end = multicast.publications.remove(&id).map(|(_, mut it)| it.end(&name));
        multicast.with(now, number, |stream, turn| {
            let end = end.into_iter().flatten();
            end.for_each(|(at, data)| stream.publish(turn, at, data));
        });
        multicast.leaving.push((id, number));
        self.group.drain_features();
        Ok(())
    }

    /// The number of neighbors that take part in a stream that was published and ended here and do not
    /// have all of it that they can have, by their maps, as far as these are of use: 0 also when none has
    /// asked for anything for some seconds, and when the stream is forgotten.
    pub fn lacking(&self, id: NetStreamId) -> usize {
        let multicast = &self.group.multicast;
        let number = multicast.leaving.iter().find(|(of, _)| *of == id).map(|(_, number)| number);
        let stream = number.and_then(|number| multicast.streams.get(number));
        stream.map_or(0, |stream| stream.lacking(self.now))
    }

    /// Plays the streams of a name, one after the other: their messages are delivered as
    /// [`MulticastStreamMessage`](crate::group::GroupEvent::MulticastStreamMessage), from the next one
    /// on.
    ///
    /// # Errors
    ///
    /// The group closed, multicast not enabled in the groupspec, a name above 512 bytes, or more than
    /// 256 players.
    pub fn play(&mut self, name: &str) -> Result<NetStreamId, GroupError> {
        self.check(name)?;
        let multicast = &mut self.group.multicast;
        if multicast.plays.len() >= super::MAX_PLAYS {
            return Err(GroupError::TooManyStreams);
        }
        let id = NetStreamId(multicast.number());
        multicast.plays.insert(id, name);
        multicast.set_wanted(name);
        Ok(id)
    }

    /// Stops playing. The member still takes part in the stream.
    pub fn stop(&mut self, id: NetStreamId) {
        let multicast = &mut self.group.multicast;
        if let Some(play) = multicast.plays.remove(id) {
            multicast.set_wanted(&play.name);
        }
    }

    fn check(&self, name: &str) -> Result<(), GroupError> {
        match (self.group.closed, self.group.multicast.enabled) {
            (true, _) => Err(GroupError::Closed),
            (false, false) => Err(GroupError::MulticastDisabled),
            (false, true) if name.len() > MAX_NAME => Err(GroupError::StreamNameTooLong),
            (false, true) => Ok(()),
        }
    }
}

impl Multicast {
    /// Puts messages together if somebody plays the stream.
    fn set_wanted(&mut self, name: &str) {
        let is_wanted = self.plays.has(name);
        let of_name = self.streams.values_mut().filter(|it| it.description().name() == name);
        of_name.for_each(|stream| stream.set_wanted(is_wanted));
    }
}

impl Deref for MulticastMut<'_> {
    type Target = Multicast;

    fn deref(&self) -> &Multicast {
        &self.group.multicast
    }
}
