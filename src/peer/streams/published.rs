//! [`PublishedStream`].

use super::FlvWriter;
use crate::amf::{Encoding, Value, Writer};
use crate::flash::{Body, Format, Message};
use crate::group::{NetStreamId, NetStreamMulticastInfo};
use crate::peer::signals::Signal;
use crate::peer::{NetGroup, NetGroupError};
use std::time::Duration;

/// Interval at which it is looked who still lacks something of a stream that has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A stream that this member publishes in a group. It ends when this is dropped, or by
/// [`close`](Self::close).
#[derive(Debug)]
pub struct PublishedStream {
    group: NetGroup,
    id: NetStreamId,
    name: String,
}

impl PublishedStream {
    pub(super) fn new(group: NetGroup, id: NetStreamId, name: &str) -> Self {
        Self { group, id, name: name.to_owned() }
    }

    /// The group.
    pub fn group(&self) -> &NetGroup {
        &self.group
    }

    /// The name under which it is published.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends audio, video or data; they belong in the order of their timestamps. Returns when it is
    /// on its way. What the network does not carry in time is dropped for those members that lack
    /// it, so this never waits for them.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`], and [`NetGroupError::Group`] if the group has dropped the stream.
    pub async fn write(&self, message: Message) -> Result<(), NetGroupError> {
        let id = self.id;
        let sent = self
            .group
            .call(move |group, _, now| group.multicast_mut(now).send(id, &message))
            .await?;
        Ok(sent?)
    }

    /// Calls `handler` with these values at whoever plays the stream: Flash's `NetStream.send`.
    /// Byte arrays arrive as such.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Object`] if a value cannot be encoded; else as [`write`](Self::write).
    pub async fn send(
        &self,
        timestamp: u32,
        handler: &str,
        values: &[Value],
    ) -> Result<(), NetGroupError> {
        let mut writer = Writer::new(Encoding::Amf0);
        writer.write(&Value::from(handler))?;
        for value in values {
            writer.write(value)?;
        }
        let body = Body::Data(Format::Extended, writer.into_bytes());
        self.write(Message::new(timestamp, body)).await
    }

    /// Counters and rates of the stream: Flash's `NetStream.multicastInfo`.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn multicast_info(&self) -> Result<NetStreamMulticastInfo, NetGroupError> {
        let id = self.id;
        let info =
            self.group.call(move |group, _, now| group.multicast_mut(now).info(now, id)).await?;
        Ok(info.unwrap_or_default())
    }

    /// An FLV that is written here is published, as fast as it is written.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn into_flv_writer(self) -> FlvWriter {
        FlvWriter::new(self)
    }

    /// Ends the stream, and waits until the neighbors have all of it, at most for `grace`. Returns
    /// whether they have.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn close(self, grace: Duration) -> Result<bool, NetGroupError> {
        let id = self.id;
        let ended =
            self.group.call(move |group, _, now| group.multicast_mut(now).unpublish(id)).await?;
        ended?;
        let mut looks = tokio::time::interval(LOOK);
        let delivered = async {
            loop {
                looks.tick().await;
                let lacking = move |group: &mut crate::group::Group, _: &mut _, now| {
                    group.multicast_mut(now).lacking(id)
                };
                if self.group.call(lacking).await? == 0 {
                    return Ok(true);
                }
            }
        };
        tokio::time::timeout(grace, delivered).await.unwrap_or(Ok(false))
    }
}

impl Drop for PublishedStream {
    fn drop(&mut self) {
        // Nothing happens if it was closed.
        let signal = Signal::Unpublished(self.group.handle(), self.id);
        self.group.connection().signal(signal);
    }
}
