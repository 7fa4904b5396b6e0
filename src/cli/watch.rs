//! `rtmfp watch`: play a shared film in the browser, or another player, while it is fetched.

use super::background::Background;
use super::catalogue::{self, Browsing};
use super::destination::{self, Output};
use super::events::Reporter;
use super::fetch_options::FetchOptions;
use super::fetching::{LAN_ADVICE, Looking, View, meets_on_lan, no_answer, show, situation};
use super::in_force::InForce;
use super::link_memory::LinkMemory;
use super::listen::{self, Listen};
use super::origin;
use super::outcome::{self, WrongUsage};
use super::patience::{after, connecting};
use super::scratch::Scratch;
use super::screen::{self, Live};
use super::signals::Signals;
use super::source::{self, Source};
use super::{STOP_GRACE, format};
use anyhow::{Context, anyhow, bail};
use rtmfp::Fingerprint;
use rtmfp::vod::catalogue::Entry;
use rtmfp::vod::session::SessionError;
use rtmfp::vod::{CatalogueLink, Destination, Fetch, FetchConfig, Integrity, ShareLink};
use rtmfp::web::watch::{CataloguePage, Level, Page, Player};
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Interval at which the reasons why nothing arrives are given to the page.
const EXPLANATION: Duration = Duration::from_secs(3);

/// Watch a shared film in the browser while it is fetched.
///
/// Prints the address of a page, and opens it. The page plays MP4, WebM and FLV, and shows what is here
/// of the film and who sends it. ffplay, mpv and VLC play the film's own address, which the page shows.
/// Fetched parts are passed on to others until Ctrl-C.
///
/// With the link of a catalogue, which `rtmfp share --library` prints, the page is a list of what is shared
/// to choose from.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtmfp watch rtmfp-share://192.0.2.7:1935/1/group=G:…
  rtmfp watch LINK -o ~/Videos/         # keep the film
  rtmfp watch LINK --no-open            # and open the address in a player of your choice
  rtmfp watch LINK --listen 0.0.0.0:8935  # watch it on the television, too
  rtmfp watch https://web.example/film.mp4 --via rtmfp://rendezvous.example/films

docs/watch.md describes the page and its addresses.")]
pub(crate) struct WatchArgs {
    /// The link that `rtmfp share` printed, or, with --via, the groupspec of a Flash application
    /// that shares a film, which begins with G:
    ///
    /// Or, with --via, the URL of a film on a web server: the members of its swarm at that server are
    /// met, and what they lack is read from the web server.
    #[arg(value_name = "LINK|GROUPSPEC|URL", value_parser = source::parse)]
    source: Source,

    /// Keep the film in this file or directory [default: it is stored in a directory for temporary
    /// files, and removed at the end]
    ///
    /// A film that is kept is fetched on by the same command, or by `rtmfp fetch`.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Address of the page: PORT, ADDR or ADDR:PORT [default: 127.0.0.1:8935, or another port if that is
    /// taken]
    ///
    /// With an address of the network, everybody there can watch.
    #[arg(long, value_name = "ADDR", value_parser = listen::member_address)]
    listen: Option<Listen>,

    /// Only print the address of the page
    #[arg(long)]
    no_open: bool,

    /// Replace the file if a different one of its name exists
    #[arg(long, requires = "output")]
    force: bool,

    /// UDP address to send and receive from, as --listen of `fetch`; may be given several times
    /// [default: all addresses, any free port]
    #[arg(long, value_name = "ADDR", value_parser = listen::member_address)]
    udp: Vec<Listen>,

    #[command(flatten)]
    options: FetchOptions,
}

pub(crate) async fn run(args: WatchArgs) -> anyhow::Result<()> {
    let reporter = Reporter::new(args.options.json);
    let outcome = watch(args, &reporter).await;
    reporter.ended(&outcome);
    outcome
}

async fn watch(args: WatchArgs, reporter: &Reporter) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    if let Source::Catalogue(link) = &args.source {
        let link = (**link).clone();
        return watch_catalogue(&args, link, reporter, &mut signals).await;
    }
    let (source, version) = tokio::select! {
        source = args.source.clone().resolved(&args.options.via, args.options.lan) => source?,
        () = signals.recv() => return Ok(()),
    };
    let link = source.link(&args.options.via, args.options.lan)?;
    let (destination, _scratch) = store(&args, &link).await?;
    let in_force = args.options.in_force();
    let (address, no_open, timeout) = (page_address(&args)?, args.no_open, args.options.timeout);
    let mut config = args.options.config(link, destination, &args.udp, args.force)?;
    config.origin_version = version;
    let mut page = open_page(address, &config, reporter).await?;
    open_browser(&page.url(), no_open);
    let outcome = watch_on(&mut page, config, in_force, timeout, reporter, &mut signals).await;
    if let Err(error) = &outcome {
        page.fail(&format::printable(&format!("{error:#}")));
    }
    page.close().await;
    if let Some(fetch) = outcome? {
        stop(fetch, reporter, &mut signals).await;
    }
    Ok(())
}

