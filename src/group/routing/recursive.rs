//! Messages that travel to a destination hop by hop.
//!
//! Directed routing is one hop. In the example of Adobe's reference the application puts the
//! destination into the message, and every member sends on what it was not the nearest for. This is
//! that example, so that Flash applications made after it take part.

use super::message::{RoutedMessage, one_hop_on};
use super::{RoutingMut, SendResult};
use crate::amf::{self, Encoded, Value};
use crate::group::GroupError;

/// Hops between members of this kind after which a message is dropped. Each hop leads nearer to the
/// destination, so this many mean that members change their modes all the time.
pub const MAX_HOPS: u32 = 64;

/// What became of a message that arrived.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Routed {
    /// This node is the nearest to its destination.
    Arrived(RoutedMessage),
    /// It was sent on, to a neighbor or, because this node is the nearest, to this node itself; it
    /// then arrives by the next event. With [`SendResult::NoRoute`] it is lost.
    Forwarded(SendResult),
    /// It had made [`MAX_HOPS`] hops and was dropped.
    TooManyHops,
    /// It has no destination.
    Other(Value),
}

impl RoutingMut<'_> {
    /// Sends a message towards its destination.
    ///
    /// # Errors
    ///
    /// As [`send_to_nearest`](Self::send_to_nearest), and [`GroupError::Value`] if its value cannot be
    /// encoded.
    pub fn send_routed(&mut self, message: &RoutedMessage) -> Result<SendResult, GroupError> {
        let encoded = amf::to_bytes(&message.to_value())?;
        self.send_to_nearest(&message.destination, encoded)
    }

    /// Handles a message of an event [`SendToNotify`](crate::group::GroupEvent::SendToNotify): sends
    /// it on, unless this node is the nearest to its destination.
    ///
    /// Messages of Flash applications are sent on byte by byte as they came.
    ///
    /// # Errors
    ///
    /// As [`send_routed`](Self::send_routed), and [`GroupError::Value`] if the message is no AMF value.
    pub fn forward(&mut self, message: &Encoded, from_local: bool) -> Result<Routed, GroupError> {
        let value = message.decode()?;
        let Some(routed) = RoutedMessage::from_value(&value) else {
            return Ok(Routed::Other(value));
        };
        if from_local {
            return Ok(Routed::Arrived(routed));
        }
        let bytes = match routed.hops {
            Some(hops) if hops >= MAX_HOPS => return Ok(Routed::TooManyHops),
            Some(hops) => one_hop_on(&value, hops)?,
            None => message.as_bytes().clone(),
        };
        self.send_to_nearest(&routed.destination, bytes).map(Routed::Forwarded)
    }
}
