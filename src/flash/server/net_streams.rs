//! What the owner of a connection does with the NetStreams and shared objects of its client.

use std::sync::Arc;

use bytes::Bytes;

use super::ServerConnection;
use super::streams::Out;
use crate::flash::{Message, ObjectEncoding};
use crate::transport::{FlowAction, FlowInput, FlowToken, MessageOptions};

impl ServerConnection {
    /// The encoding that the client asked for.
    pub fn encoding(&self) -> ObjectEncoding {
        self.control.encoding
    }

    /// Lets the client publish in a NetStream: `NetStream.Publish.Start`.
    pub fn begin_publishing(&mut self, stream: u32, name: &Arc<str>) {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        self.streams.begin_publishing(&mut out, stream, name);
    }

    /// Does not let the client publish, for this reason. What it sends nevertheless is dropped; with
    /// `stop` its flow is rejected, so that nothing more comes.
    pub fn refuse_publish(&mut self, stream: u32, code: &str, why: &str, stop: bool) {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        self.streams.refuse(&mut out, stream, code, why);
        if stop {
            let rejected = self.flows.extract_if(.., |_, of| *of == stream);
            for (flow, _) in rejected {
                self.control.push(FlowAction::Reject { flow, code: 0 });
            }
        }
    }

    /// Lets the client play: `NetStream.Play.Reset` and `NetStream.Play.Start`. The messages follow
    /// by [`write`](Self::write).
    pub fn begin_playing(&mut self, stream: u32, name: &Arc<str>) {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        self.streams.begin_playing(&mut out, stream, name);
    }

    /// Does not let the client play, for this reason.
    pub fn refuse_play(&mut self, stream: u32, code: &str, why: &str) {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        self.streams.refuse(&mut out, stream, code, why);
    }

    /// The stream that the client plays is published from now on (`NetStream.Play.PublishNotify`), or
    /// no longer (`NetStream.Play.UnpublishNotify`).
    pub fn notify_published(&mut self, stream: u32, is_published: bool) {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        self.streams.notify(&mut out, stream, is_published);
    }

    /// Reports something else about a NetStream: level, code and description of an `onStatus`.
    pub fn report(&mut self, stream: u32, status: [&str; 3]) {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        self.streams.status(&mut out, stream, status, "");
    }

    /// Sends a message of the stream that the client plays; `encoded` is the same, one for all who
    /// play. What it does not want is left out, and so is what would wait for long.
    ///
    /// False if the client has played as much as it wanted (the third argument of `NetStream.play`): it
    /// gets `NetStream.Play.Stop` and plays no longer. No event follows.
    pub fn write(&mut self, stream: u32, message: &Message, encoded: &Bytes) -> bool {
        let mut out = Out { control: &mut self.control, client: self.canonical };
        self.streams.write(&mut out, stream, message, encoded)
    }

    /// A message of the stream that the client plays is left out: its video goes on at the next key
    /// frame.
    pub fn miss(&mut self, stream: u32) {
        self.streams.miss(stream);
    }

    /// The flow to a client that plays or publishes.
    pub fn stream_flow(&self, stream: u32) -> Option<FlowToken> {
        self.streams.flow(stream)
    }

    /// Sends a message about a shared object, as
    /// [`encode_for`](crate::flash::shared_object::SharedObjectMessage::encode_for) has made it for the
    /// [`encoding`](Self::encoding) of this client.
    pub fn send_shared_object(&mut self, encoded: Bytes) {
        if let Some(token) = self.control.flow().filter(|_| self.is_connected()) {
            let options = MessageOptions::RELIABLE;
            self.control.push(FlowAction::Send { token, message: encoded, options });
        }
    }

    /// Something happened to one of our flows.
    pub fn on_flow_input(&mut self, input: &FlowInput) {
        match input {
            FlowInput::Rejected { token, code } => self.on_flow_rejected(*token, *code),
            other => self.streams.on_flow_input(other),
        }
    }
}
