//! The sender of a packet.

/// The sender of a packet, by the key that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Anybody: a startup packet under the Default Session Key.
    Startup,
    /// The initiator of the session with this number.
    Initiator(u64),
    /// The responder of the session with this number.
    Responder(u64),
}
