//! What the links of this host carried, remembered from one run to the next.
//!
//! In the user's directory for state lies the file `links`, one line for each network and direction:
//! a hash of the user's secret and of what identifies the network, `up` or `down`, bytes a second,
//! `full` if the link itself was the bottleneck or `least` if it may carry more, and when that was
//! measured, in seconds since 1970. The hash does not reveal the network. Lines that make no sense are
//! left out, and the file may be deleted.

use super::remembered;
use super::screen;
use rtmfp::driver::{Access, calendar_ms, host_addresses, write_whole};
use rtmfp::peer::{Bandwidth, Connection, LinkRate, LinkRates};
use rtmfp::vod::Digest256;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What was measured is of use for so long.
const EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Networks that are remembered; those that were measured longest ago are forgotten first.
const MAX_NETWORKS: usize = 32;
/// Bytes that are read of the file; a line is about a hundred long.
const MAX_FILE: u64 = 16 << 10;
/// What was measured is written in this interval, and at the end.
const SAVE: Duration = Duration::from_secs(180);
/// Measurements are looked at in this interval.
const LOOK: Duration = Duration::from_millis(500);

/// The links of a running command.
pub(crate) struct LinkMemory {
    place: Option<Place>,
    latest: Arc<Mutex<LinkRates>>,
    task: JoinHandle<()>,
}

/// Where the links of a network are remembered.
#[derive(Debug, Clone)]
struct Place {
    file: PathBuf,
    network: String,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    network: String,
    is_up: bool,
    rate: LinkRate,
    /// Seconds since 1970.
    at: u64,
}

impl LinkMemory {
    /// Gives the connection what is remembered, and remembers from now on what it measures.
    pub(crate) async fn begin(connection: &Connection) -> Self {
        let place = place();
        let known = place.as_ref().map(Place::read).unwrap_or_default();
        // Fails if the connection is closed already: then nothing is measured either.
        let _ = connection.remember_links(known).await;
        let latest = Arc::new(Mutex::new(known));
        let follow = follow(connection.clone(), place.clone(), Arc::clone(&latest));
        let task = tokio::spawn(follow);
        Self { place, latest, task }
    }

    /// What is known now.
    pub(crate) fn latest(&self) -> LinkRates {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was measured is written.
impl Drop for LinkMemory {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(place) = &self.place {
            place.write(self.latest());
        }
    }
}

/// Looks what the links carry, and writes it from time to time, until the connection is closed.
async fn follow(connection: Connection, place: Option<Place>, latest: Arc<Mutex<LinkRates>>) {
    let mut look = tokio::time::interval(LOOK);
    let mut save = tokio::time::interval(SAVE);
    loop {
        tokio::select! {
            _ = look.tick() => {
                let Ok(stats) = connection.stats().await else { return };
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = stats.links;
            }
            _ = save.tick() => if let Some(place) = &place {
                let links = *latest.lock().unwrap_or_else(PoisonError::into_inner);
                place.write(links);
            }
        }
    }
}

/// Where the links of the present network are remembered; `None` if there is no place for it, or no
/// network.
fn place() -> Option<Place> {
    let directory = remembered::directory().ok()?;
    let secret = remembered::user_secret(&directory).ok()?;
    let network = network_key(&secret, &host_addresses(), &gateways())?;
    Some(Place { file: directory.join("links"), network })
}

/// A network, without revealing it: by the prefixes of the first address of either family, from which
/// packets to the Internet leave, and the hardware addresses of the routers.
fn network_key(secret: &[u8], addresses: &[IpAddr], gateways: &BTreeSet<String>) -> Option<String> {
    let v4 = addresses.iter().find(|ip| ip.is_ipv4());
    let v6 = addresses.iter().find(|ip| ip.is_ipv6());
    let mut text = String::new();
    for ip in [v4, v6].into_iter().flatten() {
        let prefix = match ip {
            IpAddr::V4(ip) => ip.octets()[..3].to_vec(),
            IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
        };
        text += &format!("{prefix:?}\n");
    }
    if text.is_empty() {
        return None;
    }
    gateways.iter().for_each(|gateway| text += &format!("{gateway}\n"));
    let hash = Digest256::of(&[b"network\0", secret, text.as_bytes()].concat());
    Some(hash.to_string())
}

/// The hardware addresses of the routers to the Internet, by which networks with the same private
/// addresses differ; of Linux only, and empty elsewhere.
fn gateways() -> BTreeSet<String> {
    let routes = read("/proc/net/route".as_ref());
    let neighbors = read("/proc/net/arp".as_ref());
    hardware_addresses(&routes, &neighbors)
}

/// Of the kernel's tables: a route to `00000000` names its router in hexadecimal, the bytes in
/// reverse; the other table has the hardware address of an IP address in its fourth column.
fn hardware_addresses(routes: &str, neighbors: &str) -> BTreeSet<String> {
    let column = |line: &str, n: usize| line.split_whitespace().nth(n).map(ToOwned::to_owned);
    let router = |line: &str| {
        let is_default = column(line, 1)? == "00000000" && column(line, 7)? == "00000000";
        let bytes = u32::from_str_radix(&column(line, 2)?, 16).ok()?.to_le_bytes();
        is_default.then(|| IpAddr::from(bytes).to_string())
    };
    let routers: BTreeSet<String> = routes.lines().skip(1).filter_map(router).collect();
    let hardware = |line: &str| routers.contains(&column(line, 0)?).then(|| column(line, 3))?;
    neighbors.lines().skip(1).filter_map(hardware).collect()
}

/// The beginning of a file; nothing of one that cannot be read.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Place {
    /// What is remembered of this network.
    fn read(&self) -> LinkRates {
        let entries = parse(&read(&self.file), calendar_ms() / 1000);
        let of = |is_up| {
            let mut found = entries.iter().filter(|entry| entry.is_up == is_up);
            found.find(|entry| entry.network == self.network).map(|entry| entry.rate)
        };
        LinkRates { up: of(true), down: of(false) }
    }

