//! `rtmfp share`: offer files and print the link to them.

mod offered;

use self::offered::{Offered, offered};
use super::background::Background;
use super::console::{Asked, Change, Console, Form, change_limits};
use super::events::Reporter;
use super::in_force::InForce;
use super::key_log::KeyLogArgs;
use super::library::Library;
use super::limits::{DownArgs, UpArgs};
use super::link_memory::LinkMemory;
use super::listen::{self, Listen};
use super::outcome::WrongUsage;
use super::patience::connecting;
use super::public_address::PublicAddress;
use super::remembered::{self, Remembered};
use super::screen::{self, Live, Picture, REDRAW};
use super::signals::Signals;
use super::signing;
use super::{STOP_GRACE, embedded, format, via};
use anyhow::{Context, bail, ensure};
use rtmfp::Uri;
use rtmfp::driver::KeyLogFile;
use rtmfp::peer::{Connection, PeerConfig};
use rtmfp::proto::flash::uri::DEFAULT_PORT;
use rtmfp::server::Server;
use rtmfp::vod::catalogue::{Publication, PublicationConfig};
use rtmfp::vod::{
    DescriptorForm, FileEvent, LinkKey, ServerAddress, Share, ShareConfig, ShareLink,
};
use std::path::{Path, PathBuf};

/// Share files, and print the link by which others fetch them.
///
/// Several files, a folder with everything below it, or a playlist (.m3u, .m3u8) with the files that it
/// names are one share, which others get as a folder. Hidden files and symbolic links in a folder are
/// left out.
///
/// The link is the only line on standard output. The share is offered until Ctrl-C; those who
/// fetch it pass it on to each other. Without --via or --lan this also runs a rendezvous server.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp share film.mp4
  rtmfp share film.mp4 --via rtmfp://rendezvous.example/films
  rtmfp share film.mp4 --lan
  rtmfp share \"My Album/\"
  rtmfp share https://web.example/film.mp4
  rtmfp share https://web.example/film/list.m3u8
  ffmpeg … | rtmfp share - --name film.mp4
  rtmfp share --library ~/Films --via rtmfp://rendezvous.example/films

While it runs in the foreground of a terminal, `up 500K`, `up off`, `neighbours 8` and `limits` with Enter
change and show its limits. They do not bound the rendezvous server in this process, which sends some
hundred bytes for each introduction.")]
pub(crate) struct ShareArgs {
    /// Files or folders to share, which must not be changed meanwhile, or - for standard input, which is
    /// copied to a temporary file first
    ///
    /// Or the URL of a file on a web server, http or https, which is read while it is shared
    /// (docs/origin.md). Every provider of the URL prints the same link. A playlist (.m3u8) is shared with all
    /// files that it names.
    #[arg(required_unless_present = "library", value_name = "FILE|FOLDER|URL")]
    files: Vec<PathBuf>,

    /// Share every file and every folder in this directory, each with a link of its own, and follow what is
    /// added, changed and removed
    ///
    /// The first link is that of the catalogue, which lists all of them.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["files", "name", "group"])]
    library: Option<PathBuf>,

    /// Name of several files together, or of standard input [default: that of the folder, or of the
    /// first file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Name of the group, for members that do not have the link [default: a group of its own]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Use this rendezvous server: rtmfp://HOST[:PORT]/APP; may be given several times, all of them for
    /// the link: the next one is used where one does not answer [default: one in this process]
    ///
    /// A token in the URL (?token=…) is not in the link: whoever fetches needs one as well.
    #[arg(long, value_name = "URL", value_parser = via::parse)]
    via: Vec<Uri>,

    /// Leave the token of --via in the link, so that whoever has the link can connect by it
    #[arg(long, requires = "via")]
    token_in_link: bool,

    /// Share on the local network, where no server is needed
    ///
    /// Members find each other by IP multicast, and the link names no server. With --via both ways are
    /// open, and the server need not answer.
    #[arg(long)]
    lan: bool,