/// Stops sharing on.
async fn stop(fetch: Arc<Fetch>, reporter: &Reporter, signals: &mut Signals) {
    let progress = fetch.progress();
    // Nobody reads it any more.
    if let Some(fetch) = Arc::into_inner(fetch) {
        signals.or_at_once(fetch.stop(STOP_GRACE)).await;
    }
    let uploaded = progress.borrow().bytes_uploaded;
    reporter.stopped(uploaded);
    screen::line(&format!("stopped, {} uploaded to other members", format::bytes(uploaded)));
}

/// Shows a catalogue, and the films that are chosen from it one after the other.
async fn watch_catalogue(
    args: &WatchArgs,
    link: CatalogueLink,
    reporter: &Reporter,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let mut listen = listen::addresses(args.udp.clone());
    // The ports are for the films.
    listen.iter_mut().for_each(|address| address.set_port(0));
    let key_log = args.options.key_log.open()?;
    let browsing = Browsing { via: &args.options.via, lan: args.options.lan, listen, key_log };
    let name = link.name.clone().unwrap_or_else(|| "Catalogue".to_owned());
    let catalogue = tokio::select! {
        catalogue = catalogue::open(link, browsing, reporter) => catalogue?,
        () = signals.recv() => return Ok(()),
    };
    let address = page_address(args)?;
    let mut page = CataloguePage::open(address, &name, catalogue.listed())
        .await
        .with_context(|| cannot_serve(address))?;
    announce(page.address(), &page.url(), reporter)?;
    open_browser(&page.url(), args.no_open);
    let mut chosen = next(&mut page, signals).await;
    while let Some(entry) = chosen {
        chosen = watch_entry(args, &entry, &mut page, reporter, signals).await;
    }
    page.close().await;
    catalogue.close(STOP_GRACE).await;
    Ok(())
}

/// The entry that is chosen next, or `None` after a signal.
async fn next(page: &mut CataloguePage, signals: &mut Signals) -> Option<Entry> {
    tokio::select! {
        entry = page.chosen() => Some(entry),
        () = signals.recv() => None,
    }
}

/// Fetches an entry until another one is chosen, which is returned, or a signal ends it.
async fn watch_entry(
    args: &WatchArgs,
    entry: &Entry,
    page: &mut CataloguePage,
    reporter: &Reporter,
    signals: &mut Signals,
) -> Option<Entry> {
    screen::line(&format!("chosen: {}", format::printable(&entry.name)));
    let prepared = async {
        let link = source::parse(&entry.link.to_string()).map_err(|error| anyhow!(error))?;
        let link = link.link(&args.options.via, args.options.lan)?;
        let (destination, scratch) = store(args, &link).await?;
        anyhow::Ok((args.options.config(link, destination, &args.udp, args.force)?, scratch))
    };
    let (config, _scratch) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => {
            screen::error(&format::printable(&outcome::text(&error)));
            return next(page, signals).await;
        }
    };
    let in_force = args.options.in_force();
    let mut film = page.play(&config);
    let outcome = tokio::select! {
        outcome = watch_on(&mut film, config, in_force, args.options.timeout, reporter, signals) => outcome,
        another = page.chosen() => {
            film.close().await;
            return Some(another);
        }
    };
    let another = match outcome {
        Err(error) => {
            let text = format::printable(&outcome::text(&error));
            screen::error(&text);
            film.fail(&text);
            next(page, signals).await
        }
        Ok(fetch) => {
            // The page lets go of it first.
            film.close().await;
            if let Some(fetch) = fetch {
                stop(fetch, reporter, signals).await;
            }
            return None;
        }
    };
    film.close().await;
    another
}

/// Where the film is stored, and the directory that vanishes if it is not kept.
async fn store(
    args: &WatchArgs,
    link: &ShareLink,
) -> anyhow::Result<(Destination, Option<Scratch>)> {
    let Some(output) = &args.output else {
        let scratch = Scratch::in_cache()?;
        let place = scratch.path().display();
        screen::line(&format!("the film is stored in {place} until the end; -o FILE keeps it"));
        return Ok((Destination::Directory(scratch.path().to_owned()), Some(scratch)));
    };
    match destination::choose(Some(output), link).await? {
        Output::File(destination) => Ok((destination, None)),
        Output::Stream(_) => bail!(WrongUsage(
            "the film is read anywhere, so -o needs a file or a directory; `rtmfp fetch LINK -o -` \
             writes a film in order"
                .into()
        )),
    }
}

fn page_address(args: &WatchArgs) -> anyhow::Result<SocketAddr> {
    let Some(page) = &args.listen else { return Ok((Ipv4Addr::LOCALHOST, 0).into()) };
    let addresses = listen::addresses(vec![page.clone()]);
    let first = addresses.first().copied().context("--listen names no address")?;
    // A port alone is one of this host.
    match first.ip().is_unspecified() && addresses.len() > 1 {
        true => Ok((Ipv4Addr::LOCALHOST, first.port()).into()),
        false => Ok(first),
    }
}

