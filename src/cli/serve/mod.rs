//! `rtmfp serve`: the rendezvous server.
//!
//! | file | what |
//! | --- | --- |
//! | `admin` | the page with the server's state |
//! | `screen` | the text at the start |
//! | `events` | events, as lines for people or as JSON |
//! | `member` | a member of groups in the process of the server |
//! | `settings` | settings from options, the environment and a file |
//! | `supervisor` | messages to the service manager |

mod admin;
mod events;
mod member;
mod screen;
mod settings;
mod supervisor;

use super::json::JsonLines;
use super::key_log::KeyLogArgs;
use super::listen::{self, Listen};
use super::signals::{Hangup, Hangups, Signals};
use super::{format, log};
use admin::{AdminArgs, Page};
use anyhow::{Context, bail};
use events::Event;
use member::{Member, Parts};
use rtmfp::GroupSpec;
use rtmfp::driver::{Announced, os_random};
use rtmfp::server::{
    ClusterUrl, Ingest, OwnToken, RendezvousEvent, Report, Server, ServerEvent, ServerStats,
    Settings, StopError,
};
use settings::Running;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use supervisor::Supervisor;
use tokio::sync::broadcast::{self, error::RecvError};
use tracing::Level;

/// The heading of the options of the member.
const MEMBER: &str = "Member of groups";

/// Time for clients to confirm that the server stops. A client that runs does so in one round trip;
/// the port must be free soon for the next server.
const GRACE: Duration = Duration::from_millis(1500);

/// Run a rendezvous server, where peers meet and join groups.
///
/// It needs no configuration; --print-config prints what can be configured. Files never pass through
/// it, and of media only the live streams that clients publish at it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp serve
  rtmfp serve --listen 1936 --identity server.identity
  rtmfp serve --json | jq .event
  rtmfp serve --print-config >serve.toml; rtmfp serve --config serve.toml")]
pub(crate) struct ServeArgs {
    /// UDP address to listen on: PORT, ADDR, ADDR:PORT or NAME:PORT; may be given several times
    /// [default: 1935, at all addresses]
    #[arg(long, short, value_name = "ADDR", value_parser = listen::server_address)]
    listen: Vec<Listen>,

    /// Address or name that a router forwards to this server; it is listed first
    #[arg(long, value_name = "HOST[:PORT]", value_parser = settings::public_address_text)]
    public_address: Option<String>,

    /// File that keeps the server's certificate and keys; made if it does not exist
    ///
    /// Without it every start has a new certificate, which disturbs only clients that demand a
    /// certain one.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,

    /// Folder that keeps persistent shared objects from one start to the next; made if it does not exist
    #[arg(long, value_name = "DIR")]
    shared_objects: Option<PathBuf>,

    /// Application that clients may connect to, with its instances; may be given several times
    /// [default: any]
    #[arg(long, value_name = "NAME")]
    app: Vec<String>,

    /// File with the secrets of tokens that clients need (docs/tokens.md); `rtmfp token` makes it,
    /// SIGHUP has it read again [default: none, clients need no tokens]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// URL of a program of yours that decides what clients may do (docs/hooks.md); each question is
    /// posted there [default: none]
    #[arg(long, value_name = "URL")]
    hook: Option<String>,

    /// Relay no streams: refuse what clients want to publish or play at the server
    #[arg(long)]
    no_streams: bool,