    /// How object 0 describes the file: an object, with hashes, or a bare number
    ///
    /// Applications for Flash Player expect the one or the other. With `object` every chunk is
    /// verified when it arrives, with `number` the file at the end.
    #[arg(long, value_name = "object|number", default_value_t)]
    descriptor: DescriptorForm,

    /// UDP address to send and receive from: PORT, ADDR, ADDR:PORT or NAME:PORT; may be given several
    /// times [default: all addresses, any free port]
    ///
    /// The rendezvous server in this process listens on these addresses too, at a port of its own,
    /// and the link names no others.
    #[arg(long, value_name = "ADDR", value_parser = listen::member_address)]
    listen: Vec<Listen>,

    /// Give the file a new link instead of the one that it had the last time
    #[arg(long)]
    new: bool,

    /// Address or name that a router forwards to this host, for the link and for other members
    ///
    /// The port is that of the rendezvous server in this process unless another is given; with
    /// --via it is that of --listen.
    #[arg(long, value_name = "HOST[:PORT]")]
    public_address: Option<PublicAddress>,

    /// Print a JSON object for each event, one a line; docs/json.md describes them
    #[arg(long)]
    json: bool,

    /// Sign the link with the key in this file, which is made if there is none
    ///
    /// Others see the public key, and can insist on it by `rtmfp fetch --signed-by`.
    #[arg(long, value_name = "KEYFILE")]
    sign: Option<PathBuf>,

    /// Upload little more than one copy, although everybody is complete somewhat later
    ///
    /// The link says so to whoever fetches: chunks that somebody else has are not asked of this
    /// provider.
    #[arg(long)]
    save_upload: bool,

    /// Of a URL: read all of it first, and hash it, so that every part is verified when it arrives
    ///
    /// That is done once: the file is kept in the directory of --cache.
    #[arg(long)]
    verified: bool,

    /// Directory for what is read of a URL, which is kept for the next time [default:
    /// $XDG_CACHE_HOME/rtmfp, otherwise ~/.cache/rtmfp]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    #[command(flatten)]
    limits: UpArgs,

    /// Refused, with the reason
    #[arg(long, hide = true)]
    metered: bool,

    /// Refused, with the reason
    #[arg(long, hide = true, value_name = "RATE")]
    down_limit: Option<String>,

    #[command(flatten)]
    key_log: KeyLogArgs,
}

pub(crate) async fn run(args: ShareArgs) -> anyhow::Result<()> {
    let reporter = Reporter::new(args.json);
    let outcome = share(args, &reporter).await;
    reporter.ended(&outcome);
    outcome
}