    /// Remembers what was measured. Without success, only the next run is slower.
    fn write(&self, links: LinkRates) {
        let now = calendar_ms() / 1000;
        let mut entries = parse(&read(&self.file), now);
        let before = entries.clone();
        for (is_up, rate) in [(true, links.up), (false, links.down)] {
            if let Some(rate) = rate {
                note(&mut entries, Entry { network: self.network.clone(), is_up, rate, at: now });
            }
        }
        if entries != before {
            let text: String = entries.iter().map(Entry::line).collect();
            if let Err(error) = write_whole(&self.file, text.as_bytes(), Access::Private, true) {
                let file = self.file.display();
                screen::line(&format!("WARNING: {file} cannot be written: {error}"));
            }
        }
    }
}

/// Puts what was measured in the place of what is remembered. A rate that the link carries at least
/// does not replace a higher one, which expires by itself.
fn note(entries: &mut Vec<Entry>, new: Entry) {
    let same = |entry: &Entry| entry.network == new.network && entry.is_up == new.is_up;
    if let Some(old) = entries.iter().find(|entry| same(entry))
        && (old.rate == new.rate || (!new.rate.is_full && old.rate.rate >= new.rate.rate))
    {
        return;
    }
    entries.retain(|entry| !same(entry));
    // The latest stand last.
    entries.push(new);
    let mut networks = BTreeSet::new();
    let count = |entry: &&Entry| {
        networks.insert(entry.network.clone());
        networks.len() <= MAX_NETWORKS
    };
    let kept = entries.iter().rev().take_while(count).count();
    entries.drain(..entries.len() - kept);
}

