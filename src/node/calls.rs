//! Calls over the NetConnection, in both directions: Flash's `NetConnection.call`, and the methods of
//! its `client`.

use super::{Node, Server};
use crate::amf::Value;
use crate::flash::{CallId, ClientConnection, FlashError, Methods, Responder};
use crate::transport::Time;

impl Node {
    /// Calls a method of the server. The answer comes as
    /// [`NodeEvent::Answered`](super::NodeEvent::Answered); none comes if the connection ends.
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], [`FlashError::TooManyCalls`], or what is wrong with the
    /// arguments.
    pub fn call(&mut self, now: Time, name: &str, args: Vec<Value>) -> Result<CallId, FlashError> {
        self.with_connection(now, |connection| connection.call(now, name, args))
    }

    /// Calls a method of the server without asking for an answer.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn notify(&mut self, now: Time, name: &str, args: Vec<Value>) -> Result<(), FlashError> {
        self.with_connection(now, |connection| connection.notify(now, name, args))
    }

    /// Answers a call of the server with a result, or with the information object of an error.
    ///
    /// # Errors
    ///
    /// [`FlashError::NotConnected`], or what is wrong with the value.
    pub fn answer(
        &mut self,
        now: Time,
        responder: Responder,
        outcome: Result<Value, Value>,
    ) -> Result<(), FlashError> {
        self.with_connection(now, |connection| connection.answer(now, responder, outcome))
    }

    /// The methods that the server may call, on this connection and later ones.
    pub fn set_methods(&mut self, methods: Methods) {
        self.config.client.methods = methods.clone();
        if let Server::Session(server) = &mut self.server {
            server.connection.set_methods(methods);
        }
    }

    fn with_connection<R>(
        &mut self,
        now: Time,
        call: impl FnOnce(&mut ClientConnection) -> Result<R, FlashError>,
    ) -> Result<R, FlashError> {
        let Server::Session(server) = &mut self.server else {
            return Err(FlashError::NotConnected);
        };
        let result = call(&mut server.connection);
        self.process(now);
        result
    }
}
