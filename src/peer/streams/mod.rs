//! Streams that are published or played: Flash's `NetStream`, in a [`NetGroup`] or outside.
//!
//! | file | subject |
//! | --- | --- |
//! | `carrier` | what carries a stream: a group or a connection |
//! | `published` | [`PublishedStream`]: audio, video and data for others |
//! | `played` | [`PlayedStream`]: those of others |
//! | `writer` | [`FlvWriter`]: an FLV that is published |
//! | `reader` | [`FlvReader`]: an FLV of what is played |
//! | `recorder` | messages into an FLV that begins where it can be shown |

mod carrier;
mod played;
mod published;
mod reader;
mod recorder;
mod writer;

pub use played::PlayedStream;
pub use published::PublishedStream;
pub use reader::FlvReader;
pub use recorder::Missing;
pub use writer::FlvWriter;

use super::machine::PeerMachine;
use super::{NetGroup, NetGroupError};
use crate::group::{PublishOptions, StreamState};
use crate::transport::Time;

impl NetGroup {
    /// Publishes a stream in the group under this name, with the default settings. Members learn of
    /// it with its first message.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Group`] if the groupspec does not enable multicast, if it requires a
    /// publish password that is not in the groupspec (Flash publishes nothing then, without an
    /// error), if the name has more than 512 bytes, or if there are too many streams;
    /// [`NetGroupError::Closed`].
    pub async fn publish(&self, name: &str) -> Result<PublishedStream, NetGroupError> {
        self.publish_with(name, PublishOptions::default()).await
    }

    /// As [`publish`](Self::publish), with settings.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_with(
        &self,
        name: &str,
        options: PublishOptions,
    ) -> Result<PublishedStream, NetGroupError> {
        let text = name.to_owned();
        let published = self
            .call(move |group, _, now| group.multicast_mut(now).publish(&text, options))
            .await?;
        Ok(PublishedStream::of_group(self.clone(), published?, name))
    }

    /// The streams that go on in the group, as far as known.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn streams(&self) -> Result<Vec<StreamState>, NetGroupError> {
        self.call(|group, _, now| group.multicast_mut(now).states(now)).await
    }

    /// Plays the stream of this name, from the next message on, or as soon as somebody publishes
    /// it. When it ends, the next one of the name is played.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Group`] if the groupspec does not enable multicast, the name has more than
    /// 512 bytes, or there are 256 players; [`NetGroupError::Closed`].
    pub async fn play(&self, name: &str) -> Result<PlayedStream, NetGroupError> {
        let (handle, text) = (self.handle(), name.to_owned());
        let play = move |peer: &mut PeerMachine, now: Time| peer.play(now, handle, &text);
        let played = self.connection().with_machine(play).await?.ok_or(NetGroupError::Closed)?;
        let (id, queue) = played?;
        Ok(PlayedStream::of_group(self.clone(), id, name, queue))
    }
}
