//! The datagrams of one startup packet.

/// A sealed startup packet: one datagram, or several if it went in pieces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Datagrams(pub(crate) Vec<Vec<u8>>);

impl Datagrams {
    /// True if there is nothing.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all of them.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}
