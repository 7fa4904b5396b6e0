//! Diffie-Hellman work that leaves the state machine.
//!
//! A modular exponentiation takes 0.1 to 5 ms. The driver runs jobs on a bounded pool of threads,
//! the simulator at once; either hands the result back by
//! [`handle_computed`](super::Machine::handle_computed).

use crate::crypto::{CryptoError, Initiate, Initiated, Respond, SessionKeys};
use std::net::SocketAddr;
use std::sync::Arc;

/// A piece of work without side effects. Dropping it is like losing a packet.
#[derive(Debug)]
#[must_use]
pub struct Job(pub(crate) Work);

#[derive(Debug)]
pub(crate) enum Work {
    Initiate { open: u64, work: Box<Initiate> },
    Finish { open: u64, initiated: Arc<Initiated>, component: Vec<u8>, far_id: u32 },
    Respond { key: PendingKey, work: Box<Respond> },
}

/// Names an Initiator Initial Keying that is being answered: source address and session ID.
pub(crate) type PendingKey = (SocketAddr, u32);

/// The result of a [`Job`].
#[derive(Debug)]
pub struct Computed(pub(crate) Outcome);

#[derive(Debug)]
pub(crate) enum Outcome {
    Initiate { open: u64, result: Result<Box<Initiated>, CryptoError> },
    Finish { open: u64, far_id: u32, result: Result<Box<SessionKeys>, CryptoError> },
    Respond { key: PendingKey, result: Result<(Vec<u8>, Box<SessionKeys>), CryptoError> },
}

impl Job {
    /// Does the work.
    pub fn run(self) -> Computed {
        Computed(match self.0 {
            Work::Initiate { open, work } => {
                Outcome::Initiate { open, result: work.run().map(Box::new) }
            }
            Work::Finish { open, initiated, component, far_id } => {
                let result = initiated.finish(&component).map(Box::new);
                Outcome::Finish { open, far_id, result }
            }
            Work::Respond { key, work } => {
                let result = work.run().map(|(component, keys)| (component, Box::new(keys)));
                Outcome::Respond { key, result }
            }
        })
    }
}
