//! `rtmfp probe`: the way to a server, and what it means for peers.

use super::json::JsonLines;
use super::listen::{self, Listen};
use super::outcome::TimedOut;
use super::patience::after;
use super::signals::Signals;
use super::{format, screen, via};
use anyhow::{anyhow, bail};
use rtmfp::Uri;
use rtmfp::peer::{Connectivity, Dependence, PeerConfig, Probe, Reachability, probe};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of the headers of IP and UDP.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;

/// Find out how this host reaches a server, and how peers reach this host.
///
/// The server must make the checks: one of rtmfp serve does, and so do checkers like Adobe's
/// cc.rtmfp.net was. What firewalls and address translators (NATs) do is found out for the way to
/// this server; they may do something else elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp probe rtmfp://rendezvous.example
  rtmfp probe rtmfp://192.0.2.7:1936 --json")]
pub(crate) struct ProbeArgs {
    /// The server: rtmfp://HOST[:PORT][/APP]
    #[arg(value_name = "URL", value_parser = via::parse)]
    server: Uri,

    /// UDP address to send and receive from: PORT, ADDR, ADDR:PORT or NAME:PORT; may be given several
    /// times [default: all addresses, any free port]
    #[arg(long, value_name = "ADDR", value_parser = listen::member_address)]
    listen: Vec<Listen>,

    /// Give up when all is not done by then
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = format::parse_timeout)]
    timeout: Duration,

    /// Print a JSON object; docs/nat.md describes it
    #[arg(long)]
    json: bool,
}

/// The object that `--json` prints.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// The server was reached.
    Probe(Box<Found>),
    /// It was not.
    Unreachable { server: String, reason: String },
}

#[derive(Debug, Serialize)]
struct Found {
    server: SocketAddr,
    round_trip: Option<f64>,
    datagram: usize,
    mtu: usize,
    public_address: Option<SocketAddr>,
    local_addresses: Vec<SocketAddr>,
    translated: Option<bool>,
    port_preserved: Option<bool>,
    mapping: Option<&'static str>,
    filtering: Option<&'static str>,
    hairpin: Option<bool>,
    reachability: &'static str,
    /// Why the server has checked nothing.
    unchecked: Option<String>,
    advice: String,
}

impl Found {
    fn new(probe: &Probe) -> Self {
        let nothing = Connectivity::default();
        let checked = probe.connectivity.as_ref().unwrap_or(&nothing);
        Self {
            server: canonical(probe.server),
            round_trip: probe.round_trip.map(|time| time.as_secs_f64()),
            datagram: probe.datagram,
            mtu: mtu(probe),
            public_address: checked.public_address,
            local_addresses: checked.local_addresses.clone(),
            translated: probe.is_translated(),
            port_preserved: checked.public_port_matches_local_port,
            mapping: checked.mapping().map(Dependence::name),
            filtering: checked.filtering().map(Dependence::name),
            hairpin: probe.hairpin,
            reachability: probe.reachability().name(),
            unchecked: probe.connectivity.as_ref().err().cloned(),
            advice: advice(probe),
        }
    }
}

pub(crate) async fn run(args: ProbeArgs) -> anyhow::Result<()> {
    let json = args.json.then(JsonLines::new);
    let mut config = PeerConfig::default();
    if !args.listen.is_empty() {
        config.listen = listen::addresses(args.listen.clone());
    }
    let mut signals = Signals::new()?;
    screen::line(&format!("probing the way to {}", args.server));
    let probed = tokio::select! {
        probed = probe(config, args.server.as_str()) => match probed {
            Ok(probed) => Ok(probed),
            Err(error) => Err(anyhow!("{}", format::printable(&error.to_string()))),
        },
        () = after(Some(args.timeout)) => {
            let time = format::duration(args.timeout);
            Err(TimedOut(format!("nobody has answered at {} within {time}", args.server)).into())
        }
        () = signals.recv() => bail!("interrupted"),
    };
    match (probed, json) {
        (Ok(probed), Some(json)) => json.emit(&Event::Probe(Box::new(Found::new(&probed)))),
        (Ok(probed), None) => screen::result(&text(&probed))?,
        (Err(error), json) => {
            let reason = error.to_string();
            if let Some(json) = json {
                json.emit(&Event::Unreachable { server: args.server.to_string(), reason });
            }
            return Err(error.context(UNREACHABLE));
        }
    }
    Ok(())
}

const UNREACHABLE: &str = "the server is not reached over UDP: it does not run there, or a firewall \
here or there lets no UDP through to its port (RTMFP has no other way)";

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mtu(probe: &Probe) -> usize {
    let is_ipv4 = probe.server.ip().to_canonical().is_ipv4();
    probe.datagram + if is_ipv4 { HEADERS_V4 } else { HEADERS_V6 }
}

