//! Homes: a router that translates addresses, and computers behind it.
//!
//! ```text
//! router: eth0 (as that of a member) ── nftables' masquerade ── lan (bridge) p3 ── eth0: computer
//! ```

use super::namespaces::{Namespaces, add_namespace, ip, name, run_in};
use anyhow::Context;

/// Translates the addresses of the home, each computer's port to itself where it is free. As in routers
/// of homes, nothing new comes in: a packet that the router took for its own would have the port, and the
/// answer to it would leave from another one.
const RULES: &str = "add table ip home; \
    add chain ip home out { type nat hook postrouting priority srcnat; }; \
    add rule ip home out oifname eth0 masquerade; \
    add chain ip home in { type filter hook input priority filter; }; \
    add rule ip home in iifname eth0 ct state new drop";

impl Namespaces {
    /// Makes a member the router of a home.
    pub(crate) fn make_router(&mut self, router: u32) -> anyhow::Result<()> {
        let namespace = name(router);
        run_in(&namespace, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        run_in(&namespace, &["nft", RULES]).context(
            "address translation needs the program `nft` (Debian: apt install nftables) and the \
             kernel's modules for it",
        )?;
        ip(&["-n", &namespace, "link", "add", "lan", "type", "bridge"])?;
        let address = format!("192.168.{router}.1/24");
        ip(&["-n", &namespace, "address", "add", &address, "dev", "lan"])?;
        ip(&["-n", &namespace, "link", "set", "lan", "up"])?;
        Ok(())
    }

    /// A computer behind a router. Returns its number.
    pub(crate) fn add_at_home(&mut self, router: u32) -> anyhow::Result<u32> {
        let number = self.next_number();
        let (behind, router_name) = (name(number), name(router));
        add_namespace(&behind)?;
        let port = format!("p{number}");
        let peer = ["peer", "name", "eth0", "netns", &behind];
        ip(&[&["-n", &router_name, "link", "add", &port, "type", "veth"], &peer[..]].concat())?;
        ip(&["-n", &router_name, "link", "set", &port, "master", "lan", "up"])?;
        let address = format!("192.168.{router}.{}/24", 100 + number % 100);
        ip(&["-n", &behind, "address", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &behind, "link", "set", "eth0", "gso_max_segs", "1", "up"])?;
        let gateway = format!("192.168.{router}.1");
        ip(&["-n", &behind, "route", "add", "default", "via", &gateway])?;
        Ok(number)
    }

    /// Bytes that have come to a member, with all headers.
    pub(crate) fn received_bytes(&self, member: u32) -> anyhow::Result<u64> {
        self.bytes_of(member, "rx")
    }
}
