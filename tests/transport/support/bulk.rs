//! Endpoints that keep flows full, and count what they receive.
use bytes::Bytes;
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::sim::{Actor, Network};
use rtmfp::proto::transport::{
    Config, Endpoint, Event, FlowId, Layer, MessageOptions, SessionId, Time,
};

/// Bytes of a message in a full flow.
const MESSAGE: usize = 16 << 10;
/// A shorter message counts as urgent.
const SHORT: usize = 200;

/// An endpoint that keeps flows full, and counts what it receives.
#[derive(Debug)]
pub struct Bulk {
    pub endpoint: Endpoint,
    /// The flows that are kept full.
    pub flows: Vec<(SessionId, FlowId)>,
    /// Bytes of long messages.
    pub received: u64,
    /// When short messages arrived.
    pub urgent: Vec<Time>,
    /// What is kept queued in each flow.
    queued: u64,
    message: Bytes,
}

impl Bulk {
    pub fn new(network: &mut Network<Self>, config: Config, queued: u64) -> Self {
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let endpoint = Endpoint::new(config, identity.into(), Box::new(random));
        let (flows, urgent, message) = (Vec::new(), Vec::new(), vec![7; MESSAGE].into());
        Self { endpoint, flows, received: 0, urgent, queued, message }
    }
}

impl Layer for Bulk {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }
}

impl Actor for Bulk {
    fn react(&mut self, now: Time) -> bool {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Message { message, .. } if message.len() < SHORT => self.urgent.push(now),
                Event::Message { message, .. } => self.received += message.len() as u64,
                _ => {}
            }
        }
        let mut sent = false;
        for &(session, flow) in &self.flows {
            while self.endpoint.queued(session, flow) < self.queued {
                let (message, options) = (self.message.clone(), MessageOptions::RELIABLE);
                if self.endpoint.send(now, session, flow, message, options).is_err() {
                    break;
                }
                sent = true;
            }
        }
        sent
    }
}
