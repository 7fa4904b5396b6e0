//! How the queue of a stream treats its events.

use super::queue::{Kind, Queued};
use crate::flash::stream::NetStreamEvent;
use crate::flash::{Body, Message};

impl Queued for NetStreamEvent {
    fn kind(&self) -> Kind {
        match self {
            Self::Message(message) | Self::PeerMessage { message, .. } => {
                Kind::Message(size(message))
            }
            _ => Kind::Notice,
        }
    }
}

fn size(message: &Message) -> usize {
    match &message.body {
        Body::Audio(bytes)
        | Body::Video(bytes)
        | Body::Data(_, bytes)
        | Body::Command(_, bytes)
        | Body::Other { payload: bytes, .. } => bytes.len(),
        Body::UserControl(_) => 0,
    }
}