async fn share(args: ShareArgs, reporter: &Reporter) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let via = via::servers_of(&args.via)?;
    refuse(&args)?;
    if via.as_ref().is_some_and(|(_, app)| !args.token_in_link && via::without_token(app) != *app) {
        screen::line(
            "the token is not in the link: whoever fetches needs one as well (fetch LINK --via \
             'rtmfp://HOST/APP?token=…'); --token-in-link gives this one away",
        );
    }
    let key_log = args.key_log.open()?;
    let signing_key = args.sign.as_deref().map(signing::open).transpose()?;
    if let Some(directory) = args.library.clone() {
        let keys = (key_log, signing_key);
        return share_library(args, &directory, via, keys, reporter, &mut signals).await;
    }
    let (offered, _scratch) = tokio::select! {
        offered = offered(&args) => offered?,
        () = signals.recv() => bail!("interrupted"),
    };
    let listen = listen::addresses(args.listen.clone());
    let in_force = InForce::new(args.limits, DownArgs::default(), false);
    let mut remembered = match &offered {
        Offered::Files(source, None) => remember(&args, &source.descriptor().digest().to_string()),
        // The link follows from the URL.
        _ => None,
    };
    let mut ports = vec![DEFAULT_PORT];
    let earlier = remembered.as_ref().and_then(Remembered::link).cloned();
    ports.splice(..0, earlier.as_ref().and_then(server_port));
    let lan = args.lan;
    let server = match via {
        Some(_) => None,
        None if lan => None,
        None => Some(embedded::start(&listen, &ports, key_log.clone()).await?),
    };
    let mut config = config(args, via, server.as_ref()).await?;
    config.key_log = key_log;
    config.signing_key = signing_key;
    config.seed = remembered.as_ref().map(|remembered| remembered.seed().clone());
    let servers: Vec<String> = config.servers.iter().map(ToString::to_string).collect();
    reporter.connecting(servers.iter().cloned());
    let servers = servers.join(", ");
    let mut background = Background::new(lan, &servers);
    let share = tokio::select! {
        share = connecting(&servers, offered.start(config)) => share?,
        () = signals.recv() => bail!("interrupted"),
    };
    match reporter.is_on() {
        true => reporter.shared(share.link(), share.descriptor()),
        false => screen::result(&share.link().to_string())?,
    }
    if let Some(remembered) = &mut remembered {
        explain_link(earlier.as_ref(), share.link(), remembered);
    }
    if let Some(server) = &server {
        let ports: Vec<String> = server.local_addresses().iter().map(ToString::to_string).collect();
        screen::line(&format!("rendezvous server in this process, UDP {}", ports.join(", ")));
    }
    screen::line(match (lan, background.silent()) {
        (false, _) => "sharing until Ctrl-C",
        (true, None) => "sharing on the local network until Ctrl-C",
        (true, Some(_)) => "sharing on the local network, and by way of the server, until Ctrl-C",
    });
    let links = LinkMemory::begin(share.connection()).await;
    let view = (&mut background, &links);
    let outcome = until_stopped(&share, in_force, &mut signals, reporter, view).await;
    drop(links);
    let progress = share.progress();
    let stop = async {
        share.stop(STOP_GRACE).await;
        if let Some(server) = &server {
            // The process ends; clients notice that the server is gone.
            let _ = server.stop(STOP_GRACE).await;
        }
    };
    signals.or_at_once(stop).await;
    reporter.stopped(progress.borrow().bytes_uploaded);
    let uploaded = format::bytes(progress.borrow().bytes_uploaded);
    screen::line(&format!("stopped, {uploaded} uploaded"));
    outcome
}