/// The results for people.
fn text(probe: &Probe) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let time =
        probe.round_trip.map(|time| format!(", round trip {:.1} ms", time.as_secs_f64() * 1e3));
    let server = canonical(probe.server);
    lines.push(("server", format!("{server} answers over UDP{}", time.unwrap_or_default())));
    lines
        .push(("datagrams", format!("{} bytes pass (MTU {} or more)", probe.datagram, mtu(probe))));
    match &probe.connectivity {
        Ok(checked) => of_check(probe, checked, &mut lines),
        Err(why) => lines.push(("address", format!("not known: {}", format::printable(why)))),
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
    let mut text = String::new();
    for (name, value) in lines {
        text += &format!("{name:width$}{value}\n");
    }
    text + "\n" + &advice(probe)
}

fn of_check(probe: &Probe, checked: &Connectivity, lines: &mut Vec<(&str, String)>) {
    if let Some(public) = checked.public_address {
        let note = match probe.is_translated() {
            Some(true) => ", translated",
            Some(false) => ", this host's own",
            None => "",
        };
        lines.push(("address", format!("{public}{note}")));
    }
    if probe.is_translated() == Some(true) {
        let port = match checked.public_port_matches_local_port {
            Some(true) => "kept by the translator",
            Some(false) => "another one than this host's",
            None => "not known",
        };
        lines.push(("port", port.into()));
        let mapping = match checked.mapping() {
            Some(Dependence::EndpointIndependent) => "one address and port for all far ends",
            Some(Dependence::PortIndependent) => "one address and port for all ports of the server",
            Some(Dependence::AddressDependent) => "another port for each far address",
            Some(Dependence::AddressAndPortDependent) => {
                "another port for each far address and port"
            }
            Some(_) => "another port for another far end",
            None => "not known: nothing has arrived at the server's other ports",
        };
        lines.push(("mapping", named(mapping, checked.mapping())));
    }
    let filtering = match checked.filtering() {
        Some(Dependence::EndpointIndependent) => "anybody's datagrams get in",
        Some(Dependence::PortIndependent) => "datagrams of any port of the server get in",
        Some(Dependence::AddressDependent) => "only who was sent something gets in, from any port",
        Some(Dependence::AddressAndPortDependent) => {
            "only who was sent something gets in, from the same port"
        }
        Some(_) => "not everybody's datagrams get in",
        None => "not known",
    };
    lines.push(("filtering", named(filtering, checked.filtering())));
    let hairpin = probe.hairpin.map(|works| match works {
        true => "this host reaches itself by its public address",
        false => "this host does not reach itself by its public address",
    });
    lines.extend(hairpin.map(|hairpin| ("hairpin", hairpin.to_owned())));
}

fn named(what: &str, dependence: Option<Dependence>) -> String {
    let name = dependence.map(|it| format!(" ({})", it.name()));
    format!("{what}{}", name.unwrap_or_default())
}

/// What it means, and what to do.
fn advice(probe: &Probe) -> String {
    let device = match probe.is_translated() {
        Some(false) => "firewall",
        _ => "router",
    };
    let forward = match probe.is_translated() {
        Some(false) => {
            "let the firewall pass a UDP port to this host, and choose that port by --listen"
        }
        _ => {
            "let the router forward a UDP port to this host, choose that port by --listen, and \
             share or serve with --public-address"
        }
    };
    match probe.reachability() {
        Reachability::Open => {
            "Peers reach this host directly. A server here is reached as well.".into()
        }
        Reachability::IntroducedToAll => format!(
            "Peers reach this host when a server introduces them, which groups do by themselves. For a \
             server here, {forward}."
        ),
        Reachability::Introduced => format!(
            "Peers reach this host when a server introduces them, which groups do by themselves; but \
             not those behind symmetric NATs (another port for each far end), with which it exchanges \
             through others. To be reached by all, and for a server here, {forward}."
        ),
        Reachability::Symmetric => format!(
            "The {device} takes another port for each far end (a symmetric NAT). Peers that let \
             anybody in, or any port of an address, are reached; those behind most home routers and \
             behind other symmetric NATs are not, and exchange through others. To be reached by all, \
             {forward}."
        ),
        _ => match &probe.connectivity {
            Ok(_) => {
                "The server could not tell how peers reach this host: nothing has arrived at its \
                      other ports. A firewall in front of it may keep them closed (docs/nat.md)."
                    .into()
            }
            Err(_) => {
                "The server is reached, but has not checked how peers reach this host. Probe a \
                       server of rtmfp serve."
                    .into()
            }
        },
    }
}
