//! Datagrams that a machine gets together, joined as the operating system joins them.

use super::InFlight;
use crate::transport::{Arrived, Ecn};
use std::net::SocketAddr;

/// Datagrams of one length, but for the last, from one address.
pub(super) struct Run {
    pub(super) from: SocketAddr,
    ecn: Ecn,
    segment: usize,
    bytes: Vec<u8>,
}

impl Run {
    fn new(datagram: InFlight) -> Self {
        let ecn = match (datagram.marked, datagram.capable) {
            (true, _) => Ecn::Congested,
            (false, true) => Ecn::Capable,
            (false, false) => Ecn::NotCapable,
        };
        let segment = datagram.bytes.len().max(1);
        Self { from: datagram.from, ecn, segment, bytes: datagram.bytes }
    }

    /// Adds the datagrams of another run, if they can follow.
    fn join(&mut self, next: Self) -> Option<Self> {
        let is_alike = (self.from, self.ecn) == (next.from, next.ecn);
        // A shorter datagram is the last.
        let takes_more = !self.bytes.is_empty() && self.bytes.len().is_multiple_of(self.segment);
        if !is_alike || !takes_more || next.bytes.is_empty() || next.bytes.len() > self.segment {
            return Some(next);
        }
        self.bytes.extend(next.bytes);
        None
    }

    pub(super) fn arrived(&mut self) -> Arrived<'_> {
        Arrived { bytes: &mut self.bytes, segment: self.segment, ecn: self.ecn }
    }
}

/// Joins what came in this order.
pub(super) fn runs(datagrams: Vec<InFlight>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for run in datagrams.into_iter().map(Run::new) {
        let rest = match runs.last_mut() {
            Some(last) => last.join(run),
            None => Some(run),
        };
        runs.extend(rest);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Time;

    fn datagram(from: u8, len: usize) -> InFlight {
        let (from, to) = (SocketAddr::from(([from; 4], 1)), SocketAddr::from(([9; 4], 1)));
        let bytes = vec![from.port() as u8; len];
        let arrival = Time::ZERO;
        InFlight { arrival, number: 0, from, to, marked: false, capable: false, last: true, bytes }
    }

    #[test]
    fn equal_lengths_and_a_shorter_last_are_joined() {
        let datagrams = [(1, 50), (1, 50), (1, 20), (1, 20), (1, 30), (2, 30), (2, 0), (2, 30)];
        let mut runs = runs(datagrams.map(|(from, len)| datagram(from, len)).into());
        let lengths: Vec<Vec<usize>> =
            runs.iter_mut().map(|run| run.arrived().each().map(|d| d.len()).collect()).collect();
        assert_eq!(lengths, [vec![50, 50, 20], vec![20], vec![30], vec![30], vec![], vec![30]]);
    }
}
