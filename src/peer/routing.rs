//! Directed messages of a [`NetGroup`].

use super::{NetGroup, NetGroupError};
use crate::amf::{self, Value};
use crate::group::{
    Group, GroupAddress, GroupError, GroupEvent, ReceiveMode, Routed, RoutedMessage, SendMode,
    SendResult,
};

impl NetGroup {
    /// Sends a message to the member nearest to `address`, one hop: to a neighbor, or to this member
    /// itself. The member whose own address it is receives it in any mode; otherwise the nearest of
    /// those in mode NEAREST. It arrives as [`SendToNotify`](GroupEvent::SendToNotify).
    ///
    /// For a message that finds its way through the whole group, see
    /// [`send_routed`](Self::send_routed).
    ///
    /// # Errors
    ///
    /// As all calls that send: [`NetGroupError::Object`] if the message cannot be encoded,
    /// [`NetGroupError::Closed`], and [`NetGroupError::Group`] if routing is not enabled in the
    /// groupspec, the message is too large, or too many bytes wait for the neighbor
    /// ([`RoutingLimits`](crate::peer::RoutingLimits)). This is what Flash calls `error`.
    pub async fn send_to_nearest(
        &self,
        message: &Value,
        address: GroupAddress,
    ) -> Result<SendResult, NetGroupError> {
        let message = amf::to_bytes(message)?;
        self.route(move |group| group.routing_mut().send_to_nearest(&address, message)).await
    }

    /// Sends a message to the next neighbor on the ring, whatever its mode.
    ///
    /// # Errors
    ///
    /// As [`send_to_nearest`](Self::send_to_nearest).
    pub async fn send_to_neighbor(
        &self,
        message: &Value,
        mode: SendMode,
    ) -> Result<SendResult, NetGroupError> {
        let message = amf::to_bytes(message)?;
        self.route(move |group| group.routing_mut().send_to_neighbor(mode, message)).await
    }

    /// Sends a message to every neighbor, whatever its mode.
    ///
    /// # Errors
    ///
    /// As [`send_to_nearest`](Self::send_to_nearest).
    pub async fn send_to_all_neighbors(
        &self,
        message: &Value,
    ) -> Result<SendResult, NetGroupError> {
        let message = amf::to_bytes(message)?;
        self.route(move |group| group.routing_mut().send_to_all_neighbors(message)).await
    }

    /// Sends a message towards its destination, where it arrives if the members on the way
    /// [forward](Self::forward) it.
    ///
    /// # Errors
    ///
    /// As [`send_to_nearest`](Self::send_to_nearest).
    pub async fn send_routed(&self, message: RoutedMessage) -> Result<SendResult, NetGroupError> {
        self.route(move |group| group.routing_mut().send_routed(&message)).await
    }

    /// Handles a [`SendToNotify`](GroupEvent::SendToNotify): sends the message on, unless this member
    /// is the nearest to its destination. Returns it if it has arrived here, and `None` if it was sent
    /// on, was lost, or the event is another one.
    ///
    /// To take part, a member is in mode [`Nearest`](ReceiveMode::Nearest) and calls this for every
    /// event. Flash applications made after the example in Adobe's reference do the same.
    ///
    /// # Errors
    ///
    /// As [`send_to_nearest`](Self::send_to_nearest), and [`GroupError::Value`] if the message is no
    /// AMF value.
    pub async fn forward(
        &self,
        event: &GroupEvent,
    ) -> Result<Option<RoutedMessage>, NetGroupError> {
        let GroupEvent::SendToNotify { message, from_local, .. } = event else { return Ok(None) };
        let (message, from_local) = (message.clone(), *from_local);
        let forward = move |group: &mut Group| group.routing_mut().forward(&message, from_local);
        match self.route(forward).await? {
            Routed::Arrived(message) => Ok(Some(message)),
            _ => Ok(None),
        }
    }

    /// Sets the addresses for which this member receives directed messages, and announces it to the
    /// neighbors. At first it is [`Exact`](ReceiveMode::Exact).
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn set_receive_mode(&self, mode: ReceiveMode) -> Result<(), NetGroupError> {
        self.call(move |group, _, now| group.set_receive_mode(now, mode)).await
    }

    /// The addresses for which this member receives directed messages.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn receive_mode(&self) -> Result<ReceiveMode, NetGroupError> {
        self.call(|group, _, _| group.config().receive_mode).await
    }

    /// The part of the ring for which this member is responsible, from and to in increasing
    /// direction: Flash's `localCoverageFrom` and `localCoverageTo`. In mode
    /// [`Exact`](ReceiveMode::Exact) both are its own address.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn local_coverage(&self) -> Result<(GroupAddress, GroupAddress), NetGroupError> {
        self.call(|group, _, _| group.local_coverage()).await
    }

    async fn route<R: Send + 'static>(
        &self,
        send: impl FnOnce(&mut Group) -> Result<R, GroupError> + Send + 'static,
    ) -> Result<R, NetGroupError> {
        self.call(move |group, _, _| send(group)).await?.map_err(NetGroupError::from)
    }
}
