//! Counters of endpoints and sessions.

/// Counters of an endpoint; most are about what it refused in order not to be used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Bytes of UDP payload sent, by all sessions and by startup packets.
    pub bytes_sent: u64,
    /// Bytes of UDP payload received, foreign and refused packets included.
    pub bytes_received: u64,
    /// Fragments that were treated as lost because there was no space to hold them.
    pub fragments_refused: u64,
    /// Receiving flows that were rejected because their session held too much
    /// ([`Config::max_session_memory`](crate::transport::Config::max_session_memory)).
    pub flows_rejected: u64,
    /// First fragments of receiving flows that were refused because their session had too many flows
    /// ([`Config::max_flows`](crate::transport::Config::max_flows)).
    pub flows_refused: u64,
    /// Sessions that were closed because all of them together held too much
    /// ([`Config::max_address_memory`](crate::transport::Config::max_address_memory),
    /// [`Config::max_memory`](crate::transport::Config::max_memory)).
    pub sessions_evicted: u64,
    /// Keyings that were ignored because of a bound on them or on sessions.
    pub keyings_ignored: u64,
    /// Sessions that gave way to another keying before their initiator had used them.
    pub unconfirmed_evicted: u64,
    /// Answers that were left out or shortened, as they would have been longer than what may be sent to
    /// an address that is not verified
    /// ([`Config::max_amplification`](crate::transport::Config::max_amplification)).
    pub answers_limited: u64,
    /// Datagrams of answers that were dropped because too many waited to be sent.
    pub answers_dropped: u64,
    /// Runs of datagrams for another worker that were dropped because too many waited.
    pub strays_dropped: u64,
    /// Newcomers that were sent to other servers.
    pub redirected: u64,
}

impl EndpointStats {
    /// The sums of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes_sent: self.bytes_sent + other.bytes_sent,
            bytes_received: self.bytes_received + other.bytes_received,
            fragments_refused: self.fragments_refused + other.fragments_refused,
            flows_rejected: self.flows_rejected + other.flows_rejected,
            flows_refused: self.flows_refused + other.flows_refused,
            sessions_evicted: self.sessions_evicted + other.sessions_evicted,
            keyings_ignored: self.keyings_ignored + other.keyings_ignored,
            unconfirmed_evicted: self.unconfirmed_evicted + other.unconfirmed_evicted,
            answers_limited: self.answers_limited + other.answers_limited,
            answers_dropped: self.answers_dropped + other.answers_dropped,
            strays_dropped: self.strays_dropped + other.strays_dropped,
            redirected: self.redirected + other.redirected,
        }
    }
}

/// Counters of one session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// Datagrams received that verified.
    pub datagrams_received: u64,
    /// Bytes of UDP payload received that verified.
    pub bytes_received: u64,
    /// Datagrams that did not decrypt, verify or parse, or were replayed.
    pub datagrams_refused: u64,
    /// Fragments found lost.
    pub fragments_lost: u64,
    /// Retransmission timeouts that lost something.
    pub timeouts: u64,
}
