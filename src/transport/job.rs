//! Diffie-Hellman work that leaves the state machine.
//!
//! A modular exponentiation takes 0.1 to 5 ms. The driver runs jobs on a bounded pool of threads,
//! the simulator at once or after a set time; either hands the result back by
//! [`handle_computed`](super::Machine::handle_computed).

use crate::crypto::{CryptoError, Initiate, Initiated, Respond, SessionKeys};
use std::net::SocketAddr;
use std::sync::Arc;

/// A piece of work without side effects. One that can't be done must be [refused](Job::refuse).
#[derive(Debug)]
#[must_use]
pub struct Job(pub(crate) Work);

#[derive(Debug)]
pub(crate) enum Work {
    Initiate { open: u64, work: Box<Initiate> },
    Finish { open: u64, initiated: Arc<Initiated>, component: Vec<u8>, far_id: u32 },
    Respond { key: PendingKey, work: Box<Respond> },
}

/// Names an Initiator Initial Keying that is being answered: source address, session ID, and a hash
/// of the initiator's component. One that differs only in the component is not a repetition
/// (§3.5.1.1.2), but comes from a program that was started anew.
pub(crate) type PendingKey = (SocketAddr, u32, [u8; 16]);

/// The result of a [`Job`].
#[derive(Debug)]
pub struct Computed(pub(crate) Outcome);

#[derive(Debug)]
pub(crate) enum Outcome {
    Initiate { open: u64, result: Result<Box<Initiated>, CryptoError> },
    Finish { open: u64, far_id: u32, result: Result<Box<SessionKeys>, CryptoError> },
    Respond { key: PendingKey, result: Result<(Vec<u8>, Box<SessionKeys>), CryptoError> },
    RefusedInitiate { open: u64 },
    RefusedFinish { open: u64 },
    RefusedRespond { key: PendingKey },
}

impl Job {
    /// The result if the work is not done, for lack of time or memory. It
    /// is like losing a packet: the keying is tried again when the far end repeats it.
    pub fn refuse(self) -> Computed {
        Computed(match self.0 {
            Work::Initiate { open, .. } => Outcome::RefusedInitiate { open },
            Work::Finish { open, .. } => Outcome::RefusedFinish { open },
            Work::Respond { key, .. } => Outcome::RefusedRespond { key },
        })
    }

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