async fn open_page(
    address: SocketAddr,
    config: &FetchConfig,
    reporter: &Reporter,
) -> anyhow::Result<Page> {
    let page = Page::open(address, config).await.with_context(|| cannot_serve(address))?;
    announce(page.address(), &page.url(), reporter)?;
    Ok(page)
}

fn cannot_serve(address: SocketAddr) -> String {
    format!("cannot serve a page at {address} (--listen chooses another address)")
}

/// Prints where the page is, and who else sees it.
fn announce(address: SocketAddr, url: &str, reporter: &Reporter) -> anyhow::Result<()> {
    if !address.ip().is_loopback() {
        screen::line(&format!(
            "WARNING: everybody who can reach {address} can watch the film, and see how it is fetched"
        ));
    }
    match reporter.is_on() {
        true => reporter.page(url),
        false => screen::result(url)?,
    }
    Ok(())
}

/// Opens the page, where a person sits who sees it.
fn open_browser(url: &str, no_open: bool) {
    if no_open {
        return;
    }
    if !std::io::stderr().is_terminal() || !has_display() {
        screen::line("open the page in a browser: there is no display here to open it on");
        return;
    }
    match open::that_detached(url) {
        Ok(()) => screen::line("opening the page in the browser (--no-open does not)"),
        Err(error) => screen::line(&format!("open the page in a browser: {error}")),
    }
}

/// True if a browser has somewhere to open a window.
fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

/// Fetches until a signal ends it. `None` if it had not begun by then.
async fn watch_on(
    page: &mut Page,
    config: FetchConfig,
    in_force: InForce,
    timeout: Option<Duration>,
    reporter: &Reporter,
    signals: &mut Signals,
) -> anyhow::Result<Option<Arc<Fetch>>> {
    let is_verified = config.link.integrity != Integrity::None;
    if !is_verified {
        screen::line("nothing vouches for what this group sends: the film is not verified");
    }
    let servers: Vec<String> = config.link.servers.iter().map(ToString::to_string).collect();
    let (servers, lan) = (servers.join(", "), config.lan);
    let meets_on_lan = meets_on_lan(&config.link);
    let looking = Looking {
        timeout,
        provider: config.link.provider.map(|provider| Fingerprint(provider.0)),
        stream: None,
        is_verified,
        reporter,
        chosen: None,
    };
    reporter.set_limits(in_force);
    reporter.connecting(config.link.servers.iter().map(ToString::to_string));
    let fetch = tokio::select! {
        fetch = connecting(&servers, Fetch::start(config)) => fetch.map_err(|error| match error {
            SessionError::Unreachable(_) if meets_on_lan => anyhow!("{error}\n{LAN_ADVICE}"),
            error => error.into(),
        })?,
        () = after(timeout) => return Err(no_answer(&servers, timeout, meets_on_lan)),
        () = signals.recv() => return Ok(None),
    };
    let fetch = Arc::new(fetch);
    page.show(Arc::clone(&fetch));
    let links = LinkMemory::begin(fetch.connection()).await;
    let mut view = View::new(in_force, &looking, Background::new(lan, &servers), links);
    let (search, _) = fetch.search().await;
    reporter.connected(search.server.filter(|_| search.connected));
    view.background.begin(&search);
    view.picture = view.picture.serverless(servers.is_empty());
    let mut events = fetch.events();
    let mut explained = pin!(explain(page, &fetch, &looking));
    let completed = tokio::select! {
        completed = fetch.completed() => completed?,
        error = show(&fetch, &mut events, &mut view, &looking, false) => return Err(error),
        () = &mut explained => return Ok(None),
        () = signals.recv() => return Ok(Some(Arc::clone(&fetch))),
    };
    view.live.clear();
    let progress = fetch.progress().borrow().clone();
    reporter.complete(&completed, progress.held_bytes, is_verified);
    screen::line(&format!(
        "the whole film is here, {}{}; sharing on until Ctrl-C",
        format::bytes(progress.held_bytes),
        origin::note(&progress),
    ));
    view.live = Live::new();
    tokio::select! {
        error = show(&fetch, &mut events, &mut view, &looking, true) => Err(error),
        () = explained => Ok(None),
        () = signals.recv() => Ok(Some(Arc::clone(&fetch))),
    }
}

/// Gives the page the reasons while it waits, and reports once what no browser plays.
async fn explain(page: &Page, fetch: &Fetch, looking: &Looking<'_>) {
    let status = page.status();
    let mut ticks = tokio::time::interval(EXPLANATION);
    let mut is_reported = false;
    loop {
        ticks.tick().await;
        let now = Arc::clone(&status.borrow());
        if now.message.level == Level::Waiting {
            page.explain(situation(fetch, looking).await.lines());
        }
        if let Player::None { reason } = &now.film.player
            && !std::mem::replace(&mut is_reported, true)
        {
            let path = now.film.path.as_deref().unwrap_or_default();
            let url = page.url();
            screen::line(&format!(
                "no browser plays this film: {}; open {}{path} in ffplay, mpv or VLC",
                format::printable(reason),
                url.trim_end_matches('/'),
            ));
        }
    }
}
