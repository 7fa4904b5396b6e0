//! Names of the things an endpoint holds.

use std::fmt;

/// A session of this endpoint: the session ID that this end chose (RFC 7016 §2.2.2), which the far
/// end puts on its packets. Random, not zero, and not used again while the session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u32);

/// A flow within one direction of a session (RFC 7016 §3.6.1.1). A sending flow and a receiving
/// flow may have the same number: they are different flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