/// Shares every entry of a directory, on one connection.
async fn share_library(
    args: ShareArgs,
    directory: &Path,
    via: Option<(Vec<ServerAddress>, String)>,
    (key_log, signing_key): (Option<KeyLogFile>, Option<LinkKey>),
    reporter: &Reporter,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let shown = directory.display();
    let real = directory.canonicalize().with_context(|| format!("cannot share {shown}"))?;
    ensure!(real.is_dir(), "{shown} is not a directory, which --library needs");
    let remembered = remember(&args, &format!("library {}", real.display()));
    let listen = listen::addresses(args.listen.clone());
    let server = match via.is_some() || args.lan {
        true => None,
        false => Some(embedded::start(&listen, &[DEFAULT_PORT], key_log.clone()).await?),
    };
    let mut config = config(args, via, server.as_ref()).await?;
    config.signing_key = signing_key;
    let mut peer = PeerConfig::default();
    if !config.listen.is_empty() {
        peer.listen = config.listen.clone();
    }
    peer.seed = remembered.as_ref().map(|remembered| remembered.seed().clone());
    (peer.announced, peer.key_log) = (config.announced.clone(), key_log);
    peer.limits = config.limits;
    let app = config.own_app.as_ref().unwrap_or(&config.app);
    let urls = config.servers.iter().map(|server| format!("rtmfp://{server}/{app}").parse());
    let urls = urls.collect::<Result<Vec<Uri>, _>>()?;
    let servers: Vec<String> = config.servers.iter().map(ToString::to_string).collect();
    reporter.connecting(servers.iter().cloned());
    let servers = servers.join(", ");
    let connect = async {
        match config.lan {
            true => Connection::connect_in_background(peer, &urls).await,
            false => Connection::connect_to_any(peer, &urls).await,
        }
    };
    let connection = tokio::select! {
        connection = connecting(&servers, connect) => connection?,
        () = signals.recv() => bail!("interrupted"),
    };
    let catalogue = publish(&real, &connection, &config, remembered.as_ref()).await?;
    match reporter.is_on() {
        true => reporter.catalogue(catalogue.link()),
        false => screen::result(&catalogue.link().to_string())?,
    }
    screen::line(
        "the first link is that of the catalogue: `rtmfp watch` shows what is shared to choose from, \
         `rtmfp fetch` lists it",
    );
    screen::line(&format!("sharing what is in {shown} until Ctrl-C"));
    let remembered = remembered.as_ref();
    let links = LinkMemory::begin(&connection).await;
    let library = Library::new(&real, &connection, &catalogue, config, remembered, reporter);
    let uploaded = library.run(signals).await;
    drop(links);
    // The process ends; members notice that it is gone.
    let _ = connection.close(STOP_GRACE).await;
    if let Some(server) = &server {
        let _ = server.stop(STOP_GRACE).await;
    }
    let uploaded = uploaded?;
    reporter.stopped(uploaded);
    screen::line(&format!("stopped, {} uploaded", format::bytes(uploaded)));
    Ok(())
}

/// Begins the catalogue of a library. Its entries are signed by the key of the links, or by one that
/// belongs to the library.
async fn publish(
    directory: &Path,
    connection: &Connection,
    config: &ShareConfig,
    remembered: Option<&Remembered>,
) -> anyhow::Result<Publication> {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
    let published = PublicationConfig {
        servers: config.servers.clone(),
        app: config.app.clone(),
        lan: config.lan,
        name: name.unwrap_or_default(),
        seed: remembered.map(|remembered| remembered.seed_for("catalogue")),
        signing_key: config.signing_key.clone(),
    };
    Ok(Publication::start(connection, published).await?)
}

async fn config(
    args: ShareArgs,
    via: Option<(Vec<ServerAddress>, String)>,
    server: Option<&Server>,
) -> anyhow::Result<ShareConfig> {
    let (servers, app) = match (via, server) {
        (Some((servers, app)), _) => (servers, app),
        (None, Some(server)) => {
            (embedded::addresses(server, args.public_address.as_ref())?, String::new())
        }
        (None, None) => (Vec::new(), String::new()),
    };
    ensure!(args.lan || !servers.is_empty(), "this host has no address");
    let mut config = ShareConfig::on_lan();
    config.lan = args.lan;
    config.servers = servers;
    if !args.token_in_link {
        config.own_app = Some(app.clone());
    }
    config.app = match args.token_in_link {
        true => app,
        false => via::without_token(&app),
    };
    config.group = args.group;
    config.form = args.descriptor;
    config.limits = args.limits.limits();
    config.max_neighbors = args.limits.max_neighbors();
    config.save_upload = args.save_upload;
    config.listen = listen::addresses(args.listen);
    if let Some(public) = args.public_address {
        config.announced = public.announced().await;
        if server.is_some() {
            // The port is that of the server, and members have one of their own.
            config.announced.iter_mut().for_each(|announced| announced.port = None);
        }
    }
    Ok(config)
}

