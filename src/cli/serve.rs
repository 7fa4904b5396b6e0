//! `rtmfp serve`: the rendezvous server.

use super::key_log::KeyLogArgs;
use super::listen::{self, Listen};
use super::public_address::PublicAddress;
use super::signals::Signals;
use anyhow::Context;
use rtmfp::flash::uri::DEFAULT_PORT;
use rtmfp::server::{Server, ServerConfig, ServerStats, StopError};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// How long clients have to confirm that the server stops. Whoever is there does so in one round trip;
/// the port must be free soon for the next server.
const GRACE: Duration = Duration::from_millis(1500);

/// Run a rendezvous server, where peers meet and join groups.
///
/// It needs no configuration. Media and files never pass through it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Example:
  rtmfp serve --listen 0.0.0.0:1935 --identity server.identity")]
pub(crate) struct ServeArgs {
    /// UDP address to listen on: PORT, ADDR, ADDR:PORT or NAME:PORT; may be given several times
    /// [default: 1935, at all addresses]
    #[arg(long, short, value_name = "ADDR", value_parser = listen::server_address)]
    listen: Vec<Listen>,

    /// Address or name that a router forwards to this server; it is listed first
    #[arg(long, value_name = "HOST[:PORT]")]
    public_address: Option<PublicAddress>,

    /// File that keeps the server's certificate and keys; made if it does not exist
    ///
    /// Without it every start has a new certificate, which disturbs only clients that demand a
    /// certain one.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,

    /// Serve programs built on librtmfp too
    ///
    /// They take no packet authentication, and no client that does not ask for it gets it then:
    /// Flash Player is one of those. Their hellos are answered with up to five times as many bytes,
    /// which those who forge source addresses can abuse a little more.
    #[arg(long)]
    librtmfp: bool,

    #[command(flatten)]
    key_log: KeyLogArgs,
}

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let (defaults, public) = (ServerConfig::default(), args.public_address);
    let listen = match args.listen.is_empty() {
        true => defaults.listen,
        false => listen::addresses(args.listen),
    };
    let mut config = ServerConfig { listen, identity_file: args.identity, ..defaults };
    config.key_log = args.key_log.open()?;
    if args.librtmfp {
        config.rendezvous.transport = config.rendezvous.transport.with_librtmfp();
    }
    // Before the server runs, so that no signal is missed.
    let mut signals = Signals::new().context("can't catch signals")?;
    let server = Server::start(config).await?;
    print(&greeting(&server, public.as_ref())?);
    tokio::select! {
        () = signals.recv() => {}
        () = server.stopped() => anyhow::bail!("the server has stopped by itself: see the log"),
    }
    print("stopping; press Ctrl-C again to stop at once\n");
    tokio::select! {
        stopped = server.stop(GRACE) => print(&farewell(stopped)?),
        () = signals.recv() => print("stopped at once\n"),
    }
    Ok(())
}

fn greeting(server: &Server, public: Option<&PublicAddress>) -> anyhow::Result<String> {
    let mut text = String::from("RTMFP rendezvous server, listening on UDP");
    for (i, address) in server.local_addresses().iter().enumerate() {
        let separator = if i == 0 { " " } else { ", " };
        let _ = write!(text, "{separator}{address}");
    }
    text.push_str("\nclients connect to\n");
    if let Some(public) = public {
        let port =
            server.local_addresses().first().map_or(DEFAULT_PORT, std::net::SocketAddr::port);
        let address = public.of_server(port)?.to_string();
        let shown = address.strip_suffix(&format!(":{DEFAULT_PORT}")).unwrap_or(&address);
        let _ = writeln!(text, "  rtmfp://{shown}/");
    }
    for (address, uri) in server.client_addresses().iter().zip(server.client_uris()) {
        let note = if address.ip().is_loopback() { "   (on this computer)" } else { "" };
        let _ = writeln!(text, "  {uri}{note}");
    }
    let _ = writeln!(text, "certificate fingerprint {}", server.fingerprint());
    let local = server.local_addresses();
    let has_network = server.client_addresses().iter().any(|address| !address.ip().is_loopback());
    if !has_network && public.is_none() && !local.iter().all(|local| local.ip().is_loopback()) {
        text.push_str("WARNING: this host has no network: only programs on it can connect\n");
    }
    text.push_str("press Ctrl-C to stop\n");
    Ok(text)
}

fn farewell(stopped: Result<ServerStats, StopError>) -> anyhow::Result<String> {
    let (stats, note) = match stopped {
        Ok(stats) => (stats, ""),
        Err(StopError::Shutdown { stats, .. }) => (*stats, "; some clients did not confirm"),
        Err(error) => return Err(error.into()),
    };
    let minutes = stats.uptime.as_secs() / 60;
    let seconds = stats.uptime.as_secs() % 60;
    let rendezvous = stats.rendezvous;
    Ok(format!(
        "stopped after {minutes} min {seconds} s: {} connected in all, {} at the end, \
         {} introductions{note}\n",
        plural(rendezvous.connected, "client"),
        rendezvous.clients,
        rendezvous.introductions,
    ))
}

fn plural(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// Writes to standard output. That nobody reads it is no reason to stop serving.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
