//! How long each kind of message is of use.

use crate::flash::{Body, ConfigurationPart};
use crate::transport::{FlowId, FlowOptions, MessageOptions};
use std::time::Duration;

/// Audio and video that have not left within this time are of no use to a live stream.
const MEDIA: Duration = Duration::from_secs(2);
/// The same for a key frame, which the frames after it need.
const KEY_FRAME: Duration = Duration::from_secs(4);

/// The flow of a stream.
pub(in super::super) fn flow(association: Option<FlowId>) -> FlowOptions {
    FlowOptions::immediate(association).with_time_critical(true)
}

/// Audio and video are dropped when they are late; all else is delivered for certain.
pub(in super::super) fn of(body: &Body) -> MessageOptions {
    match body {
        Body::Audio(_) | Body::Video(_) if ConfigurationPart::of(body).is_some() => {
            MessageOptions::RELIABLE
        }
        Body::Video(_) if body.is_key_frame() => {
            MessageOptions::RELIABLE.with_start_within(KEY_FRAME)
        }
        Body::Audio(_) | Body::Video(_) => MessageOptions::RELIABLE.with_start_within(MEDIA),
        _ => MessageOptions::RELIABLE,
    }
}
