//! The members' links, and the time that no distribution can beat.

use clap::Args;
use rtmfp::proto::sim::Link;
use std::time::Duration;

/// Time that a datagram may wait for its sender's uplink or its receiver's downlink.
pub(crate) const QUEUE: Duration = Duration::from_millis(100);
/// Bytes of the Ethernet, IPv4 and UDP headers of a datagram.
pub(crate) const HEADERS: usize = 14 + 20 + 8;
/// The shortest one-way delay: that of a bridge in one computer.
const LEAST_DELAY: Duration = Duration::from_micros(50);

/// The members' links.
#[derive(Debug, Clone, Args)]
pub(crate) struct Links {
    /// The provider's uplink in Mbit/s
    #[arg(long, value_name = "MBIT", default_value = "10", value_parser = parse_rate)]
    pub(crate) provider_up: f64,
    /// The receivers' uplinks in Mbit/s
    #[arg(long, value_name = "MBIT", default_value = "5", value_parser = parse_rate)]
    pub(crate) up: f64,
    /// The receivers' downlinks in Mbit/s
    #[arg(long, value_name = "MBIT", default_value = "20", value_parser = parse_rate)]
    pub(crate) down: f64,
    /// Every second receiver has a tenth of the uplink
    #[arg(long)]
    pub(crate) hetero: bool,
    /// Share of datagrams that are lost, from 0 to 0.9
    #[arg(long, value_name = "P", default_value = "0", value_parser = parse_loss)]
    pub(crate) loss: f64,
    /// Round trip between two members in milliseconds, without queues
    #[arg(long, value_name = "MS", default_value = "0", value_parser = parse_rtt)]
    pub(crate) rtt_ms: f64,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=10_000.0).contains(rate));
    rate.ok_or_else(|| "a rate from 0.01 to 10000 Mbit/s is expected".to_owned())
}

fn parse_loss(text: &str) -> Result<f64, String> {
    let loss = text.parse().ok().filter(|loss| (0.0..=0.9).contains(loss));
    loss.ok_or_else(|| "a probability from 0 to 0.9 is expected".to_owned())
}

fn parse_rtt(text: &str) -> Result<f64, String> {
    let rtt = text.parse().ok().filter(|rtt| (0.0..=10_000.0).contains(rtt));
    rtt.ok_or_else(|| "0 to 10000 ms are possible".to_owned())
}

impl Links {
    /// The uplink of a receiver, which are counted from 0, in Mbit/s.
    pub(crate) fn uplink(&self, receiver: u32) -> f64 {
        if self.hetero && receiver % 2 == 1 { self.up / 10.0 } else { self.up }
    }

    /// The time that no distribution of so many bytes to `n` receivers can beat, in seconds: the
    /// provider sends each byte once, each receiver takes each byte, and all of them together send
    /// `n` copies.
    pub(crate) fn least_seconds(&self, n: u32, size: u64) -> f64 {
        let megabits = size as f64 * 8.0 / 1e6;
        let together = self.provider_up + (0..n).map(|r| self.uplink(r)).sum::<f64>();
        let copies = f64::from(n) * megabits / together;
        (megabits / self.provider_up).max(megabits / self.down).max(copies)
    }

    /// The simulator's link from a member with this uplink in Mbit/s, the queue of which has this
    /// number.
    pub(crate) fn link_of_member(&self, uplink: f64, number: u32) -> Link {
        let delay = Duration::from_secs_f64(self.rtt_ms / 2000.0).max(LEAST_DELAY);
        let link = Link::lan().with_delay(delay).with_loss(self.loss).through(number);
        shaped(link, uplink)
    }

    /// The simulator's queue before a receiver.
    pub(crate) fn downlink(&self) -> Link {
        shaped(Link::lan(), self.down)
    }

    /// The simulator's link from the rendezvous server, which has no bottleneck.
    pub(crate) fn link_of_server(&self) -> Link {
        let delay = Duration::from_secs_f64(self.rtt_ms / 2000.0).max(LEAST_DELAY);
        Link::lan().with_delay(delay).with_loss(self.loss)
    }
}

fn shaped(link: Link, megabits: f64) -> Link {
    let rate = (megabits * 1e6 / 8.0) as u64;
    link.with_rate(rate).with_queue(QUEUE).with_overhead(HEADERS)
}
