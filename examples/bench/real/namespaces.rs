//! Network namespaces: one for each member, and one with all cables between them.
//!
//! ```text
//! member: eth0 ── m3 (bridge b3) u3 ── h3 (bridge hub) h4 ── u4 (bridge b4) m4 ── eth0: member
//! ```
//!
//! The bridge of two ports stands for the member's router: `htb` at `u3` is the uplink, at `m3` the
//! downlink. So a member does not notice its own queue, and each frame passes it alone: its network
//! card is made to cut what the system sends in one piece. Where the kernel has no netem, a cable
//! with loss and delay lies before the downlink:
//!
//! ```text
//! member: eth0 ── m3 (bridge c3) f3 ── n3 (bridge b3) u3 ── …
//! ```

use super::cable::{Cable, Ends};
use crate::swarm::links::{Links, QUEUE};
use anyhow::{Context, bail, ensure};
use std::net::Ipv4Addr;
use std::process::{Command, Output};

/// Frames of the longest datagrams, for a queue that is counted in frames.
const FRAME: f64 = 1514.0;

/// The namespaces of a run. They are removed when this is dropped.
pub(crate) struct Namespaces {
    members: u32,
    has_netem: bool,
    cables: Vec<Cable>,
}

/// The links of a member, in Mbit/s; `None` is not limited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) up: Option<f64>,
    pub(crate) down: Option<f64>,
}

impl Namespaces {
    /// The namespace with all cables.
    pub(crate) fn new() -> anyhow::Result<Self> {
        check_system()?;
        let mut this = Self { members: 0, has_netem: false, cables: Vec::new() };
        add_namespace(&hub())?;
        let probe = ["qdisc", "add", "dev", "lo", "root", "netem", "delay", "0ms"];
        this.has_netem = tc(&probe).is_ok();
        ip(&["-n", &hub(), "link", "add", "hub", "type", "bridge"])?;
        ip(&["-n", &hub(), "link", "set", "hub", "up"])?;
        Ok(this)
    }

    /// A member, with its namespace and its links. Returns its number.
    pub(crate) fn add(&mut self, shape: Shape, links: &Links) -> anyhow::Result<u32> {
        let number = self.next_number();
        let (hub, name) = (hub(), name(number));
        add_namespace(&name)?;
        let [m, u, h, b] = ["m", "u", "h", "b"].map(|letter| format!("{letter}{number}"));
        let peer = ["peer", "name", "eth0", "netns", &name];
        ip(&[&["-n", &hub, "link", "add", &m, "type", "veth"], &peer[..]].concat())?;
        ip(&["-n", &hub, "link", "add", &u, "type", "veth", "peer", "name", &h])?;
        ip(&["-n", &hub, "link", "add", &b, "type", "bridge"])?;
        let disturbance = Disturbance::of(shape.down, links);
        let cable = disturbance.as_ref().filter(|_| !self.has_netem);
        let router = match cable {
            None => b.clone(),
            Some(disturbance) => self.lay_cable(number, &b, disturbance)?,
        };
        for (port, bridge) in [(&m, router.as_str()), (&u, &b), (&h, "hub")] {
            ip(&["-n", &hub, "link", "set", port, "master", bridge, "up"])?;
        }
        ip(&["-n", &hub, "link", "set", &b, "up"])?;
        let address = format!("{}/16", address(number));
        ip(&["-n", &name, "address", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "gso_max_segs", "1", "up"])?;
        shape.up.map_or(Ok(()), |rate| limit(&u, rate))?;
        shape.down.map_or(Ok(()), |rate| limit(&m, rate))?;
        if let Some(disturbance) = disturbance.filter(|_| self.has_netem) {
            disturbance.add_netem(&m, shape.down.is_some())?;
        }
        Ok(number)
    }

    /// The number of a new namespace, which is removed even if it is never complete.
    pub(super) fn next_number(&mut self) -> u32 {
        self.members += 1;
        self.members - 1
    }