    /// Threads that serve clients; auto, or 0, for one for each processor. Several need Linux
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = settings::workers)]
    workers: Option<usize>,

    /// Join this group as a member, so that a small group is never without a neighbour; may be given
    /// several times (docs/server.md)
    ///
    /// GROUPSPEC is what GroupSpecifier.groupspecWithAuthorizations() gives, or `rtmfp groupspec new`.
    /// Whoever has it can join the group, and others on this host can read a command line;
    /// RTMFP_MEMBER_GROUPS or a configuration file they cannot.
    #[arg(long, value_name = "GROUPSPEC", help_heading = MEMBER)]
    member: Vec<GroupSpec>,

    /// Folder whose files the member offers to its groups; changes are followed
    ///
    /// A group gets the file or folder that has its name, as `rtmfp share` would offer it; otherwise the
    /// objects 0.bin, 1.bin, … as they are; otherwise what is in the folder, if it is one file alone.
    #[arg(long, value_name = "DIR", help_heading = MEMBER)]
    seed: Option<PathBuf>,

    /// Publish in a group what clients publish at this server under a name:
    /// APP/NAME=[STREAM@]GROUPSPEC; may be given several times
    #[arg(long, value_name = "STREAM", value_parser = str::parse::<Ingest>, help_heading = MEMBER)]
    ingest: Vec<Ingest>,

    /// Server of NATS through which this and other servers are one: nats://[USER:PASSWORD@]HOST[:PORT];
    /// may be given several times, for one that takes over
    ///
    /// docs/cluster.md says how to set it up. A password in a command line can be read by others on
    /// this host; in RTMFP_CLUSTER_NATS or a configuration file it cannot.
    #[arg(long, value_name = "URL")]
    cluster_nats: Vec<ClusterUrl>,

    /// Configuration file, in TOML; SIGHUP has it read again [default: the file that $RTMFP_CONFIG
    /// names, otherwise none]
    ///
    /// Each of its settings is also an environment variable, which overrules it, as options overrule
    /// both: `sessions` of [limits] is RTMFP_LIMITS_SESSIONS.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print a configuration file with every setting at its default and a comment on each
    #[arg(long)]
    print_config: bool,

    /// Form of the log [default: human on a terminal, otherwise json]
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<settings::Format>,

    /// No longer needed: programs built on librtmfp are known by their hello
    #[arg(long, hide = true)]
    librtmfp: bool,

    /// Print a JSON object for each event, one a line; docs/json.md describes them
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    admin: AdminArgs,

    #[command(flatten)]
    key_log: KeyLogArgs,
}

pub(crate) async fn run(args: ServeArgs, verbosity: u8) -> anyhow::Result<()> {
    let out = Out { json: args.json.then(JsonLines::new) };
    if args.print_config {
        std::io::stdout().write_all(Settings::default().to_toml().as_bytes())?;
        return Ok(());
    }
    let settings = settings::load(&args)?;
    log::init_server(verbosity, settings.log);
    settings::check_variables();
    if args.librtmfp {
        tracing::warn!("--librtmfp is no longer needed: such programs are served without it");
    }
    let public = settings::public_address(&settings)?;
    let mut config = settings.server_config();
    let keys = settings.token_keys()?;
    config.rendezvous.tokens = keys.clone().map(|keys| keys as _);
    config.hooks = settings.http_hook()?;
    config.key_log = args.key_log.open_or(settings.key_log.clone())?;
    member::check(&settings)?;
    let token = OwnToken::generate(&mut *os_random());
    config.rendezvous.own_token = Some(token.clone());
    let key_log = config.key_log.clone();
    if let Some(public) = public.as_ref().filter(|_| !config.cluster.nats.is_empty()) {
        let port = config.listen.first().map_or(0, SocketAddr::port);
        let announced = public.announced().await;
        let address = |it: &Announced| SocketAddr::new(it.ip, it.port.unwrap_or(port));
        config.cluster.addresses = announced.iter().map(address).collect();
    }
    // Before the server runs, so that no signal is missed.
    let mut signals = Signals::new().context("can't catch signals")?;
    let mut reloads = Reloads::new(&args, &settings).context("can't catch signals")?;
    let mut supervisor = Supervisor::new();
    let page = Page::open(&settings.admin).await?;
    let server = Server::start(config).await?;
    // The first clients come when the addresses are known.
    let events = server.events();
    let urls = screen::urls(&server, public.as_ref())?;
    if let Some(admin) = page.admin() {
        admin.show(&server);
    }
    let parts = Parts { settings: &settings, public: public.as_ref(), token: &token, key_log };
    let member = Member::start(&server, parts, out).await?;
    let introduced = member.as_ref().map(Member::introduced);
    let page_line = page.line() + &introduced.as_ref().map(screen::member).unwrap_or_default();
    let listening = Event::listening(&server, &urls, page.admin(), introduced);
    if out.json.is_some() {
        page.warn();
    }
    out.say(&listening, || screen::greeting(&server, &urls, &page_line));
    // A task of its own, as the server's: it is not woken on another thread for each event.
    let mut following = tokio::spawn(follow(events, out));
    let status =
        urls.first().map_or_else(String::new, |url| format!("clients connect to {}", url.text));
    supervisor.ready(&status);
    let mut running = Running { settings, keys };
    loop {
        tokio::select! {
            () = signals.recv() => break,
            hangup = reloads.recv() => match hangup {
                Hangup::TerminalGone => break,
                Hangup::Reload => {
                    supervisor.reloading();
                    let outcome = running.reload(&args, &server).await;
                    settings::log_reload(&outcome);
                    out.say(&Event::reloaded(&outcome), || reloaded(&outcome));
                    supervisor.ready(&status);
                }
            },
            () = supervisor.watch(&server) => {}
            _ = &mut following => bail!("the server has stopped by itself: see the log"),
        }
    }
    if let Some(admin) = page.admin() {
        admin.stopping();
    }
    supervisor.stopping();
    out.say(&Event::Stopping, || "stopping; press Ctrl-C again to stop at once\n".into());
    let stopping = async {
        if let Some(member) = member {
            member.close(GRACE, out).await;
        }
        server.stop(GRACE).await
    };
    tokio::select! {
        stopped = stopping => {
            let (stats, graceful) = match stopped {
                Ok(stats) => (stats, true),
                Err(StopError::Shutdown { stats, .. }) => (*stats, false),
                Err(error) => return Err(error.into()),
            };
            page.close().await;
            out.say(&Event::stopped(&stats, graceful), || farewell(&stats, graceful));
        }
        () = signals.recv() => out.print("stopped at once\n"),
    }
    Ok(())
}

