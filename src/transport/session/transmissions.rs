//! Fragments in flight, in the order of transmission (RFC 7016 §3.6.2.5).

use std::collections::VecDeque;

/// A fragment is lost when so many packets acknowledged later ones (§3.6.2.5).
const NAKS_FOR_LOSS: u8 = 3;

/// A transmission of a fragment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transmission {
    pub(super) flow: u64,
    pub(super) sequence: u64,
    in_flight: bool,
    naks: u8,
}

/// Transmissions by transmission sequence number, from the oldest in flight on.
#[derive(Debug)]
pub(super) struct Transmissions {
    sent: VecDeque<Transmission>,
    /// Transmission sequence number of the front of `sent`.
    first: u64,
    max_acked: u64,
}

impl Transmissions {
    pub(super) const fn new() -> Self {
        Self { sent: VecDeque::new(), first: 1, max_acked: 0 }
    }

    /// No transmission below this is in flight.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The transmission sequence number of the next fragment.
    pub(super) fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }

    /// The highest that was acknowledged.
    pub(super) const fn max_acked(&self) -> u64 {
        self.max_acked
    }

    /// A fragment is sent, with the number [`next`](Self::next).
    pub(super) fn push(&mut self, flow: u64, sequence: u64) {
        self.sent.push_back(Transmission { flow, sequence, in_flight: true, naks: 0 });
    }

    /// The transmission `tsn` was acknowledged.
    pub(super) fn on_acked(&mut self, tsn: u64) {
        self.max_acked = self.max_acked.max(tsn);
        let index = tsn.checked_sub(self.first).map(|index| index as usize);
        if let Some(transmission) = index.and_then(|index| self.sent.get_mut(index)) {
            transmission.in_flight = false;
        }
    }

    /// A packet with acknowledgements was processed: counts a negative acknowledgement of each
    /// transmission before the last that was acknowledged, and calls `lost` for those that are
    /// lost by that. True if any was counted.
    pub(super) fn detect_losses(&mut self, mut lost: impl FnMut(u64, Transmission)) -> bool {
        let mut any_naks = false;
        let passed = self.max_acked.saturating_sub(self.first);
        let sent = (self.first..).zip(&mut self.sent).take(passed as usize);
        for (tsn, transmission) in sent.filter(|(_, transmission)| transmission.in_flight) {
            transmission.naks += 1;
            any_naks = true;
            if transmission.naks >= NAKS_FOR_LOSS {
                transmission.in_flight = false;
                lost(tsn, *transmission);
            }
        }
        while self.sent.front().is_some_and(|transmission| !transmission.in_flight) {
            self.sent.pop_front();
            self.first += 1;
        }
        any_naks
    }

    /// Takes every transmission that is in flight out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Transmission> {
        self.first += self.sent.len() as u64;
        self.sent.drain(..).filter(|transmission| transmission.in_flight)
    }

    /// Nothing is in flight.
    pub(super) fn clear(&mut self) {
        self.sent = VecDeque::new();
    }
}
