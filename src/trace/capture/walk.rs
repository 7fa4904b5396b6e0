//! From the link layer to UDP, through whatever is in between.

use super::layers::{Cursor, Layer, Outcome};
use super::unread::Unread;
use super::{ip, link, tunnel};

/// Reads headers until there is a datagram or a piece of one.
pub(super) fn walk(cursor: &mut Cursor<'_>, mut layer: Layer) -> Result<Outcome, Unread> {
    loop {
        cursor.enter()?;
        let outcome = match layer {
            Layer::Ip => ip::packet(cursor)?,
            Layer::Transport(transport) => ip::transport(cursor, transport)?,
            Layer::Link(number) => Outcome::Next(link::link(cursor, number)?),
            Layer::Ethernet => Outcome::Next(link::ethernet(cursor)?),
            Layer::EtherType(number) => Outcome::Next(link::ether_type(cursor, number)?),
            Layer::Llc => Outcome::Next(link::llc(cursor)?),
            Layer::Wireless { is_padded } => Outcome::Next(link::wireless(cursor, is_padded)?),
            Layer::Pppoe => Outcome::Next(tunnel::pppoe(cursor)?),
            Layer::Ppp => Outcome::Next(tunnel::ppp(cursor)?),
            Layer::Mpls => Outcome::Next(tunnel::mpls(cursor)?),
            Layer::Gre => Outcome::Next(tunnel::gre(cursor)?),
        };
        match outcome {
            Outcome::Next(next) => layer = next,
            end => return Ok(end),
        }
    }
}