/// Requests to read the files of settings and secrets again. Without such a file a hangup ends the
/// command, as usual.
struct Reloads(Option<Hangups>);

impl Reloads {
    fn new(args: &ServeArgs, settings: &Settings) -> std::io::Result<Self> {
        let has_file = settings::file(args).is_some() || settings.secret_file.is_some();
        has_file.then(Hangups::new).transpose().map(Self)
    }

    async fn recv(&mut self) -> Hangup {
        match &mut self.0 {
            Some(hangups) => hangups.recv().await,
            None => std::future::pending().await,
        }
    }
}

fn reloaded(outcome: &Result<rtmfp::server::Reloaded, String>) -> String {
    match outcome {
        Ok(done) if done.changed.is_empty() => "settings read again: no change\n".to_owned(),
        Ok(done) => format!("settings read again; changed: {}\n", done.changed.join(", ")),
        Err(_) => "settings not read again: the log says why\n".to_owned(),
    }
}

/// Reports events until the server has stopped.
async fn follow(mut events: broadcast::Receiver<ServerEvent>, out: Out) {
    loop {
        let event = match events.recv().await {
            Ok(event) if out.shows(&event) => Report::of(&event),
            Ok(_) => None,
            Err(RecvError::Lagged(missed)) => Some(Report::Lagged { missed }),
            Err(RecvError::Closed) => return,
        };
        if let Some(report) = event {
            out.happened(&report);
        }
    }
}

/// Standard output, for people or for programs.
#[derive(Clone, Copy)]
struct Out {
    json: Option<JsonLines>,
}

impl Out {
    fn say(&self, event: &Event, words: impl FnOnce() -> String) {
        match &self.json {
            Some(json) => json.emit(event),
            None => self.print(&words()),
        }
    }

    /// False for introductions, which are far more than anything else, unless a program reads them.
    fn shows(&self, event: &ServerEvent) -> bool {
        self.json.is_some()
            || !matches!(event, ServerEvent::Rendezvous(RendezvousEvent::Introduced { .. }))
    }

    /// Reports an event, unless the log does so already.
    fn happened(&self, report: &Report) {
        match (&self.json, events::line(report)) {
            (Some(json), _) => json.emit(report),
            (None, Some(line)) if !tracing::enabled!(target: "rtmfp::server", Level::INFO) => {
                self.print(&format!("{} {line}\n", log::time(std::io::stdout().is_terminal())));
            }
            _ => {}
        }
    }

    /// Writes to standard output. The server goes on if nobody reads it.
    fn print(&self, text: &str) {
        if self.json.is_none() {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

fn farewell(stats: &ServerStats, graceful: bool) -> String {
    let note = if graceful { "" } else { "; some clients did not confirm" };
    let rendezvous = &stats.rendezvous;
    format!(
        "stopped after {}: {} connected in all, {} at the end, {}{note}\n",
        format::duration(stats.uptime),
        format::count(rendezvous.connected, "client"),
        rendezvous.clients,
        format::count(rendezvous.introductions, "introduction"),
    )
}
