//! Sends hellos from other ports and addresses of a server, and sees where answers come from.
//!
//! It has sockets of its own, which accept no sessions: whether a datagram gets through an address
//! translator depends on where the client has sent something before.

use super::{ProbeAnswer, ProbeRequest};
use crate::crypto::{Epd, Identity};
use crate::transport::{Config, Endpoint, Event, Interface, Layer, Path, Random, Time};
use std::collections::VecDeque;
use std::sync::Arc;

/// Answers that wait for their owner; further ones are dropped like lost packets.
const MAX_ANSWERS: usize = 4096;

/// The part of a server that has its other sockets, without sockets. The [interface](Interface) of a
/// path is the number of the socket.
pub struct Prober {
    endpoint: Endpoint,
    answers: VecDeque<ProbeAnswer>,
}

impl Prober {
    /// With the server's identity, which nobody gets to see.
    pub fn new(identity: Arc<Identity>, random: Random) -> Self {
        let config = Config {
            accept: false,
            introduce: false,
            answer_forwarded: false,
            report_answers: true,
            ..Config::default()
        };
        Self { endpoint: Endpoint::new(config, identity, random), answers: VecDeque::new() }
    }

    /// Sends a hello.
    pub fn handle_request(&mut self, now: Time, request: &ProbeRequest) {
        let path = Path { interface: Interface(request.socket), remote: request.to };
        let epd = Epd::for_fingerprint(request.peer);
        self.endpoint.send_hello(now, path, &epd, &request.tag);
    }

    /// The next answer, for the worker that its tag [names](ProbeAnswer::worker).
    #[must_use]
    pub fn poll_answer(&mut self) -> Option<ProbeAnswer> {
        self.answers.pop_front()
    }
}

impl Layer for Prober {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn after_call(&mut self, _now: Time) {
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::HelloAnswered { path, tag } = event
                && self.answers.len() < MAX_ANSWERS
            {
                self.answers.push_back(ProbeAnswer { from: path.remote, tag });
            }
        }
    }
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}
