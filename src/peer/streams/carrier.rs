//! [`Carrier`]: what carries a stream.

use crate::flash::Message;
use crate::group::{Group, GroupError, MulticastParameters, NetStreamId, NetStreamMulticastInfo};
use crate::node::StreamHandle;
use crate::peer::error::StreamError;
use crate::peer::{Connection, NetGroup, NetGroupError};

/// What carries a stream, and its name there.
#[derive(Debug)]
pub(super) enum Carrier {
    /// The members of a group.
    Group(NetGroup, NetStreamId),
    /// A connection, to peers or the server.
    Connection(Connection, StreamHandle),
}

impl Carrier {
    pub(super) fn group(&self) -> Option<&NetGroup> {
        match self {
            Self::Group(group, _) => Some(group),
            Self::Connection(..) => None,
        }
    }

    /// Sends a message.
    pub(super) async fn write(&self, message: Message) -> Result<(), StreamError> {
        match self {
            Self::Group(group, id) => {
                let id = *id;
                let send = move |group: &mut Group, _: &mut _, now| {
                    group.multicast_mut(now).send(id, &message)
                };
                Ok(group.call(send).await??)
            }
            Self::Connection(connection, handle) => {
                let handle = *handle;
                let written = connection
                    .with_machine(move |peer, now| {
                        peer.node_mut().write_to_stream(now, handle, &message)
                    })
                    .await?;
                if written { Ok(()) } else { Err(StreamError::Closed) }
            }
        }
    }

    pub(super) async fn multicast_info(&self) -> Result<NetStreamMulticastInfo, NetGroupError> {
        let Self::Group(group, id) = self else { return Ok(NetStreamMulticastInfo::default()) };
        let id = *id;
        let info = group.call(move |group, _, now| group.multicast_mut(now).info(now, id)).await?;
        Ok(info.unwrap_or_default())
    }

    pub(super) async fn multicast_parameters(
        &self,
    ) -> Result<Option<MulticastParameters>, NetGroupError> {
        let Self::Group(group, id) = self else { return Ok(None) };
        let id = *id;
        group.call(move |group, _, now| group.multicast_mut(now).parameters(id)).await
    }

    pub(super) async fn set_multicast_parameters(
        &self,
        parameters: MulticastParameters,
    ) -> Result<(), StreamError> {
        let Self::Group(group, id) = self else { return Err(GroupError::NoSuchStream.into()) };
        let id = *id;
        let set = move |group: &mut Group, _: &mut _, now| {
            group.multicast_mut(now).set_parameters(id, parameters)
        };
        Ok(group.call(set).await??)
    }
}