/// The remembered state of this share. Without it, the share continues after one warning.
fn remember(args: &ShareArgs, what: &str) -> Option<Remembered> {
    // A token is another one from time to time.
    let via = args.via.iter().map(|uri| match args.token_in_link {
        true => uri.to_string(),
        false => via::without_token(uri.as_str()),
    });
    let via = via.collect::<Vec<_>>().join(" ");
    let group = args.group.as_deref().unwrap_or_default();
    let lan = if args.lan { "\nlan" } else { "" };
    let key = format!("{what}\n{}\n{via}\n{group}{lan}", args.descriptor);
    match remembered::directory().and_then(|it| remembered::open(&it, &key, args.new)) {
        Ok(Some(remembered)) => Some(remembered),
        Ok(None) => {
            screen::line(
                "another process shares this file already: this share has a link of its own",
            );
            None
        }
        Err(error) => {
            screen::line(&format!("WARNING: the link will be another one next time: {error:#}"));
            None
        }
    }
}

/// The UDP port of the link's first server.
fn server_port(link: &ShareLink) -> Option<u16> {
    link.servers.first().map(ServerAddress::port)
}

/// The state of the `earlier` link, now that `link` is printed. That the addresses differ may
/// come from this host or from --listen.
fn fate(earlier: &ShareLink, link: &ShareLink) -> String {
    let unsigned = |link: &ShareLink| ShareLink { signature: None, ..link.clone() };
    if unsigned(earlier) == unsigned(link) {
        return "the link is that of the last time".into();
    }
    match (server_port(earlier), server_port(link)) {
        (Some(old), new) if Some(old) != new => format!(
            "WARNING: UDP port {old} of the earlier link is taken: that link does not work now"
        ),
        _ if earlier.servers.iter().any(|old| link.servers.contains(old)) => {
            "this link has other addresses than the earlier one, which still works in part".into()
        }
        _ => {
            "WARNING: this link has other addresses than the earlier one: use this one from now on"
                .into()
        }
    }
}

/// Reports if the link of the last run is still valid, and remembers this one.
fn explain_link(earlier: Option<&ShareLink>, link: &ShareLink, remembered: &mut Remembered) {
    if let Some(earlier) = earlier {
        screen::line(&fate(earlier, link));
        // The next start tries the earlier port again.
        if earlier != link && server_port(earlier) != server_port(link) {
            return;
        }
    }
    if let Err(error) = remembered.note(link) {
        screen::line(&format!("WARNING: the link will be another one next time: {error:#}"));
    }
}

/// Explains options of other verbs that make no sense here.
fn refuse(args: &ShareArgs) -> anyhow::Result<()> {
    ensure!(
        !args.metered,
        WrongUsage(
            "--metered does not go with share: to share a file is to upload it. --up-limit RATE bounds \
             how fast, and Ctrl-C ends it when the others have a copy"
                .into()
        )
    );
    ensure!(
        args.down_limit.is_none(),
        WrongUsage(
            "--down-limit does not go with share, which asks for nothing: what comes in are requests \
             and acknowledgements. --up-limit RATE bounds what goes out"
                .into()
        )
    );
    Ok(())
}

async fn until_stopped(
    share: &Share,
    mut in_force: InForce,
    signals: &mut Signals,
    reporter: &Reporter,
    (background, links): (&mut Background, &LinkMemory),
) -> anyhow::Result<()> {
    let mut live = Live::new();
    let is_serverless = share.link().servers.is_empty();
    let mut picture = Picture::with(in_force.limits).serverless(is_serverless);
    let form = if reporter.is_on() { Form::Json } else { Form::Words };
    let mut console = Console::open(form, true);
    reporter.set_limits(in_force);
    let (progress, mut events) = (share.progress(), share.events());
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            _ = redraw.tick() => {
                let text = picture.sharing(&progress.borrow());
                in_force.links = links.latest();
                reporter.set_limits(in_force);
                reporter.progress(&progress.borrow());
                live.draw(&text);
                live.report(0.0, text);
            }
            event = events.recv() => if let Ok(event) = event {
                reporter.file_event(&event);
                print_event(&event);
                background.note(&event);
            },
            asked = console.next() => {
                obey(asked, share, &mut in_force, reporter).await;
                picture.set_limits(in_force.limits);
            }
            error = share.failed() => return Err(error.into()),
            () = signals.recv() => return Ok(()),
        }
    }
}