/// The lines that make sense and have not expired.
fn parse(text: &str, now: u64) -> Vec<Entry> {
    let entries = text.lines().filter_map(Entry::parse);
    let is_recent = |entry: &Entry| entry.at <= now && now - entry.at <= EXPIRY.as_secs();
    entries.filter(is_recent).take(2 * MAX_NETWORKS).collect()
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let [network, way, rate, kind, at] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let network: Digest256 = network.parse().ok()?;
        let choose = |text, yes, no| match text {
            text if text == yes => Some(true),
            text if text == no => Some(false),
            _ => None,
        };
        let rate = Bandwidth::bytes_per_second(rate.parse().ok()?);
        Some(Self {
            network: network.to_string(),
            is_up: choose(way, "up", "down")?,
            rate: LinkRate { rate, is_full: choose(kind, "full", "least")? },
            at: at.parse().ok()?,
        })
    }

    fn line(&self) -> String {
        let way = if self.is_up { "up" } else { "down" };
        let kind = if self.rate.is_full { "full" } else { "least" };
        let rate = self.rate.rate.as_bytes_per_second();
        format!("{} {way} {rate} {kind} {}\n", self.network, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 2_000_000_000;

    fn rate(bytes: u64, is_full: bool) -> LinkRate {
        LinkRate { rate: Bandwidth::bytes_per_second(bytes), is_full }
    }

    fn entry(network: u8, rate: LinkRate, at: u64) -> Entry {
        Entry { network: Digest256([network; 32]).to_string(), is_up: true, rate, at }
    }

    fn place(directory: &Path, network: u8) -> Place {
        let network = Digest256([network; 32]).to_string();
        Place { file: directory.join("links"), network }
    }

    #[test]
    fn each_network_has_links_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (home, cafe) = (place(directory.path(), 1), place(directory.path(), 2));
        assert_eq!(home.read(), LinkRates::default());
        let links = LinkRates { up: Some(rate(60_000, true)), down: Some(rate(2_000_000, false)) };
        home.write(links);
        cafe.write(LinkRates { up: Some(rate(1_000_000, false)), down: None });
        assert_eq!(home.read(), links);
        assert_eq!(cafe.read().up, Some(rate(1_000_000, false)));
        // What it carries at least is no news if it is less.
        home.write(LinkRates { up: Some(rate(50_000, false)), down: Some(rate(1_000_000, false)) });
        assert_eq!(home.read(), links);
        home.write(LinkRates { up: Some(rate(50_000, true)), down: Some(rate(3_000_000, false)) });
        let links = LinkRates { up: Some(rate(50_000, true)), down: Some(rate(3_000_000, false)) };
        assert_eq!(home.read(), links);
    }

    #[test]
    fn a_week_later_it_is_forgotten() {
        let text = entry(1, rate(60_000, true), NOW).line();
        let week = EXPIRY.as_secs();
        assert_eq!(parse(&text, NOW + week).len(), 1);
        assert_eq!(parse(&text, NOW + week + 1), []);
        assert_eq!(parse(&text, NOW - 1), [], "a calendar that was set back");
    }

    #[test]
    fn a_damaged_file_costs_what_is_damaged() {
        let good = entry(1, rate(60_000, true), NOW);
        let line = good.line();
        let damaged = [
            "".to_owned(),
            "\0\0\0\n".to_owned(),
            line.replace("up", "sideways"),
            line.replace("full", "empty"),
            line.replace("60000", "-1"),
            line.replace("01", "zz"),
            line.trim_end().to_owned() + " more\n",
            line[..40].to_owned() + "\n",
        ];
        for damaged in damaged {
            let parsed = parse(&format!("{damaged}{line}"), NOW);
            assert_eq!(parsed, std::slice::from_ref(&good), "{damaged}");
        }
        let directory = tempfile::tempdir().unwrap();
        let home = place(directory.path(), 1);
        std::fs::write(&home.file, [0xff; 100_000]).unwrap();
        assert_eq!(home.read(), LinkRates::default());
        let links = LinkRates { up: Some(rate(60_000, true)), down: None };
        home.write(links);
        assert_eq!(home.read(), links);
    }

    #[test]
    fn the_number_of_networks_is_bounded() {
        let mut entries = Vec::new();
        for network in 0..100 {
            note(&mut entries, entry(network, rate(60_000, true), NOW));
        }
        assert_eq!(entries.len(), MAX_NETWORKS);
        assert_eq!(entries[MAX_NETWORKS - 1], entry(99, rate(60_000, true), NOW));
        let longest: usize = entries.iter().map(|entry| entry.line().len()).sum();
        assert!((2 * longest as u64) < MAX_FILE, "{longest} bytes");
    }

    #[test]
    fn a_network_is_known_by_prefixes_and_routers_and_not_revealed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let key = |secret: &[u8], addresses: &[&str], router: &str| {
            let addresses: Vec<_> = addresses.iter().map(|text| ip(text)).collect();
            network_key(secret, &addresses, &BTreeSet::from([router.to_owned()]))
        };
        let router = "02:00:00:00:00:01";
        let home = key(b"a", &["192.168.1.7", "2001:db8::7"], router);
        assert_eq!(home, key(b"a", &["192.168.1.9", "2001:db8::9", "172.17.0.1"], router));
        let others = [
            key(b"b", &["192.168.1.7", "2001:db8::7"], router),
            key(b"a", &["192.168.2.7", "2001:db8::7"], router),
            key(b"a", &["192.168.1.7", "2001:db8:0:1::7"], router),
            key(b"a", &["192.168.1.7", "2001:db8::7"], "02:00:00:00:00:02"),
        ];
        assert!(others.iter().all(|other| other.is_some() && *other != home));
        assert_eq!(key(b"a", &[], router), None);
    }

    #[test]
    fn routers_are_found_in_the_tables_of_the_kernel() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                      eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let neighbors = "IP address       HW type     Flags       HW address            Mask     Device\n\
                         192.168.1.1      0x1         0x2         02:00:00:00:00:01     *        eth0\n\
                         192.168.1.5      0x1         0x2         02:00:00:00:00:05     *        eth0\n";
        let found = hardware_addresses(routes, neighbors);
        assert_eq!(found, BTreeSet::from(["02:00:00:00:00:01".to_owned()]));
        assert_eq!(hardware_addresses("", "garbage\n\n\0"), BTreeSet::new());
    }
}
