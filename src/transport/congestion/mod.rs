//! Congestion control: how much user data may be in flight, and how fast it may leave
//! (RFC 7016 §3.5.2; `protocol-notes/congestion.md`).
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | interface of the controllers |
//! | `appendix_a.rs` | the window algorithm of RFC 7016 Appendix A |
//! | `bbr/` | a model of the path: delivery rate and shortest round trip |
//! | `pacing.rs` | spreads packets over time for controllers that give a rate |

mod appendix_a;
mod bbr;
mod pacing;
#[cfg(test)]
mod tests;

pub use appendix_a::AppendixA;
pub use bbr::Bbr;
pub(crate) use pacing::Pacer;

use super::Time;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which algorithm decides how much may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Controller {
    /// The window algorithm of RFC 7016 Appendix A: takes every loss for congestion.
    AppendixA,
    /// A BBR-like controller: measures delivery rate and round trip, and bears losses that are
    /// not its own doing. Appendix A takes over while it must yield to time critical data.
    #[default]
    Bbr,
}

impl Controller {
    /// A controller for a new session whose datagrams have up to `segment` bytes.
    pub fn start(self, segment: u64) -> Box<dyn Congestion> {
        match self {
            Self::AppendixA => Box::new(AppendixA::new(segment)),
            Self::Bbr => Box::new(Bbr::new(segment)),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppendixA => "appendix-a",
            Self::Bbr => "bbr",
        })
    }
}

/// The name is not one of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a congestion controller: appendix-a or bbr")]
pub struct UnknownController;

impl FromStr for Controller {
    type Err = UnknownController;

    fn from_str(name: &str) -> Result<Self, UnknownController> {
        match name {
            "appendix-a" => Ok(Self::AppendixA),
            "bbr" => Ok(Self::Bbr),
            _ => Err(UnknownController),
        }
    }
}

/// A packet with user data that was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SentPacket {
    /// When.
    pub now: Time,
    /// Transmission sequence number of its last fragment (RFC 7016 §3.6.2.5).
    pub tsn: u64,
    /// Bytes of its user data chunks.
    pub bytes: u64,
    /// Bytes in flight before it was sent.
    pub outstanding_before: u64,
}

/// Report of a received packet on data in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AckReport {
    /// When the packet was received.
    pub now: Time,
    /// User data bytes in flight before the packet was processed.
    pub outstanding_before: u64,
    /// The same after it was processed.
    pub outstanding: u64,
    /// Bytes that the packet acknowledged.
    pub acked_bytes: u64,
    /// Bytes that were found lost.
    pub lost_bytes: u64,
    /// The highest transmission sequence number that was acknowledged for the first time.
    pub newest_acked: Option<u64>,
    /// The highest transmission sequence number that was found lost.
    pub newest_lost: Option<u64>,
    /// Every transmission below this has left the network.
    pub first_tsn: u64,
    /// Number of the next transmission.
    pub next_tsn: u64,
    /// Time that packets wait in queues on their way to the far end, if it is known: the least since
    /// this was last looked at, in steps of 4 ms.
    pub waited: Option<Duration>,
    /// The packet contained an acknowledgement.
    pub any_acks: bool,
    /// At least one fragment in flight was passed over.
    pub any_naks: bool,
    /// At least one fragment was found lost.
    pub any_loss: bool,
    /// The far end has reported marks of congestion, and this is the first report about what was
    /// in flight: to be answered like a loss.
    pub ecn_congestion: bool,
    /// No time critical data is being sent or received elsewhere: growth at the normal rate.
    pub fast_grow: bool,
    /// This session has sent time critical data within the last 800 ms.
    pub time_critical_sent: bool,
}

/// A congestion controller of one session.
pub trait Congestion: fmt::Debug + Send {
    /// The congestion window in bytes, never 0.
    fn window(&self) -> u64;

    /// The window while packets wait in the queue of this end's own uplink, which the endpoint keeps
    /// short: `own_queue` bytes of them do not count, where the controller knows nothing to the
    /// contrary.
    fn window_with(&self, _own_queue: u64) -> u64 {
        self.window()
    }

    /// With less than this free in the window, packets wait for the next acknowledgement rather
    /// than leave by ones and twos: what leaves together costs little more than one. Much less
    /// than the window.
    fn batch(&self) -> u64 {
        0
    }

    /// Rate at which packets may leave, in bytes of user data chunks per second, never 0. `None`:
    /// as fast as window and burst avoidance (RFC 7016 §3.5.2.3) allow.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// Bytes of user data chunks that may leave at once however low the pacing rate.
    fn burst(&self) -> u64 {
        0
    }

    /// Datagrams have up to `segment` bytes from now on.
    fn set_segment(&mut self, _segment: u64) {}

    /// A packet with user data was sent.
    fn on_sent(&mut self, _packet: &SentPacket) {}

    /// Window and rate would allow more than the owner has to send; `outstanding` bytes are in
    /// flight.
    fn on_app_limited(&mut self, _outstanding: u64) {}

    /// Every chunk of a received packet was processed.
    fn on_packet(&mut self, report: &AckReport);

    /// The retransmission timer fired (§3.6.2.6): `lost` bytes were in flight and count as lost.
    /// 0: nothing was, the session has been idle.
    fn on_timeout(&mut self, lost: u64);
}