    /// A cable with loss and delay from this bridge to a new one, whose name is returned.
    fn lay_cable(
        &mut self,
        number: u32,
        bridge: &str,
        disturbance: &Disturbance,
    ) -> anyhow::Result<String> {
        let hub = hub();
        let [near, far, end] = ["n", "f", "c"].map(|letter| format!("{letter}{number}"));
        let Disturbance { delay_ms, loss, frames } = *disturbance;
        let ends = Ends { near: &near, far: &far, delay_ms, loss, frames, seed: number };
        self.cables.push(Cable::lay(in_namespace(&hub), &ends)?);
        ip(&["-n", &hub, "link", "add", &end, "type", "bridge"])?;
        for (port, bridge) in [(&near, bridge), (&far, &end)] {
            ip(&["-n", &hub, "link", "set", port, "txqueuelen", "10000"])?;
            ip(&["-n", &hub, "link", "set", port, "master", bridge, "up"])?;
        }
        ip(&["-n", &hub, "link", "set", &end, "up"])?;
        Ok(end)
    }

    /// A command that runs a program in the namespace of a member.
    pub(crate) fn command(&self, member: u32) -> Command {
        in_namespace(&name(member))
    }

    /// Bytes that all members have sent so far, with all headers.
    pub(crate) fn wire_bytes(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for member in 0..self.members {
            sum += self.bytes_of(member, "tx")?;
        }
        Ok(sum)
    }

    /// Bytes that a member's network card has sent (tx) or received (rx).
    pub(super) fn bytes_of(&self, member: u32, direction: &str) -> anyhow::Result<u64> {
        let shown = ip(&["-n", &name(member), "-s", "-j", "link", "show", "dev", "eth0"])?;
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
        let bytes = shown[0]["stats64"][direction]["bytes"].as_u64();
        bytes.context("`ip -s -j link` shows no bytes")
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
pub(crate) fn address(member: u32) -> Ipv4Addr {
    let [high, low] = u16::try_from(member + 1).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

fn hub() -> String {
    format!("rtmfp-bench-{}-hub", std::process::id())
}

pub(super) fn name(member: u32) -> String {
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

pub(super) fn add_namespace(name: &str) -> anyhow::Result<()> {
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

/// Loss and delay on the way to a member.
struct Disturbance {
    delay_ms: f64,
    /// From 0 to 1.
    loss: f64,
    /// How many frames are on their way at most.
    frames: f64,
}

impl Disturbance {
    /// What is asked for, if anything, to a member with this downlink in Mbit/s or no limit.
    fn of(megabits: Option<f64>, links: &Links) -> Option<Self> {
        if links.loss == 0.0 && links.rtt_ms == 0.0 {
            return None;
        }
        let delay_ms = links.rtt_ms / 2.0;
        let waits = QUEUE.as_secs_f64() + delay_ms / 1000.0;
        let frames = megabits.map_or(10_000.0, |rate| (rate * 1e6 / 8.0 * waits / FRAME).ceil());
        Some(Self { delay_ms, loss: links.loss, frames })
    }

    /// Adds it to what leaves by a port that has a limit or not.
    fn add_netem(&self, port: &str, is_limited: bool) -> anyhow::Result<()> {
        let (delay, loss) = (format!("{}ms", self.delay_ms), format!("{}%", self.loss * 100.0));
        let frames = format!("{:.0}", self.frames);
        let netem = ["netem", "limit", &frames, "delay", &delay, "loss", &loss];
        let parent = if is_limited { &["parent", "1:1"][..] } else { &["root"] };
        tc(&[&["qdisc", "replace", "dev", port], parent, &["handle", "20:"], &netem].concat())
    }
}

/// A command that runs the program that it is given in a namespace.
fn in_namespace(name: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name]);
    command
}

pub(super) fn ip(arguments: &[&str]) -> anyhow::Result<Output> {
    run("ip", arguments)
}

/// Runs a program in a namespace.
pub(super) fn run_in(namespace: &str, command: &[&str]) -> anyhow::Result<()> {
    run("ip", &[&["netns", "exec", namespace], command].concat()).map(drop)
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
