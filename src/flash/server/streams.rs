//! The streams of a client that has asked for some.
//!
//! A rendezvous server relays no media. It creates streams, because clients count on it, and refuses
//! `play` and `publish` in the way that they understand.

use std::collections::BTreeMap;

use crate::amf::Value;
use crate::flash::Command;
use crate::flash::call::info;
use crate::flash::control::Control;
use crate::flash::metadata::MAX_STREAM_ID;
use crate::transport::{FlowAction, FlowId, FlowToken, Time};

/// The most streams that a client may have; then `createStream` fails.
pub const MAX_STREAMS: usize = 16;

/// The streams, each with our flow that its status goes over, if there has been any.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last: u32,
    open: BTreeMap<u32, Option<FlowToken>>,
}

impl Streams {
    pub(super) fn contains(&self, stream: u32) -> bool {
        self.open.contains_key(&stream)
    }

    /// A new stream's ID, unless there are [`MAX_STREAMS`].
    pub(super) fn create(&mut self) -> Option<u32> {
        if self.open.len() >= MAX_STREAMS || self.last >= MAX_STREAM_ID {
            return None;
        }
        self.last += 1;
        self.open.insert(self.last, None);
        Some(self.last)
    }

    pub(super) fn delete(&mut self, control: &mut Control, stream: u32) {
        self.stop(control, stream);
        self.open.remove(&stream);
    }

    /// Ends playing and publishing in the stream, until the next command.
    pub(super) fn stop(&mut self, control: &mut Control, stream: u32) {
        if let Some(token) = self.open.get_mut(&stream).and_then(Option::take) {
            control.push(FlowAction::Finish { token });
        }
    }

    /// One of our flows is gone.
    pub(super) fn forget_flow(&mut self, token: FlowToken) {
        for flow in self.open.values_mut().filter(|flow| **flow == Some(token)) {
            *flow = None;
        }
    }

    /// Answers `play` of a client with this control flow.
    pub(super) fn refuse_play(
        &mut self,
        control: &mut Control,
        now: Time,
        client: FlowId,
        stream: u32,
    ) {
        let status = info("error", "NetStream.Play.Failed", "this server relays no streams");
        self.report(control, now, client, stream, status);
    }

    /// Answers `publish` of a client with this control flow.
    pub(super) fn refuse_publish(
        &mut self,
        control: &mut Control,
        now: Time,
        client: FlowId,
        stream: u32,
    ) {
        let status = info("error", "NetStream.Publish.Denied", "this server relays no streams");
        self.report(control, now, client, stream, status);
    }

    /// Sends `onStatus` on a flow of the stream, associated with the client's control flow
    /// (RFC 7425 §5.3.5.2).
    fn report(
        &mut self,
        control: &mut Control,
        now: Time,
        client: FlowId,
        stream: u32,
        status: Value,
    ) {
        let Some(ours) = self.open.get_mut(&stream) else {
            return;
        };
        let token = *ours.get_or_insert_with(|| control.open_flow(stream, Some(client)));
        match Command::new("onStatus", 0.0, vec![status]).encode(control.encoding) {
            Ok(body) => control.send_on(token, now, body),
            Err(error) => tracing::debug!(%error, "a status has no encoding"),
        }
    }
}
