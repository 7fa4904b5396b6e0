//! A client with a socket.

use super::meeting::Lazy;
use super::quick;
use rtmfp::driver::{self, Clock, Events, Handle, Service, Sockets, os_random};
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::{ClientEvent, ObjectEncoding};
use rtmfp::proto::transport::{Endpoint, Layer, Time};
use std::net::SocketAddr;

/// What a client is to do.
pub type Action = Box<dyn FnOnce(&mut Lazy, Time) + Send>;

/// The client of the other tests with a socket.
pub struct Caller(Lazy);

impl Layer for Caller {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.0.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.0.endpoint
    }

    fn after_call(&mut self, now: Time) {
        self.0.react(now);
    }
}

impl Service for Caller {
    type Command = Action;
    type Event = ClientEvent;

    fn handle_command(&mut self, now: Time, command: Self::Command) {
        command(&mut self.0, now);
        self.0.react(now);
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        (!self.0.events.is_empty()).then(|| self.0.events.remove(0))
    }

    fn begin_shutdown(&mut self, now: Time) {
        for session in self.0.endpoint.sessions().map(|(id, _)| id).collect::<Vec<_>>() {
            self.0.endpoint.close(now, session);
        }
    }

    fn is_idle(&self) -> bool {
        self.0.endpoint.is_settled()
    }
}

impl Caller {
    /// A client that is connected to a server on this host.
    pub async fn connect(server: SocketAddr) -> (Handle<Action>, Events<ClientEvent>) {
        let identity = Identity::generate(&IdentityConfig::default(), &mut *os_random());
        let endpoint = Endpoint::new(quick(), identity.into(), os_random());
        let caller = Self(Lazy::new(endpoint, ObjectEncoding::Amf3, true));
        let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let (client, mut events) = driver::spawn(caller, sockets, Clock::start());
        client.send(Box::new(move |lazy, now| lazy.connect(now, server))).await.unwrap();
        while !matches!(events.recv().await.unwrap(), ClientEvent::Connected { .. }) {}
        (client, events)
    }
}