/// Does what a line on standard input asks for.
async fn obey(asked: Asked, share: &Share, in_force: &mut InForce, reporter: &Reporter) {
    let asked = match asked {
        Asked::Change(change) => match refused(&change) {
            Some(reason) => Asked::Wrong(reason.to_owned()),
            None => {
                change_limits(share.connection(), &change, in_force).await;
                if let Some(max_neighbors) = change.max_neighbors {
                    share.set_max_neighbors(max_neighbors).await;
                    in_force.max_neighbors = max_neighbors;
                }
                Asked::Limits
            }
        },
        asked => asked,
    };
    reporter.answer(&asked, *in_force);
}

/// Why a share cannot do this.
fn refused(change: &Change) -> Option<&'static str> {
    match change {
        Change { down: Some(_), .. } => {
            Some("a share asks for nothing: `down` has no meaning here")
        }
        Change { is_metered: Some(_), .. } => {
            Some("to share a file is to upload it: `metered` has no meaning here")
        }
        _ => None,
    }
}

/// Prints an event that a person should see at once.
pub(crate) fn print_event(event: &FileEvent) {
    match event {
        FileEvent::Disconnected => {
            screen::line("the connection to the rendezvous server was lost, trying again");
        }
        FileEvent::Connected { server, again: true } => {
            screen::line(&format!("connected to {server} again"));
        }
        FileEvent::DescriptorKnown(descriptor) => {
            let size = descriptor.layout.size().map(format::bytes).unwrap_or_default();
            let name = descriptor.file_name();
            screen::line(&match &descriptor.files {
                None => format!("fetching {name} {size}"),
                Some(list) => {
                    let count = format::count(list.files().len() as u64, "file");
                    format!("fetching {name}/ with {count} {size}")
                }
            });
        }
        FileEvent::BadObject { from, index, fault } => {
            screen::line(&format!("member {from} sent a bad object {index}: {fault}"));
        }
        FileEvent::OriginRead { sha256 } => {
            screen::line(&format!("all of it has been read from the web server: SHA-256 {sha256}"));
        }
        FileEvent::OriginFailed(error) => {
            screen::line(&format!("{}; trying again", format::printable(&error.to_string())));
        }
        FileEvent::OriginAlone => screen::line(
            "nobody has sent the hashes of this link: all of it is read from the web server, and compared \
             with the link at the end",
        ),
        FileEvent::OriginProven(_) => {
            screen::line("what the web server has is what the link vouches for");
        }
        FileEvent::OriginGone(error) => screen::line(&format!(
            "going on without the web server: {}",
            format::printable(&error.to_string())
        )),
        FileEvent::FileRejected { actual } => screen::line(&format!(
            "the file is not the shared one (SHA-256 {actual}); fetching it again"
        )),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_earlier_link_blames_only_what_is_known() {
        let fate = |earlier: &str, link: &str| {
            let [earlier, link] = [earlier, link].map(|servers| {
                let link = format!("rtmfp-share://{servers}/group=G:0102010c050e66696c6d00");
                link.parse::<ShareLink>().unwrap()
            });
            fate(&earlier, &link)
        };
        let first = "192.0.2.7:1935/1";
        assert_eq!(fate(first, first), "the link is that of the last time");
        assert!(fate(first, "192.0.2.7:7777/1").contains("UDP port 1935 of the earlier link"));
        let kept = fate(first, "192.0.2.8:1935/1/also=192.0.2.7:1935");
        assert!(kept.contains("other addresses") && kept.contains("in part"), "{kept}");
        let lost = fate("127.0.0.1:1935/1", first);
        assert!(lost.starts_with("WARNING: this link has other addresses"), "{lost}");
    }
}
