//! [`SessionRef`]: what can be read of a session.

use crate::crypto::{Certificate, Fingerprint, Negotiated};
use crate::transport::session::{Session, SessionStats};
use crate::transport::{Path, Role, Time};
use std::time::Duration;

/// Read-only access to a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionRef<'a>(pub(super) &'a Session);

impl<'a> SessionRef<'a> {
    /// The far end's peer ID.
    pub fn far(&self) -> Fingerprint {
        self.0.far.fingerprint()
    }

    /// The far end's certificate.
    pub fn certificate(&self) -> &'a Certificate {
        &self.0.far
    }

    /// Which end asked for the session.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// The path of outgoing packets.
    pub fn path(&self) -> Path {
        self.0.path
    }

    /// The identifiers of the passwords that the far end has proved to know when the session was
    /// opened ([`Config::passwords`](crate::transport::Config::passwords)).
    pub fn proven_passwords(&self) -> &'a [Vec<u8>] {
        &self.0.keyed.proven
    }

    /// Bytes of the largest datagram that is sent.
    pub fn max_datagram(&self) -> usize {
        self.0.max_datagram()
    }

    /// True while larger datagrams are tried.
    pub fn is_searching_path(&self) -> bool {
        self.0.is_searching_path()
    }

    /// Results of the negotiation in the keying.
    pub fn negotiated(&self) -> &'a Negotiated {
        &self.0.keyed.negotiated
    }

    /// This end's session nonce (RFC 7425 §4.6.5), a secret of the two ends.
    pub fn near_nonce(&self) -> &'a [u8; 32] {
        &self.0.keyed.near_nonce
    }

    /// The far end's session nonce.
    pub fn far_nonce(&self) -> &'a [u8; 32] {
        &self.0.keyed.far_nonce
    }

    /// Smoothed round trip time, once measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.round_trip()
    }

    /// When the last packet of the far end arrived; the time of opening before the first.
    pub fn last_received(&self) -> Time {
        self.0.last_received()
    }

    /// Since when pings, or user data in flight, have waited for any answer.
    pub fn unanswered_since(&self) -> Option<Time> {
        self.0.unanswered_since()
    }

    /// Congestion window in bytes.
    pub fn congestion_window(&self) -> u64 {
        self.0.window().0
    }

    /// User data in flight, in bytes.
    pub fn outstanding(&self) -> u64 {
        self.0.window().1
    }

    /// Numbers of sending and receiving flows, lingering ones included.
    pub fn flow_counts(&self) -> (usize, usize) {
        self.0.flow_counts()
    }

    /// Counters.
    pub fn stats(&self) -> SessionStats {
        self.0.stats
    }

    /// The key log line of this session (a secret; see the key log format in
    /// `protocol-notes/cryptography.md`), if
    /// [`Config::keep_secrets`](crate::transport::Config::keep_secrets) is set.
    pub fn key_log_line(&self) -> Option<impl AsRef<str> + use<>> {
        self.0.keyed.key_log.as_ref().map(|entry| KeyLogLine(entry.line()))
    }
}

struct KeyLogLine(zeroize::Zeroizing<String>);

impl AsRef<str> for KeyLogLine {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
