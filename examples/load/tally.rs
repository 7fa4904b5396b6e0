//! What has happened to the clients of a crowd.

use std::collections::BTreeMap;

/// Counters and samples since a crowd was asked for them last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// From the first hello to `NetConnection.Connect.Success`, in microseconds.
    pub(crate) connected: Vec<u64>,
    /// Connections that ended although nobody wanted them to.
    pub(crate) lost: u64,
    /// From asking for a peer until it answers on a stream, in microseconds.
    pub(crate) introduced: Vec<u64>,
    /// From calling another client by way of the server until the call has come, in microseconds.
    pub(crate) relayed: Vec<u64>,
    /// Clients that have ended their life, in whatever way.
    pub(crate) ended: u64,
    /// Reasons why something failed, with their number.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) published: Flow,
    pub(crate) played: Flow,
    /// Microseconds from publishing to playing.
    pub(crate) latencies: Vec<u64>,
}

/// Messages of streams.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flow {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Messages that were left out.
    pub(crate) missing: u64,
}

impl Tally {
    pub(crate) fn fail(&mut self, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.connected.extend(other.connected);
        self.lost += other.lost;
        self.introduced.extend(other.introduced);
        self.relayed.extend(other.relayed);
        self.ended += other.ended;
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
        self.published.add(other.published);
        self.played.add(other.played);
        self.latencies.extend(other.latencies);
    }
}

impl Flow {
    pub(crate) fn note(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.missing += other.missing;
    }
}
