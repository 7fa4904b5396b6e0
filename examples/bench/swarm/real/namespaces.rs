//! Network namespaces: one for each member, and one with all cables between them.
//!
//! ```text
//! member: eth0 ── m3 (bridge b3) u3 ── h3 (bridge hub) h4 ── u4 (bridge b4) m4 ── eth0: member
//! ```
//!
//! The bridge of two ports stands for the member's router: `htb` at `u3` is the uplink, at `m3` the
//! downlink. So a member does not notice its own queue, and each frame passes it alone: its network
//! card is made to cut what the system sends in one piece.

use super::super::links::{Links, QUEUE};
use anyhow::{Context, bail, ensure};
use std::net::Ipv4Addr;
use std::process::{Command, Output};

/// Frames of the longest datagrams, for a queue that is counted in frames.
const FRAME: f64 = 1514.0;

/// The namespaces of a run. They are removed when this is dropped.
pub(super) struct Namespaces {
    members: u32,
}

/// The links of a member, in Mbit/s; `None` is not limited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) up: Option<f64>,
    pub(super) down: Option<f64>,
}

impl Namespaces {
    /// The namespace with all cables.
    pub(super) fn new() -> anyhow::Result<Self> {
        check_system()?;
        let this = Self { members: 0 };
        add_namespace(&hub())?;
        ip(&["-n", &hub(), "link", "add", "hub", "type", "bridge"])?;
        ip(&["-n", &hub(), "link", "set", "hub", "up"])?;
        Ok(this)
    }

    /// A member, with its namespace and its links. Returns its number.
    pub(super) fn add(&mut self, shape: Shape, links: &Links) -> anyhow::Result<u32> {
        let number = self.members;
        // So that it is removed even if the rest fails.
        self.members += 1;
        let (hub, name) = (hub(), name(number));
        add_namespace(&name)?;
        let [m, u, h, b] = ["m", "u", "h", "b"].map(|letter| format!("{letter}{number}"));
        let peer = ["peer", "name", "eth0", "netns", &name];
        ip(&[&["-n", &hub, "link", "add", &m, "type", "veth"], &peer[..]].concat())?;
        ip(&["-n", &hub, "link", "add", &u, "type", "veth", "peer", "name", &h])?;
        ip(&["-n", &hub, "link", "add", &b, "type", "bridge"])?;
        for (port, bridge) in [(&m, b.as_str()), (&u, &b), (&h, "hub")] {
            ip(&["-n", &hub, "link", "set", port, "master", bridge, "up"])?;
        }
        ip(&["-n", &hub, "link", "set", &b, "up"])?;
        let address = format!("{}/16", address(number));
        ip(&["-n", &name, "address", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "gso_max_segs", "1", "up"])?;
        shape.up.map_or(Ok(()), |rate| limit(&u, rate))?;
        shape.down.map_or(Ok(()), |rate| limit(&m, rate))?;
        disturb(&m, shape.down, links)?;
        Ok(number)
    }

    /// A command that runs a program in the namespace of a member.
    pub(super) fn command(&self, member: u32) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name(member)]);
        command
    }

    /// Bytes that all members have sent so far, with all headers.
    pub(super) fn wire_bytes(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for member in 0..self.members {
            let shown = ip(&["-n", &name(member), "-s", "-j", "link", "show", "dev", "eth0"])?;
            let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
            let bytes = shown[0]["stats64"]["tx"]["bytes"].as_u64();
            sum += bytes.context("`ip -s -j link` shows no bytes")?;
        }
        Ok(sum)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..self.members).map(name).chain([hub()]) {
            if let Err(error) = ip(&["netns", "delete", &name]) {
                eprintln!("bench: namespace {name} remains: {error:#}");
            }
        }
    }
}

/// The address of a member, one of those for tests of networks: with private ones, all would be in one
/// local network.
pub(super) fn address(member: u32) -> Ipv4Addr {
    let [high, low] = u16::try_from(member + 1).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

fn hub() -> String {
    format!("rtmfp-bench-{}-hub", std::process::id())
}

fn name(member: u32) -> String {
    format!("rtmfp-bench-{}-{member}", std::process::id())
}

fn check_system() -> anyhow::Result<()> {
    ensure!(cfg!(target_os = "linux"), "--real needs network namespaces, which only Linux has");
    ensure!(
        rustix_is_root(),
        "--real makes network namespaces, which only root may: run the example itself by sudo \
         (sudo target/release/examples/bench swarm --real), or leave out --real"
    );
    for program in ["ip", "tc"] {
        let found = Command::new(program).arg("-Version").output();
        found.with_context(|| {
            format!("--real needs the program `{program}` (Debian: apt install iproute2)")
        })?;
    }
    Ok(())
}

#[cfg(unix)]
fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn rustix_is_root() -> bool {
    false
}

fn add_namespace(name: &str) -> anyhow::Result<()> {
    ip(&["netns", "add", name])?;
    // Before any link is up: nobody is to look for addresses of its own.
    let no_ipv6 = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 || true";
    ip(&["netns", "exec", name, "sh", "-c", no_ipv6])?;
    ip(&["-n", name, "link", "set", "lo", "up"])?;
    Ok(())
}

/// Limits what leaves by a port in the hub's namespace.
fn limit(port: &str, megabits: f64) -> anyhow::Result<()> {
    let rate = format!("{:.0}bit", megabits * 1e6);
    let queue = format!("{:.0}", megabits * 1e6 / 8.0 * QUEUE.as_secs_f64());
    tc(&["qdisc", "add", "dev", port, "root", "handle", "1:", "htb", "default", "1"])?;
    let class = ["class", "add", "dev", port, "parent", "1:", "classid", "1:1", "htb", "rate"];
    tc(&[&class[..], &[&rate, "quantum", "1514"]].concat())?;
    let leaf = ["qdisc", "add", "dev", port, "parent", "1:1", "handle", "10:", "bfifo", "limit"];
    tc(&[&leaf[..], &[&queue]].concat())
}

/// Adds loss and delay, if they are asked for, to what leaves by a port that has a limit or not.
fn disturb(port: &str, megabits: Option<f64>, links: &Links) -> anyhow::Result<()> {
    if links.loss == 0.0 && links.rtt_ms == 0.0 {
        return Ok(());
    }
    let delay = links.rtt_ms / 2.0;
    let waits = QUEUE.as_secs_f64() + delay / 1000.0;
    let frames = megabits.map_or(10_000.0, |rate| (rate * 1e6 / 8.0 * waits / FRAME).ceil());
    let (delay, loss) = (format!("{delay}ms"), format!("{}%", links.loss * 100.0));
    let netem = ["netem", "limit", &format!("{frames:.0}"), "delay", &delay, "loss", &loss];
    let parent = if megabits.is_some() { &["parent", "1:1"][..] } else { &["root"] };
    let add = [&["qdisc", "replace", "dev", port], parent, &["handle", "20:"], &netem].concat();
    tc(&add).context("--loss and --rtt-ms need netem in the kernel (module sch_netem)")
}

fn ip(arguments: &[&str]) -> anyhow::Result<Output> {
    run("ip", arguments)
}

fn tc(arguments: &[&str]) -> anyhow::Result<()> {
    let hub = hub();
    run("tc", &[&["-n", &hub], arguments].concat()).map(drop)
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let line = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().with_context(line)?;
    if !output.status.success() {
        bail!("`{}`: {}", line(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}
